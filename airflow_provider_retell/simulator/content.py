"""Make up the transcript, latency, cost and analysis of a call, the same each time they are read."""

from __future__ import annotations

from typing import Any

from airflow_provider_retell.simulator.scenarios import Scenario

# Cents per second.
_PRICES = {"elevenlabs_tts": 0.12, "gpt_4_1": 0.08, "us_telephony": 0.02}
# The share of the end-to-end latency that each stage takes.
_STAGES = {"e2e": 1.0, "asr": 0.1, "llm": 0.6, "tts": 0.25}
_TOOL_CALL = "tool_call_simulated"


def transcripts(scenario: Scenario, seconds: float) -> dict[str, Any]:
    """Return the four transcript fields. The words are spread evenly over the call."""
    slot = seconds / len(scenario.lines)
    spoken = [_utterance(role, text, i * slot, slot) for i, (role, text) in enumerate(scenario.lines)]
    woven: list[dict[str, Any]] = [
        *spoken,
        {"role": "tool_call_invocation", "tool_call_id": _TOOL_CALL, "name": "end_call", "arguments": "{}"},
        {"role": "tool_call_result", "tool_call_id": _TOOL_CALL, "content": "ok", "successful": True},
    ]
    return {
        "transcript": "".join(f"{role.capitalize()}: {text}\n" for role, text in scenario.lines),
        "transcript_object": spoken,
        "transcript_with_tool_calls": woven,
        "scrubbed_transcript_with_tool_calls": woven,
    }


def _utterance(role: str, text: str, start: float, seconds: float) -> dict[str, Any]:
    words = text.split()
    step = seconds / len(words)
    return {
        "role": role,
        "content": text,
        "words": [
            {"word": word, "start": round(start + i * step, 3), "end": round(start + (i + 1) * step, 3)}
            for i, word in enumerate(words)
        ],
    }


def measurements(call_id: str, scenario: Scenario, seconds: float) -> dict[str, Any]:
    """Return recordings, latency in milliseconds, cost in cents and token usage."""
    turns = max(1, sum(role == "agent" for role, _ in scenario.lines))
    chance = int.from_bytes(call_id.encode()[-8:], "big")
    values = [600 + (chance >> (5 * turn)) % 900 for turn in range(turns)]
    tokens = [1200 + 150 * turn for turn in range(turns)]
    products = [
        {"product": product, "unit_price": price, "cost": round(price * seconds, 4)}
        for product, price in _PRICES.items()
    ]
    # Names under `.invalid` never resolve, so a client cannot download a recording that does not exist.
    files = f"https://files.retell.invalid/{call_id}"
    return {
        "recording_url": f"{files}/recording.wav",
        "recording_multi_channel_url": f"{files}/recording_multichannel.wav",
        "public_log_url": f"{files}/public_log.txt",
        "knowledge_base_retrieved_contents_url": f"{files}/kb_retrieved_contents.txt",
        "collected_dynamic_variables": {"current_node": "Goodbye"},
        "latency": {stage: _spread([round(value * part) for value in values]) for stage, part in _STAGES.items()},
        "call_cost": {
            "product_costs": products,
            "total_duration_seconds": round(seconds),
            "total_duration_unit_price": round(sum(_PRICES.values()), 4),
            "combined_cost": round(sum(product["cost"] for product in products), 4),  # type: ignore[misc]
        },
        "llm_token_usage": {"values": tokens, "average": sum(tokens) / turns, "num_requests": turns},
    }


def _spread(values: list[int]) -> dict[str, Any]:
    ordered = sorted(values)
    percentiles = {f"p{p}": ordered[min(len(ordered) * p // 100, len(ordered) - 1)] for p in (50, 90, 95, 99)}
    return {**percentiles, "min": ordered[0], "max": ordered[-1], "num": len(values), "values": values}


def analysis(scenario: Scenario) -> dict[str, Any]:
    """Return `call_analysis`, with custom fields only if there was a conversation."""
    talked = scenario.analysis == "full"
    report: dict[str, Any] = {
        "call_summary": scenario.story,
        "in_voicemail": scenario.reason in ("voicemail_reached", "machine_detected"),
        "user_sentiment": "Positive" if talked else "Unknown",
        "call_successful": talked,
    }
    if talked:
        report["custom_analysis_data"] = dict(scenario.custom_analysis_data)
    return report
