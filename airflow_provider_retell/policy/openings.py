"""Compute when a week of windows on the wall clock is open, in seconds since the epoch.

A window belongs to the day on which it begins. One that spans midnight, such as 22:00 to 02:00, ends on the next
date. A closed date is shut, and no window begins on it.

The wall clock is followed exactly: a time that occurs twice is open twice, and a skipped time does not exist. When
the clock jumps from 02:00 to 03:00, a window from 02:30 opens at 03:00, and one from 02:15 to 02:45 not at all on
that day.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache, partial
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo

Span: TypeAlias = tuple[int, int]
"""A beginning and an end in seconds; the end is not part of the span."""

HOUR: Final = 3600
DAY: Final = 24 * HOUR
LONGEST_SEARCH_DAYS: Final = 366 + 7
"""Over a year, so that both changes of the clocks are included."""

_EPOCH: Final = date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class Week:
    """The windows of a week, and the dates without any.

    Attributes:
        windows: For Monday to Sunday, the seconds since midnight at which the day's window begins and ends; over
            ``DAY`` if it ends on the next date; None if the day has none.
        closed: Dates without open hours.
    """

    windows: tuple[Span | None, ...]
    closed: frozenset[date] = frozenset()

    def on(self, day: date) -> list[Span]:
        """Return the parts of the windows that lie on a date, in seconds since its midnight."""
        if day in self.closed:
            return []
        began_before = self._beginning(date.fromordinal(day.toordinal() - 1))
        return [
            *((0, end - DAY) for _, end in began_before if end > DAY),
            *((start, min(end, DAY)) for start, end in self._beginning(day)),
        ]

    def _beginning(self, day: date) -> list[Span]:
        window = None if day in self.closed else self.windows[day.weekday()]
        return [] if window is None else [window]


def next_open(week: Week, zones: tuple[str, ...], at: int) -> int | None:
    """Return the first second that is in a window in each of the zones, ``at`` at the earliest.

    None if there is none in the next ``LONGEST_SEARCH_DAYS`` days.
    """
    today = at // DAY
    to_come = [max(start, at) for start, end in _spans(week, zones, today) if end > at]
    return min(to_come) if to_come else _next_start(week, zones, today + 1)


@lru_cache(maxsize=4096)
def _next_start(week: Week, zones: tuple[str, ...], day: int) -> int | None:
    days = range(day, day + LONGEST_SEARCH_DAYS)
    return next((min(spans)[0] for spans in map(partial(_spans, week, zones), days) if spans), None)


@lru_cache(maxsize=4096)
def _spans(week: Week, zones: tuple[str, ...], day: int) -> list[Span]:
    """Return the spans in which all zones are open on one UTC day, counted from the epoch."""
    spans = [(day * DAY, (day + 1) * DAY)]
    for zone in zones:
        spans = _overlaps(spans, _spans_in_zone(week, zone, day))
    return spans


@lru_cache(maxsize=2**14)
def _spans_in_zone(week: Week, zone: str, day: int) -> list[Span]:
    spans = []
    for start, end, offset in _offsets(zone, day):
        for local_day in range((start + offset) // DAY, (end + offset - 1) // DAY + 1):
            midnight = local_day * DAY - offset
            windows = week.on(date.fromordinal(_EPOCH + local_day))
            spans += _overlaps([(start, end)], [(midnight + opens, midnight + shuts) for opens, shuts in windows])
    return spans


def _overlaps(some: list[Span], others: list[Span]) -> list[Span]:
    pairs = [(max(one[0], other[0]), min(one[1], other[1])) for one in some for other in others]
    return [(start, end) for start, end in pairs if start < end]


@lru_cache(maxsize=2**14)
def _offsets(zone: str, day: int) -> list[tuple[int, int, int]]:
    """Divide a UTC day at the clock changes of a zone: start, end and offset of each part, in seconds."""
    clock = ZoneInfo(zone)
    begin, end = day * DAY, (day + 1) * DAY
    hours = range(begin, end, HOUR)
    changes = [_change(clock, hour) for hour in hours if _offset(clock, hour) != _offset(clock, hour + HOUR)]
    pieces = zip([begin, *changes], [*changes, end], strict=True)
    return [(start, stop, _offset(clock, start)) for start, stop in pieces]


def _change(clock: ZoneInfo, hour: int) -> int:
    """Return the second at which the clock leaves the offset that it has at the beginning of an hour."""
    before = _offset(clock, hour)
    return hour + bisect_left(range(HOUR), 1, key=lambda second: _offset(clock, hour + second) != before)


def _offset(clock: ZoneInfo, second: int) -> int:
    offset = datetime.fromtimestamp(second, clock).utcoffset()
    return 0 if offset is None else round(offset.total_seconds())
