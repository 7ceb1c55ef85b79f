"""A call as a row: what a task hands on through XCom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from airflow_provider_retell.errors import RetellInputError
from airflow_provider_retell.models import Call

HEAVY_FIELDS: Final = frozenset(
    {
        "transcript",
        "transcript_object",
        "transcript_with_tool_calls",
        "scrubbed_transcript_with_tool_calls",
        "pre_session_transcript_with_tool_calls",
        "post_session_transcript_with_tool_calls",
        "scrubbed_pre_session_transcript_with_tool_calls",
        "scrubbed_post_session_transcript_with_tool_calls",
        "llm_token_usage",
        "public_log_url",
        "knowledge_base_retrieved_contents_url",
    }
)
"""Fields that a row leaves out unless ``include`` names them."""

LATENCY_FIELDS: Final = frozenset({"latency", "e2e_latency", "llm_latency", "llm_websocket_network_rtt_latency"})
"""Fields of which a row keeps the percentiles and leaves out the ``values`` per turn, unless named."""


def check_include(include: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return the fields of an ``include``, else raise ``RetellInputError`` with those allowed."""
    given = (include,) if isinstance(include, str) else tuple(include or ())
    for field in given:
        if field not in Call.model_fields:
            raise RetellInputError(
                f"include takes fields of a call that a row leaves out "
                f"({', '.join(sorted(HEAVY_FIELDS | LATENCY_FIELDS))}), not {field!r}."
            )
    return given


def row(call: Call, include: Iterable[str] = ()) -> dict[str, Any]:
    """Return a call as a JSON-able dict: Retell's fields, plus ``outcome``, less the heavy ones.

    Args:
        call: The call as read.
        include: Heavy fields to put back. A latency field named here keeps its ``values`` per turn.
    """
    left_out = HEAVY_FIELDS.difference(include)
    shortened = LATENCY_FIELDS.difference(include)
    fields = {
        name: _without_values(value) if name in shortened else value
        for name, value in call.json_dict().items()
        if name not in left_out
    }
    return fields | {"outcome": None if call.outcome is None else call.outcome.value}


def _without_values(latency: Any) -> Any:
    """Drop the list of values per turn, in today's form (by part) and in the older one (at the top)."""
    if not isinstance(latency, Mapping):
        return latency
    return {name: _without_values(part) for name, part in latency.items() if name != "values"}
