from __future__ import annotations

import json
import re
import string
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_retell import _number_search
from airflow_provider_retell._masking import Masker, mask_numbers, shown

NUMBER = "+14155550100"
OWN = Masker((NUMBER,), guess=False)

# -- the table ---------------------------------------------------------------------------------------------------

ALWAYS = {
    "`+` and 7 to 15 digits, however grouped": [
        "+442079460958",
        "+44 20 7946 0958",
        "+33.1.42.68.53.10",
        "+49 (0)30 123456-78",
        "+380 44 123 45 67",
        "+1 (415) 555-0100",
        "+1/415/555/0100",
        "+1\u00a0415\u00a0555\u00a00100",
        "+1\u2011415\u2011555\u20110100",
        "+1.4155550100",
        "+1\u200b415\u200b5550100",
        "+2907777",
        "\uff0b\uff11\uff14\uff11\uff15\uff15\uff15\uff15\uff10\uff11\uff10\uff10",
        "+1415555010012345",
        "%2B14155550100",
        "%252B14155550100",
        "\\u002b14155550100",
    ],
    "`00` and 7 to 15 digits in groups": ["0044 20 7946 0958", "00 1 415 555 0100", "0049-30-123456"],
}
GUESSED = {
    "`00` and 8 to 13 digits side by side": ["00442079460958", "0014155550100"],
    "North America's 10 or 11 digits in groups": [
        "(415) 555-0100",
        "415-555-0100",
        "415.555.0100",
        "1 415 555 0100",
        "1-415-555-0100",
    ],
    "a trunk zero and 8 to 14 digits in groups": [
        "020 7946 0958",
        "01 42 68 53 00",
        "030/123456-78",
        "0171 2345678",
    ],
    "10 to 15 digits side by side, also as a float": [
        "4155550100",
        "14155550100",
        "447911123456",
        "07911123456",
        "14155550100.0",
    ],
}
LEFT = {
    "seven digits (a range, an order)": ["300-1000", "555-0100", "1234567", "at most 50000 bytes"],
    "Unix time in seconds or milliseconds": ["1769817600", "1769817600000", "1769817600.25"],
    "12 or 14 digits that are a date and a time": ["20260131100000", "202601311000", "20260131T100000"],
    "a date, a time, an offset": [
        "31.01.2026",
        "2026-01-31",
        "01/31/2026",
        "2026-01-31T10:00:00+00:00",
        "manual__2026-01-31T10:00:00.123456+00:00",
        "Sat, 31 Jan 2026 10:00:00 +0530",
        "s3://bucket/calls/2026-01-31/1234567",
        "year=2026/month=01/day=31",
    ],
    "an IPv4 address": ["192.168.100.200", "http://127.0.0.1:8787", "10.0.0.0/16"],
    "an amount, a decimal fraction": [
        "1.234.567,89",
        "1,234,567.89",
        "+1.234.567,89",
        "1 234 567 890,12",
        "37.7749295123",
        "0.30000000000000004",
    ],
    'after capitals and a hyphen, `#`, "order"': [
        "ORD-4155550199",
        "order 4155550199",
        "Invoice no. 4155550199",
        "#4155550199",
        '{"order_id": "4155550199"}',
    ],
    "an id of Retell, a UUID, 16 and more hex": [
        "call_14155550199",
        "call_1234567890abcdef1234567",
        "agent_14155550100",
        "123e4567-e89b-12d3-a456-426614174000",
        "4155550199a1b2c3",
        "CA0123456789abcdef0123456789abcdef",
    ],
    "more than 15 digits without a plus": ["4155550100123456", "12345678901234567890"],
}


def cases(table: dict[str, list[str]]) -> list[Any]:
    """Return the examples of a part of the table, named after their rows."""
    return [pytest.param(text, id=f"{row}: {text!r}") for row, texts in table.items() for text in texts]


def last_four(text: str) -> str:
    """Return the digits of a number that are shown."""
    return "…" + re.sub(r"%(25)*2B|\\u002b|\.0$|\D", "", text)[-4:]


def test_the_docstring_has_the_same_table() -> None:
    """A row of the module's table is a row of the tests, with the same answer and an example that is tried."""
    lines = re.findall(r"^(\S.*?) {2,}``(.*?)`` +(always|guess|no)$", str(_number_search.__doc__), re.MULTILINE)
    rows = {(row.replace("``", "`"), answer): example for row, example, answer in lines}
    parts = (("always", ALWAYS), ("guess", GUESSED), ("no", LEFT))
    expected = {(row, answer): texts for answer, part in parts for row, texts in part.items()}
    assert rows.keys() == expected.keys()
    assert [key for key, example in rows.items() if example not in expected[key]] == []


