"""Measure what it costs to wait for a thousand calls at once, with a trigger each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from benchmarks import retell
from benchmarks.figures import Figure, quantile
from benchmarks.retell import RetellProcess
from benchmarks.waiters import Heartbeat, Waited, idle, in_a_process, memory, wait

CALLS: Final = 1000
POLL_INTERVAL: Final = 5.0
"""Seconds."""
RING_SECONDS: Final = 45.0
"""Long enough for the triggers to start, and to poll some rounds while all calls are registered."""
TALK_SECONDS: Final = (1.0, 20.0)
SETTLED: Final = 10.0
"""Seconds after their start, when the triggers poll at their interval."""
ROUNDS: Final = 3
FAIREST: Final = 20
"""get-calls in a round that the goal grants if the list shows no registered calls."""


def figures() -> Iterator[Figure]:
    """Measure, in both of the worlds that may be Retell's."""
    floor = in_a_process(idle, CALLS, 15.0)
    for listed in (True, False):
        world = f"list-calls {'shows' if listed else 'does not show'} registered calls"
        yield from _figures_of(*_wait(listed=listed), world, listed=listed, floor=floor)
    yield from _memory()


def _wait(*, listed: bool) -> tuple[Waited, dict[str, float], dict[str, float]]:
    """Have a thousand triggers wait, and return what they did, their requests in a round, the calls' latency."""
    calls = retell.conversations(CALLS, ring_seconds=RING_SECONDS, talk_seconds=TALK_SECONDS)
    with RetellProcess(numbers=calls, dial_delay=0, list_registered=listed) as process:
        ids = process.ask(retell.register, list(calls))
        waited = in_a_process(wait, process.connection, ids, POLL_INTERVAL, 300.0)
        begin = waited.began + SETTLED
        end = begin + ROUNDS * POLL_INTERVAL
        requests = process.ask(retell.requests_between, begin, end)
        ends = process.ask(retell.ends)
    if min(ended for ended, _ in ends.values()) < end:
        raise RuntimeError("The first call was over before the rounds were counted: the machine is too busy.")
    wrong = [it for it in ids if waited.fired[it][1]["calls"] != {it: ends[it][1]}]
    if wrong:
        raise RuntimeError(f"{len(wrong)} triggers fired with a status that is not the call's.")
    latencies = {call_id: fired - ends[call_id][0] for call_id, (fired, _) in waited.fired.items()}
    return waited, {endpoint: count / ROUNDS for endpoint, count in requests.items()}, latencies


def _figures_of(
    waited: Waited,
    requests: dict[str, float],
    latencies: dict[str, float],
    world: str,
    *,
    listed: bool,
    floor: Heartbeat,
) -> Iterator[Figure]:
    total = sum(requests.values())
    bound = 1 if listed else 1 + FAIREST
    yield Figure(
        what=f"requests per polling round, {CALLS} waiting calls; {world}",
        measured=f"{total:.1f}",
        goal="1" if listed else f"at most 1 + {FAIREST}",
        met=round(total) <= bound,
        beside=", ".join(f"{endpoint} {count:.1f}" for endpoint, count in sorted(requests.items())),
    )
    yield Figure(
        what=f"HTTP clients, connection look-ups for {CALLS} triggers; {world}",
        measured=f"{waited.clients}, {waited.look_ups}",
        goal="1, 1",
        met=(waited.clients, waited.look_ups) == (1, 1),
    )
    held = waited.heartbeat
    yield Figure(
        what=f"longest time the loop is held, {CALLS} triggers, from start to last event; {world}",
        measured=f"{held.busiest * 1000:.0f} ms at work, {held.collected * 1000:.0f} ms in Python's collector, "
        f"{held.longest * 1000:.0f} ms by the clock",
        goal="under 15 ms at work",
        met=held.busiest < 0.015,  # noqa: PLR2004 (the goal)
        beside=f"Airflow's own triggers: {floor.busiest * 1000:.0f} ms, {floor.collected * 1000:.0f} ms, "
        f"{floor.longest * 1000:.0f} ms",
    )
    slowest = quantile([*latencies.values()], 0.95)
    yield Figure(
        what=f"from the end of a call to its event, 95th percentile, interval {POLL_INTERVAL:g} s; {world}",
        measured=f"{slowest:.2f} s",
        goal=f"{POLL_INTERVAL + 1:g} s",
        met=slowest <= POLL_INTERVAL + 1,
        beside=f"median {quantile([*latencies.values()], 0.5):.2f} s, longest {max(latencies.values()):.2f} s",
    )


def _memory() -> Iterator[Figure]:
    long = retell.conversations(CALLS, ring_seconds=0, talk_seconds=(600, 600))
    over = retell.numbers(CALLS + 1)[-1]
    at_once = retell.conversations(CALLS + 1, ring_seconds=0, talk_seconds=(0, 0))[over]
    with RetellProcess(numbers={**long, over: at_once}, dial_delay=0) as process:
        ids = process.ask(retell.register, [*long, over])
        warm_up = ids.pop()
        taken = {
            (traced, whose): in_a_process(
                memory, process.connection, warm_up, ids if whose == "ours" else [], traced=traced, seconds=12.0
            )
            for traced in (True, False)
            for whose in ("ours", "Airflow's")
        }
    for traced, counted, goal in ((True, "Python's allocations", 3), (False, "the process's own memory", 10)):
        ours, airflows = taken[traced, "ours"] / 1000, taken[traced, "Airflow's"] / 1000
        yield Figure(
            what=f"memory per waiting call beyond Airflow's own trigger, {CALLS} triggers; {counted}",
            measured=f"{ours - airflows:.1f} kB",
            goal=f"under {goal} kB",
            met=ours - airflows < goal,
            beside=f"Airflow's own trigger: {airflows:.1f} kB",
        )
