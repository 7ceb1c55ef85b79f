"""A measured figure, as the page shows it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the page.

    Attributes:
        what: The measured thing.
        measured: The result, with its unit.
        goal: The goal; empty if the line is only there to compare with.
        met: Whether the goal is reached; None if there is none.
        beside: The same figure for the lower bound, or for the alternative.
        floor: The same figure for Airflow alone, in a column of its own; None if the part has no such column.
    """

    what: str
    measured: str
    goal: str = ""
    met: bool | None = None
    beside: str = ""
    floor: str | None = None

    @property
    def line(self) -> str:
        """The figure as a row of a Markdown table."""
        verdict = {True: "yes", False: "**no**", None: ""}[self.met]
        line = f"| {self.what} | {self.measured} | {self.goal} | {verdict} | {self.beside} |"
        return line if self.floor is None else f"{line} {self.floor} |"


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that a given share of the values does not exceed."""
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 1000) - 1]
