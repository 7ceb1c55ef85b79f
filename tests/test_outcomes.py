from __future__ import annotations

from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_retell.errors import RetellInputError
from airflow_provider_retell.outcomes import (
    RINGING,
    TALKING,
    UNANSWERED,
    WITHOUT_TIMES,
    CallStatus,
    DisconnectionReason,
    Outcome,
    allow_another,
    check_endings,
    is_connected,
    outcome_of,
)

# As the contract has it; `technical` is every other known reason.
TABLE = {
    "answered": "user_hangup agent_hangup inactivity max_duration_reached",
    "transferred": "call_transfer transfer_bridged transfer_cancelled call_take_over",
    "voicemail": "voicemail_reached machine_detected",
    "ivr": "ivr_reached",
    "no_answer": "dial_no_answer",
    "busy": "dial_busy",
    "declined": "user_declined",
    "bad_number": "invalid_destination",
    "do_not_call": "user_requested_dnc",
    "callback_requested": "user_requested_callback",
    "not_dialed": "registered_call_timeout error_user_not_joined",
    "capacity": "concurrency_limit_reached no_concurrency_fallback",
    "blocked": "marked_as_spam network_blocked scam_detected",
    "billing": "no_valid_payment credit_exhausted budget_reached",
    "stopped": "manual_stopped",
    "technical": (
        "dial_failed telephony_provider_permission_denied telephony_provider_unavailable sip_routing_error "
        "error_llm_websocket_open error_llm_websocket_lost_connection error_llm_websocket_runtime "
        "error_llm_websocket_corrupt_payload error_no_audio_received error_asr error_retell error_unknown "
        "error_inbound_webhook error_frontend_corrupted_payload error_twilio"
    ),
}
REASONS = [(reason, outcome) for outcome, reasons in TABLE.items() for reason in reasons.split()]
OVER = ["ended", "error", "not_connected"]


@pytest.mark.parametrize("call_status", OVER)
@pytest.mark.parametrize(("reason", "outcome"), REASONS)
def test_each_reason_has_its_word(reason: str, outcome: str, call_status: str) -> None:
    """The reason alone decides on the outcome of a call that is over, as the contract's table says."""
    assert outcome_of(call_status, reason) == outcome


def test_the_table_has_every_reason_and_every_outcome() -> None:
    """Nothing known is left out: each reason has a word, each word a reason, `unknown` apart."""
    assert {reason for reason, _ in REASONS} == set(DisconnectionReason)
    assert set(TABLE) == set(Outcome) - {"unknown"}


@pytest.mark.parametrize(
    ("call_status", "reason", "outcome"),
    [
        ("error", None, "technical"),
        ("ended", None, "unknown"),
        ("not_connected", None, "unknown"),
        ("ended", "abducted_by_aliens", "unknown"),
        ("error", "abducted_by_aliens", "unknown"),
        ("ended", "", "unknown"),
    ],
)
def test_an_ending_without_a_known_reason(call_status: str, reason: str | None, outcome: str) -> None:
    """An error without a reason is technical; any other ending without a known reason is unknown."""
    assert outcome_of(call_status, reason) == outcome


@pytest.mark.parametrize("call_status", ["registered", "ongoing", "archived", "", None])
def test_a_call_that_is_not_over_has_no_outcome(call_status: str | None) -> None:
    """While a call may still change it has no outcome, whatever reason it shows."""
    assert outcome_of(call_status, "user_hangup") is None


@pytest.mark.parametrize(
    ("call_status", "groups", "connected"),
    [
        ("registered", [RINGING], [False, True]),
        ("ongoing", [TALKING], [False, True]),
        ("ended", [], [True, True]),
        ("not_connected", [UNANSWERED, WITHOUT_TIMES], [False, False]),
        ("error", [WITHOUT_TIMES], [False, True]),
        ("archived", [], [False, True]),
        (None, [], [False, True]),
    ],
)
def test_the_groups_of_a_status(
    call_status: str | None, groups: list[Collection[str]], connected: list[bool]
) -> None:
    """A status says whether a call was answered; of a failed, a live and an unknown one its start says that."""
    assert [it for it in (RINGING, TALKING, UNANSWERED, WITHOUT_TIMES) if call_status in it] == groups
    assert [is_connected(call_status, start) for start in (None, 1774000004000)] == connected


@pytest.mark.parametrize("status", CallStatus)
def test_every_status_is_judged(status: CallStatus) -> None:
    """A new status must be said to ring, to talk or to be over: else calls in it would wait in vain."""
    assert [status in RINGING, status in TALKING, status.is_terminal].count(True) == 1


def test_three_statuses_are_terminal() -> None:
    """A call is over when it ended, failed or was never connected."""
    assert [status for status in CallStatus if status.is_terminal] == OVER


@pytest.mark.parametrize(
    ("words", "checked"),
    [
        ("busy", ("busy",)),
        (["not_connected", "technical", "dial_busy"], ("not_connected", "technical", "dial_busy")),
        ({Outcome.BUSY}, ("busy",)),
        ((), ()),
    ],
)
def test_endings_are_statuses_outcomes_and_reasons(words: list[str], checked: tuple[str, ...]) -> None:
    """``fail_on`` and ``skip_on`` take all three kinds of words, one or many, and give plain strings."""
    result = check_endings("fail_on", words)
    assert result == checked
    assert {type(word) for word in result} <= {str}


@pytest.mark.parametrize("word", ["no-answer", "registered", "ongoing", "", None, 5])
def test_an_ending_that_cannot_be_is_refused(word: Any) -> None:
    """A misspelt word, or a status no call ends in, is found when the DAG is parsed, and the right ones named."""
    with pytest.raises(RetellInputError, match=r"^skip_on takes .*no_answer.*dial_busy") as refused:
        check_endings("skip_on", ["busy", word])
    assert repr(word) in str(refused.value)


@pytest.mark.parametrize("given", [False, 0, 5, b"busy", {"busy": True}, [["busy"]], [None], ("",), ""])
def test_an_empty_or_unreadable_filter_is_no_missing_one(given: Any) -> None:
    """Only None and an empty sequence mean that nothing fails the task; all else that is no word is refused."""
    with pytest.raises(RetellInputError, match=r"^fail_on takes statuses"):
        check_endings("fail_on", given)


@pytest.mark.parametrize(
    ("status", "reason", "endings", "allowed"),
    [
        # not over
        ("ongoing", None, ["ended", "unknown"], False),
        # do_not_call
        ("ended", "user_requested_dnc", ["ended", "do_not_call", "user_requested_dnc"], False),
        # stopped
        ("ended", "manual_stopped", ["ended", "busy"], False),
        ("not_connected", "manual_stopped", ["not_connected"], False),
        ("error", "manual_stopped", ["error"], False),
        ("ended", "manual_stopped", ["stopped"], True),
        ("ended", "manual_stopped", ["manual_stopped", "busy"], True),
        # over otherwise
        ("not_connected", "dial_busy", ["not_connected"], True),
        ("not_connected", "dial_busy", ["busy"], True),
        ("not_connected", "dial_busy", ["dial_busy"], True),
        ("not_connected", "dial_busy", ["no_answer", "ended"], False),
        ("ended", ["odd"], ["unknown"], True),
        ("ended", "user_hangup", [], False),
    ],
)
def test_what_allows_another_call(status: str, reason: Any, endings: list[str], allowed: bool) -> None:
    """The table: who was cut off, or asked for no more calls, is called again by no broad word."""
    call = SimpleNamespace(call_status=status, disconnection_reason=reason, outcome=outcome_of(status, reason))
    assert allow_another(call, endings) is allowed
