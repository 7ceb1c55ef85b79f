"""The endings of a call: Retell's statuses and reasons, and one plain word for each.

Page: https://docs.retellai.com/reliability/debug-call-disconnect
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple, Protocol


class Direction(StrEnum):
    """The direction of a call, seen from the agent."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class CallStatus(StrEnum):
    """The stage of a call's life."""

    REGISTERED = "registered"
    """It has an id; it may be ringing."""
    ONGOING = "ongoing"
    """A person or a machine answered."""
    ENDED = "ended"
    """It was connected and is over."""
    ERROR = "error"
    """It failed, or was never dialed."""
    NOT_CONNECTED = "not_connected"
    """It was not answered."""

    @property
    def is_terminal(self) -> bool:
        """True if a call in this status is over for good."""
        return self in _TERMINAL


class _Stage(NamedTuple):
    """The facts that follow from a status.

    Attributes:
        over: Whether the call is over for good.
        answered: Whether a person or a machine answered; None if only a start of the call shows that.
    """

    over: bool
    answered: bool | None


_STAGES: Final[Mapping[str, _Stage]] = {
    CallStatus.REGISTERED: _Stage(over=False, answered=False),
    CallStatus.ONGOING: _Stage(over=False, answered=True),
    CallStatus.ENDED: _Stage(over=True, answered=True),
    CallStatus.NOT_CONNECTED: _Stage(over=True, answered=False),
    CallStatus.ERROR: _Stage(over=True, answered=None),
}
_UNKNOWN: Final = _Stage(over=False, answered=None)
_TERMINAL: Final = frozenset(status for status, stage in _STAGES.items() if stage.over)


def _statuses(*, over: bool, answered: bool) -> frozenset[str]:
    return frozenset(status for status, stage in _STAGES.items() if stage == (over, answered))


RINGING: Final = _statuses(over=False, answered=False)
"""The statuses of live calls that were not answered yet."""
TALKING: Final = _statuses(over=False, answered=True)
"""The statuses of live calls that were answered."""
UNANSWERED: Final = _statuses(over=True, answered=False)
"""The statuses of calls that were never answered."""
WITHOUT_TIMES: Final = tuple(str(status) for status, stage in _STAGES.items() if stage.over and not stage.answered)
"""The statuses of calls that may be over without a start or an end, because they may never have been answered."""


class DisconnectionReason(StrEnum):
    """The reason why a call ended, as Retell gives it today or gave it before. Retell may add to these."""

    USER_HANGUP = "user_hangup"
    AGENT_HANGUP = "agent_hangup"
    INACTIVITY = "inactivity"
    MAX_DURATION_REACHED = "max_duration_reached"
    CALL_TRANSFER = "call_transfer"
    TRANSFER_BRIDGED = "transfer_bridged"
    TRANSFER_CANCELLED = "transfer_cancelled"
    CALL_TAKE_OVER = "call_take_over"
    VOICEMAIL_REACHED = "voicemail_reached"
    MACHINE_DETECTED = "machine_detected"
    IVR_REACHED = "ivr_reached"
    DIAL_NO_ANSWER = "dial_no_answer"
    DIAL_BUSY = "dial_busy"
    USER_DECLINED = "user_declined"
    INVALID_DESTINATION = "invalid_destination"
    USER_REQUESTED_DNC = "user_requested_dnc"
    USER_REQUESTED_CALLBACK = "user_requested_callback"
    REGISTERED_CALL_TIMEOUT = "registered_call_timeout"
    ERROR_USER_NOT_JOINED = "error_user_not_joined"
    CONCURRENCY_LIMIT_REACHED = "concurrency_limit_reached"
    NO_CONCURRENCY_FALLBACK = "no_concurrency_fallback"
    MARKED_AS_SPAM = "marked_as_spam"
    NETWORK_BLOCKED = "network_blocked"
    SCAM_DETECTED = "scam_detected"
    NO_VALID_PAYMENT = "no_valid_payment"
    CREDIT_EXHAUSTED = "credit_exhausted"
    BUDGET_REACHED = "budget_reached"
    MANUAL_STOPPED = "manual_stopped"
    DIAL_FAILED = "dial_failed"
    TELEPHONY_PROVIDER_PERMISSION_DENIED = "telephony_provider_permission_denied"
    TELEPHONY_PROVIDER_UNAVAILABLE = "telephony_provider_unavailable"
    SIP_ROUTING_ERROR = "sip_routing_error"
    ERROR_LLM_WEBSOCKET_OPEN = "error_llm_websocket_open"
    ERROR_LLM_WEBSOCKET_LOST_CONNECTION = "error_llm_websocket_lost_connection"
    ERROR_LLM_WEBSOCKET_RUNTIME = "error_llm_websocket_runtime"
    ERROR_LLM_WEBSOCKET_CORRUPT_PAYLOAD = "error_llm_websocket_corrupt_payload"
    ERROR_NO_AUDIO_RECEIVED = "error_no_audio_received"
    ERROR_ASR = "error_asr"
    ERROR_RETELL = "error_retell"
    ERROR_UNKNOWN = "error_unknown"
    ERROR_INBOUND_WEBHOOK = "error_inbound_webhook"
    ERROR_FRONTEND_CORRUPTED_PAYLOAD = "error_frontend_corrupted_payload"
    ERROR_TWILIO = "error_twilio"


