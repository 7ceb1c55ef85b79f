"""Run a campaign on a worker: carry out the actions of its plan, and report the results to it.

Requests that place or read calls run concurrently in threads. The list is read in the campaign's own thread,
so that the plan decides on no further call meanwhile.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, assert_never

from airflow_provider_retell import _metrics as metrics
from airflow_provider_retell._clock import CLOCK, Clock
from airflow_provider_retell.calls.stopping import stop_until_over
from airflow_provider_retell.campaign.people.identity import TaggedAttempt
from airflow_provider_retell.campaign.plan.actions import Finish, Get, Look, Place, ReadList, Wait
from airflow_provider_retell.campaign.plan.ledger import KnownCall, read_call
from airflow_provider_retell.campaign.plan.plan import Plan
from airflow_provider_retell.campaign.plan.trouble import NOT_REACHED
from airflow_provider_retell.campaign.plan.unanswered import UNREACHABLE_FOR
from airflow_provider_retell.campaign.run.background import Background, Moments
from airflow_provider_retell.campaign.run.leaving import leave
from airflow_provider_retell.campaign.run.reader import Reader
from airflow_provider_retell.campaign.run.recorder import Files, Recorder
from airflow_provider_retell.campaign.run.requests import CallRequests
from airflow_provider_retell.campaign.run.sender import Answer, NotNow, Sender
from airflow_provider_retell.campaign.run.terms import End, Leave, Terms
from airflow_provider_retell.campaign.run.upkeep import REFRESH_INTERVAL, Upkeep
from airflow_provider_retell.errors import (
    Concerns,
    RetellCallError,
    RetellCallTimeoutError,
    RetellError,
)

if TYPE_CHECKING:
    from airflow_provider_retell.api.call_rows import CallRow
    from airflow_provider_retell.api.client import RetellClient

log = logging.getLogger(__name__)

_LONGEST_SLEEP: Final = 1.0
"""Seconds after which a waiting task checks whether it was killed: it then has five to clean up."""
_SHORTEST_WAIT, _MAX_THREADS = 0.05, 16


@dataclass(kw_only=True)
class CampaignRun:
    """One process of a campaign.

    Attributes:
        client: Sends all requests.
        plan: Decides what to do next.
        requests: Makes the requests that place calls.
        recorder: Records calls and refusals.
        terms: The limits and callbacks of the task.
        files: The campaign's files; None to keep none.
        clock: The clocks.
        moments: The time by those clocks.
        threads: The most requests at the same time.
        last_placed_at: When the last call was placed, in seconds since the epoch; ``-inf`` if none was.
        sender: Sends the requests that place calls.
    """

    client: RetellClient
    plan: Plan
    requests: CallRequests
    recorder: Recorder
    terms: Terms = field(default_factory=Terms)
    files: Files | None = None
    clock: Clock = CLOCK
    moments: Moments
    threads: int = _MAX_THREADS
    last_placed_at: float = -math.inf
    sender: Sender = field(init=False)
    _background: Background = field(init=False)
    _reader: Reader = field(init=False)
    _upkeep: Upkeep = field(init=False)
    _look_in_progress: bool = field(default=False, init=False)
    _stopped: set[str] = field(default_factory=set, init=False)
    _earlier_placed_at: float | None = field(default=None, init=False)
    """The time at which an earlier process placed its last call; None once the list has been read."""
    _unread_since: float | None = field(default=None, init=False)
    """The time since which reading fails; None once calls are listed. Reading a single call does not reset it."""
    _finishing_since: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Make the sender at once: a kill asks it for the calls that are live."""
        self.sender = Sender(
            self.client, self.requests, self.plan, self.moments, killed=self.terms.killed, recorder=self.recorder
        )

    def run(self) -> Leave | End:
        """Run until each person has a fate, or the task may leave its worker."""
        self._background = Background(self.threads)
        self._earlier_placed_at = self.last_placed_at if math.isfinite(self.last_placed_at) else None
        self._reader = Reader(self.client, self.requests.identity, self.recorder.projection)
        self._upkeep = Upkeep(self.plan, self.terms, self.files, self.moments.now())
        try:
            while (done := self._step()) is None:
                pass
            return done
        finally:
            self.sender.close()
            with suppress(RetellError):  # to record what arrived at the last moment
                self._background.collect()
            self._background.close()
            self._upkeep.save()

    def _step(self) -> Leave | End | None:
        self._background.collect()
        self._check()
        self._keep_up()
        with self.sender.plan_lock:
            action = self.plan.next_action(self.moments.now())
            # ``eligible`` may take longer than a reading counts, and requests wait for the lock meanwhile.
            self._upkeep.read_pauses(self.moments.now())
        match action:
            case Place() as order:
                self._background.begin(partial(self.sender.send, order), partial(self._answered, order))
            case ReadList():
                self._read_list()
            case Look(call_ids):
                self._look(call_ids)
            case Get(call_ids):
                for call_id in call_ids:
                    self._background.begin(partial(self._reader.get, call_id), partial(self._got, call_id))
            case Wait() as wait:
                return self._wait(wait)
            case Finish(failure):
                return self._finish(failure)
            case never:
                assert_never(never)
        return None

    # -- placing -------------------------------------------------------------------------------------------

    def _answered(self, order: Place, answer: Answer) -> None:
        self.sender.report(order, answer)
        match answer:
            case NotNow():
                pass
            case RetellError():
                if self.plan.state.trouble.found == NOT_REACHED:
                    self._upkeep.stop(answer)
            case _:
                self._upkeep.placed += 1
                self.last_placed_at = max(self.last_placed_at, order.decided.wall)

    # -- reading -------------------------------------------------------------------------------------------

    def _read_list(self) -> None:
        began = self.moments.now()
        try:
            calls = [self._saw(call, tagged, began.wall) for call, tagged in self._reader.list_all()]
        except RetellError as error:
            if error.concerns is not Concerns.NOTHING:
                raise
            self._read_failed(error)
            self._sleep(self.plan.state.in_progress.poll_interval)
            return
        self._unread_since = None
        self._earlier_placed_at = None
        self.plan.state.read(calls, began=began, now=self.moments.now())

    def _saw(self, call: CallRow, tagged: TaggedAttempt, now: float) -> KnownCall:
        placed_at = self._earlier_placed_at if call.start_timestamp is None else None
        known = read_call(call, tagged, now=now, placed_at=placed_at)
        self.recorder.saw(call, known, now)
        return known

    def _saw_again(self, calls: Iterable[CallRow], now: float) -> Iterator[KnownCall]:
        """Yield calls in progress as read, with the tags already known, whatever their metadata shows."""
        for call in calls:
            if (known := self.plan.state.in_progress.call(call.call_id)) is not None:
                tagged = TaggedAttempt(person=known.person, attempt=known.attempt, same_map_index=known.ours)
                seen = self._saw(call, tagged, now)
                if known.live and seen.outcome is not None:
                    metrics.count(f"retell.calls.ended.{seen.outcome}")
                yield seen

    def _look(self, call_ids: tuple[str, ...]) -> None:
        if not self._look_in_progress:
            self._look_in_progress = True
            metrics.count("retell.polls")
            self._background.begin_large(partial(self._reader.look, call_ids), partial(self._looked, call_ids))

    def _looked(self, asked: tuple[str, ...], answer: list[CallRow] | RetellError) -> None:
        self._look_in_progress = False
        if isinstance(answer, RetellError):
            self._read_failed(answer)
            return
        self._unread_since = None
        now = self.moments.now()
        self.plan.state.looked(asked, list(self._saw_again(answer, now.wall)), now)

    def _got(self, call_id: str, answer: CallRow | RetellError | None) -> None:
        if isinstance(answer, RetellError):
            self._read_failed(answer)
            return
        now = self.moments.now()
        seen = () if answer is None else self._saw_again([answer], now.wall)
        if (given_up := self.plan.state.got(call_id, next(iter(seen), None), now)) is not None:
            self.recorder.given_up(given_up, known=answer is not None)

    def _read_failed(self, error: RetellError) -> None:
        """Log a failed read; raise the error if the account is the reason, or reads have failed for too long."""
        if error.concerns is Concerns.ACCOUNT:
            raise error
        log.warning("A request failed; trying again: %s", error)
        now = self.moments.now().steady
        self._unread_since = now if self._unread_since is None else self._unread_since
        if now - self._unread_since >= UNREACHABLE_FOR:
            raise error

    # -- outside the plan ----------------------------------------------------------------------------------

    def _check(self) -> None:
        """Raise if the task was killed, or has no time left."""
        if self.terms.killed():
            self.sender.close()
            self._upkeep.save()
            calls = self.terms.calls_after_kill()
            raise RetellCallError(f"The task was killed. {calls}; a clear continues the campaign.")
        if self.clock.now() >= self.terms.ends_at:
            raise RetellCallTimeoutError(
                "execution_timeout is almost over: nothing more is placed. A retry or a clear continues the "
                "campaign."
            )

    def _keep_up(self) -> None:
        now = self.moments.now()
        self._upkeep.tick(now)
        if now.wall >= self.plan.state.checks.stops_at:
            self._stop_live_calls()
        self.recorder.settle(self.plan.state.in_progress, self._background)
        self.recorder.refused(self.plan.state.roster.take_refusals())

    def _stop_live_calls(self) -> None:
        for call_id in {*self.plan.state.in_progress.to_stop()} - self._stopped:
            log.info("timeout is over: stopping %s.", call_id)
            self._stopped.add(call_id)
            self._background.begin(partial(self._stop, call_id), lambda _: None)

    def _stop(self, call_id: str) -> None:
        try:
            stop_until_over(self.client, call_id, leave_registered=False, clock=self.clock)
        except RetellError as error:
            log.warning("%s could not be stopped: %s", call_id, error)

    # -- waiting -------------------------------------------------------------------------------------------

    def _wait(self, wait: Wait) -> Leave | None:
        if len(self._background):
            self._background.collect(wait=min(max(wait.seconds, _SHORTEST_WAIT), _LONGEST_SLEEP))
            return None
        if self.terms.may_leave and (left := self._leave(wait)):
            return left
        if wait.seconds >= REFRESH_INTERVAL:
            self._upkeep.write_placed()
        self._sleep(max(wait.seconds, _SHORTEST_WAIT))
        return None

    def _leave(self, wait: Wait) -> Leave | None:
        return leave(
            self.plan.state,
            wait,
            self.terms,
            now=self.moments.now().wall,
            placed_at=self.last_placed_at,
            recorded=self.recorder.complete,
            has_files=self.files is not None,
        )

    def _sleep(self, seconds: float) -> None:
        until = self.clock.boottime() + seconds
        while (left := until - self.clock.boottime()) > 0 and not self.terms.killed():
            self.clock.sleep(min(left, _LONGEST_SLEEP))

    # -- the end -------------------------------------------------------------------------------------------

    def _finish(self, failure: str | None) -> End | None:
        now = self.moments.now()
        self.recorder.settle(self.plan.state.in_progress, self._background)
        if len(self._background):
            self._background.collect(wait=_LONGEST_SLEEP)
            return None
        self._finishing_since = now.steady if self._finishing_since is None else self._finishing_since
        if not self.recorder.complete and now.steady - self._finishing_since < UNREACHABLE_FOR:
            self._sleep(self.plan.state.in_progress.poll_interval)
            return None
        self.recorder.flush()
        self.recorder.refused(self.plan.state.roster.take_refusals())
        self._upkeep.report(now)
        return End(failure=failure, error=self._upkeep.error)
