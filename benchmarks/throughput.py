"""Measure what requests cost the client, compared with bare httpx.

By CPU time: a simulator takes longer to answer than a client takes to ask, and by the clock other processes of the
machine count too.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final, cast

import httpx

from airflow_provider_retell.api import endpoints
from airflow_provider_retell.api.call_rows import row_projection
from airflow_provider_retell.api.call_states import states_of
from airflow_provider_retell.api.client import AsyncRetellClient, RetellClient
from airflow_provider_retell.api.endpoints import Request
from airflow_provider_retell.api.models import Call
from airflow_provider_retell.api.pages import Page, as_sent
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.rows import Row
from benchmarks import retell
from benchmarks.figures import Figure
from benchmarks.retell import RetellProcess

SECONDS: Final = 8.0
"""The seconds for which each of the figures is measured, at least."""
FEWEST: Final = 9
"""Measurements of a figure, at least: the simulator takes seconds to answer with ten pages of a thousand calls."""
TOGETHER: Final = 10
"""Requests that are under way at once on an event loop."""
GOAL: Final = 0.95
GOALS: Final = {"as a poll reads them": 1.3, "as an export reads them": 1.1, "as rows": 0.9}
"""The goals of the requests whose names end so, because less is read of their responses, or more."""


def figures() -> Iterator[Figure]:
    """Measure in turns, against one simulator in a process of its own."""
    gc.freeze()  # the modules are not what is measured
    over = retell.conversations(1000, ring_seconds=0, talk_seconds=(0, 0))
    live = retell.conversations(1000, ring_seconds=3600, talk_seconds=(0, 0), skip=1000)
    with RetellProcess(numbers=over | live, dial_delay=0, list_registered=True) as process:
        ended, registered = process.ask(retell.register, [*over]), process.ask(retell.register, [*live])
        settings = ConnectionSettings.read(
            conn_id="retell_default",
            password=process.api_key,
            host=process.url,
            schema=None,
            port=None,
            extra=None,
        )
        requests: dict[str, list[Request[Any]]] = {
            "register-phone-call": [endpoints.register_phone_call({"agent_id": "agent_1"})],
            "get-call, a registered call": [endpoints.get_call(call_id) for call_id in registered],
            "get-call, a call that is over": [endpoints.get_call(call_id) for call_id in ended],
        }
        seeded = process.ask(retell.seed, 1000)
        for calls, ids in (("1000 registered calls", registered), ("1000 calls that are over", seeded)):
            listing = endpoints.list_calls(call_ids=ids)
            requests |= {
                f"list-calls, {calls}, as a poll reads them": [states_of(listing)],
                f"list-calls, {calls}, as an export reads them": [as_sent(listing)],
                f"list-calls, {calls}, as rows": [_rows_of(listing)],
            }
        for what, these in requests.items():
            goal = next((goal for end, goal in GOALS.items() if what.endswith(end)), GOAL)
            yield _figure(f"{what}; one after the other", goal, _one_by_one(settings, these))
            yield _figure(f"{what}; {TOGETHER} at once", goal, asyncio.run(_together(settings, these)))


def _rows_of(listing: Request[Page[Call]]) -> Request[list[Row]]:
    """Return the same request, read as a task reads calls that are over."""
    page = row_projection().page(listing)
    return replace(cast("Request[Any]", page), read=lambda body: [call.row for call in page.read(body).calls])


def _figure(what: str, goal: float, pairs: Sequence[tuple[float, float]]) -> Figure:
    ours, bare = (statistics.median(seconds) for seconds in zip(*pairs, strict=True))
    return Figure(
        what=f"throughput against bare httpx, by the client's CPU: {what}",
        measured=f"{bare / ours:.2f}",
        goal=f"at least {goal}",
        met=round(bare / ours, 2) >= goal,
        beside=f"{ours * 1000:.2f} ms of CPU, bare {bare * 1000:.2f} ms",
    )


def _one_by_one(settings: ConnectionSettings, requests: Sequence[Request[Any]]) -> list[tuple[float, float]]:
    """Return the CPU seconds of single requests: ours, bare."""
    with RetellClient(settings) as ours, httpx.Client(**_options(settings)) as bare:

        def send(request: Request[Any]) -> None:
            bare.request(request.method, request.path, json=request.body).raise_for_status().json()

        return [(_time(ours.send, request), _time(send, request)) for request in _for_some_time(requests)]


def _time(send: Callable[[Request[Any]], object], request: Request[Any]) -> float:
    gc.collect()  # before, so that neither client pays for the objects of the other
    began = time.process_time()
    send(request)
    return time.process_time() - began


async def _together(settings: ConnectionSettings, requests: Sequence[Request[Any]]) -> list[tuple[float, float]]:
    """Return the CPU seconds for each of some requests that are under way at once: ours, bare."""
    async with AsyncRetellClient(settings) as ours, _bare(settings) as bare:

        async def send(request: Request[Any]) -> None:
            await ours.send(request)  # and drop the result at once, as the bare client does

        return [
            (await _time_together(send, request), await _time_together(bare, request))
            for request in _for_some_time(requests)
        ]


@asynccontextmanager
async def _bare(settings: ConnectionSettings) -> AsyncIterator[Callable[[Request[Any]], Awaitable[object]]]:
    async with httpx.AsyncClient(**_options(settings)) as client:

        async def send(request: Request[Any]) -> None:
            answer = await client.request(request.method, request.path, json=request.body)
            answer.raise_for_status().json()

        yield send


async def _time_together(send: Callable[[Request[Any]], Awaitable[object]], request: Request[Any]) -> float:
    gc.collect()
    began = time.process_time()
    await asyncio.gather(*(send(request) for _ in range(TOGETHER)))
    return (time.process_time() - began) / TOGETHER


def _for_some_time(requests: Sequence[Request[Any]]) -> Iterator[Request[Any]]:
    until, measured = time.monotonic() + SECONDS, 0
    while time.monotonic() < until or measured < FEWEST:
        yield from requests[:TOGETHER]
        measured += len(requests[:TOGETHER])


def _options(settings: ConnectionSettings) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {settings.api_key}"}
    return {"base_url": settings.base_url, "headers": headers, "timeout": settings.timeout, "trust_env": False}
