"""Rounds of requests for many waiters: decide when one begins, what a failure does, and who gets its error."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import Context as Variables
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from airflow_provider_retell import _metrics as metrics
from airflow_provider_retell._clock import Clock
from airflow_provider_retell.api.key_rotation import is_rotated, may_be_rotated
from airflow_provider_retell.errors import (
    Concerns,
    RetellError,
    RetellRateLimitError,
    RetellStatusError,
)
from airflow_provider_retell.polling.refreshing_client import RefreshingClient

log = logging.getLogger(__name__)

W = TypeVar("W")
R = TypeVar("R")

LONGEST_PAUSE: Final = 300.0
"""The longest time without a request in seconds, whatever Retell asks for, because the waiters have deadlines."""

LONGEST_BACKOFF: Final = 30.0
"""The longest pause between two rounds in seconds while Retell is in trouble, unless it asks for more."""

WAITERS_PER_LOOP_TURN: Final = 10
"""Waiters woken in one turn of the event loop, so that others get theirs."""


def _new_future() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


@dataclass(eq=False, kw_only=True, slots=True)
class Ask(Generic[W, R]):
    """The request of one waiter to the next round.

    Attributes:
        want: The calls, or the list, to read.
        result: The part of it that the round has read so far.
        due: When the round must begin at the latest, by the monotonic clock. It may begin earlier.
    """

    want: W
    result: R
    due: float
    answered: asyncio.Future[None] = field(default_factory=_new_future)
    error: Exception | None = None

    def answer(self, error: Exception | None = None) -> None:
        """Wake the waiter, once."""
        if not self.answered.done():
            self.error = error
            self.answered.set_result(None)


class Rounds(Generic[W, R]):
    """Ask for many waiters together, again and again.

    A round begins when the first waiter is due and answers all waiters, so the shortest interval applies to all.

    ====================  ===================================================================================
    a failure concerns    what follows
    ====================  ===================================================================================
    a call, its request   the waiters for this call get the error
    nothing, of one read  the same, which ``api.patience`` lets them bear; the next round comes as always
    nothing, of a list,   all waiters get it, and bear it likewise; the next round is delayed by 1, 2, 4 ... 30 s,
    or a 429              or as Retell asks
    the account           all waiters get it, unless a new look-up finds another key (``api.key_rotation``)
    (any other error)     all waiters get it, such as that of a look-up (``polling.refreshing_client``)
    ====================  ===================================================================================

    Args:
        read: Reads for some waiters; it may answer some of them early.
        client: The client, which is looked up again when Retell refuses the key.
        shortest: Minimum seconds between two rounds.
        clock: The time.
    """

    def __init__(
        self,
        read: Callable[[Sequence[Ask[W, R]]], Awaitable[None]],
        client: RefreshingClient,
        *,
        shortest: float,
        clock: Clock,
    ) -> None:
        self._read = read
        self._client = client
        self._shortest = shortest
        self._clock = clock
        self._asks: dict[Ask[W, R], None] = {}
        self.task: asyncio.Task[None] | None = None
        self._asked = asyncio.Event()
        self._earliest = float("-inf")
        self._trouble = _Trouble()

    async def wait(self, want: W, result: R, *, due: float) -> R:
        """Wait until a round has answered, and return the result.

        Args:
            want: The calls, or the list, to read.
            result: The result if the round reads nothing of it.
            due: When the round must begin at the latest, by the monotonic clock. It may begin earlier.

        Raises:
            RetellError: The round failed.
        """
        ask = Ask(want=want, result=result, due=due)
        self._asks[ask] = None
        if self.task is None or self.task.done():
            # In its own context: the first waiter's context would put that task's name on all log lines.
            self.task = asyncio.get_running_loop().create_task(self._run(), context=Variables())
            self.task.add_done_callback(self._ended)
        if due < self._earliest:
            self._asked.set()
        try:
            await ask.answered
        finally:
            self._asks.pop(ask, None)
        if ask.error is not None:
            # Many waiters may get the same error: each raises it without the traceback of the others.
            raise ask.error.with_traceback(None)
        return ask.result

    async def answer(self, asks: Iterable[Ask[W, R]], error: Exception | None = None) -> None:
        """Wake some waiters."""
        for number, ask in enumerate(asks, 1):
            self._asks.pop(ask, None)
            ask.answer(error)
            if number % WAITERS_PER_LOOP_TURN == 0:
                await asyncio.sleep(0)

    async def aclose(self) -> None:
        """End the rounds."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait({self.task})

    async def _run(self) -> None:
        began = float("-inf")
        while True:
            await self._wait_until_due(began + self._shortest)
            began = self._clock.monotonic()
            # The list gets no name, which would keep it in memory until the next round.
            if began >= self._trouble.until:
                await self._round([*self._asks])
            else:
                await self.answer([ask for ask in self._asks if ask.due <= began], self._trouble.error)

    def _ended(self, rounds: asyncio.Task[None]) -> None:
        if rounds is not self.task:
            return  # a later task answers the waiters
        # Whatever ended them: no waiter must wait for ever.
        cause = None if rounds.cancelled() else rounds.exception()
        for ask in self._asks:
            ask.answer(RetellError(f"The poll has ended ({cause or 'it was stopped'})."))

    async def _wait_until_due(self, not_before: float) -> None:
        while True:
            self._asked.clear()
            self._earliest = max(min((ask.due for ask in self._asks), default=float("inf")), not_before)
            left = self._earliest - self._clock.monotonic()
            if left <= 0:
                self._earliest = float("-inf")
                return
            waits: set[asyncio.Future[Any]] = {asyncio.ensure_future(self._asked.wait())}
            if left < float("inf"):
                waits.add(asyncio.ensure_future(self._clock.asleep(left)))
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    async def _round(self, asks: Sequence[Ask[W, R]]) -> None:
        """Read for all waiters; answer each as soon as possible, and the rest at the end."""
        metrics.count("retell.polls")
        try:
            used = (await self._client.get()).settings
            try:
                await self._read(asks)
            except RetellError as error:
                if not may_be_rotated(error) or not is_rotated(used, await self._client.renewed(used), moves=True):
                    raise
                log.info("Retell refused the API key; trying the connection's new one: %s", error)
                await self._read(asks)
        except Exception as error:  # noqa: BLE001 (whatever it is, the waiters must learn of it)
            if isinstance(error, RetellRateLimitError):
                metrics.count("retell.rate_limited")
            if isinstance(error, RetellError) and error.concerns is Concerns.NOTHING:
                self._trouble.begin(error, now=self._clock.monotonic())
                await self.answer(asks, error)
            else:
                # Also fail waiters that joined during the round: they would hit the same error.
                await self.answer([*self._asks], error)
        else:
            self._trouble.end()
            await self.answer(asks)


class _Trouble:
    """The pause before the next request while Retell is in trouble."""

    def __init__(self) -> None:
        self.error: RetellError | None = None
        self.until = float("-inf")
        self._rounds = 0

    def begin(self, error: RetellError, *, now: float) -> None:
        if self.error is None:
            log.warning("Polling failed; trying again: %s", error)
        self._rounds += 1
        if isinstance(error, RetellStatusError) and error.retry_after is not None:
            pause = min(error.retry_after, LONGEST_PAUSE)
        else:
            pause = min(2.0 ** min(self._rounds - 1, 10), LONGEST_BACKOFF)
        self.error, self.until = error, now + pause

    def end(self) -> None:
        if self.error is not None:
            log.info("Polling works again, after %d failed rounds.", self._rounds)
        self.error, self.until, self._rounds = None, float("-inf"), 0
