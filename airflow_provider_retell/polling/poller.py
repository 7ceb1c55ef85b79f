"""Poll once for all waiters of one event loop and connection, however many there are."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import Context as Variables
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from airflow_provider_retell import _metrics as metrics
from airflow_provider_retell._clock import CLOCK, Clock
from airflow_provider_retell.api.client import AsyncRetellClient
from airflow_provider_retell.api.flows import Flow
from airflow_provider_retell.api.identifiers import check_call_id
from airflow_provider_retell.api.models import Call
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.api.sweeps import Reading, Sweeps
from airflow_provider_retell.errors import (
    Concerns,
    RetellError,
    RetellRateLimitError,
    RetellStatusError,
)
from airflow_provider_retell.polling.refreshing_client import RefreshingClient
from airflow_provider_retell.provider.options import Options

log = logging.getLogger(__name__)

# Pydantic builds a model when it is first needed: better now than on an event loop.
Call.model_rebuild()

T = TypeVar("T")

LONGEST_PAUSE: Final = 300.0
"""The longest time without a request in seconds, whatever Retell asks for, because the waiters have deadlines."""

LONGEST_BACKOFF: Final = 30.0
"""The longest pause between two rounds in seconds while Retell is in trouble, unless it asks for more."""

LONGEST_ROUND: Final = 60.0
"""Seconds after which a round leaves the calls that it has not read yet to the next."""

WAITERS_PER_LOOP_TURN: Final = 50
"""Waiters woken in one turn of the event loop, so that others get theirs."""


@dataclass(eq=False)
class _Ask:
    """The calls that one waiter reads in the next round."""

    unread: set[str]
    due: float
    answered: asyncio.Future[None]
    reading: dict[str, Call | RetellError] = field(default_factory=dict)
    error: Exception | None = None

    def answer(self, error: Exception | None = None) -> None:
        if not self.answered.done():
            self.error = error
            self.answered.set_result(None)


class Poller:
    """Read the calls of all waiters together.

    A round reads every call that is waited for. It begins when the first waiter is due and answers all waiters, so
    the shortest interval applies to all.

    ====================  ===================================================================================
    a failure concerns    what follows
    ====================  ===================================================================================
    a call, its request   the waiters for this call get the error
    nothing               all waiters get it, and the next round is delayed: by 1, 2, 4 ... 30 s
    the account           all waiters get it, unless a new look-up of the connection finds another key
    ====================  ===================================================================================

    Args:
        connect: Looks up the connection.
        options: The options, with the shortest interval between polls.
        clock: The time.
        client: Makes the client of a connection.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[ConnectionSettings]],
        *,
        options: Options | None = None,
        clock: Clock = CLOCK,
        client: Callable[[ConnectionSettings], AsyncRetellClient] | None = None,
    ) -> None:
        self._options = options or Options()
        self._clock = clock
        self._client = RefreshingClient(connect, client or AsyncRetellClient, clock)
        self._sweeps = Sweeps()
        self._asks: dict[_Ask, None] = {}
        self._rounds: asyncio.Task[None] | None = None
        self._asked = asyncio.Event()
        self._earliest = float("-inf")
        self._trouble = _Trouble()

    async def read(self, call_ids: Sequence[str], *, due: float) -> Reading:
        """Return some calls as the next round reads them; not all of them if many are not listed.

        Args:
            call_ids: The calls.
            due: When the round must begin at the latest, by the monotonic clock. It may begin earlier.

        Raises:
            RetellError: The round failed.
        """
        ask = _Ask(
            unread={check_call_id(call_id) for call_id in call_ids},
            due=due,
            answered=asyncio.get_running_loop().create_future(),
        )
        self._asks[ask] = None
        if self._rounds is None or self._rounds.done():
            # In its own context: the first waiter's context would put that task's name on all log lines.
            self._rounds = asyncio.get_running_loop().create_task(self._run(), context=Variables())
            self._rounds.add_done_callback(self._ended)
        if due < self._earliest:
            self._asked.set()
        try:
            await ask.answered
        finally:
            self._asks.pop(ask, None)
        if ask.error is not None:
            # Many waiters may get the same error: each raises it without the traceback of the others.
            raise ask.error.with_traceback(None)
        return ask.reading

    async def run(self, flow: Flow[T]) -> T:
        """Send the requests of a flow, with the client of the polls."""
        return await (await self._client.get()).run(flow)

    async def aclose(self) -> None:
        """End the rounds and close the client."""
        if self._rounds is not None:
            self._rounds.cancel()
            await asyncio.wait({self._rounds})
        await self._client.aclose()

    async def _run(self) -> None:
        began = float("-inf")
        while True:
            await self._wait_until_due(began + self._options.shortest_poll_interval)
            began = self._clock.monotonic()
            asks = [*self._asks]
            if began >= self._trouble.until:
                await self._round(asks)
            else:
                await self._answer([ask for ask in asks if ask.due <= began], self._trouble.error)

    def _ended(self, rounds: asyncio.Task[None]) -> None:
        if rounds is not self._rounds:
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

    async def _round(self, asks: Sequence[_Ask]) -> None:
        """Read the calls of all waiters; answer each as soon as its calls are read, and the others at the end."""
        metrics.count("retell.polls")
        try:
            try:
                await self._read(asks)
            except RetellError as error:
                if error.concerns is not Concerns.ACCOUNT or not await self._client.changed():
                    raise
                log.info("Retell refused the key, and the connection holds another by now: %s", error)
                await self._read(asks)
        except Exception as error:  # noqa: BLE001 (whatever it is, the waiters must learn of it)
            if isinstance(error, RetellRateLimitError):
                metrics.count("retell.rate_limited")
            if isinstance(error, RetellError) and error.concerns is Concerns.NOTHING:
                self._trouble.begin(error, now=self._clock.monotonic())
                await self._answer(asks, error)
            else:
                # Also fail waiters that joined during the round: they would hit the same error.
                await self._answer([*self._asks], error)
        else:
            self._trouble.end()
            await self._answer(asks, None)

    async def _read(self, asks: Sequence[_Ask]) -> None:
        began = self._clock.monotonic()
        by_id: dict[str, list[_Ask]] = defaultdict(list)
        for ask in asks:
            for call_id in ask.unread:
                by_id[call_id].append(ask)
        for step in self._sweeps.sweep(list(by_id), now=self._clock.monotonic()):
            client = await self._client.get()
            await self._hand_out(await client.run(step, once=True), by_id)
            if self._clock.monotonic() > began + LONGEST_ROUND:
                return

    async def _hand_out(self, reading: Reading, by_id: Mapping[str, Sequence[_Ask]]) -> None:
        read = []
        for call_id, call in reading.items():
            for ask in by_id[call_id]:
                ask.unread.discard(call_id)
                ask.reading[call_id] = call
                if not ask.unread:
                    read.append(ask)
        await self._answer(read, None)

    async def _answer(self, asks: Iterable[_Ask], error: Exception | None) -> None:
        for number, ask in enumerate(asks, 1):
            self._asks.pop(ask, None)
            ask.answer(error)
            if number % WAITERS_PER_LOOP_TURN == 0:
                await asyncio.sleep(0)


class _Trouble:
    """The pause before the next request while Retell is in trouble."""

    def __init__(self) -> None:
        self.error: RetellError | None = None
        self.until = float("-inf")
        self._rounds = 0

    def begin(self, error: RetellError, *, now: float) -> None:
        if self.error is None:
            log.warning("Polling failed, and is tried again: %s", error)
        self._rounds += 1
        if isinstance(error, RetellStatusError) and error.retry_after is not None:
            pause = min(error.retry_after, LONGEST_PAUSE)
        else:
            pause = min(2.0 ** min(self._rounds - 1, 10), LONGEST_BACKOFF)
        self.error, self.until = error, now + pause

    def end(self) -> None:
        if self.error is not None:
            log.info("Polling works again, after %d rounds that failed.", self._rounds)
        self.error, self.until, self._rounds = None, float("-inf"), 0
