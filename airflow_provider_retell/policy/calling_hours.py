"""The hours in which people may be called, on their own clocks."""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, ClassVar, Final, Self

from airflow_provider_retell._masking import shown
from airflow_provider_retell.policy.openings import DAY, HOUR, Span, Week, next_open
from airflow_provider_retell.policy.refusals import input_error
from airflow_provider_retell.policy.zones import check_zone, zones_of

CALLEE: Final = "callee"
"""The ``time_zone`` that stands for the zones of each person."""

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME: Final = re.compile(r"(?:([01][0-9]|2[0-3]):([0-5][0-9])|24:00)")


@dataclass(frozen=True, init=False, repr=False)
class CallingHours:
    """The hours in which a person may be called, on the person's own wall clock.

    >>> hours = CallingHours("09:00", "20:00", days="mon-fri", exceptions={"sat": ("10:00", "14:00")})
    >>> hours.is_open("+14155550100", datetime(2026, 7, 6, 16, tzinfo=UTC))  # 09:00 in San Francisco
    True
    >>> hours.next_opening("+14155550100", datetime(2026, 7, 4, 21, tzinfo=UTC))  # Saturday 14:00: it has shut
    datetime.datetime(2026, 7, 6, 16, 0, tzinfo=datetime.timezone.utc)

    A window whose start is after its end spans midnight and belongs to the day on which it begins:
    ``CallingHours("22:00", "02:00", days="fri")`` is open on Saturday at 01:00, and shut on Friday at 01:00. When
    the clocks change, a time that occurs twice is open twice, and a time that is skipped does not exist.

    Values with the same meaning are equal, however they are written.

    Args:
        start: The first minute, as ``"HH:MM"``.
        end: The first minute after the window, likewise; ``"24:00"`` is midnight at the end of the day.
        days: Days of the week: ``"mon-fri"``, ``"mon,wed"``, ``"mon-wed,fri"``.
        time_zone: ``"callee"`` takes the zone given for the person, otherwise all zones of the number's area, and
            is open only while all of them are. A name of the IANA database, such as ``"Europe/Berlin"``, applies
            to everybody and overrides the zone given for the person.
        exceptions: Days of the week with other hours, or None for no hours, whether ``days`` names them or not:
            ``{"sat": ("10:00", "14:00"), "sun": None}``.
        closed: Dates on the person's calendar, as ``date`` or ISO text. These dates are closed from midnight to
            midnight, and no window begins on them.

    Raises:
        RetellInputError: A value cannot be read, or the hours would never open.
        RetellTimeZoneError: There is no time zone of this name.
    """

    __version__: ClassVar[int] = 1
    """Stored by Airflow beside a serialised value.

    See https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/serializers.html
    """

    start: str = field(compare=False)
    end: str = field(compare=False)
    days: str = field(compare=False)
    time_zone: str
    exceptions: tuple[tuple[str, tuple[str, str] | None], ...] = field(compare=False)
    closed: tuple[date, ...] = field(compare=False)
    week: Week

    def __init__(
        self,
        start: str = "09:00",
        end: str = "20:00",
        *,
        days: str = "mon-sun",
        time_zone: str = CALLEE,
        exceptions: Mapping[str, tuple[str, str] | None] = {},
        closed: Iterable[date | str] = (),
    ) -> None:
        own = {day: _pair(day, window) for day, window in _items(exceptions)}
        dates = tuple(sorted({_date(each) for each in _listed(closed)}))
        window = _window("start or end", start, end)
        windows: dict[str, Span | None] = dict.fromkeys(_day_names(days), window)
        windows |= {
            day: None if pair is None else _window(f"exceptions[{day!r}]", *pair) for day, pair in own.items()
        }
        if not any(windows.values()):
            raise input_error("CallingHours would never open: exceptions closes each of the days. Leave one open.")
        vars(self).update(
            start=start,
            end=end,
            days=days,
            time_zone=time_zone if time_zone == CALLEE else check_zone(time_zone),
            exceptions=tuple(own.items()),
            closed=dates,
            week=Week(tuple(windows.get(day) for day in _DAYS), frozenset(dates)),
        )

    def is_open(self, number: str | None, at: datetime, time_zone: str | None = None) -> bool:
        """Return whether a person may be called at a given time.

        Args:
            number: The person's number in E.164 form; not used if the zone is known without it.
            at: A datetime with any time zone.
            time_zone: The person's own zone, by its name in the IANA database.

        Raises:
            RetellTimeZoneError: The zone of the number is not known, or there is no zone of this name.
            RetellInputError: ``at`` has no time zone, or the extra ``campaign`` is needed and not installed.
        """
        second = _second(at)
        return next_open(self.week, self._zones(number, time_zone), second) == second

    def next_opening(self, number: str | None, at: datetime, time_zone: str | None = None) -> datetime | None:
        """Return when a person may be called, ``at`` at the earliest, in UTC.

        That is ``at`` itself if the hours are open then, and None if they do not open in the next 373 days,
        because ``closed`` has them all, or the number's zones are never open together: then give ``time_zone``.

        Arguments and errors are those of ``is_open``.
        """
        second = _second(at)
        opens = next_open(self.week, self._zones(number, time_zone), second)
        if opens is None:
            return None
        return at.astimezone(UTC) if opens == second else datetime.fromtimestamp(opens, UTC)

    def _zones(self, number: str | None, time_zone: str | None) -> tuple[str, ...]:
        if self.time_zone != CALLEE:
            return (self.time_zone,)
        return zones_of(str(number or "")) if time_zone is None else (check_zone(time_zone),)

    def __repr__(self) -> str:
        given = [repr(self.start), repr(self.end)]
        given += [f"days={self.days!r}"] if self.days != "mon-sun" else []
        given += [f"time_zone={self.time_zone!r}"] if self.time_zone != CALLEE else []
        given += [f"exceptions={dict(self.exceptions)!r}"] if self.exceptions else []
        given += [f"closed={[day.isoformat() for day in self.closed]!r}"] if self.closed else []
        return f"CallingHours({', '.join(given)})"

    def serialize(self) -> dict[str, Any]:
        """Return the arguments as JSON, for Airflow."""
        return {
            "start": self.start,
            "end": self.end,
            "days": self.days,
            "time_zone": self.time_zone,
            "exceptions": {day: window and list(window) for day, window in self.exceptions},
            "closed": [day.isoformat() for day in self.closed],
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any], version: int) -> Self:
        """Return the value that ``serialize`` returned, for Airflow."""
        _ = version  # there is one so far
        return cls(**data)


