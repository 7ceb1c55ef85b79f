"""Turn phone numbers as people write them into E.164 form."""

from __future__ import annotations

import re
from typing import Final

from airflow_provider_retell._masking import shown
from airflow_provider_retell.policy.refusals import input_error

_SEPARATORS: Final = re.compile(r"[\s()./\u2010-\u2015-]")
_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
_DIGITS: Final = re.compile(r"\+?[0-9]+")
_TRUNK_PREFIX: Final = "(0)"
"""The zero of "+44 (0)20", which is dialled from abroad in some countries only."""


def e164(number: object, region: str | None = None) -> str:
    """Return a phone number in E.164 form, such as ``+14155550100``.

    ===========================  =====================================================================
    ``+1 (415) 555-0100``        ``+14155550100``
    ``0014155550100``            ``+14155550100``
    ``(415) 555-0100``           ``+14155550100`` if ``region`` is ``"US"``, else refused
    ``+44 (0)20 7946 0018``      ``+442079460018`` if ``phonenumbers`` is installed, else refused
    ``+1 415 555 010``           refused if ``phonenumbers`` is installed: a digit is missing
    ``+1 415 555 0100 ext. 5``   refused: an extension cannot be dialled
    ===========================  =====================================================================

    Args:
        number: A number with ``+`` or ``00``, or in the national form of the region.
        region: The country of national forms, by its two letters, such as ``"US"``; needs ``phonenumbers``.

    Raises:
        RetellInputError: It is no phone number, or a national one without a region; ``region`` is unknown, or
            ``phonenumbers`` is not installed for it.
    """
    text = number if isinstance(number, str) else ""
    digits = _SEPARATORS.sub("", text)
    international = f"+{digits[2:]}" if digits.startswith("00") else digits
    try:
        found = _parsed(international, region)
    except ImportError as error:
        if region is not None:
            raise input_error(
                "region needs phonenumbers, which is not installed. Install airflow-provider-retell[campaign], or "
                "write each number with + and the code of its country."
            ) from error
        found = "" if _TRUNK_PREFIX in text else international
    if not _E164.fullmatch(found):
        raise input_error(
            f"{shown(number, is_number=True)} is no phone number in international form. Write it with + and the "
            "country code, such as +14155550100, or give region, the country of national numbers."
        )
    return found


def _parsed(digits: str, region: str | None) -> str:
    """Return the E.164 form by ``phonenumbers``; an empty text if it finds no complete number."""
    import phonenumbers  # noqa: PLC0415 (an extra, and 70 ms)

    if region is not None and region not in phonenumbers.SUPPORTED_REGIONS:
        raise input_error(f"region is a country by its two letters, such as 'US', not {region!r}.")
    try:
        parsed = phonenumbers.parse(digits if _DIGITS.fullmatch(digits) else "", region)
    except phonenumbers.NumberParseException:
        return ""
    complete = phonenumbers.is_possible_number_with_reason(parsed) == phonenumbers.ValidationResult.IS_POSSIBLE
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164) if complete else ""
