"""Measure what importing the operators and the sensor costs every process that parses a DAG."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

from benchmarks.figures import Figure

ROUNDS: Final = 15
OURS: Final = (  # by name, as a DAG file does: a package loads an operator when it is asked for
    "from airflow_provider_retell.operators import RetellCreatePhoneCallOperator; "
    "from airflow_provider_retell.sensors import RetellCallSensor"
)
# What a hook, an operator, a deferrable sensor and a trigger cannot be written without.
AIRFLOWS: Final = (
    "from airflow.providers.common.compat.connection import get_async_connection; "
    "from airflow.providers.common.compat.sdk import AirflowFailException, BaseHook, BaseOperator, "
    "BaseOperatorLink, BaseSensorOperator, Connection, PokeReturnValue; "
    "from airflow.sdk import RetryPolicy; "
    "from airflow.triggers.base import BaseTrigger"
)
HTTP: Final = "import airflow.providers.http.operators.http, airflow.providers.http.sensors.http"
SDK: Final = "import airflow.sdk"
DAG_FILE: Final = "from airflow.sdk import DAG, task"
WANTED: Final = ("httpx", "pydantic", "airflow_provider_retell.api.models")
MEASURE: Final = """
import sys, time
{before}
loaded, began = set(sys.modules), time.perf_counter()
{imported}
print("measured", time.perf_counter() - began, *sorted({{{wanted}}} & (set(sys.modules) - loaded)))
"""


def figures() -> Iterator[Figure]:
    """Measure in turns, so that a busy moment of the machine affects all in the same way."""
    variants = [(before, imported) for before in (SDK, DAG_FILE) for imported in (OURS, AIRFLOWS, HTTP)]
    times: dict[tuple[str, str], list[float]] = {variant: [] for variant in variants}
    loaded: dict[tuple[str, str], list[str]] = {}
    for _ in range(ROUNDS):
        for variant in variants:
            seconds, loaded[variant] = _import(*variant)
            times[variant].append(seconds * 1000)
    median = {variant: statistics.median(measured) for variant, measured in times.items()}
    for before in (SDK, DAG_FILE):
        ours = median[before, OURS]
        yield Figure(
            what=f"import of `RetellCreatePhoneCallOperator` and `RetellCallSensor` after `{before}`",
            measured=f"{ours:.0f} ms",
            goal="under 40 ms",
            met=ours < 40,  # noqa: PLR2004 (the goal)
            beside=f"what it needs of Airflow: {median[before, AIRFLOWS]:.0f} ms; "
            f"`HttpOperator` and `HttpSensor`: {median[before, HTTP]:.0f} ms",
        )
    yield Figure(
        what=f"of {', '.join(f'`{name}`' for name in WANTED)}, loaded by it",
        measured=", ".join(f"`{name}`" for name in loaded[SDK, OURS]) or "none",
        goal="none",
        met=not loaded[SDK, OURS],
        beside=f"`{SDK}` itself loads {', '.join(_already())}",
    )


def _import(before: str, imported: str) -> tuple[float, list[str]]:
    wanted = ", ".join(map(repr, WANTED))
    words = _run(MEASURE.format(before=before, imported=imported, wanted=wanted))
    return float(words[0]), words[1:]


def _already() -> list[str]:
    return [f"`{name}`" for name in WANTED if name in _run(f"import sys; {SDK}; print('measured', *sys.modules)")]


def _run(code: str) -> list[str]:
    command = [sys.executable, "-c", code]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 (our own words)
    (line,) = (line for line in printed.splitlines() if line.startswith("measured"))
    return line.split()[1:]
