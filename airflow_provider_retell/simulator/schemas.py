"""Check the bodies of requests, and complain about them as Retell does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

Schema: TypeAlias = Mapping[str, Any]
"""A JSON Schema, of the few keywords that Retell's API description uses for calls."""

_TYPES: dict[str, type | tuple[type, ...]] = {
    "array": list,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "object": dict,
    "string": str,
}

_NAME = {"type": "string", "minLength": 1}
_OBJECT = {"type": "object"}
_STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}
_FLAG = {"type": "boolean"}
_VERSION = {
    "oneOf": [
        {"type": "integer", "minimum": 0},
        {
            "type": "string",
            "pattern": r"^(latest|latest_published|"
            r"(?!(?:latest|latest_published|v\d+)$)[a-z][a-z0-9_-]{0,19})$",
        },
    ]
}
_OVERRIDE = {
    "type": "object",
    "properties": {"agent": _OBJECT, "retell_llm": _OBJECT, "conversation_flow": _OBJECT},
}

REGISTER: Schema = {
    "type": "object",
    "required": ["agent_id"],
    "properties": {
        "agent_id": _NAME,
        "agent_version": _VERSION,
        "agent_override": _OVERRIDE,
        "from_number": _NAME,
        "to_number": _NAME,
        "direction": {"type": "string", "enum": ["inbound", "outbound"]},
        "metadata": _OBJECT,
        "retell_llm_dynamic_variables": _STRINGS,
    },
}
"""https://docs.retellai.com/api-references/register-phone-call"""

CREATE: Schema = {
    "type": "object",
    "required": ["from_number", "to_number"],
    "properties": {
        "from_number": _NAME,
        "to_number": _NAME,
        "override_agent_id": _NAME,
        "override_agent_version": _VERSION,
        "agent_override": _OVERRIDE,
        "metadata": _OBJECT,
        "retell_llm_dynamic_variables": _STRINGS,
        "custom_sip_headers": _STRINGS,
        "ignore_e164_validation": _FLAG,
        "idempotency_key": {"type": "string"},
        "honor_internal_dnc": _FLAG,
    },
}
"""https://docs.retellai.com/api-references/create-phone-call"""


DATA_STORAGE_SETTINGS = ("everything", "everything_except_pii", "basic_attributes_only")
"""From the least to the most restrictive."""

UPDATE: Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "metadata": _OBJECT,
        "data_storage_setting": {"type": "string", "enum": list(DATA_STORAGE_SETTINGS)},
        "custom_attributes": {
            "type": "object",
            "additionalProperties": {"oneOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]},
        },
    },
}
"""https://docs.retellai.com/api-references/update-call"""


def _filter(kind: str, operators: list[str], value: Schema | None) -> Schema:
    properties = {"type": {"enum": [kind]}, "op": {"type": "string", "enum": operators}}
    if value is None:
        return {"type": "object", "required": ["type", "op"], "properties": properties}
    required = ["type", "op", "value"]
    return {"type": "object", "required": required, "properties": {**properties, "value": value}}


def _enum(*values: str) -> Schema:
    items = {"type": "string", "enum": list(values)} if values else {"type": "string"}
    return _filter("enum", ["in"], {"type": "array", "items": items})


_STRING = _filter("string", ["eq", "ne", "sw", "ew", "co"], {"type": "string"})
_NUMBER = _filter("number", ["eq", "ne", "gt", "ge", "lt", "le"], {"type": "number"})
_BOOLEAN = _filter("boolean", ["eq"], {"type": "boolean"})
_RANGE = _filter("range", ["bt"], {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "number"}})
_PRESENT = _filter("present", ["pr", "np"], None)
_QUANTITY = {"oneOf": [_NUMBER, _RANGE]}
_FIELD = {
    "required": ["key"],
    "properties": {"key": {"type": "string"}},
    "oneOf": [_STRING, _NUMBER, _BOOLEAN, _RANGE, _enum(), _PRESENT],
}
_FIELDS = {"type": "array", "items": _FIELD}
_AGENT = {
    "type": "object",
    "required": ["agent_id"],
    "properties": {"agent_id": _NAME, "version": {"type": "array", "items": {"type": "number"}}},
}

