"""A Retell in a process of its own, so that its cost is not counted as the cost of the client."""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from random import Random
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from airflow_provider_retell.simulator import SCENARIOS, Scenario, Simulator

P = ParamSpec("P")
T = TypeVar("T")

AREA_CODES = range(201, 999)


def numbers(count: int, *, skip: int = 0) -> list[str]:
    """Return the given number of different fictional phone numbers."""
    return [f"+1{AREA_CODES[place // 100]}55501{place % 100:02}" for place in range(skip, skip + count)]


def conversations(
    count: int, *, ring_seconds: float, talk_seconds: tuple[float, float], seed: int = 1, skip: int = 0
) -> dict[str, Scenario]:
    """Return numbers whose calls all ring as long, and then go on for different times."""
    dice = Random(seed)  # noqa: S311 (no secrets are drawn here)
    scenario = replace(SCENARIOS["agent_hangup"], ring_seconds=ring_seconds)
    return {
        number: replace(scenario, talk_seconds=dice.uniform(*talk_seconds)) for number in numbers(count, skip=skip)
    }


class RetellProcess:
    """Run a simulator in a child process for as long as a `with` block lasts.

    Args:
        options: The arguments of `Simulator`.
    """

    def __init__(self, **options: Any) -> None:
        spawning = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawning.Pipe()
        self._process = spawning.Process(target=_serve, args=(theirs, options), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        self.url, self.api_key, self.connection = self._pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send(None)
        self._process.join()

    def with_extra(self, **extra: Any) -> str:
        """Return the Airflow connection with more settings."""
        return json.dumps(json.loads(self.connection) | {"extra": extra})

    def ask(self, task: Callable[Concatenate[Simulator, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function of a module there, with the simulator before its other arguments."""
        self._pipe.send((task, args, kwargs))
        answer: T = self._pipe.recv()
        return answer


def _serve(pipe: Connection, options: Mapping[str, Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    simulator = Simulator(**options)
    with simulator.serve() as url, suppress(EOFError):
        pipe.send((url, simulator.api_key, simulator.connection(url)))
        while (order := pipe.recv()) is not None:
            task, args, kwargs = order
            pipe.send(task(simulator, *args, **kwargs))


# -- what a benchmark asks of it -------------------------------------------------------------------------------


def register(simulator: Simulator, numbers: list[str]) -> list[str]:
    """Register a call to each number, without the detour of a request."""
    return [simulator.register({"agent_id": "agent_1", "to_number": it}) for it in numbers]


def seed(simulator: Simulator, count: int) -> list[str]:
    """Make so many calls that are over, with all that Retell keeps of them; return their ids."""
    simulator.seed(count)
    return list(simulator.calls)[-count:]


def ends(simulator: Simulator) -> dict[str, tuple[float, str]]:
    """Return when each call ends, in seconds since the epoch, and the status it then has."""
    return {call.call_id: (call.ended_at, call.ending[0]) for call in simulator.calls.values()}


def requests_between(simulator: Simulator, begin: float, end: float) -> dict[str, int]:
    """Count the requests of a period by endpoint."""
    counts: dict[str, int] = {}
    for request in simulator.requests:
        if begin <= request.time < end:
            counts[request.endpoint] = counts.get(request.endpoint, 0) + 1
    return counts
