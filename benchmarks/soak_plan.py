"""The plan of a soak: its calls, their faults, the waits for them, and how each wait must end.

All of it is drawn from a seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final, Literal

from airflow_provider_retell.simulator import SCENARIOS, Fault, Scenario, Simulator
from benchmarks import retell

POLL_INTERVALS: Final = (2.0, 3.0, 5.0)
HANGING: Final = 8.0
"""Seconds that an answer takes which the client does not wait for."""
CLIENT_TIMEOUT: Final = 3.0
ANALYSIS_TIMEOUT: Final = 20.0
CALM: Final = 60.0
"""Seconds without faults at the end, in which whatever is left must be resolved."""
CALM_SHARE: Final = 0.3
"""The fraction of the time without faults."""
HALF: Final = 0.5
OVER: Final = ("ended", "error", "not_connected")

KnownCall = tuple[str, float, str, float | None]
"""The id of a call, when it ends, its status then, and when its analysis comes, if ever."""


@dataclass(frozen=True, kw_only=True)
class Wait:
    """One trigger, and how it must end.

    Attributes:
        call_ids: The calls.
        ending: How it must end.
        due: When, in seconds since the epoch; None for as soon as it is seen.
        statuses: What the event must say of each call.
        wait_for: As the trigger takes it.
        poll_interval: Seconds.
        deadline: When it must give up, in seconds since the epoch.
    """

    call_ids: tuple[str, ...]
    ending: Literal["over", "timeout", "failed", "cancelled"]
    due: float | None
    statuses: Mapping[str, str]
    wait_for: Literal["ended", "analyzed"]
    poll_interval: float
    deadline: float


def scenarios(dice: Random, count: int, seconds: float) -> dict[str, Scenario]:
    """Return numbers whose calls end in all the ways there are, at any time of the given seconds."""
    kinds = [it for it in SCENARIOS.values() if it.status in OVER and it.reason != "registered_call_timeout"]
    made = {}
    for number in retell.numbers(count):
        kind = dice.choice(kinds)
        ring = dice.uniform(0, seconds / (2 if kind.connects else 1))
        talk = dice.uniform(0, seconds - ring)
        made[number] = replace(kind, ring_seconds=ring, talk_seconds=talk, analysis_delay=dice.uniform(0, 15))
    return made


def calls(simulator: Simulator) -> list[KnownCall]:
    """Return how each call will end."""
    infinity = float("inf")
    return [
        (it.call_id, it.ended_at, it.ending[0], it.analyzed_at if it.analyzed_at < infinity else None)
        for it in simulator.calls.values()
    ]


def strike(simulator: Simulator, faults: Sequence[Fault]) -> None:
    """Let these faults take the place of the ones before."""
    simulator.recover()
    simulator.fail(*faults)


def faults(dice: Random) -> list[Fault]:
    """Return the faults of the next seconds: often none, sometimes one kind of request fails, sometimes all do."""
    if dice.random() < CALM_SHARE:
        return []
    answer: dict[str, Any] = dice.choice(
        [
            {"answer": 429, "retry_after": dice.choice([None, 0.5, 2.0, 4.0]), "as_date": dice.random() < HALF},
            {"answer": dice.choice([500, 502, 503, 504]), "html": dice.random() < HALF},
            {"answer": dice.choice(["drop", "reset", "truncate"])},
            {"delay": HANGING},
            {"delay": dice.uniform(0.2, CLIENT_TIMEOUT / 2)},
        ]
    )
    return [
        Fault(
            endpoint=dice.choice(["list-calls", "list-calls", "get-call", "*"]),
            times=dice.choice([1, 2, 5, 20, None]),
            skip=dice.choice([0, 0, 1, 3]),
            **answer,
        )
    ]


def waits(dice: Random, known: Sequence[KnownCall], begin: float, seconds: float) -> Iterator[Wait]:
    """Yield a wait for each call: most for one call, some for many, some that must not end well."""
    never = begin + seconds + CALM
    statuses = {call_id: status for call_id, _, status, _ in known}
    for place, (call_id, ended, status, analyzed) in enumerate(known):
        kind = dice.random()
        others = dice.sample(known, min(len(known), dice.choice([2, 10, 100])))
        some = tuple(it[0] for it in others) if kind < 0.05 else (call_id,)  # noqa: PLR2004 (shares of the kinds)
        usual = Wait(
            call_ids=some,
            ending="over",
            due=max(it[1] for it in known if it[0] in some),
            statuses={it: statuses[it] for it in some},
            wait_for="ended",
            poll_interval=dice.choice(POLL_INTERVALS),
            deadline=never,
        )
        if kind < 0.05:  # noqa: PLR2004
            yield usual
        elif kind < 0.10 and ended > begin + 30:  # noqa: PLR2004
            deadline = dice.uniform(begin + 10, ended - 10)
            yield replace(usual, ending="timeout", due=deadline, deadline=deadline, statuses={})
        elif kind < 0.12:  # noqa: PLR2004
            yield replace(usual, call_ids=(f"call_unknown{place}",), ending="failed", due=None, statuses={})
        elif kind < 0.17 and ended > begin + 30:  # noqa: PLR2004
            yield replace(usual, ending="cancelled", due=dice.uniform(begin, ended - 10), statuses={})
        elif kind < 0.40 and analyzed is not None and status != "not_connected":  # noqa: PLR2004
            # A call that never connected is not waited for.
            yield replace(usual, wait_for="analyzed", due=min(analyzed, ended + ANALYSIS_TIMEOUT))
        else:
            yield usual
