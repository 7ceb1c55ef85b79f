"""Decide whether calls are over, for operator, sensor and trigger alike. Pure: no I/O, no clock of its own."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, Literal

from airflow_provider_retell._masking import shown
from airflow_provider_retell.api.sweeps import C, Reading, SeenCall
from airflow_provider_retell.errors import Concerns, RetellError, RetellInputError
from airflow_provider_retell.outcomes import CallStatus
from airflow_provider_retell.provider.deferral import WakeEvent
from airflow_provider_retell.rows import moment

log = logging.getLogger(__name__)

WaitFor = Literal["ended", "analyzed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """The state of its calls that a task waits for.

    Attributes:
        wait_for: ``ended``: the call is over, however it went; ``analyzed``: it has ``call_analysis`` too.
        analysis_timeout: Seconds to wait for the analysis, counted from the end of each call. A call that
            never connected is not waited for: there is nothing to analyze.
        waited_out: The ids of calls whose analysis another process has waited for long enough.
    """

    wait_for: WaitFor = "ended"
    analysis_timeout: float = 600
    waited_out: frozenset[str] = frozenset()

    def left_after(self, event: WakeEvent) -> Goal:
        """Return the goal that remains after a deferral."""
        return replace(self, waited_out=event.waited_out)

    def reached(self, call: SeenCall, *, now: float, seen_over: float) -> bool:
        """Return whether there is nothing more to wait for.

        Args:
            call: The call as read.
            now: Seconds since the epoch.
            seen_over: When the call was first seen to be over. The earlier of this and ``end_timestamp`` counts,
                because a call may have no timestamp, and clocks may disagree.
        """
        if not call.is_terminal:
            return False
        if not self.wants_analysis_of(call) or call.call_id in self.waited_out:
            return True
        end = moment(call.end_timestamp)
        over = seen_over if end is None else min(end, seen_over)
        return now >= over + self.analysis_timeout

    def wants_analysis_of(self, call: SeenCall) -> bool:
        """Return whether the analysis of a call that is over is still to come."""
        return self.wait_for == "analyzed" and call.connected and not call.analyzed


class Watch(Generic[C]):
    """The calls that one task waits for, and their state as last read.

    Args:
        call_ids: The calls, in the order given; an id may occur twice.
        goal: How far each call must have come.
        since: When another process first read the calls (a rescheduled sensor), in seconds since the epoch: a call
            that is over without an ``end_timestamp`` counts as over since then.

    Attributes:
        waiting: The calls that are still to be read.
    """

    __slots__ = ("_errors", "_progress", "_seen_over", "_since", "call_ids", "calls", "goal", "waiting")

    def __init__(self, call_ids: Sequence[str], goal: Goal, *, since: float | None = None) -> None:
        self.call_ids = tuple(dict.fromkeys(call_ids))
        self.goal = goal
        self.calls: dict[str, C] = {}
        self._since = since
        self.waiting = self.call_ids
        self._seen_over: dict[str, float] = {}
        self._progress = ""
        self._errors: tuple[RetellError, ...] = ()

    @property
    def reached(self) -> bool:
        """True if every call has reached the goal."""
        return not self.waiting

    @property
    def unanalyzed(self) -> list[str]:
        """The calls that have reached the goal without the analysis that was waited for."""
        reached = self.calls.keys() - set(self.waiting)
        return [
            each for each in self.call_ids if each in reached and self.goal.wants_analysis_of(self.calls[each])
        ]

    def update(self, reading: Reading[C], *, now: float) -> str | None:
        """Take in a reading, and return the line to log if anything changed.

        Args:
            reading: The calls by id, or the error of one that could not be read, which ``check`` raises.
            now: Seconds since the epoch.
        """
        self._errors = tuple(call for call in reading.values() if isinstance(call, RetellError))
        reached: set[str] = set()
        for call_id, call in reading.items():
            if isinstance(call, RetellError):
                continue
            known = self.calls.get(call_id)
            if known is None or known.call_status != call.call_status:
                _note_unknown(call)
            self.calls[call_id] = call
            if call.is_terminal:
                self._seen_over.setdefault(call_id, self._first_seen_over(call, now))
            if self.goal.reached(call, now=now, seen_over=self._seen_over.get(call_id, now)):
                reached.add(call_id)
        if reached:
            self.waiting = tuple(call_id for call_id in self.waiting if call_id not in reached)
        progress = self.progress()
        changed, self._progress = progress != self._progress, progress
        return progress if changed else None

    def check(self) -> None:
        """Raise the error of a call that could not be read; one that waiting cannot cure goes first."""
        for error in sorted(self._errors, key=lambda error: error.concerns is Concerns.NOTHING):
            raise error

    def _first_seen_over(self, call: C, now: float) -> float:
        # An end in the future is ignored, unless it is so close that the clocks may just differ a little.
        end = moment(call.end_timestamp)
        believed = end is not None and end <= now + self.goal.analysis_timeout
        return now if believed or self._since is None else self._since

    def progress(self) -> str:
        """Return one line: "37 of 100 calls over (3 ongoing)"."""
        over = {call_id for call_id, call in self.calls.items() if call.is_terminal}
        counts = Counter(str(call.call_status) for call in self.calls.values() if not call.is_terminal)
        notes = [f"{count} {status}" for status, count in sorted(counts.items())]
        if without_analysis := len(over.intersection(self.waiting)):
            notes.append(f"{without_analysis} not yet analyzed")
        line = f"{len(over)} of {len(self.call_ids)} call{'s' * (len(self.call_ids) != 1)} over"
        return f"{line} ({', '.join(notes)})" if notes else line


_noted: set[str] = set()


def _note_unknown(call: SeenCall) -> None:
    status = call.call_status
    if status is not None and not isinstance(status, CallStatus) and status not in _noted:
        _noted.add(status)
        log.warning(
            "Retell shows a call_status this package does not know, %s: treated as not over.", shown(status)
        )


def check_wait_for(wait_for: str | None, *, required: bool) -> None:
    """Raise ``RetellInputError`` unless ``wait_for`` is one of the allowed words."""
    allowed: tuple[str | None, ...] = ("ended", "analyzed") if required else (None, "ended", "analyzed")
    if wait_for not in allowed:
        raise RetellInputError(f"wait_for takes {', '.join(map(repr, allowed))}, not {wait_for!r}.")
