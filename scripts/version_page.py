"""Write the tables of docs/versions.md: the results of the tests on each version."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "versions.md"

Outcome = Literal["passed", "skipped", "failed"]
Outcomes = Mapping[str, Outcome]

FEATURES: Final = {
    "calls are registered, waited for and handed on": "test_calls_are_registered_waited_for",
    "the example DAGs run with `dag.test()`": "test_(a_single_call|a_list_of|a_call_ends|the_outcome_chooses)",
    "a failed task rings a phone": "test_a_failed_task_rings_a_phone",
    "the connection form has labelled fields": "test_the_connection_form_has",
    "the link is there while the task waits": "test_the_link_to_the_call",
    "a retry continues with the call of an earlier try": "test_a_retry_goes_on",
    "a retry reads in the task state store which call that is": "test_a_retry_knows",
    "`RetellRetryPolicy` sets the pause before a retry": "test_a_full_account_is_given_time",
    "a deferred task that is marked failed stops its call": "test_a_deferred_task_that_is_marked",
    "a deferred task that is cleared stops its call and places a new one": "test_a_deferred_task_that_is_cleared",
    "a triggerer that is stopped or killed stops no call": "test_a_triggerer_that_ends",
    "a triggerer that loses its triggers to another stops no call": "test_a_triggerer_that_loses",
}
"""The features that an older version may lack, and the tests that prove each of them."""


def counted(result: Outcomes) -> str:
    """Return the number of tests that passed, and of those that failed if there are any."""
    if not result:
        return "not run"
    failed = sum(outcome == "failed" for outcome in result.values())
    passed = sum(outcome == "passed" for outcome in result.values())
    return f"{passed} passed" + f", **{failed} failed**" * bool(failed)


def support(result: Outcomes, pattern: str) -> str:
    """Return the cell of a feature: yes, no, failed or not run."""
    kinds = {outcome for name, outcome in result.items() if re.match(pattern, name.rpartition("::")[2])}
    if len(kinds) > 1 or "failed" in kinds:
        return "**failed**"
    return {"passed": "yes", "skipped": "no"}[kinds.pop()] if kinds else "not run"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def environments_table(results: Mapping[tuple[str, str, str], Outcomes], pythons: Sequence[str]) -> str:
    """Return how many tests passed by Airflow, dependencies and Python, as a table."""
    rows = []
    for airflow, dependencies in dict.fromkeys((airflow, dependencies) for airflow, dependencies, _ in results):
        cells = [results.get((airflow, dependencies, python)) for python in pythons]
        rows.append([airflow, dependencies, *("-" if cell is None else counted(cell) for cell in cells)])
    return table(["Airflow", "dependencies", *(f"Python {python}" for python in pythons)], rows)


def features_table(results: Mapping[str, Outcomes]) -> str:
    """Return which features each Airflow has, as a table."""
    rows = [[name, *(support(it, pattern) for it in results.values())] for name, pattern in FEATURES.items()]
    return f"Measured on {datetime.now(UTC).date()}.\n\n" + table(["", *results], rows)


def write(environments: str, features: str) -> None:
    """Put the tables between their marks in the page."""
    text = PAGE.read_text()
    for name, part in {"environments": environments, "features": features}.items():
        begin, end = f"<!-- {name}: make test-matrix -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n\n{part}\n\n{end}{rest.partition(end)[2]}"
    PAGE.write_text(text)