@pytest.mark.parametrize("text", cases(ALWAYS))
def test_a_number_with_its_country_code_is_masked_everywhere(text: str) -> None:
    """With a plus or a grouped 00 it can be nothing else, in an export as in a log line."""
    for masker in (Masker(), OWN):
        assert masker.text(text) == last_four(text)
        assert masker.text(f"({text}), x{text}!") == f"({last_four(text)}), x{last_four(text)}!"


@pytest.mark.parametrize("text", cases(GUESSED))
def test_a_likely_number_is_masked_in_logs_alone(text: str) -> None:
    """A log line may be about anyone's number; an export knows whose numbers its calls have."""
    assert mask_numbers(text) == last_four(text)
    assert mask_numbers(f"to {text}, again") == f"to {last_four(text)}, again"
    assert Masker(("+12025550177",), guess=False).text(text) == text


@pytest.mark.parametrize("text", cases(LEFT))
def test_what_is_no_number_is_left_alone(text: str) -> None:
    """Dates, addresses, amounts, orders and ids are what one needs to find a mistake."""
    for masker in (Masker(), Masker(("+12025550177",)), OWN):
        assert "100" in text or masker.text(text) == text
    assert mask_numbers(text) == text
    assert mask_numbers(f"at {text}, in {text}") == f"at {text}, in {text}"


# -- the call's own numbers --------------------------------------------------------------------------------------

AMERICAN = st.from_regex(r"\+1[2-9][0-9]{2}[2-9][0-9]{6}", fullmatch=True)
NUMBERS = AMERICAN | st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True)
SEPARATORS = [
    "",
    " ",
    "-",
    ".",
    ") ",
    " (",
    "/",
    "\u00a0",
    "\u2011",
    "\u200b",
    "\u00ad",
    "\n",
    "\r\n",
    "\t",
    "_",
    ",",
    " - ",
]
ESCAPED = ["%20", "%2D", "%C2%A0", "%2520", "\\n", "\\u00a0", "\\u2011", "\\xa0", "\\\\n"]
ZEROS = ["0", "\uff10", "\u0660", "\u0966"]
"""The zero of ASCII, the full-width one, the Arabic-Indic one and the one of Devanagari."""
BESIDE = st.text(st.characters(exclude_categories=("Nd", "Cs")), max_size=12) | st.sampled_from(
    [
        "sip:",
        "tel:",
        "tel:%2B",
        "number_",
        "to",
        "x",
        "\\n",
        "\\u00a0",
        "%20",
        "%3D",
        '{"a":"',
        "https://h/?to=%2B",
    ]
)


@st.composite
def spelled(draw: st.DrawFn, number: str) -> str:
    """Return one way of writing a number: with or without its prefix, in any grouping and any digits."""
    prefix = draw(st.sampled_from(["+", "", "00", "011", "%2B", "\\u002b", "\uff0b"]))
    zero = ord(draw(st.sampled_from(ZEROS)))
    digits = [chr(zero + int(digit)) for digit in number[1:]]
    gaps = draw(
        st.lists(st.sampled_from(SEPARATORS + ESCAPED), min_size=len(digits) - 1, max_size=len(digits) - 1)
    )
    return prefix + digits[0] + "".join(gap + digit for gap, digit in zip(gaps, digits[1:], strict=True))


def digits_of(text: str) -> str:
    """Return all digits of a text, side by side, whatever is between them."""
    plain = re.sub(r"%(25)*[0-9A-F]{2}|\\+(u[0-9a-f]{4}|x[0-9a-f]{2})", "", text)
    return "".join(str(int(each)) for each in plain if each.isdecimal())


@settings(deadline=None)
@given(data=st.data(), number=NUMBERS, before=BESIDE, after=BESIDE, guess=st.booleans())
def test_the_calls_number_does_not_survive(
    data: st.DataObject, number: str, before: str, after: str, guess: bool
) -> None:
    """However the number is written, and whatever stands next to it, its last four digits are what is left."""
    written = data.draw(spelled(number))
    text = Masker((number,), guess=guess).text(f"{before}{written}{after}")
    assert digits_of(text) == digits_of(before) + number[-4:] + digits_of(after)
    assert text.startswith(before.rstrip("+\uff0b( \\").removesuffix("%2B"))  # a backslash may belong to an escape
    assert text.endswith(after)


