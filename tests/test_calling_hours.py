"""Test that people are called only within the hours that their own clocks show."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pendulum
import pytest
from conftest import twins
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_retell.errors import RetellInputError, RetellTimeZoneError
from airflow_provider_retell.policy import CallingHours
from airflow_provider_retell.policy.zones import zones_of

SAN_FRANCISCO, PHOENIX, HOUSTON, PENSACOLA = "+14155550100", "+16025550100", "+17135550100", "+18505550100"
CHATTANOOGA, TOLL_FREE, NEW_YORK = "+14235550100", "+18005550100", "America/New_York"
DEFAULT = CallingHours()
AT_NIGHT = CallingHours("22:00", "02:00", days="fri")
OPEN = None
NEVER = "never"

CASES: list[tuple[str, CallingHours, str, str, str | None]] = [
    # in words, the hours, the number or the person's zone, at, when it opens next
    ("nine in San Francisco, in summer", DEFAULT, SAN_FRANCISCO, "2026-07-06T16:00Z", OPEN),
    ("a minute before", DEFAULT, SAN_FRANCISCO, "2026-07-06T15:59Z", "2026-07-06T16:00Z"),
    ("a second before eight in the evening", DEFAULT, SAN_FRANCISCO, "2026-07-07T02:59:59Z", OPEN),
    ("eight in the evening", DEFAULT, SAN_FRANCISCO, "2026-07-07T03:00Z", "2026-07-07T16:00Z"),
    ("nine in San Francisco, in winter", DEFAULT, SAN_FRANCISCO, "2026-01-05T16:30Z", "2026-01-05T17:00Z"),
    ("Phoenix in summer keeps winter's time", DEFAULT, PHOENIX, "2026-07-06T15:30Z", "2026-07-06T16:00Z"),
    ("Phoenix in winter", DEFAULT, PHOENIX, "2026-01-05T15:30Z", "2026-01-05T16:00Z"),
    ("New York, the last day of winter time", DEFAULT, NEW_YORK, "2026-03-07T13:30Z", "2026-03-07T14:00Z"),
    ("New York, the first day of summer time", DEFAULT, NEW_YORK, "2026-03-08T12:30Z", "2026-03-08T13:00Z"),
    ("New York, the first day of winter time", DEFAULT, NEW_YORK, "2026-11-01T13:30Z", "2026-11-01T14:00Z"),
    ("an hour that comes twice, first", CallingHours("01:00", "02:00"), NEW_YORK, "2026-11-01T05:30Z", OPEN),
    ("an hour that comes twice, again", CallingHours("01:00", "02:00"), NEW_YORK, "2026-11-01T06:30Z", OPEN),
    (
        "half a window is skipped",
        CallingHours("02:30", "03:30"),
        NEW_YORK,
        "2026-03-08T06:45Z",
        "2026-03-08T07:00Z",
    ),
    (
        "a complete window is skipped",
        CallingHours("02:15", "02:45"),
        NEW_YORK,
        "2026-03-08T06:45Z",
        "2026-03-09T06:15Z",
    ),
    (
        "Lord Howe goes back by half an hour: 01:45 the first time",
        CallingHours("01:30", "02:00"),
        "Australia/Lord_Howe",
        "2026-04-04T14:45Z",
        OPEN,
    ),
    (
        "Lord Howe goes back by half an hour: 01:45 again",
        CallingHours("01:30", "02:00"),
        "Australia/Lord_Howe",
        "2026-04-04T15:15Z",
        OPEN,
    ),
    (
        "Lord Howe goes forward by half an hour",
        CallingHours("02:00", "03:00"),
        "Australia/Lord_Howe",
        "2026-10-03T15:00Z",
        "2026-10-03T15:30Z",
    ),
    (
        "Kathmandu, five hours and three quarters",
        DEFAULT,
        "Asia/Kathmandu",
        "2026-07-06T03:00Z",
        "2026-07-06T03:15Z",
    ),
    ("Samoa had no 30 December 2011", DEFAULT, "Pacific/Apia", "2011-12-30T06:00Z", "2011-12-30T19:00Z"),
    ("which was a Friday", CallingHours(days="fri"), "Pacific/Apia", "2011-12-30T06:00Z", "2012-01-05T19:00Z"),
    (
        "Kiritimati's Monday",
        CallingHours(days="mon"),
        "Pacific/Kiritimati",
        "2026-07-05T18:00Z",
        "2026-07-05T19:00Z",
    ),
    (
        "Dublin, where winter time is the exception",
        DEFAULT,
        "Europe/Dublin",
        "2026-01-05T08:00Z",
        "2026-01-05T09:00Z",
    ),
    (
        "+1 850 at nine in Tallahassee, eight in Pensacola",
        DEFAULT,
        PENSACOLA,
        "2026-07-06T13:00Z",
        "2026-07-06T14:00Z",
    ),
    (
        "+1 850 at eight in Tallahassee, seven in Pensacola",
        DEFAULT,
        PENSACOLA,
        "2026-07-07T00:00Z",
        "2026-07-07T14:00Z",
    ),
    ("+1 423 at half past nine in Chattanooga", DEFAULT, CHATTANOOGA, "2026-07-06T13:30Z", "2026-07-06T14:00Z"),
    ("+1 850 in an hour of two zones", CallingHours("09:00", "10:00"), PENSACOLA, "2026-07-06T13:00Z", NEVER),
    (
        "+1 850 in a window of 61 minutes",
        CallingHours("09:00", "10:01"),
        PENSACOLA,
        "2026-07-06T14:01Z",
        "2026-07-07T14:00Z",
    ),
    ("Saturday at one belongs to Friday", AT_NIGHT, NEW_YORK, "2026-07-11T05:00Z", OPEN),
    ("Friday at one belongs to Thursday", AT_NIGHT, NEW_YORK, "2026-07-10T05:00Z", "2026-07-11T02:00Z"),
    ("Saturday at two", AT_NIGHT, NEW_YORK, "2026-07-11T06:00Z", "2026-07-18T02:00Z"),
    ("Christmas", CallingHours(closed=["2026-12-25"]), "Europe/Berlin", "2026-12-25T10:00Z", "2026-12-26T08:00Z"),
    (
        "New Year's morning is closed, and no window begins in its evening",
        CallingHours("22:00", "02:00", closed=[date(2027, 1, 1)]),
        NEW_YORK,
        "2027-01-01T05:30Z",
        "2027-01-03T03:00Z",
    ),
    ("Friday evening", CallingHours(days="mon-fri"), NEW_YORK, "2026-07-11T00:00Z", "2026-07-13T13:00Z"),
    (
        "Sunday in Texas from noon",
        CallingHours("09:00", "21:00", exceptions={"sun": ("12:00", "21:00")}),
        HOUSTON,
        "2026-07-05T15:00Z",
        "2026-07-05T17:00Z",
    ),
    ("a second before midnight", CallingHours("18:00", "24:00"), NEW_YORK, "2026-07-07T03:59:59Z", OPEN),
    ("midnight", CallingHours("18:00", "24:00"), NEW_YORK, "2026-07-07T04:00Z", "2026-07-07T22:00Z"),
    ("29 February", CallingHours(closed=["2028-02-29"]), "UTC", "2028-02-29T09:00Z", "2028-03-01T09:00Z"),
    ("one clock for everybody", CallingHours(time_zone="Europe/Berlin"), NEW_YORK, "2026-07-06T07:00Z", OPEN),
]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def person(number_or_zone: str) -> dict[str, str | None]:
    if number_or_zone.startswith("+"):
        return {"number": number_or_zone}
    return {"number": None, "time_zone": number_or_zone}


@pytest.mark.parametrize(("words", "hours", "who", "at", "opens"), CASES, ids=[case[0] for case in CASES])
def test_dated_cases(words: str, hours: CallingHours, who: str, at: str, opens: str | None) -> None:
    """Hours are read off the clock of the person, whatever the clock does on that day."""
    expected = None if opens == NEVER else moment(opens or at)
    assert hours.next_opening(at=moment(at), **person(who)) == expected
    assert hours.is_open(at=moment(at), **person(who)) == (opens is OPEN)


def test_a_year_is_searched_and_no_more() -> None:
    """A window that is closed for a year is found; hours that stay closed longer never open."""
    sundays = [date(2026, 1, 4) + timedelta(weeks=n) for n in range(104)]
    at = moment("2026-01-01T12:00Z")
    a_year = CallingHours(days="sun", time_zone="UTC", closed=sundays[:52])
    assert a_year.next_opening(None, at) == moment("2027-01-03T09:00Z")
    two_years = CallingHours(days="sun", time_zone="UTC", closed=sundays)
    assert two_years.next_opening(None, at) is None
    assert not two_years.is_open(None, at)


# -- against a reference that is slow and written differently ---------------------------------------------------

NAMES = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
ZONES = [
    *("America/New_York", "America/Phoenix", "America/St_Johns", "Europe/Dublin", "Africa/Casablanca"),
    *("Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Chatham", "Pacific/Apia", "America/Sao_Paulo", "UTC"),
]
NUMBERS = [PENSACOLA, CHATTANOOGA, "+12085550100", "+16055550100", "+19075550100", SAN_FRANCISCO]
WALKED_DAYS = 9
PROPERTY = settings(max_examples=120, deadline=None, derandomize=True, database=None)


def days_of_changes(zone: str) -> list[datetime]:
    """Return the midnights (UTC) of some years after which a zone's clocks change within a day."""
    midnights = [datetime(year, 1, 1, tzinfo=UTC) + timedelta(day) for year in (2011, 2026) for day in range(366)]
    offsets = [each.astimezone(ZoneInfo(zone)).utcoffset() for each in midnights]
    return [day for day, one, next_ in zip(midnights, offsets, offsets[1:], strict=False) if one != next_]


