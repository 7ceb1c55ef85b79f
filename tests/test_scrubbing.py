from __future__ import annotations

import json
from typing import Any

from airflow_provider_retell.files.contents import Contents
from airflow_provider_retell.files.scrubbing import UNSCRUBBED, scrub
from airflow_provider_retell.rows import TRANSCRIPT_FIELDS

TURNS = [
    {"role": "agent", "content": "Your number?"},
    {"role": "user", "content": "[PHONE]"},
    {"role": "tool_call_result", "content": "ok"},
]
RAW: dict[str, Any] = {
    "call_id": "call_1",
    "transcript": "Agent: Your number?\nUser: 415 555 0100\n",
    "transcript_object": [{"role": "user", "content": "415 555 0100"}],
    "transcript_with_tool_calls": [{"role": "user", "content": "415 555 0100"}],
    "pre_session_transcript_with_tool_calls": [{"role": "user", "content": "415 555 0100"}],
    "recording_url": "https://files.invalid/raw.wav",
    "recording_multi_channel_url": "https://files.invalid/raw2.wav",
    "public_log_url": "https://files.invalid/log.txt",
    "knowledge_base_retrieved_contents_url": "https://files.invalid/kb.txt",
}


def test_scrubbed_forms_take_the_place_of_the_others() -> None:
    """Each field has Retell's scrubbed form of it; the transcript is made of the scrubbed turns."""
    row = scrub(
        {
            **RAW,
            "scrubbed_transcript_with_tool_calls": TURNS,
            "scrubbed_pre_session_transcript_with_tool_calls": TURNS[:1],
            "scrubbed_recording_url": "https://files.invalid/scrubbed.wav",
        }
    )
    assert row["transcript"] == "Agent: Your number?\nUser: [PHONE]\n"
    assert row["transcript_object"] == TURNS[:2]
    assert row["transcript_with_tool_calls"] == TURNS
    assert row["pre_session_transcript_with_tool_calls"] == TURNS[:1]
    assert row["recording_url"] == "https://files.invalid/scrubbed.wav"
    assert "raw" not in json.dumps(row)
    assert "0100" not in json.dumps(row)


def test_without_a_scrubbed_form_there_is_nothing() -> None:
    """A call that Retell has not scrubbed has no transcript, rather than the original one."""
    assert scrub(RAW) == {"call_id": "call_1"}


def test_every_transcript_is_scrubbed() -> None:
    """Every transcript field is listed: one that is not would be written unscrubbed."""
    assert {name for name in TRANSCRIPT_FIELDS if not name.startswith("scrubbed_")} <= set(UNSCRUBBED)


def test_an_export_masks_the_numbers_of_each_call() -> None:
    """The call's numbers go from values, keys and integers; dates, orders and times stay, and ids in any case."""
    call = {
        "call_id": "call_1234567890abcdef1234567",
        "from_number": "+12025550199",
        "to_number": "+14155550100",
        "start_timestamp": 1769817600000,
        "metadata": {"phone": 4155550100, "14155550100": "due 2026-01-31, order 2125550123, not +442079460958"},
    }
    assert Contents(mask_numbers=True).row(call, None) == {
        **call,
        "outcome": None,
        "from_number": "…0199",
        "to_number": "…0100",
        "metadata": {"phone": "…0100", "…0100": "due 2026-01-31, order 2125550123, not …0958"},
    }
    assert Contents().row(call, None) == {**call, "outcome": None}
