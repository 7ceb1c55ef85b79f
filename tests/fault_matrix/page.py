"""The page that says what was measured."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from string import Template
from typing import Final

import airflow_provider_retell
from fault_matrix import campaigns
from fault_matrix.cells import Figures
from fault_matrix.columns import COLUMNS, Column
from fault_matrix.load import Load, describe
from fault_matrix.measure import Results
from fault_matrix.row import Group, Row
from fault_matrix.stage import HERE

PACKAGES: Final = {
    "Airflow": "apache-airflow",
    "retell-sdk": "retell-sdk",
    "apache-airflow-providers-http": "apache-airflow-providers-http",
}

TEMPLATE: Final = Template((HERE / "page.md").read_text())
"""All that is written by hand; a `$` names what is measured."""


def page(rows: Sequence[Row], results: Results, load: Load, called: campaigns.Outcomes) -> str:
    """Return the page."""
    tables = {
        group.name.lower(): f"## {group.value}\n\n{group.goal}\n\n"
        + _table([row for row in rows if row.group is group], results)
        for group in Group
    }
    return TEMPLATE.substitute(
        measured=_measured(), load=describe(load), campaigns=campaigns.describe(called), **tables
    )


def _measured() -> str:
    versions = [f"{name} {version(package)}" for name, package in PACKAGES.items()]
    ours = f"airflow-provider-retell {airflow_provider_retell.__version__}"
    python = f"Python {platform.python_version()}"
    return f"Measured on {datetime.now(UTC):%Y-%m-%d} with {', '.join([ours, *versions, python])}."


def _table(rows: Sequence[Row], results: Results) -> str:
    notes: dict[str, int] = {}
    lines = [_line(["fault", *(column.title for column in COLUMNS)]), _line(["---"] * (len(COLUMNS) + 1))]
    for row in rows:
        cells = [_cell(row, column, results[row.name].get(column.dag), notes) for column in COLUMNS]
        lines.append(_line([row.title, *cells]))
    footnotes = [f"({number}) {reason}" for reason, number in notes.items()]
    return "\n".join(lines + [f"\n{note}" for note in footnotes])


def _cell(row: Row, column: Column, figures: Figures | None, notes: dict[str, int]) -> str:
    if figures is None:
        return "n/a"
    if row.reached(column, figures):
        in_vain = figures.in_vain(column)
        return f"yes ({in_vain} in vain)" if in_vain else "yes"
    miss = row.misses.get(column.dag)
    note = f" ({notes.setdefault(miss.reason, len(notes) + 1)})" if miss else ""
    return f"**{figures.shown()}**{note}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
