"""What an export leaves out for people's privacy. Pure: no I/O."""

from __future__ import annotations

import re
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
"""Fields in which a person's data stands as it was said, each with Retell's scrubbed form of it, if any."""

_TURNS: Final = "scrubbed_transcript_with_tool_calls"
_SPEAKERS: Final = frozenset({"agent", "user", "transfer_target"})
_NUMBERS: Final = ("from_number", "to_number", "transfer_destination")
_E164: Final = re.compile(r"\+[1-9]\d{6,14}(?!\d)")
_SHORTEST: Final = 7


def scrub(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with Retell's scrubbed transcripts and recordings in place of the others.

    Where Retell has no scrubbed form, nothing takes the field's place. ``transcript`` and
    ``transcript_object`` are made of what is said in ``scrubbed_transcript_with_tool_calls``.
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


def mask(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row in which phone numbers are their last four digits.

    That is: the numbers of the call, wherever in the row they stand, with or without the plus, and whatever else
    has the form of E.164. A number in another form is not recognised, such as one that is spoken.

    >>> mask({"to_number": "+14155550100", "metadata": {"note": "ask 14155550100"}})
    {'to_number': '…0100', 'metadata': {'note': 'ask …0100'}}
    """
    own = [str(row[name]) for name in _NUMBERS if row.get(name) is not None]
    digits = {re.sub(r"\D", "", number) for number in own}
    words = sorted((re.escape(word) for word in digits if len(word) >= _SHORTEST), key=len, reverse=True)
    pattern = re.compile("|".join([_E164.pattern, *(rf"\+?(?<!\d){word}(?!\d)" for word in words)]))

    def masked(value: Any) -> Any:
        match value:
            case str():
                return pattern.sub(_last_four, value)
            case Mapping():
                return {name: masked(item) for name, item in value.items()}
            case list():
                return [masked(item) for item in value]
        return value

    result: dict[str, Any] = masked(dict(row))
    for name in _NUMBERS:
        # Whatever form it has, here it is a number.
        if len(number := re.sub(r"\D", "", str(row.get(name)))) >= _SHORTEST:
            result[name] = f"…{number[-4:]}"
    return result


def _last_four(match: re.Match[str]) -> str:
    return f"…{match[0][-4:]}"
