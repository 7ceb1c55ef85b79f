"""The memory of one try of a task, which its trigger carries from process to process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from airflow_provider_retell.calls.sending import RecordedSender

_LONGEST_MARGIN: Final = 60.0
_MARGIN: Final = 0.1
"""The end of ``execution_timeout``, as a fraction of it, that is left for stopping what is live."""


@dataclass(frozen=True, kw_only=True)
class ThisTry:
    """The memory of one try: only times, counts and ids, because Airflow stores and logs it.

    Attributes:
        began: When the try began, in seconds since the epoch.
        sent: Whether it has sent a request that may have placed a call.
        placed_at: When its call was placed.
        over_at: When its call was over, if another call follows it.
        number: The ordinal of its call, as in ``Intent``; triggers are stored with this name.
        calls: The ids of its calls, and of the calls of earlier tries that they follow, oldest first.
        follows: Whether the next call follows the last one.
        waited: Seconds spent waiting for a free line.
    """

    began: float
    sent: bool = False
    placed_at: float = 0.0
    over_at: float = 0.0
    number: int = 0
    calls: tuple[str, ...] = ()
    follows: bool = False
    waited: float = 0.0

    @classmethod
    def read(cls, memo: Mapping[str, Any], *, began: float, now: float) -> Self:
        """Return the memory that a trigger brings back.

        An event from Airflow itself brings none: then the try may have sent any request before it deferred.

        Args:
            memo: What the trigger brings back; empty if Airflow itself ended the wait.
            began: When the try began according to Airflow, in seconds since the epoch.
            now: Seconds since the epoch.
        """
        known = {each.name for each in fields(cls)}
        given = {name: value for name, value in memo.items() if name in known}
        forgotten = {"began": began, "placed_at": now, "sent": True}
        return cls(**{**forgotten, **given, "calls": tuple(given.get("calls", ()))})

    def after(self, sender: RecordedSender) -> Self:
        """Return the memory with the calls that were placed or adopted."""
        calls, number, placed_at = sender.calls, sender.ordinal, sender.placed_at
        return replace(self, sent=True, calls=calls, number=number, placed_at=placed_at)

    def to_memo(self) -> dict[str, Any]:
        """Return the memory as JSON, for a trigger."""
        return {**asdict(self), "calls": list(self.calls)}


def try_began(context: Mapping[str, Any], *, now: float) -> float:
    """Return when the running try began, in seconds since the epoch: a deferral does not change it."""
    start = getattr(context["ti"], "start_date", None)
    return start.timestamp() if start else now


def ends_at(execution_timeout: timedelta | None, began: float) -> float:
    """Return when a try must be over, shortly before the end of ``execution_timeout``.

    Later, Airflow could end the task in the middle of stopping a call; and while a task is deferred, Airflow does
    not apply ``execution_timeout`` at all.
    """
    if execution_timeout is None:
        return inf
    limit = execution_timeout.total_seconds()
    return began + limit - min(_MARGIN * limit, _LONGEST_MARGIN)
