"""Turn phone numbers as people write them into E.164 form."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from airflow_provider_retell._masking import shown
from airflow_provider_retell.policy.refusals import input_error

if TYPE_CHECKING:
    import phonenumbers

    from airflow_provider_retell.errors import RetellInputError

_SEPARATORS: Final = re.compile(r"[\s()./\u2010-\u2015-]")
_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
_DIGITS: Final = re.compile(r"\+?[0-9]+")
_QUANTITY: Final = re.compile(r"\+?[0-9]{7,}\.[0-9]*|\+?[0-9]+(\.[0-9]*)?[eE]\+?[0-9]+|.*[0-9]\.[0-9]")
"""A number to which a spreadsheet or pandas has added decimals, or an exponent."""
_ALTERNATIVE: Final = re.compile(r"[0-9]\s*/\s*[0-9]{1,2}")
"""A second number, of which only the last digits are written."""
_EXTENSION: Final = re.compile(r"(?:x|ext\.?|extension|;ext=|#)\s*[0-9]+", re.IGNORECASE)
_INVISIBLE: Final = "\ufeff\u200b\u200e\u200f\u202a\u202c \t\r\n"
_TRUNK_PREFIX: Final = "(0)"
"""The zero of "+44 (0)20", which is dialed from abroad in some countries only."""
_TRUNK_ZERO: Final = re.compile(
    r"\+(?!390)(?:[17]|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]"
    r"|(?:2[1-689]|3[578]|42|5[09]|6[7-9]|8[0578]|9[679])[0-9])0"
)
"""A country code and a zero after it, which belongs to the number in few countries, above all in Italy."""


def e164(number: object, region: str | None = None) -> str:
    """Return a phone number in E.164 form, such as ``+14155550100``.

    ===========================  =====================================================================
    ``+1 (415) 555-0100``        ``+14155550100``
    ``0014155550100``            ``+14155550100``
    ``(415) 555-0100``           ``+14155550100`` if ``region`` is ``"US"``, else refused
    ``+44 (0)20 7946 0018``      ``+442079460018`` if ``phonenumbers`` is installed, else refused
    ``+33 0612345678``           ``+33612345678`` if ``phonenumbers`` is installed, else refused
    ``+1 415 555 010``           refused if ``phonenumbers`` is installed: a digit is missing
    ``+1 415 555 0100 ext. 5``   refused: an extension cannot be dialed
    ``+1 415 555 0100 / 01``     refused: two numbers
    ``14155550100.0``, a float   refused: a spreadsheet or pandas has made it a quantity
    ``491701234567``             refused if ``region`` is ``"DE"``: it is another number with a plus
    ===========================  =====================================================================

    Args:
        number: A number with ``+`` or ``00``, or in the national form of the region; text, or a whole number as a
            table may hold it.
        region: The country of national forms, by its two letters, such as ``"US"``; needs ``phonenumbers``.

    Raises:
        RetellInputError: It is no phone number, or a national one without a region; ``region`` is unknown, or
            ``phonenumbers`` is not installed for it.
    """
    if isinstance(number, float | Decimal) or (isinstance(number, str) and _QUANTITY.fullmatch(number.strip())):
        raise _refused(number, "was made a quantity by a spreadsheet or pandas. Keep the column as text")
    whole = isinstance(number, int) and not isinstance(number, bool)
    text = str(number).strip(_INVISIBLE) if whole or isinstance(number, str) else ""
    if _ends(_EXTENSION, text):
        raise _refused(number, "has an extension, which cannot be dialed")
    if _ends(_ALTERNATIVE, text):
        raise _refused(number, "looks like two numbers. Write one in each row")
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
        found = "" if _TRUNK_PREFIX in text or _TRUNK_ZERO.match(international) else international
    if not _E164.fullmatch(found):
        raise _refused(
            number,
            "is no phone number in international form. Write it with + and the country code, such as +14155550100,"
            " or give region, the country of national numbers",
        )
    return found


def _ends(pattern: re.Pattern[str], text: str) -> bool:
    return re.search(rf"(?:{pattern.pattern})\s*$", text, pattern.flags) is not None


def _refused(number: object, problem: str) -> RetellInputError:
    return input_error(f"{shown(number, is_number=True)} {problem}.")


def _parsed(digits: str, region: str | None) -> str:
    """Return the E.164 form by ``phonenumbers``; an empty text if it finds no complete number."""
    import phonenumbers  # noqa: PLC0415 (an extra, and 70 ms)

    if region is not None and region not in phonenumbers.SUPPORTED_REGIONS:
        raise input_error(f"region is a country by its two letters, such as 'US', not {region!r}.")
    try:
        parsed = phonenumbers.parse(digits if _DIGITS.fullmatch(digits) else "", region)
    except phonenumbers.NumberParseException:
        return ""
    if region is not None and not digits.startswith("+") and _is_valid(f"+{digits}", other_than=parsed):
        raise _refused(
            digits,
            f"is one number in the national form of {region}, and another one with + before it. Write it with + "
            "and the country code",
        )
    complete = phonenumbers.is_possible_number_with_reason(parsed) == phonenumbers.ValidationResult.IS_POSSIBLE
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164) if complete else ""


def _is_valid(international: str, *, other_than: phonenumbers.PhoneNumber) -> bool:
    import phonenumbers  # noqa: PLC0415 (as above)

    try:
        parsed = phonenumbers.parse(international)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_valid_number(parsed) and (parsed.country_code, parsed.national_number) != (
        other_than.country_code,
        other_than.national_number,
    )
