"""Find the time zones in which the owner of a phone number may be.

The data of ``phonenumbers`` lists exchanges, but not all of them: a missing one falls back to a single zone of its
area code. +1 850 555 gets the zone of New York, although western Florida has Chicago's time. So here a number gets
all zones of its area code, and a number without an area code all zones of its country. An overlay code, which
shares the area of an older one, has no exchanges in the data: it gets the zones of the older one. A mobile number
counts as one without an area code, unless mobile phones of its country have the area codes of landlines: in
Indonesia the data gives all of them the zone of Jakarta. Toll-free and similar numbers belong to no place and get
no zone.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from airflow_provider_retell._masking import shown
from airflow_provider_retell.policy.refusals import input_error, time_zone_error

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

_NO_PLACES: Final = frozenset({"EST", "MST", "HST", "Factory", "localtime", "posixrules"})
"""Three abbreviations without summer time, and three names whose meaning depends on the machine."""
NORTH_AMERICA: Final = "1"
"""The country code of the United States, Canada and most of the Caribbean, whose areas have three digits."""
OVERLAYS: Final = {
    "257": "250",  # British Columbia without Vancouver
    "236": "250",
    "672": "250",
    "778": "250",
    "364": "270",  # western Kentucky
    "367": "418",  # eastern Quebec
    "581": "418",
    "448": "850",  # western Florida
    "458": "541",  # Oregon without Portland
    "474": "306",  # Saskatchewan
    "639": "306",
    "729": "423",  # eastern Tennessee
    "879": "709",  # Newfoundland and Labrador
    "930": "812",  # southern Indiana
    "986": "208",  # Idaho
}
"""Overlay codes of North America, each with the older code of its area, if the data gives the two other zones.

See https://www.nanpa.com and https://cnac.ca
"""
MORE_ZONES: Final = {
    "1306": ("America/Edmonton",),  # Lloydminster keeps Alberta's time
    "52614": ("America/Chihuahua",),  # the state left the time of Mazatlan in 2022
    "52621": ("America/Chihuahua",),
    "52625": ("America/Chihuahua",),
    "52627": ("America/Chihuahua",),
    "52628": ("America/Chihuahua",),
    "52629": ("America/Chihuahua",),
    "52635": ("America/Chihuahua",),
    "52636": ("America/Chihuahua", "America/Ciudad_Juarez"),  # Janos and Ascension lie at the border
    "52639": ("America/Chihuahua",),
    "52648": ("America/Chihuahua",),
    "52652": ("America/Chihuahua",),
    "52659": ("America/Chihuahua",),
    "52862": ("America/Matamoros",),  # Nava and Zaragoza: the border keeps the summer time of Texas
    "52868": ("America/Matamoros",),  # Matamoros
    "52873": ("America/Matamoros",),  # Anahuac
    "52891": ("America/Matamoros",),  # Camargo
    "52897": ("America/Matamoros",),  # Miguel Aleman
    "52997": ("America/Cancun",),  # Jose Maria Morelos in Quintana Roo
    "5597": ("America/Eirunepe",),  # western Amazonas: Tabatinga, Eirunepe, Labrea
    "5632210": ("Pacific/Easter",),
    "5632255": ("Pacific/Easter",),
    "5661": ("America/Punta_Arenas",),  # Magallanes has no winter time
    "5667": ("America/Punta_Arenas",),  # Aysen has none since 2025; its own zone is too new for many machines
    "569": ("America/Punta_Arenas", "Pacific/Easter"),  # a mobile phone may be anywhere in Chile
    "675": ("Pacific/Bougainville",),
    "7411": ("Asia/Srednekolymsk", "Asia/Vladivostok"),  # the north and east of Yakutia
}
"""Beginnings of numbers, country code first, with zones that the data of ``phonenumbers`` lacks there.

Which places a zone has is in the comments of ``zone.tab``; which area code a place has is general knowledge.

