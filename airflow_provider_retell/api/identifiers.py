"""The forms of a call id and of a phone number."""

from __future__ import annotations

import re

from airflow_provider_retell._masking import shown
from airflow_provider_retell.errors import RetellInputError

_CALL_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")


def is_e164(value: object) -> bool:
    """Return whether a value is a phone number in E.164 form, such as ``+14155550100``."""
    return isinstance(value, str) and _E164.fullmatch(value) is not None


def check_e164(field: str, value: object) -> None:
    """Raise ``RetellInputError`` unless a value is a phone number in E.164 form."""
    if not is_e164(value):
        raise RetellInputError(
            f"{field} must be a phone number in E.164 form, such as +14155550100, got "
            f"{shown(value, is_number=True)}. "
            "Nothing was sent. An operator's validate_e164=False switches this check off."
        )


def check_call_id(value: object) -> str:
    """Return a call id if it is safe as part of a URL path, else raise ``RetellInputError``."""
    if not isinstance(value, str) or not _CALL_ID.fullmatch(value) or value == "None":
        raise RetellInputError(f"call_id must be the id of a call, such as call_0123abcd, got {shown(value)}.")
    return value