LIST: Schema = {
    "type": "object",
    "not": ["skip", "pagination_key"],
    "properties": {
        "limit": {"type": "integer", "minimum": 1, "maximum": 1000},
        "skip": {"type": "integer", "minimum": 0},
        "pagination_key": {"type": "string"},
        "sort_order": {"type": "string", "enum": ["ascending", "descending"]},
        "include_total": _FLAG,
        "filter_criteria": {
            "type": "object",
            # Ignoring a filter would return the wrong calls: refuse filters that are not simulated.
            "additionalProperties": False,
            "properties": {
                "agent": {"type": "array", "items": _AGENT},
                "agent_tag": _enum(),
                "batch_call_id": _STRING,
                "call_id": {"oneOf": [_STRING, _enum()]},
                "call_status": _enum("not_connected", "ongoing", "ended", "error"),
                "call_successful": _BOOLEAN,
                "call_type": _enum("web_call", "phone_call"),
                "combined_cost": _QUANTITY,
                "custom_analysis_data": _FIELDS,
                "data_storage_setting": _enum(*DATA_STORAGE_SETTINGS),
                "direction": _enum("inbound", "outbound"),
                "disconnection_reason": _enum(),
                "duration_ms": _QUANTITY,
                "dynamic_variables": _FIELDS,
                "e2e_latency_p50": _QUANTITY,
                "end_timestamp": _QUANTITY,
                "from_number": _STRING,
                "in_voicemail": _BOOLEAN,
                "metadata": _FIELDS,
                "start_timestamp": _QUANTITY,
                "to_number": _STRING,
                "user_sentiment": _enum("Negative", "Positive", "Neutral", "Unknown"),
            },
        },
    },
}
"""https://docs.retellai.com/api-references/list-calls"""


LIST_CONTACTS: Schema = {
    "type": "object",
    "not": ["skip", "pagination_key"],
    "properties": {
        "limit": {"type": "number", "minimum": 1, "maximum": 1000},
        "skip": {"type": "number", "minimum": 0},
        "pagination_key": {"type": "string"},
        "search_query": {"type": "string"},
        "sort_order": {"type": "string", "enum": ["asc", "desc"]},
        "excluded_contact_ids": {"type": "array", "maxItems": 1000, "items": {"type": "string"}},
        "filter_criteria": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "contact_id": _STRING,
                "custom_fields": _FIELDS,
                "do_not_call": _BOOLEAN,
                "phone_number": _STRING,
            },
        },
    },
}
"""https://docs.retellai.com/api-references/list-contacts, with the limits of list-calls, as Retell gives none."""


def complaints(schema: Schema, value: Any, path: str = "request/body") -> Iterator[str]:
    """Yield what is wrong with a value, in the words of Retell's validator."""
    kind = schema.get("type")
    if isinstance(kind, str) and not _is(kind, value):
        yield f"{path} must be {kind}"
        return
    if "oneOf" in schema and sum(not any(complaints(each, value, path)) for each in schema["oneOf"]) != 1:
        yield f"{path} must match exactly one schema in oneOf"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path} must be equal to one of the allowed values: {', '.join(schema['enum'])}"
    if isinstance(value, str):
        yield from _string_complaints(schema, value, path)
    elif isinstance(value, dict):
        yield from _object_complaints(schema, value, path)
    elif isinstance(value, list):
        yield from _array_complaints(schema, value, path)
    elif isinstance(value, int):
        if value < schema.get("minimum", value):
            yield f"{path} must be >= {schema['minimum']}"
        if value > schema.get("maximum", value):
            yield f"{path} must be <= {schema['maximum']}"


def _is(kind: str, value: Any) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"  # in Python True is an integer, in JSON it is not
    return isinstance(value, _TYPES[kind])


def _string_complaints(schema: Schema, value: str, path: str) -> Iterator[str]:
    if len(value) < schema.get("minLength", 0):
        yield f"{path} must NOT have fewer than {schema['minLength']} characters"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f'{path} must match pattern "{schema["pattern"]}"'


def _object_complaints(schema: Schema, value: dict[str, Any], path: str) -> Iterator[str]:
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path} must have required property '{name}'"
    if "not" in schema and all(name in value for name in schema["not"]):
        yield f"{path} must NOT be valid"
    known = schema.get("properties", {})
    others = schema.get("additionalProperties")
    for name, item in value.items():
        if name in known:
            yield from complaints(known[name], item, f"{path}/{name}")
        elif others is False:
            yield f"{path} must NOT have additional properties"
        elif others:
            yield from complaints(others, item, f"{path}/{name}")


def _array_complaints(schema: Schema, value: list[Any], path: str) -> Iterator[str]:
    if len(value) < schema.get("minItems", 0):
        yield f"{path} must NOT have fewer than {schema['minItems']} items"
    if len(value) > schema.get("maxItems", len(value)):
        yield f"{path} must NOT have more than {schema['maxItems']} items"
    for i, item in enumerate(value):
        yield from complaints(schema.get("items", {}), item, f"{path}/{i}")