See https://data.iana.org/time-zones/tzdb/zone.tab
"""
MOBILES_WITH_AREAS: Final = frozenset({"52", "55"})
"""The country codes of Mexico and Brazil, where mobile numbers begin with the area codes of landlines."""


def check_zone(name: object) -> str:
    """Return the name of a time zone, else raise ``RetellTimeZoneError``.

    Abbreviations without summer time, such as ``EST``, are refused, because they are an hour off in summer.
    """
    if isinstance(name, str) and _is_zone(name):
        return name
    raise time_zone_error(
        f"{shown(name)} is no time zone. Write a name of the IANA database, such as 'America/New_York' or 'UTC'. "
        "If it is one, this machine has no such database: pip install tzdata."
    )


def _is_zone(name: str) -> bool:
    if name in _NO_PLACES or name.startswith(("posix/", "right/")):
        return False
    try:
        _clock(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # not there; no name of a file; the name of a folder
        return False
    return True


@lru_cache(maxsize=1024)
def _clock(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@lru_cache(maxsize=2**17)
def zones_of(number: str) -> tuple[str, ...]:
    """Return all time zones in which the owner of a number may be, sorted.

    >>> zones_of("+18505550100")
    ('America/Chicago', 'America/New_York')

    Args:
        number: A number in E.164 form.

    Raises:
        RetellTimeZoneError: The number belongs to no area: it is toll-free, premium-rate or not known.
        RetellInputError: ``phonenumbers`` is not installed, or this machine's database of time zones lacks one.
    """
    try:
        import phonenumbers  # noqa: PLC0415 (an extra, and 70 ms)
        import phonenumbers.timezone  # noqa: PLC0415 (as above; its lite edition has none)
    except ImportError as error:
        raise input_error(
            "The time zones of a phone number are found with phonenumbers, which is not installed. Install "
            "airflow-provider-retell[campaign], or give the person's own time_zone."
        ) from error
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        raise time_zone_error(
            f"{shown(number, is_number=True)} is no phone number in E.164 form, such as +14155550100: its time "
            "zone is not known. Give the number in that form, or the person's own time_zone."
        ) from None
    zones = sorted(_listed_zones(parsed))
    if not zones:
        raise time_zone_error(
            f"The time zone of {shown(number, is_number=True)} is not known: the number is toll-free, "
            "premium-rate, or in no known area. Give the person's own time_zone, such as 'America/New_York'."
        )
    if unknown := [zone for zone in zones if not _is_zone(zone)]:
        raise input_error(
            f"This machine's database of time zones has no {unknown[0]!r}, where {shown(number)} may be. Install "
            "or update the package tzdata; airflow-provider-retell[campaign] brings it."
        )
    return tuple(zones)


def _listed_zones(number: PhoneNumber) -> frozenset[str]:
    """Return the zones of a number's area or country; none for a number that belongs to no place."""
    import phonenumbers  # noqa: PLC0415 (as above)
    from phonenumbers.timezone import UNKNOWN_TIMEZONE, time_zones_for_number  # noqa: PLC0415

    kinds = phonenumbers.PhoneNumberType
    somewhere = {kinds.FIXED_LINE, kinds.MOBILE, kinds.FIXED_LINE_OR_MOBILE, kinds.VOIP}
    kind = phonenumbers.number_type(number)
    if kind not in somewhere:
        return frozenset()
    country, national = str(number.country_code), phonenumbers.national_significant_number(number)
    if kind == kinds.MOBILE and country not in MOBILES_WITH_AREAS | {NORTH_AMERICA}:
        return _zones_of_area(country)
    length = 3 if country == NORTH_AMERICA else phonenumbers.length_of_geographical_area_code(number)
    if length:
        area = national[:length]
        return _zones_of_area(country + (OVERLAYS.get(area, area) if country == NORTH_AMERICA else area))
    return (frozenset(time_zones_for_number(number)) - {UNKNOWN_TIMEZONE}) | _more_zones(country + national)


@lru_cache(maxsize=4096)
def _zones_of_area(area: str) -> frozenset[str]:
    """Return the zones of all numbers that begin with these digits, country code first."""
    from phonenumbers.tzdata import TIMEZONE_DATA  # noqa: PLC0415 (an extra)

    listed = [zones for prefix, zones in TIMEZONE_DATA.items() if prefix.startswith(area)]
    # All areas of North America are listed; its country code itself has 42 zones. Elsewhere some areas are
    # missing.
    if not area.startswith(NORTH_AMERICA):
        wider = (area[:length] for length in range(len(area), 0, -1))
        listed += [TIMEZONE_DATA[prefix] for prefix in wider if prefix in TIMEZONE_DATA][:1]
    return frozenset(zone for zones in listed for zone in zones) | _more_zones(area)


def _more_zones(digits: str) -> frozenset[str]:
    more = (
        zones for prefix, zones in MORE_ZONES.items() if prefix.startswith(digits) or digits.startswith(prefix)
    )
    return frozenset(zone for zones in more for zone in zones)
