"""Hand a wait over to a trigger, and continue in the task when it ends.

A deferred task continues for one of three reasons, which can also come from Airflow itself:

===========  ===================================  =============================  ====================
``wake``     from the trigger                     from Airflow                   the task
===========  ===================================  =============================  ====================
``over``     every call has reached the goal,     another trigger's event came   reads them, returns,
             or it is time for the next call                                     or places the next
``timeout``  the deadline has passed              no triggerer ran it in time    reads once more [1]_
``failed``   an error that waiting does not cure  the trigger could not be run   reads once more [1]_
===========  ===================================  =============================  ====================

.. [1] and goes on as after ``over`` if the goal is reached by then; else it gives up, or raises. If there is no
   call yet, there is nothing to read: it places the first one after ``timeout``, and raises after ``failed``.

An event never comes earlier than ``shortest_deferral`` seconds (an option in the section ``[retell]``) after the
deferral. The scheduler notices with a delay that the deferring process has ended. If it has queued the task
again by then, it mistakes the end of the first process for the end of the second, and fails the task.
"""

from __future__ import annotations

import json
import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, Self, cast

from airflow.providers.common.compat.sdk import BaseOperator, Context, conf

from airflow_provider_retell._clock import CLOCK
from airflow_provider_retell._masking import shown
from airflow_provider_retell.errors import RetellCallError, RetellError
from airflow_provider_retell.provider.options import read_options

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

log = logging.getLogger(__name__)

DEFAULT_DEFERRABLE: Final = conf.getboolean("operators", "default_deferrable", fallback=False)
"""Airflow's setting, the default of ``deferrable``.

See https://airflow.apache.org/docs/apache-airflow/stable/configurations-ref.html#default-deferrable
"""

BACKSTOP: Final = 600.0
"""Seconds after the deadline at which Airflow ends a trigger that should have fired by itself."""

DISAGREEMENT_PAUSE: Final = 30.0
"""Minimum seconds of a further deferral if the trigger saw the calls over but the task sees them live."""

_TRIGGER_FAILED: Final = "__fail__"
"""The method that Airflow names when it resumes a task whose trigger failed or took too long."""


MOST_ID_BYTES: Final = 45_000
"""Bytes of the ids of calls in one trigger: on MySQL, 65,535 bytes fit into Airflow's column, encrypted."""


def first_portion(call_ids: Sequence[str]) -> list[str]:
    """Return the first of some ids, as many as fit into one trigger: a thousand of Retell's length.

    The task waits for the others afterwards.
    """
    ends = accumulate(len(json.dumps(call_id)) + len(", ") for call_id in call_ids)
    return [call_id for call_id, end in zip(call_ids, ends, strict=True) if end <= MOST_ID_BYTES]


class Wake(StrEnum):
    """The reason why a deferred task continues."""

    OVER = "over"
    TIMEOUT = "timeout"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class WakeEvent:
    """The event with which a deferred task continues: no phone numbers, no transcripts.

    It holds all that the task needs, because ``dag.test()`` drops the kwargs of a deferral.

    Attributes:
        wake: Why the task continues.
        deadline: When the wait is given up, in seconds since the epoch.
        calls: The status of each call by its id; None if it was never read. Empty if the event is Airflow's own.
        message: What went wrong, if ``wake`` is ``failed``.
        memo: The times, counts and ids that the task put into its trigger.
        unanalyzed: The calls whose analysis did not come in time; None if an earlier version, which did
            not note them, sent the event.
    """

    wake: Wake
    deadline: float
    calls: Mapping[str, str | None] = field(default_factory=dict)
    message: str = ""
    memo: Mapping[str, Any] = field(default_factory=dict)
    unanalyzed: Sequence[str] | None = None

    def to_payload(self) -> dict[str, Any]:
        """Return the event as JSON, as Airflow stores it."""
        payload = {"wake": self.wake.value, "deadline": self.deadline, "calls": dict(self.calls)}
        more = {"message": self.message, "memo": dict(self.memo)}
        noted = {} if self.unanalyzed is None else {"unanalyzed": list(self.unanalyzed)}
        return payload | {name: value for name, value in more.items() if value} | noted

    @classmethod
    def read(cls, payload: Any) -> Self:
        """Return the event that a payload holds.

        Raises:
            RetellError: It is not an event of this package's trigger.
        """
        match payload:
            case {"wake": str(wake), "deadline": int() | float() as deadline, "calls": Mapping() as calls} if (
                wake in {*Wake}
            ):
                return cls(
                    wake=Wake(wake),
                    deadline=float(deadline),
                    calls=dict(calls),
                    message=str(payload.get("message", "")),
                    memo=dict(payload.get("memo", {})),
                    unanalyzed=payload.get("unanalyzed"),
                )
        raise RetellError(f"The task was resumed with an event that its trigger does not send: {shown(payload)}.")

    @property
    def waited_out(self) -> frozenset[str]:
        """The calls whose analysis the task does not wait for, because the trigger gave up on it.

        The task waits for the others, although the trigger saw their analyses: it may get an older answer.
        """
        if self.unanalyzed is not None:
            return frozenset(self.unanalyzed)
        return frozenset(self.calls if self.wake is Wake.OVER else ())

    @classmethod
    def from_airflow(cls, next_kwargs: Mapping[str, Any] | None, *, now: float) -> Self:
        """Return the event for a wait that Airflow itself ended.

        Args:
            next_kwargs: Airflow's arguments for the resumed task; ``error`` says why.
            now: Seconds since the epoch, which becomes the deadline: there is no time left to wait.
        """
        message = str((next_kwargs or {}).get("error", "for an unknown reason"))
        return cls(wake=Wake.TIMEOUT if "timeout" in message else Wake.FAILED, deadline=now, message=message)


