"""A measured figure, as the page shows it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the page.

    Attributes:
        what: What was measured.
        measured: What came out, with its unit.
        goal: What is aimed at; empty where a line is there to compare with.
        met: Whether the goal is reached; None where there is none.
        beside: What the same run gave for what cannot be undercut, or for what one would use instead.
    """

    what: str
    measured: str
    goal: str = ""
    met: bool | None = None
    beside: str = ""

    @property
    def line(self) -> str:
        """The figure as a row of a Markdown table."""
        verdict = {True: "yes", False: "**no**", None: ""}[self.met]
        return f"| {self.what} | {self.measured} | {self.goal} | {verdict} | {self.beside} |"


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that so great a share of the values do not exceed."""
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 1000) - 1]
