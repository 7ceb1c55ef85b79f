"""Scrubbed calls: keep personal data out of an export. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

UNSCRUBBED: Final[Mapping[str, str | None]] = {
    "transcript": None,
    "transcript_object": None,
    "transcript_with_tool_calls": "scrubbed_transcript_with_tool_calls",
    "pre_session_transcript_with_tool_calls": "scrubbed_pre_session_transcript_with_tool_calls",
    "post_session_transcript_with_tool_calls": "scrubbed_post_session_transcript_with_tool_calls",
    "recording_url": "scrubbed_recording_url",
    "recording_multi_channel_url": "scrubbed_recording_multi_channel_url",
    "public_log_url": None,
    "knowledge_base_retrieved_contents_url": None,
}
"""Fields that may hold personal data, each with the field that holds Retell's scrubbed form of it, if any."""

_TURNS: Final = "scrubbed_transcript_with_tool_calls"
_SPEAKERS: Final = frozenset({"agent", "user", "transfer_target"})


def scrub(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with Retell's scrubbed transcripts and recordings in place of the others.

    A field without a scrubbed form is left out. ``transcript`` and ``transcript_object`` are built from the turns
    in ``scrubbed_transcript_with_tool_calls``.
    """
    scrubbed = {name: value for name, value in row.items() if name not in UNSCRUBBED}
    for name, instead in UNSCRUBBED.items():
        if name in row and instead is not None and row.get(instead) is not None:
            scrubbed[name] = row[instead]
    turns = row.get(_TURNS)
    if isinstance(turns, list):
        spoken = [turn for turn in turns if isinstance(turn, Mapping) and turn.get("role") in _SPEAKERS]
        if "transcript_object" in row:
            scrubbed["transcript_object"] = spoken
        if "transcript" in row:
            scrubbed["transcript"] = "".join(
                f"{str(turn['role']).capitalize()}: {turn.get('content')}\n" for turn in spoken
            )
    return scrubbed
