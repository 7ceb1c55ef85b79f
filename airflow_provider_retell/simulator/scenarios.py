"""List the scenarios that a call can play, and the phone numbers that choose them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from typing import Any, Literal

# The numbers that North America reserves for fiction: any area code, then 555-0100 to 555-0199.
_FICTIONAL = re.compile(r"\+1[2-9]\d{2}55501(?P<digits>\d\d)")

_CONVERSATION = (
    ("agent", "Hello, this is the clinic. I am calling about your appointment tomorrow at ten."),
    ("user", "Oh yes, thank you. I will be there."),
    ("agent", "Wonderful. Is there anything you would like to ask the doctor?"),
    ("user", "No, that is all."),
    ("agent", "Then see you tomorrow. Goodbye!"),
)
_VOICEMAIL = (
    ("user", "You have reached the voicemail of this number. Please leave a message after the tone."),
    ("agent", "Hello, this is the clinic. Please call us back about your appointment."),
)
_MENU = (("user", "Thank you for calling. Press one for sales, press two for support."),)
_CUT_SHORT = (("agent", "Hello, this is the clinic."),)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Describe what happens on a call.

    Attributes:
        name: The name for options and the command line: the disconnection reason, if there is one.
        digits: The last two digits of the fictional numbers that play the scenario.
        status: `call_status` when the call is over.
        reason: `disconnection_reason` when the call is over.
        story: One sentence for the documentation.
        connects: True: the call becomes `ongoing`. False: it has no times and no transcript.
        analysis: `full`, `basic` (without `custom_analysis_data`) or `none` (`call_analysis` never appears).
        ring_seconds: Seconds from dialing to connection, or to failure; `None`: the simulator's default.
        talk_seconds: Seconds from connection to the end; `None`: the simulator's default.
        analysis_delay: Seconds from the end to `call_analysis`; `None`: the simulator's default.
        lines: The conversation: pairs of a speaker (`agent` or `user`) and a text.
        custom_analysis_data: The fields that the agent's post-call analysis extracts.
    """

    name: str
    digits: str
    status: str
    reason: str | None
    story: str
    connects: bool = True
    analysis: Literal["full", "basic", "none"] = "full"
    ring_seconds: float | None = None
    talk_seconds: float | None = None
    analysis_delay: float | None = None
    lines: tuple[tuple[str, str], ...] = _CONVERSATION
    custom_analysis_data: Mapping[str, Any] = field(
        default_factory=lambda: {"appointment_confirmed": True, "satisfaction": 4, "remark": "Will be there."}
    )

    @property
    def number(self) -> str:
        """Return a fictional phone number that plays this scenario."""
        return f"+120255501{self.digits}"


def _ended(digits: str, reason: str, story: str, **more: Any) -> Scenario:
    return Scenario(name=reason, digits=digits, status="ended", reason=reason, story=story, **more)


def _unanswered(status: str, digits: str, reason: str, story: str) -> Scenario:
    return Scenario(
        name=reason,
        digits=digits,
        status=status,
        reason=reason,
        story=story,
        connects=False,
        analysis="none",
    )


_not_connected = partial(_unanswered, "not_connected")
_refused = partial(_unanswered, "error")


def _broken(digits: str, reason: str, story: str) -> Scenario:
    return Scenario(
        name=reason,
        digits=digits,
        status="error",
        reason=reason,
        story=story,
        analysis="basic",
        lines=_CUT_SHORT,
    )


