"""Derive what a call looks like at any moment from what has happened to it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

from airflow_provider_retell.simulator import content
from airflow_provider_retell.simulator.scenarios import Scenario

Origin: TypeAlias = Literal["create-phone-call", "register-phone-call", "inbound"]

REGISTRATION_SECONDS = 300.0
"""Seconds for which a registered call waits to be dialed."""

_ECHOED = (
    "from_number",
    "to_number",
    "direction",
    "metadata",
    "retell_llm_dynamic_variables",
    "custom_sip_headers",
)


@dataclass(frozen=True, kw_only=True)
class SimulatedCall:
    """Hold what has happened to a call. Its status follows from that and the time, so no timer is needed.

    A change makes a new value. Times are seconds since the epoch.

    Attributes:
        call_id: The id, beginning with `call_`.
        endpoint: The request that made the call (`create-phone-call`, `register-phone-call`), or `inbound`.
        request: The body of that request.
        scenario: What happens on the call.
        ring_seconds: Seconds from dialing to connection, or to failure.
        talk_seconds: Seconds from connection to the end.
        analysis_delay: Seconds from the end to `call_analysis`.
        created_at: When the call was made.
        dialed_at: When the number is dialed, possibly in the future; `None`: it will not be dialed.
        stopped_at: When stop-call ended the call.
        creates: The number of requests that made the call: more than 1 if an idempotency key was reused.
        stops: The number of stop-call requests for the call.
        reruns: The number of rerun-call-analysis requests for the call.
        updates: The fields that update-call has replaced.
        analyzed_by: The latest time at which the analysis appears.
    """

    call_id: str
    endpoint: Origin
    request: Mapping[str, Any]
    scenario: Scenario
    ring_seconds: float
    talk_seconds: float
    analysis_delay: float
    created_at: float
    dialed_at: float | None
    stopped_at: float | None = None
    creates: int = 1
    stops: int = 0
    reruns: int = 0
    updates: Mapping[str, Any] = field(default_factory=dict)
    analyzed_by: float = math.inf

    @property
    def person(self) -> str | None:
        """Return the person's number, whichever side dialed; `None` if the call has none."""
        is_inbound = self.request.get("direction") == "inbound"
        return self.request.get("from_number" if is_inbound else "to_number")

    @property
    def to_number(self) -> str | None:
        """Return the number that is called; `None` for a call that was registered without one."""
        return self.request.get("to_number")

    @cached_property
    def expires_at(self) -> float:
        """Return when the call fails because it was not dialed; infinity if that does not happen."""
        deadline = self.created_at + REGISTRATION_SECONDS
        never_dialed = self.scenario.reason == "registered_call_timeout"
        if never_dialed or self.dialed_at is None or self.dialed_at >= deadline:
            return deadline
        return math.inf

    @cached_property
    def connected_at(self) -> float:
        """Return when the call becomes `ongoing`; infinity if it never does."""
        if self.dialed_at is None or self.expires_at < math.inf or not self.scenario.connects:
            return math.inf
        return self.dialed_at + self.ring_seconds

    @cached_property
    def ended_at(self) -> float:
        """Return when the call is over; infinity if it never is."""
        if self.stopped_at is not None:
            return self.stopped_at
        if self.dialed_at is None or self.expires_at < math.inf:
            return self.expires_at
        talk_seconds = self.talk_seconds if self.scenario.connects else 0.0
        return self.dialed_at + self.ring_seconds + talk_seconds

    @cached_property
    def ending(self) -> tuple[str, str | None]:
        """Return the status and the disconnection reason that the call has once it is over."""
        if self.stopped_at is not None:
            return "ended", "manual_stopped"
        if self.expires_at < math.inf:
            return "error", "registered_call_timeout"
        return self.scenario.status, self.scenario.reason

    @property
    def agent_id(self) -> str:
        """Return the agent that speaks on the call."""
        return self.request.get("agent_id") or self.request.get("override_agent_id") or "agent_simulated"

    @property
    def analyzed_at(self) -> float:
        """Return when `call_analysis` appears; infinity if it never does."""
        if self.scenario.analysis == "none" or self.expires_at < math.inf:
            return math.inf
        return min(self.ended_at + self.analysis_delay, self.analyzed_by)

    def status(self, now: float) -> str:
        """Return `call_status` at a moment."""
        if now >= self.ended_at:
            return self.ending[0]
        return "ongoing" if now >= self.connected_at else "registered"

    def is_over(self, now: float) -> bool:
        """Return whether the call has ended or failed by a moment."""
        return now >= self.ended_at

    def listed(self, now: float) -> dict[str, Any]:
        """Return the call object as list-calls shows it, without transcripts.

        https://docs.retellai.com/api-references/list-calls
        """
        body = {**self.identity, "call_status": self.status(now)}
        if now >= self.connected_at:
            body["start_timestamp"] = _milliseconds(self.connected_at)
            body["telephony_identifier"] = {"twilio_call_sid": f"CA{self.call_id.removeprefix('call_'):0<32}"}
        if now >= self.ended_at:
            body |= self._aftermath
        if now >= self.analyzed_at:
            body["call_analysis"] = content.analysis(self.scenario)
        return body

    def full(self, now: float) -> dict[str, Any]:
        """Return the call object as get-call shows it.

        https://docs.retellai.com/api-references/get-call
        """
        body = self.listed(now)
        if self._was_ongoing and now >= self.ended_at:
            body |= content.transcripts(self.scenario, self.ended_at - self.connected_at)
        return body

    @property  # not cached: with a hundred thousand calls it would take most of the memory
    def identity(self) -> dict[str, Any]:
        """Return the fields of the call object that are the same at every stage of the call."""
        request = self.request
        version = request.get("agent_version", request.get("override_agent_version"))
        identity: dict[str, Any] = {
            "call_id": self.call_id,
            "call_type": "phone_call",
            "agent_id": self.agent_id,
            "agent_name": "Simulated agent",
            "agent_version": version if isinstance(version, int) else 1,
            "data_storage_setting": "everything",
            "opt_in_signed_url": False,
        }
        if isinstance(version, str) and not version.startswith("latest"):
            identity["agent_tag"] = version
        if self.endpoint == "create-phone-call":
            identity["direction"] = "outbound"
        return {**identity, **{name: request[name] for name in _ECHOED if name in request}, **self.updates}

    @property
    def _was_ongoing(self) -> bool:
        return self.connected_at < self.ended_at

    @property
    def _aftermath(self) -> dict[str, Any]:
        reason = self.ending[1]
        fields: dict[str, Any] = {"disconnection_reason": reason} if reason else {}
        if not self._was_ongoing:
            return fields
        start, end = _milliseconds(self.connected_at), _milliseconds(self.ended_at)
        fields |= {"end_timestamp": end, "duration_ms": end - start}
        fields |= content.measurements(self.call_id, self.scenario, self.ended_at - self.connected_at)
        if reason == "call_transfer":
            fields |= {"transfer_destination": "+12025550199", "transfer_end_timestamp": end}
        return fields


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