CHANGES = sorted({day for zone in ZONES for day in days_of_changes(zone)})
TIMES = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 1, 15, 30, 45, 59]))
WINDOWS = st.tuples(TIMES, TIMES | st.just("24:00")).filter(lambda window: window[0] != window[1])
MOMENTS = st.builds(
    lambda day, minutes: day + timedelta(minutes=minutes),
    st.sampled_from(CHANGES) | st.datetimes(datetime(2010, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 (hypothesis adds it)
    st.integers(-36 * 60, 60 * 60),
).map(lambda at: at.replace(second=0, microsecond=0))


@st.composite
def written(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the arguments of hours that open."""
    start, end = draw(WINDOWS)
    exceptions = draw(st.dictionaries(st.sampled_from(NAMES), WINDOWS | st.none(), max_size=3))
    days = draw(st.lists(st.sampled_from(NAMES), min_size=4, unique=True))
    closed = draw(st.lists(st.sampled_from(CHANGES).map(datetime.date), max_size=3))
    return {"start": start, "end": end, "days": ",".join(days), "exceptions": exceptions, "closed": closed}


def reads_open(hours: dict[str, Any], zone: str, at: datetime) -> bool:
    """Return whether hours are open, by comparing the clock's time as text."""

    def window(day: date) -> tuple[str, str] | None:
        name = NAMES[day.weekday()]
        usual = (hours["start"], hours["end"]) if name in hours["days"].split(",") else None
        return None if day in hours["closed"] else hours["exceptions"].get(name, usual)

    wall = at.astimezone(ZoneInfo(zone))
    clock, today = f"{wall:%H:%M}", wall.date()
    if today in hours["closed"]:
        return False
    if begins := window(today):
        start, end = begins
        if start <= clock and (clock < end or end < start):
            return True
    if began := window(today - timedelta(days=1)):
        start, end = began
        return end < start and clock < end
    return False


@PROPERTY
@given(hours=written(), who=st.sampled_from(ZONES + NUMBERS), at=MOMENTS, seconds=st.integers(0, 59))
def test_open_is_what_the_clocks_on_the_wall_show(
    hours: dict[str, Any], who: str, at: datetime, seconds: int
) -> None:
    """It is open while the clock of each zone is inside a window, to the second."""
    zones = zones_of(who) if who.startswith("+") else (who,)
    expected = all(reads_open(hours, zone, at) for zone in zones)
    assert CallingHours(**hours).is_open(at=at + timedelta(seconds=seconds), **person(who)) == expected


@PROPERTY
@given(hours=written(), who=st.sampled_from(ZONES + NUMBERS), at=MOMENTS)
@example(
    hours={"start": "02:15", "end": "02:45", "days": "sun", "exceptions": {}, "closed": []},
    who=NEW_YORK,
    at=moment("2026-03-08T00:00Z"),
)
def test_the_next_opening_is_the_first_minute_that_is_open(hours: dict[str, Any], who: str, at: datetime) -> None:
    """Minute by minute: all before it are shut, it is open, and so it is to the second."""
    zones = zones_of(who) if who.startswith("+") else (who,)
    minutes = (at + timedelta(minutes=n) for n in range(WALKED_DAYS * 24 * 60))
    first = next((each for each in minutes if all(reads_open(hours, zone, each) for zone in zones)), None)
    opens = CallingHours(**hours).next_opening(at=at, **person(who))
    if first is None:
        assert opens is None or opens >= at + timedelta(days=WALKED_DAYS)
    else:
        assert opens == first
        assert opens == at or not CallingHours(**hours).is_open(at=opens - timedelta(seconds=1), **person(who))


@PROPERTY
@given(hours=written(), who=st.sampled_from(ZONES + NUMBERS), at=MOMENTS)
def test_hours_are_open_when_they_open_next(hours: dict[str, Any], who: str, at: datetime) -> None:
    """A task that waits until the next opening may call then."""
    policy = CallingHours(**hours)
    opens = policy.next_opening(at=at, **person(who))
    assert opens is None or (opens >= at and policy.is_open(at=opens, **person(who)))
    assert policy.is_open(at=at, **person(who)) == (opens == at)


# -- whose clock -------------------------------------------------------------------------------------------------


def test_the_zone_given_for_a_person_wins() -> None:
    """A number from Pensacola whose owner lives in New York is called from nine on in New York."""
    at = moment("2026-07-06T13:00Z")
    assert not DEFAULT.is_open(PENSACOLA, at)
    assert DEFAULT.is_open(PENSACOLA, at, NEW_YORK)


def test_a_zone_of_the_hours_holds_for_everybody() -> None:
    """A fixed zone overrides the number and the person's own zone."""
    hours = CallingHours(time_zone="Europe/Berlin")
    assert hours.is_open(None, moment("2026-07-06T07:00Z"))
    assert not hours.is_open(SAN_FRANCISCO, moment("2026-07-06T18:00Z"), "America/Los_Angeles")


@pytest.mark.parametrize("number", [TOLL_FREE, None, "", "+1", "2125550100", 12125550100, "+12425550100"])
def test_a_number_without_a_zone_is_refused(number: Any) -> None:
    """Toll-free, missing, national and unknown numbers: none is guessed."""
    for ask in (DEFAULT.is_open, DEFAULT.next_opening):
        with pytest.raises(RetellTimeZoneError, match=r"Give .*person's own time_zone") as raised:
            ask(number, moment("2026-07-06T16:00Z"))
        assert str(number or TOLL_FREE) not in str(raised.value) or number == "+1"


def test_a_toll_free_number_with_a_zone_is_called() -> None:
    """The zone is all that the hours need."""
    assert DEFAULT.is_open(TOLL_FREE, moment("2026-07-06T13:00Z"), NEW_YORK)


@pytest.mark.parametrize(
    "zone", ["Mars/Olympus", "EST", "", "America", "../UTC", "/etc/hosts", "localtime", 5, ["UTC"]]
)
def test_an_unknown_zone_is_refused(zone: Any) -> None:
    """An unknown zone of the hours is refused when the DAG is parsed, one of a person when the hours are asked."""
    with pytest.raises(RetellTimeZoneError, match="IANA"):
        CallingHours(time_zone=zone)
    with pytest.raises(RetellTimeZoneError, match="IANA"):
        DEFAULT.is_open(SAN_FRANCISCO, moment("2026-07-06T16:00Z"), zone)


@pytest.mark.parametrize("opens", ["2026-07-06T16:00+00:00", "2026-07-06T09:00-07:00"])
def test_a_moment_may_be_in_any_zone(opens: str) -> None:
    """Its class does not matter: Airflow's context holds moments of pendulum's."""
    at = pendulum.parse(opens)
    assert isinstance(at, pendulum.DateTime)
    assert DEFAULT.is_open(SAN_FRANCISCO, at)
    assert not DEFAULT.is_open(SAN_FRANCISCO, at.subtract(seconds=1))
    assert DEFAULT.next_opening(SAN_FRANCISCO, at.subtract(hours=3)) == moment("2026-07-06T16:00Z")


@pytest.mark.parametrize("at", [datetime(2026, 7, 6, 16), date(2026, 7, 6), "2026-07-06T16:00Z"])  # noqa: DTZ001
def test_a_moment_without_a_zone_is_refused(at: Any) -> None:
    """A time without a time zone is not a point in time."""
    with pytest.raises(RetellInputError, match=r"datetime\.now\(UTC\)"):
        DEFAULT.is_open(SAN_FRANCISCO, at)
    with pytest.raises(RetellInputError, match=r"datetime\.now\(UTC\)"):
        DEFAULT.next_opening(SAN_FRANCISCO, at)


# -- bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": "9-20"}, "start or end of CallingHours must be \"HH:MM\".* not '9-20'"),
        ({"start": "9:00"}, '"HH:MM"'),
        ({"end": "25:00"}, '"HH:MM" .* "24:00"'),
        ({"end": "20:60"}, '"HH:MM"'),
        ({"end": 20}, '"HH:MM"'),
        ({"start": "09:00", "end": "09:00"}, 'would never open.*"00:00", "24:00"'),
        ({"start": "00:00", "end": "00:00"}, 'would never open.*"00:00", "24:00"'),
        ({"start": "24:00", "end": "20:00"}, "would never open"),
        ({"days": "monday"}, "mon, tue, wed.*not 'monday'"),
        ({"days": "mon-"}, "mon, tue, wed.*not ''"),
        ({"days": "mon, wed"}, "not ' wed'"),
        ({"days": ""}, "mon, tue, wed"),
        ({"days": ["mon"]}, "mon, tue, wed"),
        ({"exceptions": {"holiday": None}}, "exceptions .* mon, tue, wed.*not 'holiday'"),
        ({"exceptions": {"sat": "10:00-14:00"}}, r'\("10:00", "14:00"\), or None'),
        ({"exceptions": {"sat": ("10:00", "25:00")}}, r"exceptions\['sat'\] of CallingHours .* not '25:00'"),
        ({"exceptions": {"sat": ("10:00", "10:00")}}, r"exceptions\['sat'\] of CallingHours: .* never open"),
        ({"exceptions": ["sat"]}, "is a dict"),
        ({"days": "sat,sun", "exceptions": {"sat": None, "sun": None}}, "never open: exceptions closes"),
        ({"closed": "2026-12-25"}, r'list of dates such as \["2026-12-25"\]'),
        ({"closed": date(2026, 12, 25)}, "list of dates"),
        ({"closed": ["25.12.2026"]}, r"takes dates, such as date\(2026, 12, 25\)"),
        ({"closed": [datetime(2026, 12, 25, tzinfo=UTC)]}, "takes dates"),
        ({"closed": [20261225]}, "takes dates"),
    ],
    ids=str,
)
def test_bad_input_is_refused_when_the_dag_is_parsed(arguments: dict[str, Any], message: str) -> None:
    """Each message says what to write instead."""
    with pytest.raises(RetellInputError, match=message):
        CallingHours(**arguments)


# -- as a value --------------------------------------------------------------------------------------------------

WRITTEN = [
    "CallingHours('09:00', '20:00')",
    "CallingHours('08:00', '21:00', days='mon-fri')",
    "CallingHours('22:00', '02:00', days='fri,sat', time_zone='Europe/Berlin')",
    "CallingHours('09:00', '20:00', exceptions={'sat': ('10:00', '14:00'), 'sun': None})",
    "CallingHours('00:00', '24:00', closed=['2026-12-25', '2027-01-01'])",
]


@pytest.mark.parametrize("code", WRITTEN)
def test_a_repr_is_the_code_that_makes_the_value(code: str) -> None:
    """A value in a log can be pasted into a DAG."""
    value = eval(code)  # noqa: S307 (it stands above)
    assert repr(value) == code


@pytest.mark.parametrize("code", WRITTEN)
def test_copies_are_equal_and_open_alike(code: str) -> None:
    """Airflow copies operators, and workers may get them pickled."""
    value = eval(code)  # noqa: S307 (it stands above)
    value.is_open(None, moment("2026-07-06T16:00Z"), NEW_YORK)
    for twin in twins(value):
        assert (twin, hash(twin), repr(twin)) == (value, hash(value), code)
        at = moment("2026-07-11T03:30Z")
        assert twin.next_opening(None, at, NEW_YORK) == value.next_opening(None, at, NEW_YORK)


def test_values_that_mean_the_same_are_equal() -> None:
    """Values with one meaning are equal however they are written; others differ."""
    assert CallingHours(days="mon-fri") == CallingHours(days="fri,mon-thu")
    assert CallingHours(days="fri-mon") == CallingHours(days="mon,fri,sat,sun")
    assert CallingHours("22:00", "00:00") == CallingHours("22:00", "24:00")
    assert CallingHours(days="mon", exceptions={"sat": ("09:00", "20:00")}) == CallingHours(days="mon,sat")
    assert CallingHours(closed=["2026-12-25"]) == CallingHours(closed=[date(2026, 12, 25), date(2026, 12, 25)])
    assert CallingHours(days="mon-fri") != CallingHours(days="mon-sat")
    assert CallingHours() != CallingHours(time_zone="UTC")


def test_a_value_cannot_be_changed() -> None:
    """Tasks share it."""
    with pytest.raises(AttributeError):
        DEFAULT.start = "08:00"  # type: ignore[misc]