@settings(deadline=None)
@given(number=NUMBERS, before=BESIDE, after=BESIDE, ascii_only=st.booleans())
def test_the_calls_number_does_not_survive_in_json(number: str, before: str, after: str, ascii_only: bool) -> None:
    """Keys, integers and floats are searched, as a value and as text of JSON, and no value is lost."""
    digits = number[1:]
    value = {
        "to_number": number,
        f"{before}{digits}{after}": [
            int(digits),
            float(digits),
            {digits: digits, number: number},
            True,
            None,
            1.5,
        ],
        int(digits): f"{before}{number}{after}",
    }
    masker = Masker.of(value, guess=False)
    for text in (
        json.dumps(masker.json(value), ensure_ascii=False),
        masker.text(json.dumps(value, ensure_ascii=ascii_only)),
        masker.text(json.dumps(json.dumps(value, ensure_ascii=ascii_only))),
        masker.text(quote(json.dumps(value, ensure_ascii=False))),
        masker.text(repr(value)),
    ):
        assert digits not in text
    masked = masker.json(value)
    assert len(masked) == len(value)
    (items,) = (item for item in masked.values() if isinstance(item, list))
    assert items[:2] == [f"…{number[-4:]}"] * 2
    assert len(items[2]) == 2
    assert items[3:] == [True, None, 1.5]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("+14155550100", "4155550100"),
        ("+14155550100", "(415) 555-0100"),
        ("+14155550100", "1 415 555 0100"),
        ("+14155550100", "14,155,550,100"),
        ("+14155550100", "14155550100.0"),
        ("+14155550100", "50%4155550100"),
        ("+442079460958", "020 7946 0958"),
        ("+442079460958", "+44 (0)20 7946 0958"),
        ("+49 (0)30 1234567", "0301234567"),
        ("0049301234567", "+49 30 1234567"),
        ("(415) 555-0100", "+14155550100"),
        ("(415) 555-0100", "14155550100"),
        (4155550100, "4155550100"),
        (14155550100.0, "14155550100"),
        ("sip:+14155550100@192.168.100.200", "14155550100"),
        ("+14155550100,,1234567#", "14155550100"),
        ("+14155550100 12", "14155550100"),
        ("555-0100", "5550100"),
    ],
)
def test_each_form_of_the_calls_number_is_masked(number: object, text: str) -> None:
    """The call's own number is masked in international and in national form."""
    masked = Masker((number,), guess=False).text(text)
    assert digits_of(masked) == digits_of(text.removesuffix(".0").removeprefix("50%"))[-4:] or masked == "50%…0100"
    assert "…" in masked


@pytest.mark.parametrize(
    "text",
    [
        "914155550100123",
        "24155550100",
        "order 4155550199",
        "at 2026-01-31 10:00:00",
        "192.168.100.200",
        "1234567890",
    ],
)
def test_another_number_is_not_the_calls(text: str) -> None:
    """A longer run of digits that holds the number is another one; so is one that differs in a digit."""
    assert OWN.text(text) == text


@pytest.mark.parametrize(
    "number", [None, "", "anonymous", "sip:desk@192.168.100.200", "911", True, float("nan"), float("inf"), b"1"]
)
def test_what_is_no_number_of_a_call_masks_nothing(number: object) -> None:
    """A call may have a name, a short code or nothing in a field for numbers."""
    text = "911, 12345, 192.168.100.200, anonymous, 2026-01-31"
    assert Masker((number,), guess=False).text(text) == text


# -- what is left alone ------------------------------------------------------------------------------------------

MOMENTS = st.integers(0, 4 * 10**15).map(
    lambda each: datetime(1970, 1, 2, tzinfo=UTC) + timedelta(microseconds=each)
)
OCTETS = st.integers(0, 255).map(str)
ORDINARY = st.one_of(
    MOMENTS.map(datetime.isoformat),
    MOMENTS.map(lambda moment: str(moment.replace(tzinfo=None))),
    MOMENTS.map(lambda moment: f"{moment:%d.%m.%Y}"),
    MOMENTS.map(lambda moment: f"{moment:%a, %d %b %Y %H:%M:%S GMT}"),
    MOMENTS.map(lambda moment: f"manual__{moment.isoformat()}"),
    st.integers(10**12, 2 * 10**12 - 1).map(lambda milliseconds: f'{{"start_timestamp": {milliseconds}}}'),
    st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=99)).map(str),
    st.lists(OCTETS, min_size=4, max_size=4).map(".".join),
    st.integers(0, 10**9).map(lambda cents: f"{cents / 100:,.2f}"),
    st.integers(0, 10**9).map(lambda cents: f"{cents / 100:,.2f}".translate(str.maketrans(",.", ".,"))),
    st.integers(0, 10**9 - 1).map(lambda order: f"order {order}"),
    st.integers(10**9, 10**13).map(lambda order: f"ORD-{order}"),
    st.uuids().map(str),
    st.uuids().map(lambda each: f"call_{each.hex[:27]}"),
    st.uuids().map(lambda each: f"agent_{each.hex}"),
    st.floats(0, 1).map(str),
)
"""Digits that are not a phone number."""


