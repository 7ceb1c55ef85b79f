"""What a task does that waits for calls, whether operator or sensor: read, log, decide, report."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseOperator

from airflow_provider_retell import _metrics as metrics
from airflow_provider_retell._clock import SYSTEM_CLOCK, Clock
from airflow_provider_retell.api.concurrency import read_details
from airflow_provider_retell.api.sweeps import Sweeps
from airflow_provider_retell.calls.watch import Goal, Wake, Watch
from airflow_provider_retell.errors import (
    RetellCallError,
    RetellCallFinalError,
    RetellError,
    mask_numbers,
    may_pass,
)
from airflow_provider_retell.hooks import RetellHook
from airflow_provider_retell.outcomes import Outcome
from airflow_provider_retell.provider.options import read_options
from airflow_provider_retell.rows import HEAVY_FIELDS, Row, row

if TYPE_CHECKING:
    from airflow_provider_retell.api.models import Call
    from airflow_provider_retell.triggers import RetellCallTrigger

log = logging.getLogger(__name__)

BACKSTOP: Final = 600.0
"""Seconds that Airflow waits beyond the deadline for a trigger that should have fired, before it ends it."""

TRIGGER_FAILED: Final = "__fail__"
"""The method that Airflow names when it resumes a task whose trigger failed or took too long."""

_SECOND_LOOK: Final = 30.0
"""Seconds for which a worker waits at most to look again at calls that the trigger has seen over."""

_NAMED: Final = 5
_TOLD: Final = 100


@dataclass
class TaskWait:
    """One task's wait for its calls.

    Attributes:
        hook: Reads the calls.
        call_ids: The calls in the order given, duplicates included.
        goal: What is waited for.
        deadline: When to give up, in seconds since the epoch.
        poll_interval: Seconds between two polls.
        fail_on: Statuses, outcomes and reasons that fail the task.
        skip_on: The same, to skip it. Failing wins.
        include: Heavy fields that the rows get back.
        since: When the first look was, if another process had it, in seconds since the epoch.
        longest: Seconds from the beginning of the wait to the deadline.
        clock: What time it is.
    """

    hook: RetellHook
    call_ids: Sequence[str]
    _: KW_ONLY
    goal: Goal
    deadline: float
    poll_interval: float
    fail_on: tuple[str, ...] = ()
    skip_on: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    since: float | None = None
    longest: float | None = None
    clock: Clock = SYSTEM_CLOCK
    watch: Watch = field(init=False)
    _sweeps: Sweeps = field(init=False)
    _shortest_pause: float = field(init=False)
    _details: dict[str, Call] | None = field(default=None, init=False)
    _woken_late: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.watch = Watch(self.call_ids, self.goal, since=self.since)
        self._sweeps = Sweeps()
        self._shortest_pause = read_options().shortest_poll_interval

    def poll(self) -> bool:
        """Read the calls still waited for; say whether all have reached the goal.

        Trouble that says nothing about the calls is logged and left to the next poll.
        """
        try:
            if not self.watch.reached:
                self._look()
            if self.watch.reached and self._details is None:
                self._details = self._detailed()
        except RetellError as error:
            if not may_pass(error):
                raise
            log.warning("Reading the calls failed, and is tried again: %s", error)
        return self._details is not None

    def _look(self) -> None:
        waiting = self.watch.waiting
        # The last look, before giving up, leaves none out.
        sweeps = Sweeps(single_reads=len(waiting)) if self.timed_out else self._sweeps
        reading: dict[str, Call | RetellError] = {}
        metrics.count("retell.polls")
        try:
            for step in sweeps.sweep(waiting):
                reading |= self.hook.run(step)
        finally:
            if progress := self.watch.update(reading, now=self.clock.now()):
                log.info("%s", progress)
        self.watch.check()

    def sleep(self, *, longest: float = math.inf) -> None:
        """Sleep until the next poll, or the deadline."""
        pause = max(min(self.poll_interval, longest), self._shortest_pause)
        self.clock.sleep(max(0.0, min(pause, self.deadline - self.clock.now())))

    @property
    def timed_out(self) -> bool:
        """Whether the deadline has passed."""
        return self._woken_late or self.clock.now() >= self.deadline

    def missed(self) -> str:
        """Return what a time-out's error says."""
        waiting = self.watch.waiting
        return f"Gave up waiting at the deadline: {self.watch.progress()}. Still waited for: {_some(waiting)}."

    def trigger(self, **kwargs: Any) -> RetellCallTrigger:
        """Return the trigger that goes on with this wait."""
        # Here, not above: Airflow's part of it takes 10 ms, in every process that parses a DAG.
        from airflow_provider_retell.triggers import RetellCallTrigger  # noqa: PLC0415

        return RetellCallTrigger(
            call_ids=list(self.watch.call_ids),
            retell_conn_id=self.hook.retell_conn_id,
            deadline=self.deadline,
            poll_interval=self.poll_interval,
            wait_for=self.goal.wait_for,
            analysis_timeout=self.goal.analysis_timeout,
            **kwargs,
        )

    def backstop(self) -> timedelta:
        """Return how long Airflow lets the trigger run at most."""
        return timedelta(seconds=max(0.0, self.deadline - self.clock.now()) + BACKSTOP)

    def woken(self, event: Mapping[str, Any]) -> bool:
        """Take in why the trigger woke the task, when the calls, read again after it, are not over.

        If the trigger has seen them over, it would do so again at once, and so on without a pause: then the calls
        are read once more a little later. Returns whether they are over.
        """
        # The triggerer's clock decides: by this machine's, the deadline may be a moment away.
        self._woken_late = event.get("wake") == Wake.TIMEOUT
        if event.get("wake") == Wake.FAILED:
            raise RetellError(f"The trigger could not go on waiting: {event.get('message')}")
        if event.get("wake") != Wake.OVER:
            return False
        self.sleep(longest=_SECOND_LOOK)
        return self.poll()

    def rows(self, *, final: bool) -> list[Row]:
        """Return the calls as rows, in the order given.

        Args:
            final: Whether a failure that ``fail_on`` names is final: a sensor's is, since the call cannot change
                any more; an operator's is not, since a retry may place a new one.

        Raises:
            RetellCallError: One of the calls is over as ``fail_on`` names it.
            AirflowSkipException: One is as ``skip_on`` names it.
        """
        calls = self._detailed() if self._details is None else self._details
        for line in summary(list(calls.values())):
            log.info("%s", line)
        self._count(calls.values())
        if failed := [call for call in calls.values() if matches(call, self.fail_on)]:
            # Who asked never to be called again is not called by a retry either.
            final = final or any(call.outcome == Outcome.DO_NOT_CALL for call in failed)
            kind = RetellCallFinalError if final else RetellCallError
            raise kind(
                f"{_counted(failed, calls)} ended as listed in fail_on: {_told(failed)}.",
                call_ids=tuple(call.call_id for call in failed),
                outcomes=frozenset(str(call.outcome) for call in failed),
            )
        if skipped := [call for call in calls.values() if matches(call, self.skip_on)]:
            raise AirflowSkipException(f"{_counted(skipped, calls)} ended as listed in skip_on: {_told(skipped)}.")
        return [row(calls[call_id], self.include) for call_id in self.call_ids]

    def _count(self, calls: Iterable[Call]) -> None:
        for outcome, number in Counter(call.outcome for call in calls).items():
            if outcome is not None:
                metrics.count(f"retell.calls.ended.{outcome}", number)
        if self.longest is not None:
            metrics.time("retell.wait", max(0.0, self.longest - (self.deadline - self.clock.now())))

    def _detailed(self) -> dict[str, Call]:
        """Return the calls with what ``include`` names: a list of calls leaves the heavy fields out."""
        calls = self.watch.calls
        if len(calls) > 1 and HEAVY_FIELDS.intersection(self.include):
            return dict(read_details(self.hook.get_call, calls))
        return calls


