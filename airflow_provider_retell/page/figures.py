"""Compute the figures of calls: totals, outcomes, calls over time, lines in use, one page of the list. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from airflow_provider_retell.page.entries import Entry
from airflow_provider_retell.policy.attempts import CONVERSATIONS

BARS: Final = 60
"""The most bars of the chart over time."""

MOST_PER_PAGE: Final = 200
"""The most calls on one page."""

_WIDTHS: Final = (10, 30, 60, 300, 600, 1800, 3600, 3 * 3600, 6 * 3600, 24 * 3600)


@dataclass(frozen=True, kw_only=True)
class Scope:
    """The part of a run's calls to look at; None means no limit.

    Attributes:
        task: The digest of a task's id.
        map_index: A map index; -1 for a task that is not mapped.
        person: A person whom a campaign calls, as in ``Entry.person``.
    """

    task: str | None = None
    map_index: int | None = None
    person: str | None = None

    @classmethod
    def of_person(cls, entry: Entry) -> Scope:
        """Return the scope of all calls to the person of a given call."""
        task, map_index, person = entry.person_key
        return cls(task=task, map_index=None if person else map_index, person=person)

    def select(self, entries: Iterable[Entry]) -> list[Entry]:
        """Return the calls in this scope."""
        return [
            entry
            for entry in entries
            if self.task in {None, entry.task}
            and self.map_index in {None, entry.map_index}
            and self.person in {None, entry.person}
        ]


def totals(entries: Sequence[Entry]) -> dict[str, Any]:
    """Return counts, seconds and cents of some calls.

    ``people`` differ by task and map index, in campaigns by task and number; ``reached`` are those who spoke;
    ``lines`` are live calls, and ``lines_peak`` is the most calls that were connected at the same time.
    """
    live = sum(entry.live for entry in entries)
    return {
        "calls": len(entries),
        "people": len({entry.person_key for entry in entries}),
        "reached": len({entry.person_key for entry in entries if entry.outcome in CONVERSATIONS}),
        "lines": live,
        "lines_peak": max(live, _peak(entries)),
        "talk_seconds": round(sum(entry.talk_seconds for entry in entries), 1),
        "cost_cents": round(sum(entry.cost_cents for entry in entries), 2),
        "undated": sum(not entry.at for entry in entries),
    }


def _peak(entries: Iterable[Entry]) -> int:
    steps: list[tuple[float, int]] = []
    for entry in entries:
        if entry.started_at is not None:
            steps.append((entry.started_at, 1))
            if entry.ended_at is not None:
                steps.append((max(entry.ended_at, entry.started_at), -1))
    now = peak = 0
    for _, step in sorted(steps):  # an end before a beginning at the same time
        now += step
        peak = max(peak, now)
    return peak


def outcomes(entries: Iterable[Entry]) -> dict[str, int]:
    """Return how many calls had each outcome, ``live`` among them, the most frequent first."""
    return dict(Counter(entry.word for entry in entries).most_common())


def over_time(entries: Iterable[Entry]) -> dict[str, Any]:
    """Return the number of calls over time, as bars of a chart.

    ``begin`` is in seconds since the epoch, ``width`` the seconds of a bar. A bar has two numbers: calls in which
    a person spoke, and other calls. Calls without a time are in no bar.
    """
    dated = sorted((entry.at, entry.outcome in CONVERSATIONS) for entry in entries if entry.at)
    if not dated:
        return {"begin": 0, "width": _WIDTHS[0], "bars": []}
    first, last = dated[0][0], dated[-1][0]
    width = next((width for width in _WIDTHS if (last - first) / width < BARS - 1), None)
    if width is None:
        days = (last - first) / _WIDTHS[-1]
        width = _WIDTHS[-1] * (int(days / (BARS - 1)) + 1)
    begin = first // width * width
    bars = [[0, 0] for _ in range(int((last - begin) // width) + 1)]
    for at, spoke in dated:
        bars[int((at - begin) // width)][not spoke] += 1
    return {"begin": begin, "width": width, "bars": bars}


def newest_first(entries: Iterable[Entry]) -> list[Entry]:
    """Return calls as the list shows them: live ones first, then by time, those without a time last."""
    return sorted(entries, key=lambda entry: (not entry.live, -entry.at))


def one_page(
    entries: Sequence[Entry], *, outcome: str | None, offset: int, limit: int, tasks: Mapping[str, str]
) -> dict[str, Any]:
    """Return one page of calls: ``matching`` (how many there are in all), ``offset``, ``rows``.

    Args:
        entries: In the order in which they are shown.
        outcome: Only calls with this outcome, which may be ``live``; None for all.
        offset: The number of calls before the page. Beyond the end, the last page is returned.
        limit: The most calls to return, at most ``MOST_PER_PAGE``.
        tasks: The ids of tasks by their digests.
    """
    found = [entry for entry in entries if outcome in {None, entry.word}]
    limit = min(max(limit, 1), MOST_PER_PAGE)
    offset = min(max(offset, 0), max(len(found) - 1, 0) // limit * limit)
    rows = [to_json(entry, tasks) for entry in found[offset : offset + limit]]
    return {"matching": len(found), "offset": offset, "limit": limit, "rows": rows}


def to_json(entry: Entry, tasks: Mapping[str, str]) -> dict[str, Any]:
    """Return a call as JSON for the page."""
    return {
        "call_id": entry.call_id,
        "task_id": tasks.get(entry.task, ""),
        "map_index": entry.map_index,
        "attempt": entry.attempt,
        "outcome": entry.word,
        "status": entry.status,
        "reason": entry.reason,
        "number": entry.number,
        "agent": entry.agent,
        "started_at": entry.started_at,
        "seconds": entry.talk_seconds,
        "cost_cents": entry.cost_cents,
    }