@settings(deadline=None, max_examples=400)
@given(
    text=st.lists(ORDINARY, min_size=1, max_size=4).map(", ".join),
    masker=st.sampled_from([Masker(), OWN, Masker(("x",))]),
)
def test_what_is_made_of_digits_is_left_alone(text: str, masker: Masker) -> None:
    """Dates, times, addresses, amounts, orders, ids, Unix times and durations stay as they are."""
    assert masker.text(text) == text
    assert masker.json({text: [text]}) == {text: [text]}
    assert masker.text(json.dumps(text)) == json.dumps(text)


@settings(deadline=None)
@given(
    text=st.text(st.sampled_from(string.digits + " +-().,/:%\\nu0é…" + "".join(ZEROS)), max_size=60),
    guess=st.booleans(),
)
def test_masking_twice_is_masking_once(text: str, guess: bool) -> None:
    """A message that is masked where it is made is not changed again where it is logged."""
    masker = Masker((NUMBER,), guess=guess)
    once = masker.text(text)
    assert masker.text(once) == once


def test_a_decimal_zero_belongs_to_its_number_alone() -> None:
    """The zero of a float is no trunk zero of the next number."""
    assert OWN.text("14155550100.0 14155550100, 4155550100.0 4155550100") == "…0100 …0100, …0100 …0100"


@pytest.mark.parametrize("text", ["…0100 12345 678", "(…0100) 555-0100", "…0100-415-555"])
def test_what_is_masked_stays_as_it_is(text: str) -> None:
    """Four digits that are left of a number do not begin another one."""
    assert mask_numbers(text) == text


def test_a_time_of_the_call_stays_an_integer() -> None:
    """A field that holds milliseconds holds no number, even with the same digits."""
    call = {"to_number": "+4512345678", "duration_ms": 12345678, "end_timestamp": 4512345678, "other": 12345678}
    assert Masker.of(call, guess=False).json(call) == {
        "to_number": "…5678",
        "duration_ms": 12345678,
        "end_timestamp": 4512345678,
        "other": "…5678",
    }


def test_keys_that_become_the_same_are_counted() -> None:
    """An object keyed by numbers keeps every value."""
    keyed = {"+14155550100": 1, "14155550100": 2, "+12025550100": 3, "…0100": 4, "…0100 (2)": 5, 4155550100: 6}
    masked = OWN.json(keyed)
    assert sorted(masked.values()) == [1, 2, 3, 4, 5, 6]
    assert masked["…0100"] == 4
    assert masked["…0100 (2)"] == 5
    assert all(digits_of(str(key))[:4] == "0100" for key in masked)


# -- messages ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (NUMBER, "'…0100'"),
        (14155550100, "…0100"),
        (14155550100.0, "…0100"),
        ({"note": "call\n4155550100"}, "{'note': 'call\\n…0100'}"),
        ([["call\u00a04155550100", 14155550100]], "[['call\\xa0…0100', …0100]]"),
        ({"4155550100": 1}, "{'…0100': 1}"),
        ("31.01.2026", "'31.01.2026'"),
        ("2026-01-31", "'2026-01-31'"),
        (float("nan"), "NaN"),
        (None, "None"),
        ([NUMBER, 7], "['…0100', 7]"),
        ("x" * 1000, "'" + "x" * 119 + "…"),
    ],
)
def test_a_given_value_is_shown_short_and_without_numbers(value: object, text: str) -> None:
    """A message quotes what was given: enough of it to recognise, no phone number, no megabyte."""
    assert shown(value) == text


def test_what_is_known_to_be_a_number_is_shown_as_one() -> None:
    """The value of a number field is masked even in a form that elsewhere is no number."""
    assert shown("555-0100") == "'555-0100'"
    assert shown("555-0100", is_number=True) == "'…0100'"


@settings(deadline=None)
@given(number=NUMBERS, filling=st.integers(90, 125), after=st.sampled_from(["", " and more", "!" * 40]))
def test_a_cut_leaves_no_half_number(number: str, filling: int, after: str) -> None:
    """A number at the place of the cut is masked before it."""
    text = shown("x" * filling + number + after)
    assert digits_of(text) == number[-4:][: max(0, 118 - filling)]
    assert len(text) <= 121
