"""Wait for calls inside a task, operator or sensor: read, log, decide, return rows."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseOperator

from airflow_provider_retell import _metrics as metrics
from airflow_provider_retell._clock import CLOCK, Clock
from airflow_provider_retell.api.call_rows import CallRow, row_projection
from airflow_provider_retell.api.concurrency import read_details
from airflow_provider_retell.api.endpoints import get_call
from airflow_provider_retell.api.patience import Patience
from airflow_provider_retell.api.sweeps import Projection, Sweeps
from airflow_provider_retell.calls.messages import count_calls, describe_calls, list_ids, report
from airflow_provider_retell.calls.watch import Goal, Watch
from airflow_provider_retell.errors import (
    RetellCallError,
    RetellCallFinalError,
    RetellError,
)
from airflow_provider_retell.outcomes import allow_another, matches
from airflow_provider_retell.provider.deferral import Wake, WakeEvent, first_portion
from airflow_provider_retell.provider.options import read_options
from airflow_provider_retell.rows import HEAVY_FIELDS, Row

if TYPE_CHECKING:
    from airflow_provider_retell.api.client import RetellClient

log = logging.getLogger(__name__)


@dataclass
class TaskWait:
    """One task's wait for its calls, before, between and after its deferrals.

    Attributes:
        client: Reads the calls.
        call_ids: The calls in the order given, duplicates included.
        goal: How far each call must have come.
        deadline: When to give up, in seconds since the epoch. After a deferral the event's deadline counts.
        poll_interval: Seconds between two polls.
        fail_on: Statuses, outcomes and reasons that fail the task.
        skip_on: The same, but the task is skipped. ``fail_on`` goes first.
        include: Heavy fields to put into the rows.
        woken_by: Why the task continues, if it was deferred.
        since: When another process first read the calls, in seconds since the epoch, None if none did.
        longest: Seconds from the beginning of the wait to the deadline.
        clock: The time.
    """

    client: RetellClient
    call_ids: Sequence[str]
    _: KW_ONLY
    goal: Goal
    deadline: float
    poll_interval: float
    fail_on: tuple[str, ...] = ()
    skip_on: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    woken_by: WakeEvent | None = None
    since: float | None = None
    longest: float | None = None
    clock: Clock = CLOCK
    watch: Watch[CallRow] = field(init=False)
    _projection: Projection[CallRow] = field(init=False)
    _sweeps: Sweeps[CallRow] = field(init=False)
    _patience: Patience = field(init=False, default_factory=Patience)
    _details: dict[str, CallRow] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        goal = self.goal
        if self.woken_by is not None:
            self.deadline = self.woken_by.deadline
            goal = goal.left_after(self.woken_by)
        self.watch = Watch(self.call_ids, goal, since=self.since)
        self._projection = row_projection(self.include)
        waited = 0 if self.since is None else max(0.0, self.clock.now() - self.since)
        self._sweeps = Sweeps(self._projection, waited=waited)

    def take(self, call: CallRow) -> None:
        """Take in a call as it was placed."""
        self.watch.update({call.call_id: call}, now=self.clock.now())

    def poll(self) -> bool:
        """Read the calls still waited for; return whether all have reached the goal.

        A failure that says nothing about the calls is logged and left to the next poll.

        Raises:
            RetellError: A call cannot be waited for.
            RetellCallError: The trigger could not wait, and this poll does not find the calls over either.
        """
        try:
            if not self.watch.reached:
                self._look()
            if self.watch.reached and self._details is None:
                self._details = self._read_details()
        except RetellError as error:
            if not self._patience.bears(error, now=self.clock.monotonic()):
                raise
            log.warning("Reading the calls failed; trying again: %s", error)
        else:
            self._patience.succeeded()
        if self._details is None and self._trigger_failed and self.woken_by is not None:
            raise RetellCallError(
                f"The trigger could not go on waiting: {self.woken_by.message}. "
                f"Still waited for: {list_ids(self.watch.waiting)}. They go on; a retry waits for them again.",
                call_ids=self.watch.waiting,
            )
        return self._details is not None

    def _look(self) -> None:
        waiting = self.watch.waiting
        # The last reading reads every call. One that it does not find is unknown to Retell, since Retell has had
        # time to show it.
        last = self.timed_out or self._trigger_failed
        sweeps = self._sweeps
        steps = sweeps.last_sweep(waiting) if last else sweeps.sweep(waiting, now=self.clock.monotonic())
        reading: dict[str, CallRow | RetellError] = {}
        metrics.count("retell.polls")
        try:
            for step in steps:
                reading |= self.client.run(step)
        finally:
            if progress := self.watch.update(reading, now=self.clock.now()):
                log.info("%s", progress)
        self.watch.check()

    def sleep(self) -> None:
        """Sleep until the next poll, or the deadline."""
        self.clock.sleep(read_options().pause(self.poll_interval, left=self.deadline - self.clock.now()))

    @property
    def _trigger_failed(self) -> bool:
        return self.woken_by is not None and self.woken_by.wake is Wake.FAILED

    @property
    def timed_out(self) -> bool:
        """True if the deadline has passed."""
        # The triggerer's clock decides: by this machine's, the deadline may be a moment away.
        woken_late = self.woken_by is not None and self.woken_by.wake is Wake.TIMEOUT
        return woken_late or self.clock.now() >= self.deadline

    def missed(self) -> str:
        """Return the message of a time-out's error."""
        why = f" ({self.woken_by.message})" if self.woken_by is not None and self.woken_by.message else ""
        waiting = list_ids(self.watch.waiting)
        return f"Gave up waiting at the deadline{why}: {self.watch.progress()}. Still waited for: {waiting}."

    def trigger_arguments(self) -> dict[str, Any]:
        """Return the arguments of a trigger that continues this wait, for as many calls as fit into one."""
        return {
            "call_ids": first_portion(self.watch.waiting),
            "deadline": self.deadline,
            "poll_interval": self.poll_interval,
            "wait_for": self.goal.wait_for,
            "analysis_timeout": self.goal.analysis_timeout,
        }

    def rows(self, *, final: bool) -> list[Row]:
        """Return the calls as rows, in the order given.

        Args:
            final: Whether a failure that ``fail_on`` names is final: a sensor's is, since the call cannot change
                any more; an operator's is not, since a retry may place a new one.

        Raises:
            RetellCallError: One of the calls ended as listed in ``fail_on``.
            AirflowSkipException: One of them ended as listed in ``skip_on``.
        """
        calls = self.report()
        if failed := [call for call in calls.values() if matches(call, self.fail_on)]:
            # Of these calls a retry would place none again.
            final = final or not all(allow_another(call, self.fail_on) for call in failed)
            kind = RetellCallFinalError if final else RetellCallError
            raise kind(
                f"{count_calls(len(failed), len(calls))} ended as listed in fail_on: {describe_calls(failed)}.",
                call_ids=tuple(call.call_id for call in failed),
                outcomes=frozenset(str(call.outcome) for call in failed),
            )
        if skipped := [call for call in calls.values() if matches(call, self.skip_on)]:
            raise AirflowSkipException(
                f"{count_calls(len(skipped), len(calls))} ended as listed in skip_on: {describe_calls(skipped)}."
            )
        return [calls[call_id].row for call_id in self.call_ids]

    def report(self) -> dict[str, CallRow]:
        """Log and count how the calls ended, and return them with the fields in ``include``."""
        calls = self._read_details() if self._details is None else self._details
        for line in report(list(calls.values())):
            log.info("%s", line)
        self._count(calls.values())
        return calls

    def _count(self, calls: Iterable[CallRow]) -> None:
        for outcome, number in Counter(call.outcome for call in calls).items():
            if outcome is not None:
                metrics.count(f"retell.calls.ended.{outcome}", number)
        if self.longest is not None:
            metrics.time("retell.wait", max(0.0, self.longest - (self.deadline - self.clock.now())))

    def _read_details(self) -> dict[str, CallRow]:
        """Return the calls with the fields in ``include``, which a list of calls may leave out."""
        calls = self.watch.calls
        if len(calls) > 1 and HEAVY_FIELDS.intersection(self.include):
            return dict(
                read_details(lambda call_id: self.client.send(self._projection.one(get_call(call_id))), calls)
            )
        return calls


def longest_wait(task: BaseOperator, timeout: float) -> float:
    """Return the seconds that a task may wait: Airflow drops ``execution_timeout`` while a task is deferred."""
    limit = task.execution_timeout
    return min(timeout, limit.total_seconds()) if limit else timeout
