"""Check phone numbers: in E.164 form, they are a plus and digits."""

from __future__ import annotations

import re

OWN_NUMBER = "+12025550199"
"""The account's own number, if the simulator needs one."""

_E164 = re.compile(r"\+[1-9][0-9]{1,14}")
_ALL_BUT_THE_LAST_FOUR = re.compile(r"\d(?=(?:\D*\d){4})")


def is_e164(number: object) -> bool:
    """Return whether a value is a phone number in E.164 form.

    https://docs.retellai.com/api-references/create-phone-call
    """
    return isinstance(number, str) and _E164.fullmatch(number) is not None


def checked(number: str) -> str:
    """Return a phone number unchanged if it is in E.164 form.

    Raises:
        ValueError: It is not, so no call could match it. The message shows only the last four digits.
    """
    if not is_e164(number):
        shown = _ALL_BUT_THE_LAST_FOUR.sub("*", str(number))
        raise ValueError(
            f"{shown!r} is not a phone number in E.164 form. Write a plus, the country code and the number, all "
            "without spaces or other characters, as in +12025550177."
        )
    return number