def outlasted(next_kwargs: Mapping[str, Any] | None) -> bool:
    """Say whether Airflow ended a wait because it took too long; else its trigger failed, or could not be run."""
    return "timeout" in str((next_kwargs or {}).get("error", ""))


def matches(call: Call, endings: Sequence[str]) -> bool:
    """Say whether a call's status, outcome or reason is among some endings."""
    return not {call.call_status, call.outcome, call.disconnection_reason}.isdisjoint(endings)


def summary(calls: Sequence[Call]) -> list[str]:
    """Return lines for a person on call: what became of each call, and of many together."""
    lines = [told(call) for call in calls[:_TOLD]]
    if len(calls) == 1:
        return lines
    outcomes = Counter(str(call.outcome or call.call_status) for call in calls)
    counted = ", ".join(f"{n} {word}" for word, n in outcomes.most_common()) or "none"
    return [*lines, f"{len(calls)} calls: {counted}"]


def told(call: Call) -> str:
    """Return one call in a line: id, number (its last four digits), outcome, duration and cost where known."""
    whom = f" to {mask_numbers(str(call.to_number))}" if call.to_number else ""
    notes = [str(note) for note in (call.outcome and call.call_status, call.disconnection_reason) if note]
    how = f"{call.outcome or call.call_status}" + f" ({', '.join(notes)})" * bool(notes)
    parts = [f"{call.call_id}{whom}: {how}"]
    if isinstance(call.duration_ms, int):
        parts.append(f"{call.duration_ms / 1000:.0f} s")
    cost = getattr(call.call_cost, "combined_cost", None)
    if isinstance(cost, int | float):
        parts.append(f"{cost:.2f} cents")
    return ", ".join(parts)


def _counted(some: Sequence[Call], calls: Mapping[str, Call]) -> str:
    return f"{len(some)} of {len(calls)} call{'s' * (len(calls) != 1)}"


def _told(calls: Sequence[Call]) -> str:
    text = "; ".join(told(call) for call in calls[:_NAMED])
    return text if len(calls) <= _NAMED else f"{text}; and {len(calls) - _NAMED} more"


def _some(call_ids: Sequence[str]) -> str:
    text = ", ".join(call_ids[:_NAMED])
    return text if len(call_ids) <= _NAMED else f"{text} and {len(call_ids) - _NAMED} more"


def longest_wait(task: BaseOperator, timeout: float) -> float:
    """Return the seconds that a task may wait: Airflow enforces no ``execution_timeout`` once it is deferred."""
    limit = task.execution_timeout
    return min(timeout, limit.total_seconds()) if limit else timeout
