"""Wait for a thousand calls while Retell stumbles: `make soak`.

Every wait must end, and rightly: with the status the call really has, never before the call is over; at its
deadline if the call is not over by then; with an error for a call that Retell does not know; cancelled if it was
cancelled. The same seed gives the same calls, waits and faults, though not at the same split second.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from airflow_provider_retell.simulator import Simulator
from benchmarks import retell, soak_plan
from benchmarks.retell import RetellProcess
from benchmarks.soak_plan import ANALYSIS_TIMEOUT, CALM, CLIENT_TIMEOUT, Wait

LATE: Final = 45.0
"""Seconds after which an event counts as late: several polls in a row may have failed."""
CLOCKS: Final = 0.05
"""Seconds by which an event may seem early: Retell rounds its milliseconds."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The end of a wait.

    Attributes:
        ending: The word of the event, or ``cancelled``.
        at: When, in seconds since the epoch.
        event: What the event held.
    """

    ending: str
    at: float
    event: Mapping[str, Any]


async def resolve(wait: Wait) -> Ended:
    """Run the trigger of a wait as a triggerer does, and cancel it if it is meant to be."""
    from airflow_provider_retell.triggers import RetellCallTrigger  # noqa: PLC0415 (Airflow's home is set by then)

    trigger = RetellCallTrigger(
        call_ids=wait.call_ids,
        retell_conn_id="retell_default",
        deadline=wait.deadline,
        poll_interval=wait.poll_interval,
        wait_for=wait.wait_for,
        analysis_timeout=ANALYSIS_TIMEOUT,
    )

    async def run() -> Mapping[str, Any]:
        (event,) = [event async for event in trigger.run()]
        payload: dict[str, Any] = event.payload
        return payload

    running = asyncio.create_task(run())
    if wait.ending == "cancelled" and wait.due is not None:
        await asyncio.wait([running], timeout=max(0.0, wait.due - time.time()))
        running.cancel()
    try:
        event = await asyncio.wait_for(running, wait.deadline + LATE - time.time())
    except asyncio.CancelledError:
        return Ended(ending="cancelled", at=time.time(), event={})
    except TimeoutError:
        return Ended(ending="never", at=time.time(), event={})
    return Ended(ending=str(event["wake"]), at=time.time(), event=event)


def complaint(wait: Wait, ended: Ended) -> str | None:
    """Return what is wrong with the end of a wait, None if it is right."""
    if ended.ending != wait.ending:
        return f"ended as {ended.ending}, not {wait.ending} {ended.event.get('message', '')}".strip()
    if wait.ending == "over" and ended.event["calls"] != wait.statuses:
        return f"says {ended.event['calls']}, not {wait.statuses}"
    if wait.due is not None and ended.at < wait.due - CLOCKS:
        return f"ended {wait.due - ended.at:.2f} s early"
    if wait.due is not None and ended.at > wait.due + LATE:
        return f"ended {ended.at - wait.due:.1f} s late"
    return None


async def soak(process: RetellProcess, dice: Random, planned: Sequence[Wait], seconds: float) -> list[Ended]:
    """Run all waits at once, while faults come and go, and return how each ended."""
    begin = time.monotonic()

    async def stumble() -> None:
        while time.monotonic() < begin + seconds:
            await asyncio.to_thread(process.ask, soak_plan.strike, soak_plan.faults(dice))
            await asyncio.sleep(dice.uniform(0.5, 6.0))
        await asyncio.to_thread(process.ask, soak_plan.strike, [])

    stumbling = asyncio.create_task(stumble())
    ended = await asyncio.gather(*map(resolve, planned))
    await stumbling
    return ended


def run(count: int, *, listed: bool, seed: int, seconds: float) -> bool:
    """Soak in one of the two worlds that may be Retell's, report, and return whether all was right."""
    dice = Random(seed)  # noqa: S311 (no secrets are drawn here)
    numbers = soak_plan.scenarios(dice, count, seconds)
    with RetellProcess(numbers=numbers, dial_delay=0, list_registered=listed) as process:
        begin = time.time()
        process.ask(retell.register, list(numbers))
        os.environ["AIRFLOW_CONN_RETELL_DEFAULT"] = process.with_extra(timeout=CLIENT_TIMEOUT, max_retry_delay=2)
        planned = list(soak_plan.waits(dice, process.ask(soak_plan.calls), begin, seconds))
        ended = asyncio.run(soak(process, dice, planned, seconds))
        met = Counter(process.ask(faults_met))
    wrong = [
        (wait, problem)
        for wait, end in zip(planned, ended, strict=True)
        if (problem := complaint(wait, end)) is not None
    ]
    kinds = Counter(wait.ending for wait in planned)
    delays = sorted(
        end.at - wait.due for wait, end in zip(planned, ended, strict=True) if wait.ending == "over" and wait.due
    )
    print(
        f"list-calls {'shows' if listed else 'does not show'} registered calls: {len(planned)} waits "
        f"({', '.join(f'{count} {kind}' for kind, count in kinds.most_common())}), "
        f"{sum(met.values())} requests, of which met a fault: "
        f"{', '.join(f'{count} {kind}' for kind, count in met.most_common() if kind) or 'none'}; "
        f"from the end to the event: median {delays[len(delays) // 2]:.1f} s, longest {delays[-1]:.1f} s; "
        f"{len(wrong)} wrong.",
        flush=True,
    )
    for wait, problem in wrong[:20]:
        print(f"  waited for {wait.wait_for}: {wait.statuses or wait.call_ids}: {problem}", flush=True)
    return not wrong


def faults_met(simulator: Simulator) -> list[str | None]:
    """Return the faults that each request met."""
    return [request.fault for request in simulator.requests]


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="of each of the two worlds")
    parser.add_argument("--waits", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="airflow-soak-") as home:
        os.environ |= {"AIRFLOW_HOME": home, "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
        right = [
            run(chosen.waits, listed=listed, seed=chosen.seed, seconds=chosen.minutes * 60 - CALM)
            for listed in (True, False)
        ]
    return 0 if all(right) else 1


if __name__ == "__main__":
    sys.exit(main())
