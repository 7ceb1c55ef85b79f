"""Test how a call is recognised: is it the one that was asked for?"""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_retell.api.call_rows import CallRow
from airflow_provider_retell.calls.recognition import differs, was_there_before


@pytest.mark.parametrize(
    ("placed", "asked", "same"),
    [
        ("+14155550100", "+14155550100", True),
        ("+14155550100", " +1 (415) 555-0100", True),
        # Retell shows a national form as a complete number
        ("+14155550100", "4155550100", True),
        ("+14155550100", "14155550100", True),
        ("+14155550100", "(415) 555-0100", True),
        # two complete numbers, one of which ends with the digits of the other
        ("+14155550100", "+914155550100", False),
        ("+514155550100", "+4155550100", False),
        # too short to say whose it is
        ("+14155550100", "50100", False),
        ("+14155550100", "+14155550101", False),
        # one side has none: nothing to compare
        (None, "+14155550100", True),
        ("+14155550100", "", True),
    ],
)
def test_numbers_are_the_same_if_they_ring_the_same_phone(placed: str | None, asked: str, *, same: bool) -> None:
    """A national form is compared with the end of a complete number, two complete numbers as they are."""
    difference = differs({"to_number": placed}, {"to_number": asked})
    assert (difference is None) == same
    assert differs({"to_number": asked}, {"to_number": placed}) is None or not same
    if difference is not None:
        assert "+1" not in difference


@pytest.mark.parametrize("odd", [0, 1_800_000_000, 1_800_000_000 * 10**9, pytest.param(10**400, id="huge")])
@pytest.mark.parametrize("field", ["start_timestamp", "end_timestamp"])
def test_an_odd_time_does_not_make_a_call_older(field: str, odd: Any) -> None:
    """Zero or another unit is no time: a call that is not over was placed by this request."""
    placed = CallRow.read({"call_id": "call_1", "call_status": "registered", field: odd})
    assert not was_there_before(placed, first_sent_at=1_800_000_000)
