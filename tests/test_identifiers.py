from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_retell.api.identifiers import check_call_id, check_e164
from airflow_provider_retell.errors import RetellInputError


@pytest.mark.parametrize("number", ["+14155550100", "+4930123456", "+123456789012345", "+1234567"])
def test_an_e164_number_passes(number: str) -> None:
    """A plus, then 7 to 15 digits of which the first is not 0."""
    check_e164("to_number", number)


@pytest.mark.parametrize(
    ("number", "got"),
    [
        ("555-0100", "'…0100'"),
        ("+1 415 555 0100", "'…0100'"),
        ("+1415555010012345", "'…2345'"),
        ("4155550100", "'…0100'"),
        ("+04155550100", "'…0100'"),
        ("+14155550100\n", "'…0100\\n'"),
        ("tel:+14155550100", "'tel:…0100'"),
        ("+1\u0664\u0661\u0665\u0665\u0665\u0665\u0660\u0661\u0660\u0660", "'…\u0660\u0661\u0660\u0660'"),
        ("", "''"),
        (14155550100, "…0100"),
        (None, "None"),
    ],
)
def test_any_other_number_is_refused(number: Any, got: str) -> None:
    """The message shows the right form and the last four digits; the error is final."""
    with pytest.raises(RetellInputError) as refused:
        check_e164("to_number", number)
    assert str(refused.value) == (
        f"to_number must be a phone number in E.164 form, such as +14155550100, got {got}. "
        "Nothing was sent. An operator's validate_e164=False switches this check off."
    )
    assert isinstance(refused.value, AirflowFailException)


@pytest.mark.parametrize("call_id", ["call_0123abcd", "Jabr9TXYYJHfvl6Syypi88rdAHYHmcq6", "a-b_c", "x" * 200])
def test_a_call_id_passes(call_id: str) -> None:
    """Letters, digits, dashes and underscores."""
    assert check_call_id(call_id) == call_id


@pytest.mark.parametrize(
    "call_id",
    [
        "",
        None,
        "None",
        " ",
        "a/b",
        "a?b",
        "..",
        "a#b",
        "call_1\n",
        "%2e%2e",
        "ü",
        "x" * 201,
        5,
        {"call_id": "call_1"},
    ],
)
def test_what_would_change_the_path_is_no_call_id(call_id: Any) -> None:
    """An id that would lead a request elsewhere, or is none at all, is refused for good."""
    with pytest.raises(RetellInputError, match=r"^call_id must be the id of a call, such as call_0123abcd, got "):
        check_call_id(call_id)
