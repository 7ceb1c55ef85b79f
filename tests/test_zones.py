"""Test that a number has all time zones of its area, and never a zone of another place."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zoneinfo
from datetime import UTC, datetime, timedelta
from textwrap import dedent

import pytest
from phonenumbers import timezone
from phonenumbers.phonenumberutil import (
    COUNTRY_CODE_TO_REGION_CODE,
    PhoneNumberFormat,
    PhoneNumberType,
    example_number_for_type,
    format_number,
    is_valid_number,
    number_type,
    parse,
)
from phonenumbers.tzdata import TIMEZONE_DATA

from airflow_provider_retell.errors import RetellInputError, RetellTimeZoneError
from airflow_provider_retell.policy import CallingHours
from airflow_provider_retell.policy.zones import MORE_ZONES, OVERLAYS, zones_of

CENTRAL, EASTERN = "America/Chicago", "America/New_York"


@pytest.mark.parametrize(
    ("number", "falls_back_to"), [("+14235550100", CENTRAL), ("+18505550100", EASTERN)], ids=["423", "850"]
)
def test_an_unlisted_exchange_has_all_zones_of_its_area(number: str, falls_back_to: str) -> None:
    """The data alone names one zone of an area that lies in two."""
    assert timezone.time_zones_for_number(parse(number)) == (falls_back_to,)
    assert zones_of(number) == (CENTRAL, EASTERN)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("+14155550100", ("America/Los_Angeles",)),
        ("+12125550100", ("America/New_York",)),
        ("+18085550100", ("Pacific/Honolulu",)),
        ("+12085550100", ("America/Boise", "America/Denver", "America/Los_Angeles")),
        ("+18765550100", ("America/Jamaica",)),
        ("+442079460018", ("Europe/London",)),
    ],
)
def test_an_area_has_its_own_zones(number: str, expected: tuple[str, ...]) -> None:
    """And no more: two hours are lost to an area of two zones, not to all."""
    assert zones_of(number) == expected


NORTH_AMERICA = sorted({prefix[1:4] for prefix in TIMEZONE_DATA if prefix[0] == "1" and len(prefix) >= 4})


def test_every_zone_that_an_exchange_has_is_a_zone_of_its_area() -> None:
    """For each area code of North America but the overlays, all that the data lists below it is counted."""
    listed = {
        f"+1{area}5550100": {
            zone for prefix, each in TIMEZONE_DATA.items() if prefix[:4] == f"1{area}" for zone in each
        }
        | {*MORE_ZONES.get(f"1{area}", ())}
        for area in NORTH_AMERICA
        if area not in OVERLAYS
    }
    valid = {number: tuple(sorted(zones)) for number, zones in listed.items() if is_valid_number(parse(number))}
    assert len(valid) > 350
    assert {number: zones_of(number) for number in valid} == valid


@pytest.mark.parametrize(("overlay", "older"), OVERLAYS.items(), ids=str)
def test_an_overlay_has_the_zones_of_the_area_below_it(overlay: str, older: str) -> None:
    """Pensacola has +1 850 and +1 448 numbers; a code that the installed data does not know yet has no zone."""
    number = f"+1{overlay}5550100"
    if is_valid_number(parse(number)):
        assert zones_of(number) == zones_of(f"+1{older}5550100")
    else:
        with pytest.raises(RetellTimeZoneError):
            zones_of(number)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("+5597981234567", {"America/Eirunepe", "America/Manaus"}),
        ("+559734123456", {"America/Eirunepe", "America/Manaus"}),
        ("+528681234567", {"America/Matamoros", "America/Mexico_City"}),
        ("+526141234567", {"America/Chihuahua", "America/Mazatlan"}),
        ("+526361234567", {"America/Chihuahua", "America/Ciudad_Juarez", "America/Mazatlan"}),
        ("+13065550100", {"America/Edmonton", "America/Regina"}),
        ("+16395550100", {"America/Edmonton", "America/Regina"}),
        ("+56612231234", {"America/Punta_Arenas", "America/Santiago"}),
        ("+56322100000", {"America/Santiago", "Pacific/Easter"}),
        ("+56222123456", {"America/Santiago"}),
        ("+56961234567", {"America/Punta_Arenas", "America/Santiago", "Pacific/Easter"}),
        ("+67570123456", {"Pacific/Bougainville", "Pacific/Port_Moresby"}),
        ("+74112123456", {"Asia/Srednekolymsk", "Asia/Vladivostok", "Asia/Yakutsk"}),
    ],
)
def test_a_number_has_a_zone_that_the_data_lacks(number: str, expected: set[str]) -> None:
    """At nine in Manaus it is eight in Tabatinga, which has the same area code."""
    assert expected <= {*zones_of(number)}
    assert {*timezone.time_zones_for_number(parse(number))} <= {*zones_of(number)}


@pytest.mark.parametrize("zone", sorted({zone for zones in MORE_ZONES.values() for zone in zones}))
def test_a_zone_that_was_added_exists(zone: str) -> None:
    """A typo would make an error of each number there."""
    assert zone in zoneinfo.available_timezones()


def test_a_number_of_an_overlay_is_called_when_all_of_its_area_may_be() -> None:
    """At nine in New York it is eight in Pensacola."""
    hours = CallingHours("09:00", "20:00")
    nine = datetime(2026, 7, 6, 13, tzinfo=UTC)
    assert not hours.is_open("+14485550100", nine)
    assert hours.next_opening("+14485550100", nine) == nine + timedelta(hours=1)


@pytest.mark.parametrize(
    ("number", "count"), [("+61491570006", 8), ("+79123456789", 17)], ids=["Australian mobile", "+7 mobile"]
)
def test_a_mobile_number_has_all_zones_of_its_country(number: str, count: int) -> None:
    """It says nothing of a place."""
    assert len(zones_of(number)) == count


def zones_listed_for(country: int) -> tuple[str, ...]:
    """Return all zones that the data has for a country code."""
    data = [*TIMEZONE_DATA.items(), *MORE_ZONES.items()]
    listed = (zones for prefix, zones in data if prefix.startswith(str(country)))
    return tuple(sorted({zone for zones in listed for zone in zones}))


def test_the_prefix_of_a_mobile_network_is_no_area() -> None:
    """A mobile number has all zones of its country; the data alone puts all Indonesians in Jakarta."""
    examples = [
        example_number_for_type(region, PhoneNumberType.MOBILE)
        for country, regions in COUNTRY_CODE_TO_REGION_CODE.items()
        if country not in {1, 52, 55} and len(zones_listed_for(country)) > 1
        for region in regions
    ]
    mobile = [each for each in examples if each is not None and number_type(each) == PhoneNumberType.MOBILE]
    expected = {
        format_number(each, PhoneNumberFormat.E164): zones_listed_for(each.country_code) for each in mobile
    }
    assert {number: zones_of(number) for number in expected} == expected
    assert {7, 61, 62} <= {each.country_code for each in mobile}


@pytest.mark.parametrize(
    ("mobile", "landline"),
    [
        *((f"+55{area}961234567", f"+55{area}23456789") for area in (11, 68, 92)),
        ("+526641234567", "+526646123456"),
        ("+522221234567", "+522222123456"),
    ],
)
def test_a_mobile_number_with_the_area_code_of_landlines_has_their_zones(mobile: str, landline: str) -> None:
    """In Brazil and Mexico the digits say the place, and no hours are lost to the other zones of the country."""
    assert zones_of(mobile) == zones_of(landline)
    assert len(zones_of(mobile)) < len(zones_listed_for(parse(mobile).country_code))


@pytest.mark.parametrize("number", ["+18005550100", "+18885550100", "+19005550100", "+15005550100"])
def test_a_number_that_belongs_to_no_place_has_no_zone(number: str) -> None:
    """Toll-free, premium-rate and personal numbers: the data gives 42 zones, any of which may be theirs."""
    assert len(timezone.time_zones_for_number(parse(number))) == 42
    with pytest.raises(RetellTimeZoneError, match="toll-free"):
        zones_of(number)


@pytest.mark.parametrize("number", ["+448081570123", "+449098790123"])
def test_a_toll_free_number_has_no_zone_in_a_country_of_one_clock(number: str) -> None:
    """Nor has a premium-rate one: the rule is the same everywhere."""
    assert "Europe/London" in timezone.time_zones_for_number(parse(number))
    with pytest.raises(RetellTimeZoneError, match="toll-free"):
        zones_of(number)


def test_every_zone_of_a_number_has_a_clock() -> None:
    """All that the one library names is in the database of the other."""
    assert {zone for zones in TIMEZONE_DATA.values() for zone in zones} <= zoneinfo.available_timezones()


def test_a_machine_without_a_database_of_zones_is_named() -> None:
    """Without a zone database, as in slim images, the error says what to install, and no person is refused."""
    code = """
        import sys
        from airflow_provider_retell.errors import RetellInputError
        from airflow_provider_retell.policy.zones import zones_of
        for name in [name for name in sys.modules if name.split(".")[0] == "tzdata"]:
            del sys.modules[name]
        sys.modules["tzdata"] = None
        try:
            zones_of("+16715550100")
        except RetellInputError as error:
            print(type(error).__name__, error)
    """
    command, environment = [sys.executable, "-c", dedent(code)], {**os.environ, "PYTHONTZPATH": ""}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout  # noqa: S603
    assert re.match(r"RetellInputError .*has no 'Pacific/Guam', where '…0100' may be.* tzdata", said)
    assert zones_of("+16715550100") == ("Pacific/Guam",)


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library the error names the extra, and no person is refused."""
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    with pytest.raises(RetellInputError, match=r"airflow-provider-retell\[campaign\]") as raised:
        zones_of("+14155550177")
    assert not isinstance(raised.value, RetellTimeZoneError)
