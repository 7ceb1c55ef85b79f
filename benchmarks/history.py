"""Measure reading the history of campaigns: 100,000 attempts in 400 files, one for each campaign."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final, get_args

from airflow_provider_retell.files.formats import FileFormat
from benchmarks.figures import Figure

CAMPAIGNS, CALLS = 400, 250
WEEK: Final = timedelta(days=7)
NUMBERS: Final = [f"+1{area}55501{last:02}" for area in range(201, 301) for last in range(100)]
LONGEST_SECONDS, MOST_MEGABYTES = 10, 200


def figures() -> Iterator[Figure]:
    """Write a history, and read it in a Python of its own, for each format of files."""
    for file_format in get_args(FileFormat):
        with tempfile.TemporaryDirectory() as folder:
            write(folder, file_format)
            seconds, megabytes, attempts = _measure(folder)
        yield Figure(
            what=f"reading {attempts:,} attempts in {CAMPAIGNS} files, `{file_format}`, on a disk",
            measured=f"{seconds:.1f} s, {megabytes:.0f} MB",
            goal=f"under {LONGEST_SECONDS} s and {MOST_MEGABYTES} MB",
            met=seconds < LONGEST_SECONDS and megabytes < MOST_MEGABYTES,
            beside="MB beyond those of the process before",
        )


def write(folder: str, file_format: FileFormat) -> None:
    """Write the results of the campaigns of a week."""
    from airflow_provider_retell.campaign.results.results import Results  # noqa: PLC0415 (imports Airflow)

    chance = random.Random(1)  # noqa: S311 (no secret)
    for number in range(CAMPAIGNS):
        results = Results(f"{folder}/{number}", holds=f"campaign {number}", token="1-a", file_format=file_format)  # noqa: S106 (no password)
        results.open(began_at=0)
        results.add([attempt(chance, number * CALLS + call) for call in range(CALLS)])
        results.finish(list)


def attempt(chance: random.Random, number: int) -> dict[str, Any]:
    """Return the row of an attempt, with what a row usually has."""
    placed_at = datetime.now(UTC) - WEEK * chance.random()
    return {
        "call_id": f"call_{number:030x}",
        "agent_id": f"agent_{0:026x}",
        "call_type": "phone_call",
        "call_status": "not_connected",
        "disconnection_reason": "dial_no_answer",
        "outcome": "no_answer",
        "from_number": "+14155550199",
        "to_number": chance.choice(NUMBERS),
        "direction": "outbound",
        "metadata": {"airflow_call": "0" * 64},
        "retell_llm_dynamic_variables": {"name": "Ada"},
        "call_cost": {"combined_cost": 1.5},
        "person_id": f"person-{chance.randrange(50_000)}",
        "attempt": 1,
        "placed_at": placed_at.isoformat(),
        "seen_over_at": (placed_at + timedelta(seconds=40)).isoformat(),
    }


def _measure(folder: str) -> tuple[float, float, int]:
    command = [sys.executable, "-m", "benchmarks.history", folder]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)  # noqa: S603 (our own words)
    (line,) = (line for line in printed.stdout.splitlines() if line.startswith("measured"))
    seconds, megabytes, attempts = line.split()[1:]
    return float(seconds), float(megabytes), int(attempts)


def _read(folder: str) -> None:
    from airflow_provider_retell.campaign.people.person import Person  # noqa: PLC0415
    from airflow_provider_retell.campaign.results.history import History  # noqa: PLC0415 (imports Airflow)

    history = History(folder, memory=WEEK + timedelta(days=1))
    before, began = _megabytes(), time.perf_counter()
    history.refresh(time.time())
    seconds, megabytes = time.perf_counter() - began, _megabytes() - before
    people = [Person(row=row, to_number=number, person_id="") for row, number in enumerate(NUMBERS)]
    print("measured", seconds, megabytes, sum(len(history.of(person)) for person in people))


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    _read(sys.argv[1])
