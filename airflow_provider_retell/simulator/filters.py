"""Filter, sort and page call objects as list-calls does.

https://docs.retellai.com/api-references/list-calls
"""

from __future__ import annotations

import base64
import json
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

_CallObject: TypeAlias = Mapping[str, Any]

# The place in the call object that a filter looks at.
_PLACES = {
    "call_successful": ("call_analysis", "call_successful"),
    "combined_cost": ("call_cost", "combined_cost"),
    "e2e_latency_p50": ("latency", "e2e", "p50"),
    "in_voicemail": ("call_analysis", "in_voicemail"),
    "user_sentiment": ("call_analysis", "user_sentiment"),
}
# Filters that are lists of {key, ...}, with the part of the object in which the key is looked up.
_KEYED_PLACES = {
    "custom_analysis_data": ("call_analysis", "custom_analysis_data"),
    "custom_fields": ("custom_fields",),
    "dynamic_variables": ("retell_llm_dynamic_variables",),
    "metadata": ("metadata",),
}
FIXED_BY_REQUEST = frozenset(
    {
        *("agent", "agent_tag", "call_id", "call_type", "data_storage_setting", "direction"),
        *("dynamic_variables", "from_number", "metadata", "to_number"),
    }
)
"""The filters on fields that are the same at every stage of a call."""

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
    "sw": str.startswith,
    "ew": str.endswith,
    "co": operator.contains,
    "in": lambda actual, values: actual in values,
    "bt": lambda actual, bounds: bounds[0] <= actual <= bounds[1],
}
# Exact types, because in Python `True` is a number as well.
_TYPES: dict[str, tuple[type, ...]] = {
    "boolean": (bool,),
    "enum": (str,),
    "number": (int, float),
    "range": (int, float),
    "string": (str,),
}


def matches(call: _CallObject, criteria: Mapping[str, Any]) -> bool:
    """Return whether a call or a contact meets every criterion."""
    return all(_meets(call, name, wanted) for name, wanted in criteria.items())


def _meets(call: _CallObject, name: str, wanted: Any) -> bool:
    if name == "agent":
        return any(
            call["agent_id"] == agent["agent_id"]
            and call["agent_version"] in agent.get("version", [call["agent_version"]])
            for agent in wanted
        )
    if name in _KEYED_PLACES:
        fields = _find(call, _KEYED_PLACES[name]) or {}
        return all(_passes(fields.get(each["key"]), each) for each in wanted)
    return _passes(_find(call, _PLACES.get(name, (name,))), wanted)


def _find(call: _CallObject, place: Iterable[str]) -> Any:
    found: Any = call
    for step in place:
        found = (found or {}).get(step)
    return found


def _passes(actual: Any, wanted: Mapping[str, Any]) -> bool:
    if wanted["type"] == "present":
        return (actual is not None) is (wanted["op"] == "pr")
    # A value that is missing, or of another type than the filter's, never passes, not even `ne`.
    if type(actual) not in _TYPES[wanted["type"]]:
        return False
    return _COMPARISONS[wanted["op"]](actual, wanted["value"])


def encode_cursor(position: tuple[int, str]) -> str:
    """Encode the position at which a page ended as an opaque key."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def decode_cursor(key: str) -> tuple[int, str]:
    """Decode the position at which a page ended.

    Raises:
        ValueError: The key was not made by `encode_cursor`.
    """
    try:
        position, call_id = json.loads(base64.urlsafe_b64decode(key))
    except TypeError as broken:
        raise ValueError("Not a position in the list of calls.") from broken
    return int(position), str(call_id)