class Outcome(StrEnum):
    """The result of a call in one plain word."""

    ANSWERED = "answered"
    """A conversation took place and came to its end."""
    TRANSFERRED = "transferred"
    """Transferred to a person or another number."""
    VOICEMAIL = "voicemail"
    IVR = "ivr"
    """A recorded menu answered."""
    NO_ANSWER = "no_answer"
    BUSY = "busy"
    DECLINED = "declined"
    BAD_NUMBER = "bad_number"
    DO_NOT_CALL = "do_not_call"
    """The person asked never to be called again."""
    CALLBACK_REQUESTED = "callback_requested"
    NOT_DIALED = "not_dialed"
    """Registered, but not dialed within five minutes."""
    CAPACITY = "capacity"
    """The account had no free line."""
    BLOCKED = "blocked"
    """Blocked on the way as spam or a scam."""
    BILLING = "billing"
    STOPPED = "stopped"
    """Hung up through the API or the dashboard."""
    TECHNICAL = "technical"
    UNKNOWN = "unknown"
    """Over, for a reason this package does not know."""


_REASONS: dict[Outcome, tuple[DisconnectionReason, ...]] = {
    Outcome.ANSWERED: (
        DisconnectionReason.USER_HANGUP,
        DisconnectionReason.AGENT_HANGUP,
        DisconnectionReason.INACTIVITY,
        DisconnectionReason.MAX_DURATION_REACHED,
    ),
    Outcome.TRANSFERRED: (
        DisconnectionReason.CALL_TRANSFER,
        DisconnectionReason.TRANSFER_BRIDGED,
        DisconnectionReason.TRANSFER_CANCELLED,
        DisconnectionReason.CALL_TAKE_OVER,
    ),
    Outcome.VOICEMAIL: (DisconnectionReason.VOICEMAIL_REACHED, DisconnectionReason.MACHINE_DETECTED),
    Outcome.IVR: (DisconnectionReason.IVR_REACHED,),
    Outcome.NO_ANSWER: (DisconnectionReason.DIAL_NO_ANSWER,),
    Outcome.BUSY: (DisconnectionReason.DIAL_BUSY,),
    Outcome.DECLINED: (DisconnectionReason.USER_DECLINED,),
    Outcome.BAD_NUMBER: (DisconnectionReason.INVALID_DESTINATION,),
    Outcome.DO_NOT_CALL: (DisconnectionReason.USER_REQUESTED_DNC,),
    Outcome.CALLBACK_REQUESTED: (DisconnectionReason.USER_REQUESTED_CALLBACK,),
    Outcome.NOT_DIALED: (
        DisconnectionReason.REGISTERED_CALL_TIMEOUT,
        DisconnectionReason.ERROR_USER_NOT_JOINED,
    ),
    Outcome.CAPACITY: (
        DisconnectionReason.CONCURRENCY_LIMIT_REACHED,
        DisconnectionReason.NO_CONCURRENCY_FALLBACK,
    ),
    Outcome.BLOCKED: (
        DisconnectionReason.MARKED_AS_SPAM,
        DisconnectionReason.NETWORK_BLOCKED,
        DisconnectionReason.SCAM_DETECTED,
    ),
    Outcome.BILLING: (
        DisconnectionReason.NO_VALID_PAYMENT,
        DisconnectionReason.CREDIT_EXHAUSTED,
        DisconnectionReason.BUDGET_REACHED,
    ),
    Outcome.STOPPED: (DisconnectionReason.MANUAL_STOPPED,),
}
_OUTCOMES: dict[str, Outcome] = {
    **dict.fromkeys(DisconnectionReason, Outcome.TECHNICAL),
    **{reason: outcome for outcome, reasons in _REASONS.items() for reason in reasons},
}


