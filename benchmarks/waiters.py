"""A thousand triggers on one event loop, as a triggerer has them: each function runs in a process of its own."""

from __future__ import annotations

import asyncio
import gc
import importlib
import multiprocessing
import os
import threading
import time
import tracemalloc
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import greenback
import httpx
import psutil
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_retell.triggers import RetellCallTrigger
from benchmarks.lookups import CountingBackend

P = ParamSpec("P")
T = TypeVar("T")

BEAT: Final = 0.002
"""Seconds between two looks at how late the loop is."""

NEVER: Final = timedelta(minutes=50)
"""The seconds until the end of a trigger that is only there to wait."""


def in_a_process(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function in a new process, which has only what it needs in memory."""
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawning, initializer=_into_a_file) as processes:
        return processes.submit(function, *args, **kwargs).result()


def _into_a_file() -> None:
    """Have the triggers log as they do in a triggerer, and not onto the screen."""
    log = os.open(Path(os.environ["AIRFLOW_HOME"]) / "waiters.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)


@dataclass
class Heartbeat:
    """Measure again and again how long the loop has kept others waiting.

    Attributes:
        longest: The longest time by the clock, in seconds.
        busiest: The longest time of which the loop's thread was at work: the rest is the machine's doing. Without
            the collector's share.
        collected: The longest pass of Python's garbage collector in that thread. A full one goes through all that
            Airflow has loaded, and comes after so many allocations, by any code.
    """

    longest: float = 0.0
    busiest: float = 0.0
    collected: float = 0.0
    _collecting: float = 0.0
    _began: float = 0.0
    _thread: int = 0

    async def run(self) -> None:
        """Look until cancelled."""
        self._thread = threading.get_ident()
        gc.callbacks.append(self._collect)
        try:
            while True:
                clock, work, collecting = time.perf_counter(), time.thread_time(), self._collecting
                await asyncio.sleep(BEAT)
                self.longest = max(self.longest, time.perf_counter() - clock - BEAT)
                self.busiest = max(self.busiest, time.thread_time() - work - (self._collecting - collecting))
        finally:
            gc.callbacks.remove(self._collect)

    def _collect(self, phase: str, _: dict[str, int]) -> None:
        if threading.get_ident() != self._thread:
            return
        if phase == "start":
            self._began = time.thread_time()
        else:
            took = time.thread_time() - self._began
            self._collecting += took
            self.collected = max(self.collected, took)


@dataclass(kw_only=True)
class Waited:
    """The work of a thousand triggers.

    Attributes:
        began: When the first one started, in seconds since the epoch.
        fired: When each call's event came, and what it held.
        clients: How many HTTP clients were made.
        look_ups: How often the connection was looked up.
        heartbeat: How long the loop was held.
    """

    began: float
    fired: dict[str, tuple[float, dict[str, Any]]] = field(default_factory=dict)
    clients: int = 0
    look_ups: int = 0
    heartbeat: Heartbeat


def wait(connection: str, call_ids: Sequence[str], poll_interval: float, patience: float) -> Waited:
    """Wait for each call with a trigger of its own, until the last one has fired."""
    os.environ["AIRFLOW_CONN_RETELL_DEFAULT"] = connection
    # A triggerer has all of Airflow loaded before the first trigger runs.
    importlib.import_module("airflow.jobs.triggerer_job_runner")
    made = count_clients()

    async def wait() -> Waited:
        waited = Waited(began=time.time(), heartbeat=Heartbeat())
        beating = asyncio.create_task(waited.heartbeat.run())

        async def run(call_id: str) -> None:
            event = await first_event(trigger(call_id, poll_interval, patience))
            waited.fired[call_id] = (time.time(), event.payload)

        await asyncio.gather(*[task async for task in started(run, call_ids)])
        beating.cancel()
        return waited

    waited = asyncio.run(wait())
    waited.clients, waited.look_ups = len(made), CountingBackend.count
    return waited


def idle(count: int, seconds: float) -> Heartbeat:
    """Have as many of Airflow's own triggers wait for a while, and see how long they hold the loop."""

    async def idle() -> Heartbeat:
        heartbeat = Heartbeat()
        beating = asyncio.create_task(heartbeat.run())
        await while_waiting([DateTimeTrigger(datetime.now(UTC) + NEVER) for _ in range(count)], seconds)
        beating.cancel()
        return heartbeat

    return asyncio.run(idle())


def memory(connection: str, warm_up: str, call_ids: Sequence[str], *, traced: bool, seconds: float) -> float:
    """Return the bytes that a waiting trigger takes: of each call, or of Airflow's own kind if there are none.

    What the process needs for the first one anyway does not count: a call that is over is waited for before.

    Args:
        connection: The connection.
        warm_up: The call that is over.
        call_ids: The calls that are not.
        traced: Whether to go by Python's count of its allocations, or by the system's of the process.
        seconds: How long the triggers have waited when it is counted.
    """
    os.environ["AIRFLOW_CONN_RETELL_DEFAULT"] = connection
    if traced:
        tracemalloc.start()
    me = psutil.Process()

    def taken() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0] if traced else int(me.memory_full_info().uss)

    async def measure() -> float:
        await first_event(trigger(warm_up, 1, 60))
        before = taken()
        ours: list[BaseTrigger] = [trigger(call_id, 5, NEVER.total_seconds()) for call_id in call_ids]
        airflows = [DateTimeTrigger(datetime.now(UTC) + NEVER) for _ in range(0 if ours else 1000)]
        waiting = ours or airflows
        return (await while_waiting(waiting, seconds, then=taken) - before) / len(waiting)

    return asyncio.run(measure())


async def while_waiting(
    triggers: Sequence[BaseTrigger], seconds: float, then: Callable[[], int] = lambda: 0
) -> int:
    """Run triggers for some seconds, do something while they still wait, and cancel them."""
    tasks = [task async for task in started(first_event, triggers)]
    await asyncio.sleep(seconds)
    result = then()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return result


async def started(run: Callable[[Any], Any], whats: Sequence[Any]) -> Any:
    """Start tasks as the triggerer does: giving way to others after each."""
    for what in whats:
        yield asyncio.create_task(run(what))
        await asyncio.sleep(0)


def trigger(call_id: str, poll_interval: float, patience: float) -> RetellCallTrigger:
    """Return the trigger of one call."""
    return RetellCallTrigger(
        call_ids=[call_id],
        retell_conn_id="retell_default",
        deadline=time.time() + patience,
        poll_interval=poll_interval,
    )


async def first_event(trigger: BaseTrigger) -> TriggerEvent:
    """Run a trigger as the triggerer does, up to its event."""
    await greenback.ensure_portal()
    async for event in trigger.run():
        return event
    raise RuntimeError("The trigger ended without an event.")


def count_clients() -> list[type]:
    """Note every HTTP client that is made from now on."""
    made: list[type] = []

    def counting(kind: Any) -> None:
        make = kind.__init__

        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            made.append(kind)
            make(self, *args, **kwargs)

        kind.__init__ = init

    counting(httpx.Client)
    counting(httpx.AsyncClient)
    return made
