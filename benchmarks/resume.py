"""Measure how fast a campaign goes on after a kill, and how much memory a campaign takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from benchmarks.campaign_process import Work, placed, resumed
from benchmarks.figures import Figure

PEOPLE: Final = 10_000
MANY: Final = 100_000
LINES: Final = 2_000
CALLS_PER_SECOND: Final = 2_000.0
MOST_MB, MOST_SECONDS = 300, 30


def figures() -> Iterator[Figure]:
    """Measure the second try of a campaign whose first one has called everybody, and a first one."""
    ten_thousand = resumed(PEOPLE)
    yield Figure(
        what=f"work of the next try after a kill at {PEOPLE:,} calls",
        measured=f"{ten_thousand.cpu:.1f} s of CPU",
        goal=f"under {MOST_SECONDS} s",
        met=ten_thousand.cpu < MOST_SECONDS,
        beside=f"{ten_thousand.seconds:.1f} s by the clock, the simulator's work included",
    )
    many = resumed(MANY)
    yield _peak("each with a call that is over", many)
    first = placed(MANY, lines=LINES, calls_per_second=CALLS_PER_SECOND)
    yield _peak(f"all called by this try, on {LINES:,} lines", first, f"; {first.seconds:.0f} s by the clock")


def _peak(people: str, work: Work, beside: str = "") -> Figure:
    """Return the peak memory of a try with many people, who are described."""
    return Figure(
        what=f"peak memory with {MANY:,} people from a file, {people}",
        measured=f"{work.peak_mb:.0f} MB",
        goal=f"under {MOST_MB} MB",
        met=work.peak_mb < MOST_MB,
        beside=f"before it began: {work.before_mb:.0f} MB{beside}",
    )
