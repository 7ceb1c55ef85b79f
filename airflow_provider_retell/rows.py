"""A call as a row: the form in which a task passes it on through XCom."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol, Required, TypeAlias, TypedDict, cast

from airflow_provider_retell._argument_checks import words
from airflow_provider_retell.outcomes import Outcome, outcome_of

TRANSCRIPT_FIELDS: Final = frozenset(
    {
        "transcript",
        "transcript_object",
        "transcript_with_tool_calls",
        "scrubbed_transcript_with_tool_calls",
        "pre_session_transcript_with_tool_calls",
        "post_session_transcript_with_tool_calls",
        "scrubbed_pre_session_transcript_with_tool_calls",
        "scrubbed_post_session_transcript_with_tool_calls",
    }
)
"""Fields that list-calls leaves out."""

HEAVY_FIELDS: Final = TRANSCRIPT_FIELDS | {
    "llm_token_usage",
    "public_log_url",
    "knowledge_base_retrieved_contents_url",
}
"""Fields that a row leaves out unless ``include`` names them."""

LATENCY_FIELDS: Final = frozenset({"latency", "e2e_latency", "llm_latency", "llm_websocket_network_rtt_latency"})
"""Fields that a row keeps without their ``values`` per turn, unless ``include`` names them."""

OutcomeWord: TypeAlias = Literal[
    "answered",
    "transferred",
    "voicemail",
    "ivr",
    "no_answer",
    "busy",
    "declined",
    "bad_number",
    "do_not_call",
    "callback_requested",
    "not_dialed",
    "capacity",
    "blocked",
    "billing",
    "stopped",
    "technical",
    "unknown",
]
"""The words of ``Outcome`` as a type, so that a type checker finds a misspelt one."""


class Analysis(TypedDict, total=False):
    """``call_analysis`` of a row; which fields there are depends on the agent."""

    call_summary: str
    in_voicemail: bool
    user_sentiment: str
    call_successful: bool
    custom_analysis_data: dict[str, Any]


class Cost(TypedDict, total=False):
    """``call_cost`` of a row, in US cents."""

    combined_cost: float
    product_costs: list[dict[str, Any]]
    total_duration_seconds: float
    total_duration_unit_price: float


DRY_RUN: Final = "dry_run"
"""The outcome of a row for which nothing was sent."""


class Row(TypedDict, total=False):
    """A call as tasks pass it on: those of Retell's fields that the call has, plus ``outcome``.

    Timestamps are milliseconds since the epoch. Fields that Retell adds later are in the row too, although this
    type does not name them.

    See https://docs.retellai.com/api-references/get-call
    """

    call_id: Required[str]
    outcome: Required[OutcomeWord | Literal["dry_run"] | None]
    """The result of the call in one word; None while it is not over."""
    attempts: int
    """In the rows of tasks with ``redial``: how many calls were placed; those that found no line do not count."""

    call_status: str
    call_type: str
    agent_id: str
    agent_name: str
    agent_version: int
    agent_tag: str
    from_number: str
    to_number: str
    direction: str
    telephony_identifier: dict[str, Any]
    custom_sip_headers: dict[str, Any]
    metadata: dict[str, Any]
    retell_llm_dynamic_variables: dict[str, Any]
    collected_dynamic_variables: dict[str, Any]
    custom_attributes: dict[str, Any]

    start_timestamp: int
    end_timestamp: int
    transfer_end_timestamp: int
    duration_ms: int
    transfer_destination: str
    disconnection_reason: str

    call_analysis: Analysis
    call_cost: Cost
    recording_url: str
    recording_multi_channel_url: str
    scrubbed_recording_url: str
    scrubbed_recording_multi_channel_url: str
    data_storage_setting: str
    opt_in_signed_url: bool
    opt_out_sensitive_data_storage: bool

    transcript: str
    transcript_object: list[dict[str, Any]]
    transcript_with_tool_calls: list[dict[str, Any]]
    scrubbed_transcript_with_tool_calls: list[dict[str, Any]]
    pre_session_transcript_with_tool_calls: list[dict[str, Any]]
    post_session_transcript_with_tool_calls: list[dict[str, Any]]
    scrubbed_pre_session_transcript_with_tool_calls: list[dict[str, Any]]
    scrubbed_post_session_transcript_with_tool_calls: list[dict[str, Any]]
    public_log_url: str
    knowledge_base_retrieved_contents_url: str
    llm_token_usage: dict[str, Any]
    latency: dict[str, Any]
    e2e_latency: dict[str, Any]
    llm_latency: dict[str, Any]
    llm_websocket_network_rtt_latency: dict[str, Any]


RefusalWord: TypeAlias = Literal[
    "do_not_call",
    "outside_hours",
    "attempt_limit",
    "not_eligible",
    "no_time_zone",
    "bad_number",
    "bad_request",
    "duplicate",
    "changed",
]
"""The reasons why a campaign does not call a person."""


class PersonRow(TypedDict, total=False):
    """A person of a campaign, as in ``people-*``: the person's own columns plus these."""

    person_id: Required[str]
    to_number: Required[str]
    outcome: Required[OutcomeWord | Literal["dry_run"] | None]
    """The outcome of the last call; None if there was none."""
    attempts: Required[int]
    call_id: Required[str | None]
    refused: Required[RefusalWord | None]
    detail: Required[str | None]
    """The reason in a sentence."""
    not_called: Required[bool]
    """True if a call was still to be placed."""
    earliest_call_at: str | None
    """In a dry run: when the call would be placed, in ISO 8601 and UTC."""