def _second(at: datetime) -> int:
    """Return whole seconds since the epoch, since no window begins or ends within one."""
    if not isinstance(at, datetime) or at.utcoffset() is None:
        raise input_error(f"at must be a datetime with a time zone, such as datetime.now(UTC), not {at!r}.")
    return timegm(at.utctimetuple())


def _seconds(argument: str, time: str) -> int:
    match = _TIME.fullmatch(time) if isinstance(time, str) else None
    if match is None:
        raise input_error(f'{argument} of CallingHours must be "HH:MM" from "00:00" to "24:00", not {time!r}.')
    return int(match[1]) * HOUR + int(match[2]) * 60 if match[1] else DAY


def _window(argument: str, start: str, end: str) -> Span:
    opens, shuts = _seconds(argument, start), _seconds(argument, end)
    if opens in {shuts, DAY}:
        raise input_error(
            f'{argument} of CallingHours: from {start} to {end} it would never open. Write "00:00", "24:00" for '
            "the complete day. Leave a day without calls out of days, or write None for it in exceptions."
        )
    return (opens, shuts if opens < shuts else shuts + DAY)


def _day(argument: str, day: object) -> int:
    if day not in _DAYS:
        raise input_error(
            f"{argument} of CallingHours names days as {', '.join(_DAYS)}, such as "
            f'"mon-fri" or "mon,wed", not {day!r}.'
        )
    return _DAYS.index(str(day))


def _day_names(days: str) -> list[str]:
    """Return the days that a text such as "mon-wed,fri" names."""
    names = []
    for part in days.split(",") if isinstance(days, str) else [days]:
        first, dash, last = part.partition("-") if isinstance(part, str) else (part, "", "")
        begin = _day("days", first)
        end = _day("days", last) if dash else begin
        names += [_DAYS[(begin + n) % 7] for n in range((end - begin) % 7 + 1)]
    return names


def _items(exceptions: object) -> Iterable[tuple[str, Any]]:
    if not isinstance(exceptions, Mapping):
        raise input_error(
            'exceptions of CallingHours is a dict such as {"sat": ("10:00", "14:00"), "sun": None}, '
            f"not {exceptions!r}."
        )
    return exceptions.items()


def _pair(day: str, window: object) -> tuple[str, str] | None:
    _day("exceptions", day)
    match window:
        case None:
            return None
        case [str(start), str(end)]:
            return (start, end)
    raise input_error(
        f'exceptions[{day!r}] of CallingHours is a pair such as ("10:00", "14:00"), or None, not {window!r}.'
    )


def _listed(closed: object) -> Iterable[object]:
    if isinstance(closed, str | date) or not isinstance(closed, Iterable):
        raise input_error(f'closed of CallingHours is a list of dates such as ["2026-12-25"], not {closed!r}.')
    return closed


def _date(given: object) -> date:
    try:
        day = date.fromisoformat(given) if isinstance(given, str) else given
    except ValueError:
        day = given
    if isinstance(day, datetime) or not isinstance(day, date):
        raise input_error(
            f'closed of CallingHours takes dates, such as date(2026, 12, 25) or "2026-12-25", not {shown(given)}.'
        )
    return date(day.year, day.month, day.day)
