"""Check right before each request that places a call whether it may be placed now, in this order.

=======================================  ==================================================================
found                                    then
=======================================  ==================================================================
the task was killed                      the try fails
``execution_timeout`` is almost over     the try fails
the connection is paused                 the task waits, up to ``limit_timeout``; then the try fails
the calling hours are shut               ``OutsideHours``: the task waits, is skipped, or fails
=======================================  ==================================================================
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_retell._clock import CLOCK, Clock
from airflow_provider_retell._masking import last_digits
from airflow_provider_retell.errors import RetellCallError, RetellCallFinalError, RetellCallTimeoutError

if TYPE_CHECKING:
    from airflow_provider_retell.calls.connection_pause import ConnectionPause
    from airflow_provider_retell.policy import CallingHours

OutsideHoursAction: TypeAlias = Literal["wait", "skip", "fail"]

OUTSIDE_HOURS: Final = ("wait", "skip", "fail")
"""The values of ``outside_hours``: what a task does while the calling hours are shut."""


def utc(moment: float) -> str:
    """Return a time as messages show it, given in seconds since the epoch; infinite if the hours never open."""
    if math.isinf(moment):
        return "no time in the year to come"
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"


class OutsideHours(RetellCallError):  # noqa: N818 (a state that the task acts on, seldom an error)
    """The calling hours are shut.

    Attributes:
        opens_at: When they open next, in seconds since the epoch; infinite if never.
    """

    def __init__(self, message: str, *, opens_at: float) -> None:
        super().__init__(message)
        self.opens_at = opens_at

    def act(self, action: OutsideHoursAction) -> float:
        """Return the time until which to wait, in seconds since the epoch, or end the task.

        Args:
            action: ``outside_hours`` of the task.

        Raises:
            AirflowSkipException: The action is ``skip``.
            RetellCallFinalError: The action is ``fail``, or the hours never open.
        """
        if action == "skip":
            raise AirflowSkipException(str(self))
        if action == "fail" or math.isinf(self.opens_at):
            raise RetellCallFinalError(str(self)) from None
        return self.opens_at


@dataclass(frozen=True, kw_only=True)
class Hours:
    """The calling hours of one person.

    Attributes:
        hours: ``calling_hours`` of the task, None if it has none.
        number: The person's phone number.
        time_zone: The person's time zone, None to derive it from the number.

    Raises:
        RetellTimeZoneError: There is no such time zone.
    """

    hours: CallingHours | None
    number: str | None
    time_zone: str | None

    def __post_init__(self) -> None:
        if self.time_zone is not None:
            from airflow_provider_retell.policy.zones import check_zone  # noqa: PLC0415 (few tasks need policies)

            check_zone(self.time_zone)

    def opens_at(self, now: float) -> float:
        """Return when the person may be called, ``now`` at the earliest; infinite if never in a year.

        Raises:
            RetellTimeZoneError: The person's time zone is not known, and the hours need one.
        """
        if self.hours is None:
            return now
        from airflow_provider_retell.policy.next_time import next_time  # noqa: PLC0415 (few tasks need policies)

        hours = self.hours
        return next_time(now, lambda at: hours.next_opening(self.number, at, self.time_zone))

    def check(self, now: float) -> None:
        """Raise ``OutsideHours`` if the person must not be called at a time, in seconds since the epoch.

        Raises:
            OutsideHours: The person must not be called then.
            RetellTimeZoneError: The person's time zone is not known, and the hours need one.
        """
        opens_at = self.opens_at(now)
        if opens_at > now:
            raise OutsideHours(self.describe(opens_at), opens_at=opens_at)

    def describe(self, opens_at: float) -> str:
        """Return a sentence that says that the hours are shut."""
        whom = last_digits(self.number) or "this call"
        next_opening = (
            "do not open in the year to come" if math.isinf(opens_at) else f"open next at {utc(opens_at)}"
        )
        return f"Not called: the calling hours of {whom} are shut, and {next_opening} ({self.hours!r})."


class Kill(Protocol):
    """A way to ask whether the task was killed."""

    def check(self) -> None:
        """Raise if the task was killed."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The checks right before each request that places a call.

    Attributes:
        kill: Raises if the task was killed.
        ends_at: When there is too little time left to place a call, in seconds since the epoch.
        pause: The connection's pause.
        limit_timeout: Maximum seconds to wait until it is off.
        hours: The person's calling hours.
        clock: The time.
    """

    kill: Kill
    ends_at: float
    pause: ConnectionPause
    limit_timeout: float
    hours: Hours
    clock: Clock = CLOCK

    def check(self) -> None:
        """Raise if no call may be placed now; wait while the connection is paused."""
        self.check_task()
        self.pause.wait_until_off(limit=min(self.limit_timeout, self.ends_at - self.clock.now()))
        self.check_task()
        self.hours.check(self.clock.now())

    def check_task(self) -> None:
        """Raise if the task has been killed, or has no time left for a call."""
        self.kill.check()
        if self.clock.now() >= self.ends_at:
            raise RetellCallTimeoutError(
                "Not called: execution_timeout is almost over, and the call would be stopped at once."
            )
