"""The progress of an export, for the next try and for the log. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Self

from airflow_provider_retell._clock import Clock
from airflow_provider_retell.export.tally import Tally

_SECONDS_BETWEEN_LINES: Final = 30.0


class Section(StrEnum):
    """A list that an export reads; the names of its files begin with the value."""

    DATED = "calls"
    """The calls of the interval."""
    UNDATED = "undated"
    """The calls without a start, which belong to no interval."""


@dataclass
class Progress:
    """The progress of an export: all that a retry needs to continue.

    Attributes:
        section: The list being read.
        cursor: Where its next page begins, None at its beginning.
        chunks: How many chunks of rows are put aside, by section.
        pages: How many pages were read.
        tally: The counts so far.
        done: Whether everything is listed.
    """

    section: Section = Section.DATED
    cursor: str | None = None
    chunks: dict[Section, int] = field(default_factory=dict)
    pages: int = 0
    tally: Tally = field(default_factory=Tally)
    done: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the progress as JSON that ``from_json`` reads."""
        chunks = {section.value: count for section, count in self.chunks.items()}
        return {**vars(self), "section": self.section.value, "chunks": chunks, "tally": self.tally.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the progress that ``to_json`` wrote."""
        section = Section(value["section"])
        chunks = {Section(name): count for name, count in value["chunks"].items()}
        return cls(**{**value, "section": section, "chunks": chunks, "tally": Tally.from_json(value["tally"])})

    def names(self) -> set[str]:
        """Return the names of all files put aside."""
        chunks = {chunk_name(section, number) for section, count in self.chunks.items() for number in range(count)}
        return chunks | {page_name(number) for number in range(self.pages)}


def chunk_name(section: Section, number: int) -> str:
    """Return the name under which the rows of a page are put aside."""
    return f"{section}-{number:06}"


def page_name(number: int) -> str:
    """Return the name under which the ids of a page's calls and the names of their recordings are put aside."""
    return f"page-{number:06}"


class Pulse:
    """Report every half minute how much of the interval is listed; the list begins with the oldest call.

    Args:
        clock: The time.
        tally: The counts so far, which the export updates.
        start: The start of the interval, in milliseconds since the epoch.
        end: Its end.
    """

    def __init__(self, clock: Clock, tally: Tally, *, start: int, end: int) -> None:
        self._clock, self._tally, self._start, self._end = clock, tally, start, end
        self._began = self._last_line = clock.monotonic()
        self._calls_before, self._part_before = tally.calls, self._part()

    def _part(self) -> float:
        """Return the fraction of the interval that is listed, 0 to 1."""
        last = self._tally.last
        return 0.0 if last is None else min(1.0, (last - self._start) / (self._end - self._start))

    def line(self) -> str | None:
        """Return a line for the log, None while the last one is younger than half a minute."""
        now = self._clock.monotonic()
        if now < self._last_line + _SECONDS_BETWEEN_LINES:
            return None
        self._last_line = now
        seconds, part = now - self._began, self._part()
        per_second = (self._tally.calls - self._calls_before) / seconds
        line = f"Calls so far: {self._tally.calls}, {per_second:.0f} per second"
        if part <= self._part_before:
            return line
        left = seconds * (1 - part) / (part - self._part_before)
        return f"{line}; {part:.0%} of the interval, about {left:.0f} s to go"
