"""Poll once for all waiters of one event loop and connection, however many there are."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeAlias, TypeVar

from airflow_provider_retell._clock import CLOCK, Clock
from airflow_provider_retell.api.call_states import STATES, CallState
from airflow_provider_retell.api.client import AsyncRetellClient
from airflow_provider_retell.api.flows import Flow
from airflow_provider_retell.api.identifiers import check_call_id
from airflow_provider_retell.api.models import Call
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.api.sweeps import Reading, Sweeps
from airflow_provider_retell.errors import RetellError
from airflow_provider_retell.polling.finished_list import (
    WITHOUT_AN_END,
    Listing,
    Want,
    common_filters,
    list_ended,
    list_newest,
)
from airflow_provider_retell.polling.refreshing_client import RefreshingClient
from airflow_provider_retell.polling.rounds import Ask, Rounds
from airflow_provider_retell.provider.options import Options

log = logging.getLogger(__name__)

# Pydantic builds a model when it is first needed: better now than on an event loop.
Call.model_rebuild()

T = TypeVar("T")

FLOWS_AT_ONCE: Final = 20
"""More would wait in httpx's pool, which goes through all its waiters for each request."""

LONGEST_ROUND: Final = 60.0
"""Seconds after which a round leaves the calls that it has not read yet to the next."""


_CallsAsk: TypeAlias = Ask[tuple[str, ...], dict[str, CallState | RetellError]]
_FinishedAsk: TypeAlias = Ask[Want, Listing]


class Poller:
    """Read the calls of all waiters together, and list the finished calls for all watchers together.

    Each of the two has its own rounds (see ``Rounds``), because a list need not follow the short interval of a
    waiter.

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
        shortest = (options or Options()).shortest_poll_interval
        self._clock = clock
        self._client = RefreshingClient(connect, client or AsyncRetellClient, clock)
        self._sweeps = Sweeps(STATES)
        self._flows = asyncio.Semaphore(FLOWS_AT_ONCE)
        self._calls = Rounds(self._read_calls, self._client, shortest=shortest, clock=clock)
        self._finished = Rounds(self._list_finished, self._client, shortest=shortest, clock=clock)

    async def read(self, call_ids: Sequence[str], *, due: float) -> Reading[CallState]:
        """Return some calls as the next round reads them; not all of them if many are not listed.

        Args:
            call_ids: The calls.
            due: When the round must begin at the latest, by the monotonic clock. It may begin earlier.

        Raises:
            RetellError: The round failed.
        """
        return await self._calls.wait(tuple(dict.fromkeys(map(check_call_id, call_ids))), {}, due=due)

    async def list_finished(self, want: Want, *, due: float) -> Listing:
        """Return the calls that the next round lists for a watcher.

        Args:
            want: The request of the watcher.
            due: As in ``read``.

        Raises:
            RetellError: The round failed.
        """
        return await self._finished.wait(want, Listing(), due=due)

    async def run(self, flow: Flow[T]) -> T:
        """Send the requests of a flow, with the client of the polls."""
        async with self._flows:
            return await (await self._client.get()).run(flow)

    async def aclose(self) -> None:
        """End the rounds and close the client."""
        await self._calls.aclose()
        await self._finished.aclose()
        await self._client.aclose()

    async def _read_calls(self, asks: Sequence[_CallsAsk]) -> None:
        began = self._clock.monotonic()
        by_id: dict[str, list[_CallsAsk]] = defaultdict(list)
        for ask in asks:
            for call_id in ask.want:
                by_id[call_id].append(ask)
        for step in self._sweeps.sweep(list(by_id), now=self._clock.monotonic()):
            client = await self._client.get()
            await self._hand_out(await client.run(step, once=True), by_id)
            if self._clock.monotonic() > began + LONGEST_ROUND:
                return

    async def _hand_out(self, reading: Reading[CallState], by_id: Mapping[str, Sequence[_CallsAsk]]) -> None:
        read = []
        for call_id, call in reading.items():
            for ask in by_id[call_id]:
                ask.result[call_id] = call
                if len(ask.result) == len(ask.want):
                    read.append(ask)
        await self._calls.answer(read)

    async def _list_finished(self, asks: Sequence[_FinishedAsk]) -> None:
        client = await self._client.get()
        wants = [ask.want for ask in asks]
        newest = {name: await client.run(list_newest(name, wants), once=True) for name in WITHOUT_AN_END}
        filters = common_filters(wants)
        behind = sorted(asks, key=lambda ask: ask.want.ended_from)
        while behind:
            # Watchers that are up to date begin at about the same call; one that catches up reads its part alone.
            first = behind[0].want.ended_from
            ended = await client.run(list_ended(first, filters, now=self._clock.now()), once=True)
            covered = [ask for ask in behind if ended.up_to is None or ask.want.ended_from < ended.up_to]
            for ask in covered:
                ask.result = Listing(ended=ended, newest=newest)
            await self._finished.answer(covered)
            behind = behind[len(covered) :]