class CampaignResult(TypedDict, total=False):
    """The result of a campaign: counts, and the URLs of its files."""

    people: Required[int]
    reached: Required[int]
    """People who spoke in a call."""
    outcomes: Required[dict[OutcomeWord | Literal["dry_run"], int]]
    """The number of people by the outcome of their last call."""
    attempts: Required[int]
    """Calls that were dialed."""
    refused: Required[dict[RefusalWord, int]]
    not_called: Required[int]
    talk_seconds: Required[float]
    cost_cents: Required[float]
    paths: Required[list[str]]
    rows: list[PersonRow]
    """Without ``path``: the rows of ``people-*``, without variables."""
    duration_seconds: int
    """In a dry run: how long the campaign would take."""


_LEFT_OUT: Final = HEAVY_FIELDS | LATENCY_FIELDS


def check_include(include: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return the fields of an ``include``; raise ``RetellInputError``, which lists those allowed."""
    return words(
        "include",
        include,
        allowed=Row.__annotations__,
        takes=f"fields of a call that a row leaves out ({', '.join(sorted(_LEFT_OUT))})",
    )


class ReadCall(Protocol):
    """The part of the model ``Call`` that a row needs, so that this module need not import the models."""

    def json_dict(self) -> dict[str, Any]:
        """Return the call as Retell sent it."""


def row(call: ReadCall, include: Collection[str] = ()) -> Row:
    """Return a call as a JSON-able dict: Retell's fields plus ``outcome``, without the heavy ones.

    Args:
        call: The call as read.
        include: Heavy fields to put back. A latency field named here keeps its ``values`` per turn.
    """
    fields = call.json_dict()
    latencies = {name: deepcopy(fields[name]) for name in LATENCY_FIELDS if name in fields}
    return into_row(fields | latencies, include)


def into_row(fields: dict[str, Any], include: Collection[str] = ()) -> Row:
    """Turn the fields of a call into its row, in place."""
    if not _LEFT_OUT.isdisjoint(fields):  # most live calls have none of them
        for name in HEAVY_FIELDS:
            if name in fields and name not in include:
                del fields[name]
        for name in LATENCY_FIELDS:
            if name in fields and name not in include and isinstance(latency := fields[name], dict):
                _drop_values(latency)
    outcome = outcome_of(fields.get("call_status"), fields.get("disconnection_reason"))
    fields["outcome"] = _WORDS[outcome]
    return cast("Row", fields)


_WORDS: Final[Mapping[Outcome | None, str | None]] = {None: None, **{word: word.value for word in Outcome}}
"""The word that a row has for an outcome: looking it up is faster than asking the member for its value."""


def cents(cost: object) -> float | None:
    """Return the US cents in the ``call_cost`` of a row or of a model, None if it holds no number."""
    found = cost.get("combined_cost") if isinstance(cost, Mapping) else getattr(cost, "combined_cost", None)
    return _number(found)


def in_seconds(milliseconds: object) -> float | None:
    """Return a time or a duration of a row in seconds, None if it is not a number."""
    found = _number(milliseconds)
    return None if found is None else found / 1000


def moment(milliseconds: object) -> float | None:
    """Return a time of a row in seconds since the epoch, None unless it lies in 2000 to 2099, as calls do."""
    found = in_seconds(milliseconds)
    return found if found is not None and _FIRST <= found < _LAST else None


_FIRST, _LAST = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (2000, 2100))


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -_MOST <= value <= _MOST else None


_MOST: Final = sys.float_info.max  # an integer of 400 digits is no float


def dry_row(body: Mapping[str, Any]) -> Row:
    """Return the row of a call that was not placed: what would have been sent, and no ``call_id``."""
    return cast("Row", {**body, "call_id": None, "outcome": DRY_RUN})


def is_dry(given: Any) -> bool:
    """Return whether a value is a row for which nothing was sent, or a sequence of such rows."""
    if isinstance(given, Mapping):
        return given.get("outcome") == DRY_RUN
    return isinstance(given, Sequence) and not isinstance(given, str) and bool(given) and all(map(is_dry, given))


def _drop_values(latency: dict[str, Any]) -> None:
    """Drop the list of values per turn, in today's form (by part) and in the older one (at the top)."""
    latency.pop("values", None)
    for part in latency.values():
        if isinstance(part, dict):  # JSON has no other mapping; a check for `Mapping` takes ten times as long
            part.pop("values", None)
