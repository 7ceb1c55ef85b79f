"""Measure the export: memory and speed against a bare loop, and the pace of requests.

`python benchmarks/export.py` prints what it measures; `--write` writes it to `benchmarks/export.md` as well. Each
measurement runs in a Python of its own; this process serves the simulator.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow_provider_retell.simulator import Simulator

PAGE = Path(__file__).with_suffix(".md")
FEW, MANY = 10_000, 100_000
ROUNDS = {FEW: 3, MANY: 2}
PACED, PER_SECOND = 1_500, 50
START = datetime.now(UTC) - timedelta(days=4)
END = datetime.now(UTC) - timedelta(minutes=1)


# -- what is measured, each in a process of its own ------------------------------------------------------------


def bare(url: str, folder: str) -> int:
    """Write the pages of list-calls as lines, with nothing around it."""
    import httpx  # noqa: PLC0415 (each measurement imports what it needs, and no more)

    interval = [round(moment.timestamp() * 1000) for moment in (START, END)]
    body: dict[str, Any] = {
        "limit": 1000,
        "sort_order": "ascending",
        "filter_criteria": {"start_timestamp": {"type": "range", "op": "bt", "value": interval}},
    }
    written = 0
    headers = {"authorization": "Bearer key_simulator"}
    with (
        httpx.Client(base_url=url, headers=headers, timeout=60) as client,
        Path(folder, "calls").open("w") as file,
    ):
        while True:
            page = client.post("/v3/list-calls", json=body).raise_for_status().json()
            file.writelines(json.dumps(call) + "\n" for call in page["items"])
            written += len(page["items"])
            if not page["has_more"]:
                return written
            body["pagination_key"] = page["pagination_key"]


def export(_: str, folder: str, **given: Any) -> int:
    """Run the operator as a worker does, but for Airflow's own machinery around it."""
    from airflow_provider_retell.transfers import RetellCallsToObjectStorageOperator  # noqa: PLC0415 (as above)

    class TaskInstance:
        try_number, max_tries = 1, 0

    times: dict[str, Any] = {"start": START, "end": END, "late_arrivals": 0}
    operator = RetellCallsToObjectStorageOperator(task_id="export", path=folder, **times, **given)
    return int(operator.execute({"ti": TaskInstance()})["calls"])  # type: ignore[typeddict-item]


KINDS: dict[str, Any] = {
    "a bare loop": bare,
    "JSON Lines": export,
    "JSON Lines, gzip": lambda *given: export(*given, compression="gzip"),
    "Parquet, zstd": lambda *given: export(*given, file_format="parquet", compression="zstd"),
    "paced": lambda *given: export(*given, include=["transcript"], requests_per_second=PER_SECOND),
}


def child(kind: str, url: str) -> None:
    """Measure one kind, and print what came of it as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        if kind != "a bare loop":
            import airflow_provider_retell.transfers  # noqa: F401, PLC0415 (what a worker has done before)
        # What the process that made this one had at most counts as this one's, until that is set back.
        Path("/proc/self/clear_refs").write_text("5")
        before, imports = resource.getrusage(resource.RUSAGE_SELF), peak_mb()
        began = time.perf_counter()
        calls = KINDS[kind](url, folder)
        seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    result = {"calls": calls, "seconds": seconds, "cpu": cpu, "peak_mb": peak_mb()}
    print(json.dumps({**result, "imports_mb": imports}))


def peak_mb() -> float:
    """Return the most memory that this process had, in MB."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


# -- the measuring ---------------------------------------------------------------------------------------------


def measure(kind: str, simulator: Simulator, url: str, home: str) -> dict[str, float]:
    """Run a measurement in a process of its own."""
    environment = {
        **os.environ,
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_RETELL_DEFAULT": simulator.connection(url),
    }
    command = [sys.executable, __file__, "--child", kind, url]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)  # noqa: S603 (ours)
    measured = json.loads(done.stdout.splitlines()[-1])
    print(f"{kind}: " + ", ".join(f"{name} {value:,.1f}" for name, value in measured.items()), file=sys.stderr)
    return dict(measured)


def compare(count: int, kinds: list[str], home: str) -> list[str]:
    """Return a line of the table for each kind, the speeds being medians of rounds in turns."""
    simulator = Simulator()
    simulator.seed(count)
    with simulator.serve() as url:
        measure("a bare loop", simulator, url, home)  # sorts the simulator's calls
        rounds = [{kind: measure(kind, simulator, url, home) for kind in kinds} for _ in range(ROUNDS[count])]
    speed = {
        kind: statistics.median(each[kind]["calls"] / each[kind]["seconds"] for each in rounds) for kind in kinds
    }
    lines = []
    for kind in kinds:
        peak = max(each[kind]["peak_mb"] for each in rounds)
        imports = max(each[kind]["imports_mb"] for each in rounds)
        clock, cpu = (
            statistics.median(each["a bare loop"][unit] / each[kind][unit] for each in rounds)
            for unit in ("seconds", "cpu")
        )
        calls = int(rounds[0][kind]["calls"])
        lines.append(
            f"| {calls:,} | {kind} | {speed[kind]:,.0f} | {clock:.2f} | {cpu:.2f} | {peak:.0f} | {imports:.0f} |"
        )
    return lines


def paced(home: str) -> list[str]:
    """Return what was seen of the requests of an export with transcripts."""
    simulator = Simulator()
    simulator.seed(PACED)
    with simulator.serve() as url:
        result = measure("paced", simulator, url, home)
        requests = simulator.requests
    count = {name: sum(request.endpoint == name for request in requests) for name in ("list-calls", "get-call")}
    times = sorted(request.time for request in requests)
    fullest = max(sum(begin <= moment < begin + 1 for moment in times) for begin in times)
    rate = (len(times) - 1) / (times[-1] - times[0])
    return [
        f"| pages of list-calls | {count['list-calls']} |",
        f"| calls written | {int(result['calls'])} |",
        f"| requests in all | {len(requests)} |",
        f"| allowed in a second | {PER_SECOND} |",
        f"| in a second, on average | {rate:.1f} |",
        f"| in the fullest second | {fullest} |",
    ]


def main() -> None:
    """Measure everything, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", nargs=2, metavar=("KIND", "URL"), help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    chosen = parser.parse_args()
    if chosen.child:
        child(*chosen.child)
        return
    kinds = ["a bare loop", "JSON Lines", "Parquet, zstd"]
    with tempfile.TemporaryDirectory() as home:
        pace = paced(home)
        table = [*compare(FEW, [*kinds, "JSON Lines, gzip"], home), *compare(MANY, kinds, home)]
    machine = f"Python {platform.python_version()} on {os.cpu_count()} cores ({platform.machine()})"
    text = "\n".join(
        [
            "| calls | written as | calls a second | of a bare loop's speed | by CPU | peak MB | its imports |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *table,
            "",
            "| with transcripts | |",
            "| --- | --- |",
            *pace,
            "",
            f"Measured on {datetime.now(UTC):%Y-%m-%d} with {machine}.",
        ]
    )
    print(text)
    if chosen.write:
        head, _, _ = PAGE.read_text().partition("<!-- measured -->")
        PAGE.write_text(f"{head}<!-- measured -->\n\n{text}\n")


if __name__ == "__main__":
    main()