_TABLE = (
    # Answered by a person
    _ended("00", "agent_hangup", "Answered; the agent says goodbye."),
    _ended("01", "user_hangup", "Answered; the person hangs up."),
    _ended("02", "inactivity", "Answered, then silence."),
    _ended("03", "max_duration_reached", "Answered; cut off at the agent's maximum."),
    _ended("04", "user_requested_callback", "Answered; wants to be called at another time."),
    _ended("05", "user_requested_dnc", "Answered; wants never to be called again."),
    _ended("06", "call_take_over", "Answered; a colleague takes over from the agent."),
    _ended("07", "manual_stopped", "Answered; stopped in the dashboard."),
    _ended("08", "no_concurrency_fallback", "Sent to the fallback number because no line was free."),
    # Answered by something else, or handed on
    _ended("10", "voicemail_reached", "Voicemail.", analysis="basic", lines=_VOICEMAIL),
    _ended("11", "ivr_reached", "A telephone menu.", analysis="basic", lines=_MENU),
    _ended("12", "machine_detected", "Voicemail, by its old name.", analysis="basic", lines=_VOICEMAIL),
    _ended("13", "call_transfer", "Answered and transferred."),
    _ended("14", "transfer_bridged", "Answered; the transfer was connected."),
    _ended("15", "transfer_cancelled", "Answered; the transfer was called off."),
    # Never connected
    _not_connected("20", "dial_no_answer", "Nobody picks up."),
    _not_connected("21", "dial_busy", "The line is busy."),
    _not_connected("22", "user_declined", "The person declines the call."),
    _not_connected("23", "invalid_destination", "There is no such number."),
    _not_connected("24", "dial_failed", "The dial fails without a reason."),
    _not_connected("25", "marked_as_spam", "The carrier marks the call as spam."),
    _not_connected("26", "network_blocked", "The network blocks the call."),
    _not_connected("27", "telephony_provider_permission_denied", "The SIP trunk rejects the credentials."),
    _not_connected("28", "telephony_provider_unavailable", "The telephony provider is down."),
    _not_connected("29", "sip_routing_error", "The SIP route loops."),
    # Not even dialed
    _refused("30", "concurrency_limit_reached", "Too many calls at once."),
    _refused("31", "no_valid_payment", "No valid payment method."),
    _refused("32", "credit_exhausted", "The credit is used up."),
    _refused("33", "budget_reached", "The budget is used up."),
    _refused("34", "scam_detected", "The agent is suspected of a scam."),
    _refused("35", "registered_call_timeout", "Is never dialed: fails five minutes after it was registered."),
    _refused("36", "error_user_not_joined", "The person does not join the call."),
    # Something breaks
    _broken("40", "error_llm_websocket_open", "The custom LLM's websocket does not open."),
    _broken("41", "error_llm_websocket_lost_connection", "The custom LLM's websocket is lost."),
    _broken("42", "error_llm_websocket_runtime", "The custom LLM fails."),
    _broken("43", "error_llm_websocket_corrupt_payload", "The custom LLM sends data that cannot be read."),
    _broken("44", "error_no_audio_received", "No audio arrives."),
    _broken("45", "error_asr", "Speech recognition fails."),
    _broken("46", "error_retell", "Something fails at Retell."),
    _broken("47", "error_unknown", "Something unknown fails."),
    _broken("48", "error_twilio", "Something fails at Twilio; an old reason."),
    _broken(
        "49", "error_frontend_corrupted_payload", "The browser sends data that cannot be read; an old reason."
    ),
    _broken("50", "error_inbound_webhook", "The inbound webhook fails; an old reason."),
    # Hard cases for code that waits
    Scenario(
        name="rings_forever",
        digits="90",
        status="registered",
        reason=None,
        story="Stays `registered` forever.",
        connects=False,
        analysis="none",
        ring_seconds=float("inf"),
    ),
    Scenario(
        name="talks_forever",
        digits="91",
        status="ongoing",
        reason=None,
        story="Stays `ongoing` until it is stopped.",
        talk_seconds=float("inf"),
    ),
    Scenario(
        name="never_analyzed",
        digits="92",
        status="ended",
        reason="agent_hangup",
        story="Answered, but `call_analysis` never comes.",
        analysis="none",
    ),
    Scenario(
        name="analyzed_late",
        digits="93",
        status="ended",
        reason="agent_hangup",
        story="Answered; `call_analysis` comes an hour later.",
        analysis_delay=3600,
    ),
    Scenario(
        name="unanswered_but_analyzed",
        digits="94",
        status="not_connected",
        reason="dial_no_answer",
        story="Nobody picks up, but there is a `call_analysis`.",
        connects=False,
        analysis="basic",
    ),
    Scenario(
        name="error_without_reason",
        digits="95",
        status="error",
        reason=None,
        story="Fails and does not say why.",
        connects=False,
        analysis="none",
    ),
    Scenario(
        name="unknown_reason",
        digits="96",
        status="ended",
        reason="abducted_by_aliens",
        story="Ends for a reason that Retell does not have yet.",
    ),
    Scenario(
        name="unknown_status",
        digits="97",
        status="archived",
        reason=None,
        story="Reaches a status that Retell does not have yet, and stays there.",
    ),
)

SCENARIOS: Mapping[str, Scenario] = {scenario.name: scenario for scenario in _TABLE}
"""Every scenario by its name."""

_BY_DIGITS = {scenario.digits: scenario for scenario in _TABLE}


def scenario_of(number: str) -> Scenario | None:
    """Return the scenario of a fictional number; `None` for any other number."""
    fictional = _FICTIONAL.fullmatch(number)
    return _BY_DIGITS.get(fictional["digits"]) if fictional else None


def scenario_named(plays: str | Scenario) -> Scenario:
    """Return the scenario with this name. A scenario is returned unchanged.

    Raises:
        ValueError: No scenario has that name.
    """
    if isinstance(plays, Scenario):
        return plays
    if plays not in SCENARIOS:
        close = get_close_matches(str(plays), SCENARIOS, n=3)
        hint = f"Did you mean {' or '.join(close)}?" if close else f"There are {', '.join(SCENARIOS)}."
        raise ValueError(f"No scenario is called {plays!r}. {hint}")
    return SCENARIOS[plays]
