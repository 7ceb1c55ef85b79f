"""Measure what a campaign of ten thousand people costs the whole of Airflow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from airflow_stack import AirflowStack

from airflow_provider_retell.simulator import Simulator
from benchmarks import stack
from benchmarks.campaign_process import numbers, people_file
from benchmarks.dags.campaign import LINES, POLL_INTERVAL
from benchmarks.dags.people import CALLS, TALK_SECONDS
from benchmarks.figures import Figure
from benchmarks.retell import RetellProcess, conversations

PEOPLE: Final = 10_000
MOST_CPU, MOST_REQUESTS = 0.01, 1.1


def figures() -> Iterator[Figure]:
    """Run both ways, one after the other."""
    talks: Any = conversations(CALLS, ring_seconds=0, talk_seconds=(TALK_SECONDS, TALK_SECONDS))
    short = conversations(1, ring_seconds=0, talk_seconds=(stack.SHORT_CALL, stack.SHORT_CALL))
    talks |= dict.fromkeys(numbers(PEOPLE), next(iter(short.values())))
    options = {"numbers": talks, "dial_delay": 0, "list_registered": True, "concurrency_limit": LINES + CALLS}
    with people_file(PEOPLE) as (people, path), RetellProcess(**options) as process:
        env = stack.SETTINGS | stack.connections(process)
        with AirflowStack(stack.DAGS, env=env) as airflow:
            stack.wait_for_dags(airflow, ["campaign", stack.HTTP])
            idle = stack.idle_seconds(airflow)
            http = stack.run(airflow, process, stack.HTTP, idle)
            conf = {"people": people, "path": path}
            cost = stack.run(airflow, process, "campaign", idle, calls=PEOPLE, conf=conf, patience=1800)
        counts, dialed = process.ask(sent), process.ask(dials)
    once = set(dialed.values()) == {1} and len(dialed) == PEOPLE
    yield Figure(
        what="CPU of the whole stack per call: a campaign, against `HttpOperator` and `HttpSensor`",
        measured=f"{cost.busy / http.busy:.4f}",
        goal=f"at most {MOST_CPU}",
        met=cost.busy <= MOST_CPU * http.busy,
        beside=f"{1000 * cost.busy:.1f} ms against {1000 * http.busy:.0f} ms; {cost.seconds:.0f} s for all",
    )
    yield Figure(
        what="people called once",
        measured=f"{sum(count == 1 for count in dialed.values()):,} of {PEOPLE:,}",
        goal="all",
        met=once,
    )
    beside_polls = counts["create-phone-call"] + counts["list"] + counts["other"]
    yield Figure(
        what="requests per call besides polls",
        measured=f"{beside_polls / PEOPLE:.3f}",
        goal=f"at most {MOST_REQUESTS}",
        met=beside_polls <= MOST_REQUESTS * PEOPLE,
    )
    yield Figure(
        what=f"polls per round, {LINES} lines; list-calls shows registered calls",
        measured=f"{counts['poll'] / max(counts['rounds'], 1):.2f}",
        goal="1",
        met=counts["poll"] <= counts["rounds"],
        beside=f"{counts['poll']} polls in {counts['rounds']} rounds of {POLL_INTERVAL} s",
    )


def sent(simulator: Simulator) -> Counter[str]:
    """Count a campaign's requests by what they are for, and the rounds from the first poll to the last."""
    counts: Counter[str] = Counter()
    polled: list[float] = []
    for request in simulator.requests:
        if request.endpoint in {"register-phone-call", "get-call"}:
            continue  # of the other way
        kind = request.endpoint
        if kind == "list-calls":
            kind = "poll" if "call_id" in request.json["filter_criteria"] else "list"
        counts[kind if kind in {"create-phone-call", "poll", "list"} else "other"] += 1
        if kind == "poll":
            polled.append(request.time)
    # By the clock: an answer that takes long under load brings two polls closer together.
    counts["rounds"] = 1 + round((polled[-1] - polled[0]) / POLL_INTERVAL)
    return counts


def dials(simulator: Simulator) -> dict[str, int]:
    """Return how often each person of the campaign was called."""
    placed: Sequence[Any] = [it for it in simulator.calls.values() if it.endpoint == "create-phone-call"]
    return dict(Counter(str(call.request["to_number"]) for call in placed))