class WaitTrigger(Protocol):
    """A trigger that fires a ``WakeEvent`` at its deadline at the latest, and not before ``not_before``."""

    deadline: float
    not_before: float


class DeferringOperator(BaseOperator):
    """A task that lets a trigger wait for it and continues in ``_resume``, however that wait ended."""

    @abstractmethod
    def _resume(self, context: Context, event: WakeEvent) -> Any:
        """Continue after a deferral, and return the result of ``execute``, which becomes the XCom."""

    def execute_complete(self, context: Context, event: Mapping[str, Any], deadline: float | None = None) -> Any:
        """Continue after the trigger has fired: read the calls again, whatever its event says about them.

        Args:
            context: Airflow's context.
            event: The event.
            deadline: That of the wait, as Airflow has kept it for the task; None if it has not (``dag.test()``).
        """
        return self._resume(context, event_for(event, deadline=deadline))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Read the calls once more if Airflow itself ended the wait, instead of failing right away."""
        if next_method != _TRIGGER_FAILED:
            return super().resume_execution(next_method, next_kwargs, context)
        if traceback := (next_kwargs or {}).get("traceback"):
            self.log.error("The trigger failed:\n%s", "\n".join(traceback))
        return self._resume(context, WakeEvent.from_airflow(next_kwargs, now=CLOCK.now()))

    def _defer_to(self, trigger: WaitTrigger, *, woken_by: WakeEvent | None = None) -> NoReturn:
        """Free the worker until the trigger fires.

        Args:
            trigger: The trigger.
            woken_by: The event of the last wait for the same calls, if there was one.
        """
        now = CLOCK.now()
        option = read_options().shortest_deferral
        trigger.not_before = now + shortest_deferral(option=option, woken_by=woken_by)
        limit = max(trigger.deadline, trigger.not_before) - now + BACKSTOP
        self.defer(
            trigger=cast("BaseTrigger", trigger),
            method_name="execute_complete",
            kwargs={"deadline": trigger.deadline},
            timeout=timedelta(seconds=limit),
        )


def event_for(payload: Any, *, deadline: float | None) -> WakeEvent:
    """Return the event with which a task continues, if Airflow may have delivered that of another trigger.

    On SQLite, a trigger that is stored right after another was deleted gets its id. Then the event of the deleted
    one, which still runs, wakes the task of the new one: when a task is cleared, with the call of its last try.

    ============================================  ==============================================
    the event                                     the task continues with
    ============================================  ==============================================
    has the deadline of the wait                  the event
    has another one, or is of another package     ``over`` without a call: it reads its own call
    comes without the deadline of the wait        the event
    ============================================  ==============================================

    Raises:
        RetellError: It is not an event of this package's trigger, and the deadline of the wait is not known.
    """
    if deadline is None:
        return WakeEvent.read(payload)
    with suppress(RetellError):
        if (event := WakeEvent.read(payload)).deadline == deadline:
            return event
    log.warning("Airflow resumed the task with the event of another trigger. The task reads its own call instead.")
    return WakeEvent(wake=Wake.OVER, deadline=deadline)


def check_could_wait(woken_by: WakeEvent | None) -> None:
    """Raise if the last wait failed: another one would fail as well, again and again.

    Raises:
        RetellCallError: The trigger could not wait.
    """
    if woken_by is not None and woken_by.wake is Wake.FAILED:
        raise RetellCallError(
            f"No call is placed, because the task could not wait ({woken_by.message}). A retry continues."
        )


def shortest_deferral(*, option: float, woken_by: WakeEvent | None) -> float:
    """Return the minimum seconds between a deferral and its event.

    ============================================  ===========================================
    the task defers                               seconds
    ============================================  ===========================================
    for the first time                            the option
    after ``timeout`` or ``failed``               the option
    after ``over``, because it sees live calls    the option, but at least 30, so that task and
                                                  trigger do not disagree in a tight loop
    ============================================  ===========================================
    """
    if woken_by is not None and woken_by.wake is Wake.OVER:
        return max(option, DISAGREEMENT_PAUSE)
    return option
