"""Retell's calls as pydantic models, with Retell's own field names.

Responses are read tolerantly, because Retell adds fields and values at any time: unknown fields are kept, unknown
values of an enum stay plain strings, a field that is not of its documented type is kept as it came, and only
``call_id`` is required.

Page: https://docs.retellai.com/api-references/get-call
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler  # pydantic 2.0 has it only there

from airflow_provider_retell.outcomes import (
    CallStatus,
    Direction,
    DisconnectionReason,
    Outcome,
    is_connected,
    outcome_of,
)


class Sentiment(StrEnum):
    """The mood of the person, by Retell's analysis."""

    NEGATIVE = "Negative"
    POSITIVE = "Positive"
    NEUTRAL = "Neutral"
    UNKNOWN = "Unknown"


def _open(enum: type[StrEnum]) -> BeforeValidator:
    """Read an enum to which Retell may add values: known ones become members, others stay strings."""
    members = {member.value: member for member in enum}
    return BeforeValidator(lambda value: members.get(value, value) if isinstance(value, str) else value)


OpenStatus = Annotated[CallStatus | str, _open(CallStatus)]
OpenReason = Annotated[DisconnectionReason | str, _open(DisconnectionReason)]
OpenDirection = Annotated[Direction | str, _open(Direction)]
OpenSentiment = Annotated[Sentiment | str, _open(Sentiment)]


class _Response(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    @model_validator(mode="wrap")
    @classmethod
    def _keep_what_does_not_fit(cls, fields: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Keep a value that is not of its documented type: a wait must not fail over a latency."""
        try:
            return handler(fields)
        except ValidationError as error:
            if not isinstance(fields, Mapping):
                raise
            misfits = {str(problem["loc"][0]) for problem in error.errors(include_url=False)}
            if misfits & {"call_id", "call_status"}:
                raise
            kept = {name: fields[name] for name in misfits}
        return handler({name: value for name, value in fields.items() if name not in kept}).model_copy(update=kept)

    def json_dict(self) -> dict[str, Any]:
        """Return the object as Retell sent it."""
        # Not by `model_dump`, which also goes through all nested values, and takes four times as long.
        values, sent = {**vars(self), **(self.model_extra or {})}, self.model_fields_set
        return {name: _PLAIN.get(type(values[name]), _same)(values[name]) for name in values if name in sent}


def _same(value: Any) -> Any:
    return value


class CallAnalysis(_Response):
    """The analysis of a call by Retell's models, some seconds to minutes after its end."""

    call_summary: str | None = None
    in_voicemail: bool | None = None
    user_sentiment: OpenSentiment | None = None
    call_successful: bool | None = None
    custom_analysis_data: dict[str, Any] | None = None
    """The fields that the agent is configured to extract; absent without a conversation."""


class CallCost(_Response):
    """The cost of a call, in US cents."""

    combined_cost: float | None = None
    """Cents, for the complete call."""
    product_costs: list[dict[str, Any]] | None = None
    """``product``, ``cost`` and ``unit_price`` (cents per second) of each part."""
    total_duration_seconds: float | None = None
    total_duration_unit_price: float | None = None
    """Cents per second."""


class Call(_Response):
    """A call as Retell shows it. Timestamps are milliseconds since the epoch.

    Fields appear over time: ``start_timestamp`` when the call is answered, most others after the end,
    ``call_analysis`` some seconds to minutes later.

    See https://docs.retellai.com/api-references/get-call
    """

    call_id: str = Field(min_length=1)
    call_status: OpenStatus | None = None
    """A status this package does not know counts as "not over"."""
    call_type: str | None = None
    agent_id: str | None = None
    agent_name: str | None = None
    agent_version: int | None = None
    agent_tag: str | None = None
    from_number: str | None = None
    to_number: str | None = None
    direction: OpenDirection | None = None
    telephony_identifier: dict[str, Any] | None = None
    custom_sip_headers: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    retell_llm_dynamic_variables: dict[str, Any] | None = None
    collected_dynamic_variables: dict[str, Any] | None = None
    custom_attributes: dict[str, Any] | None = None

    start_timestamp: int | None = None
    end_timestamp: int | None = None
    transfer_end_timestamp: int | None = None
    duration_ms: int | None = None
    transfer_destination: str | None = None
    disconnection_reason: OpenReason | None = None

    call_analysis: CallAnalysis | None = None
    call_cost: CallCost | None = None
    recording_url: str | None = None
    recording_multi_channel_url: str | None = None
    scrubbed_recording_url: str | None = None
    scrubbed_recording_multi_channel_url: str | None = None
    data_storage_setting: str | None = None
    opt_in_signed_url: bool | None = None
    opt_out_sensitive_data_storage: bool | None = None
    """The older form of ``data_storage_setting``."""

    transcript: str | None = None
    transcript_object: list[dict[str, Any]] | None = None
    transcript_with_tool_calls: list[dict[str, Any]] | None = None
    scrubbed_transcript_with_tool_calls: list[dict[str, Any]] | None = None
    pre_session_transcript_with_tool_calls: list[dict[str, Any]] | None = None
    post_session_transcript_with_tool_calls: list[dict[str, Any]] | None = None
    scrubbed_pre_session_transcript_with_tool_calls: list[dict[str, Any]] | None = None
    scrubbed_post_session_transcript_with_tool_calls: list[dict[str, Any]] | None = None
    public_log_url: str | None = None
    knowledge_base_retrieved_contents_url: str | None = None
    llm_token_usage: dict[str, Any] | None = None
    latency: dict[str, Any] | None = None
    """Milliseconds by part (``e2e``, ``asr``, ``llm``, ``tts``, ...): percentiles, and ``values`` by turn."""
    e2e_latency: dict[str, Any] | None = None
    llm_latency: dict[str, Any] | None = None
    llm_websocket_network_rtt_latency: dict[str, Any] | None = None
    """The three older forms of ``latency``."""

    @classmethod
    def read(cls, body: Any) -> Self:
        """Return the call in the body of a response. Raises ``ValueError`` if there is none."""
        if not isinstance(body, dict):
            raise ValueError("not a JSON object")  # noqa: TRY004 (one class for every unreadable response)
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            raise ValueError(f"a call whose {problem['loc'][0]} is missing or of another type") from None

    @property
    def is_terminal(self) -> bool:
        """True if the call is over (``ended``, ``error`` or ``not_connected``)."""
        return isinstance(self.call_status, CallStatus) and self.call_status.is_terminal

    @property
    def outcome(self) -> Outcome | None:
        """The end of the call in one plain word; None while it is not over."""
        return outcome_of(self.call_status, self.disconnection_reason)

    @property
    def analyzed(self) -> bool:
        """True if the call has an analysis; an empty one does not count."""
        analysis = self.call_analysis
        return bool(analysis.model_fields_set if isinstance(analysis, CallAnalysis) else analysis)

    @property
    def connected(self) -> bool:
        """True if a person or a machine answered."""
        return is_connected(self.call_status, self.start_timestamp)


_PLAIN: Final[Mapping[type, Callable[[Any], Any]]] = {
    **dict.fromkeys((CallStatus, DisconnectionReason, Direction, Sentiment), str),
    **dict.fromkeys((CallAnalysis, CallCost), _Response.json_dict),
}
"""Converters from the model's values, by type, back to what Retell sent."""