def outcome_of(call_status: str | None, disconnection_reason: str | None) -> Outcome | None:
    """Return how a call went; None while it is not over.

    >>> outcome_of("not_connected", "dial_busy")
    <Outcome.BUSY: 'busy'>
    """
    if call_status not in _TERMINAL:
        return None
    if disconnection_reason is None and call_status == CallStatus.ERROR:
        return Outcome.TECHNICAL
    # The models keep a reason that is not text.
    reason = disconnection_reason if isinstance(disconnection_reason, str) else ""
    return _OUTCOMES.get(reason, Outcome.UNKNOWN)


def is_connected(call_status: str | None, start_timestamp: object) -> bool:
    """Return whether a person or a machine answered."""
    stage = _STAGES.get(call_status or "", _UNKNOWN)
    if stage.over and stage.answered is not None:
        return stage.answered
    return start_timestamp is not None


class _Ending(Protocol):
    @property
    def call_status(self) -> str | None: ...
    @property
    def disconnection_reason(self) -> str | None: ...
    @property
    def outcome(self) -> str | None: ...


def matches(call: _Ending, endings: Iterable[str]) -> bool:
    """Return whether a call's status, outcome or disconnection reason is among some endings."""
    words = [call.call_status, call.outcome, call.disconnection_reason]
    return not {word for word in words if isinstance(word, str)}.isdisjoint(endings)


def allow_another(call: _Ending, endings: Iterable[str]) -> bool:
    """Return whether some endings allow another call after this one.

    ==================  =====================================================
    the call            another one
    ==================  =====================================================
    is not over         never
    ``do_not_call``     never
    ``stopped``         if they name ``stopped`` or ``manual_stopped``: no
                        status covers it, because somebody was cut off
    over otherwise      if they name its status, its outcome or its reason
    ==================  =====================================================
    """
    if call.outcome is None or matches(call, _NEVER_REPLACED):
        return False
    return not _STOPPED.isdisjoint(endings) if matches(call, _STOPPED) else matches(call, endings)


_NEVER_REPLACED: Final = frozenset({Outcome.DO_NOT_CALL, *_REASONS[Outcome.DO_NOT_CALL]})
_STOPPED: Final = frozenset({Outcome.STOPPED, *_REASONS[Outcome.STOPPED]})


ENDINGS: frozenset[str] = frozenset({*_TERMINAL, *Outcome, *DisconnectionReason})
"""The words that ``fail_on`` and ``skip_on`` take."""


_TAKES: Final = (
    f"statuses ({', '.join(sorted(_TERMINAL))}), outcomes ({', '.join(Outcome)}) "
    f"and disconnection reasons ({', '.join(DisconnectionReason)})"
)


def check_endings(argument: str, given: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return the words of a ``fail_on`` or ``skip_on``; raise ``RetellInputError``, which lists those allowed."""
    # Imported here: it imports Airflow, which policies do without.
    from airflow_provider_retell._argument_checks import words  # noqa: PLC0415

    return words(argument, given, allowed=ENDINGS, takes=_TAKES)
