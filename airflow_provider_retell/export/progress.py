"""How far an export is: for the next try to go on from, and for a person who reads the log. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from airflow_provider_retell._clock import Clock
from airflow_provider_retell.export.tally import Tally

_BETWEEN_LINES: Final = 30.0
"""Seconds between two lines of progress in the log."""


@dataclass
class Progress:
    """How far an export is: all that a retry needs to go on.

    Attributes:
        section: What is being listed: ``calls`` or ``undated``.
        cursor: Where its next page begins, None at its beginning.
        chunks: How many chunks are put aside of each section.
        pages: How many pages were read.
        tally: What was counted.
        done: Whether nothing is left to be listed.
    """

    section: str = "calls"
    cursor: str | None = None
    chunks: dict[str, int] = field(default_factory=dict)
    pages: int = 0
    tally: Tally = field(default_factory=Tally)
    done: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it so that ``from_json`` can go on from it."""
        return {**vars(self), "chunks": dict(self.chunks), "tally": self.tally.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return what ``to_json`` wrote."""
        return cls(**{**value, "chunks": dict(value["chunks"]), "tally": Tally.from_json(value["tally"])})

    def names(self) -> set[str]:
        """Return the names of all that is put aside."""
        chunks = {chunk_name(section, number) for section, count in self.chunks.items() for number in range(count)}
        return chunks | {page_name(number) for number in range(self.pages)}


def chunk_name(section: str, number: int) -> str:
    """Return the name under which the rows of a page are put aside."""
    return f"{section}-{number:06}"


def page_name(number: int) -> str:
    """Return the name under which it is put aside which calls and recordings a page had."""
    return f"page-{number:06}"


class Pulse:
    """Says now and then how far the list is; it goes from the oldest call to the newest.

    Args:
        clock: What time it is.
        tally: What was counted so far, and goes on being.
        start: The start of the interval, in milliseconds since the epoch.
        end: Its end.
    """

    def __init__(self, clock: Clock, tally: Tally, *, start: int, end: int) -> None:
        self._clock, self._tally, self._start, self._end = clock, tally, start, end
        self._began = self._told = clock.now()
        self._calls, self._part = tally.calls, self._reached()

    def _reached(self) -> float:
        """Return which part of the interval is listed."""
        last = self._tally.last
        return 0.0 if last is None else min(1.0, (last - self._start) / (self._end - self._start))

    def line(self) -> str | None:
        """Return a line for the log, None as long as the last one is not old."""
        now = self._clock.now()
        if now < self._told + _BETWEEN_LINES:
            return None
        self._told = now
        seconds, part = now - self._began, self._reached()
        line = f"{self._tally.calls} calls so far, {(self._tally.calls - self._calls) / seconds:.0f} a second"
        if part <= self._part:
            return line
        left = seconds * (1 - part) / (part - self._part)
        return f"{line}; {part:.0%} of the interval, about {left:.0f} s to go"
