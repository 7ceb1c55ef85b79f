"""Test that all notations of a number give the same E.164 form."""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_retell.errors import RetellInputError
from airflow_provider_retell.policy.numbers import e164


@pytest.fixture(params=["with phonenumbers", "without"])
def installed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param == "without":
        monkeypatch.setitem(sys.modules, "phonenumbers", None)
    return request.param != "without"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    "written",
    [
        "+14155550100",
        "0014155550100",
        "+1 (415) 555-0100",
        " +1.415.555.0100 ",
        "00 1 415/555-0100",
        "+1\u00a0415\u2011555\u20130100",
    ],
)
def test_separators_and_the_double_zero_change_nothing(written: str) -> None:
    """With the library as without it, a number comes out in the same form."""
    assert e164(written) == "+14155550100"


@pytest.mark.parametrize(
    ("written", "number"), [("+33 0612345678", "+33612345678"), ("0044 020 7946 0018", "+442079460018")]
)
def test_a_zero_after_the_country_code_is_dropped_or_refused(
    written: str, number: str, *, installed: bool
) -> None:
    """One person must not be two numbers, of which only one is on the do-not-call list."""
    if installed:
        assert e164(written) == number
        return
    with pytest.raises(RetellInputError, match="is no phone number"):
        e164(written)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("number", ["+390669812345", "+33601234567", "+212601234567", "+905012345678"])
def test_a_zero_that_belongs_to_the_number_stays(number: str) -> None:
    """In Italy it comes first; elsewhere it may come second."""
    assert e164(number) == number


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    "written",
    [
        "415 555 0100",
        "(415) 555-0100",
        "14155550100",
        "tel:+14155550100",
        "+1-800-FLOWERS",
        "+",
        "00",
        "+0 415 555 0100",
        "++14155550100",
        "+1 415 555 0100, +1 415 555 0101",
        "",
        None,
        14155550100,
    ],
    ids=repr,
)
def test_what_cannot_be_dialed_from_anywhere_is_refused(written: Any) -> None:
    """National forms and words; the message masks them."""
    with pytest.raises(RetellInputError, match="is no phone number in international form") as raised:
        e164(written)
    assert "415 555 0100" not in str(raised.value)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("region", [None, "DE", "US"])
@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("+1 415 555 0100 ext. 5", "has an extension"),
        ("+1 415 555 0100;ext=5", "has an extension"),
        ("+1 415 555 0100 / 01", "looks like two numbers"),
        ("+1 415 555 0100/1", "looks like two numbers"),
        (14155550100.0, "was made a quantity"),
        ("+14155550100.0", "was made a quantity"),
        ("14155550100.00", "was made a quantity"),
        ("+1.415.555.0100.0", "was made a quantity"),
        ("1.41555501E+10", "was made a quantity"),
        (Decimal("14155550100.00"), "was made a quantity"),
        (Decimal(14155550100), "was made a quantity"),
    ],
    ids=repr,
)
def test_a_number_that_would_be_read_as_another_one_is_refused(
    written: Any, problem: str, region: str | None, *, installed: bool
) -> None:
    """Characters that a spreadsheet, pandas or a second number has added must not become digits of the number."""
    with pytest.raises(RetellInputError, match=problem if installed or region is None else ".") as raised:
        e164(written, region)
    assert "4155550100" not in str(raised.value)


@pytest.mark.parametrize("written", ["491701234567", 491701234567, "49 170 1234567"])
def test_a_number_that_lacks_its_plus_is_refused_if_it_could_be_another_one(written: Any) -> None:
    """With the code of its country in front it is a mobile number, in the national form a number in Leer."""
    with pytest.raises(RetellInputError, match="Write it with") as raised:
        e164(written, "DE")
    assert "1234567" not in str(raised.value)


@pytest.mark.parametrize(
    ("written", "region", "number"),
    [
        ("030/901820", "DE", "+4930901820"),
        ("06.12.34.56.78", "FR", "+33612345678"),
        ("415.555.0100", "US", "+14155550100"),
        (4155550100, "US", "+14155550100"),
        ("9198765432", "IN", "+919198765432"),
        ("919876543210", "IN", "+919876543210"),
        ("\ufeff+14155550100\u200b ", None, "+14155550100"),
    ],
)
def test_a_number_that_can_only_be_one_is_read(written: Any, region: str | None, number: str) -> None:
    """Separators of any country, whole numbers of a table, and characters that are not seen."""
    assert e164(written, region) == number


@pytest.mark.parametrize(
    ("written", "region", "number"),
    [
        ("(415) 555-0100", "US", "+14155550100"),
        ("1 415 555 0100", "US", "+14155550100"),
        ("0014155550100", "GB", "+14155550100"),
        ("+14155550100", "GB", "+14155550100"),
    ],
)
def test_a_region_makes_national_numbers_international(written: str, region: str, number: str) -> None:
    """It is that of numbers without a country, and changes no other."""
    assert e164(written, region) == number


def test_the_zero_in_brackets(installed: bool) -> None:
    """It is dialed from abroad in Italy and not in Britain: only the library knows."""
    british, italian = "+44 (0)20 7946 0018", "+39 (0)6 1234 5678"  # both kept free for stories, or too regular
    if installed:
        assert (e164(british), e164(italian)) == ("+442079460018", "+390612345678")
    else:
        for written in (british, italian):
            with pytest.raises(RetellInputError):
                e164(written)


@pytest.mark.parametrize("written", ["+1 415 555 010", "+1 415 555 01000", "+1 555 0100", "+999 415 555 0100"])
def test_a_number_of_the_wrong_length_is_refused(written: str) -> None:
    """One digit less, one more, without its area, in no country."""
    with pytest.raises(RetellInputError, match="is no phone number"):
        e164(written)


def test_an_unknown_region_is_refused() -> None:
    """A region that is not two letters is refused."""
    with pytest.raises(RetellInputError, match="two letters, such as 'US', not 'USA'"):
        e164("+14155550100", "USA")


def test_a_region_needs_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the extra."""
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    with pytest.raises(RetellInputError, match=r"airflow-provider-retell\[campaign\]"):
        e164("+14155550100", "US")
