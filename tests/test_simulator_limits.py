"""Test the limits of an account: lines, and calls per second."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_retell.simulator import SCENARIOS, ManualClock, Simulator

FROM = "+12025550199"
ANSWERED = SCENARIOS["agent_hangup"].number
ACTS = st.lists(
    st.sampled_from(["create", "register", "ring_in", "dial", "stop", "delete", "pass 1", "pass 3", "pass 30"])
)


class Account:
    """A simulator and its caller."""

    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock(1_767_312_000.0)
        self.simulator = Simulator(clock=self.clock, **options)
        headers = {"authorization": f"Bearer {self.simulator.api_key}"}
        self.client = httpx.Client(transport=self.simulator, base_url="http://retell", headers=headers)

    def create(self, to_number: str = ANSWERED, **more: Any) -> httpx.Response:
        """Create a call."""
        return self.client.post(
            "/v2/create-phone-call", json={"from_number": FROM, "to_number": to_number, **more}
        )

    def busy(self) -> int:
        """Return how many calls the account says there are."""
        return self.client.get("/get-concurrency").json()["current_concurrency"]


def test_calls_per_second_over_the_limit_are_refused() -> None:
    """Within any second no more calls are placed than the limit allows; refused ones do not count."""
    account = Account(calls_per_second=2)
    assert [account.create().status_code for _ in range(4)] == [201, 201, 429, 429]
    account.clock.advance(0.5)
    assert account.create().status_code == 429
    account.clock.advance(0.5)
    assert [account.create().status_code for _ in range(3)] == [201, 201, 429]
    assert len(account.simulator.placed) == 4


def test_calls_per_second_over_the_limit_can_fail_as_calls() -> None:
    """With `over_limit="call"` the call is created and fails, without connecting or occupying a line."""
    account = Account(calls_per_second=1, over_limit="call")
    first, second = (account.create().json()["call_id"] for _ in range(2))
    assert account.busy() == 1
    account.clock.advance(30)
    reasons = [account.simulator.call(call_id)["disconnection_reason"] for call_id in (first, second)]
    assert reasons == ["agent_hangup", "concurrency_limit_reached"]
    assert "start_timestamp" not in account.simulator.call(second)


def test_call_over_a_limit_uses_up_no_scenario() -> None:
    """A call that a limit refuses, or lets fail, plays none of the scenarios of its number."""
    for over_limit in ("429", "call"):
        account = Account(calls_per_second=1, over_limit=over_limit)
        account.simulator.play(ANSWERED, "dial_no_answer", "dial_busy")
        played = []
        for _ in range(2):
            call_id = account.create().json()["call_id"]
            account.create()
            account.clock.advance(5)
            played.append(account.simulator.call(call_id)["disconnection_reason"])
        assert played == ["dial_no_answer", "dial_busy"]


def test_same_idempotency_key_is_never_over_a_limit() -> None:
    """A request that is sent again returns its call, even at the limit."""
    account = Account(calls_per_second=1, concurrency_limit=1)
    answers = [account.create(idempotency_key="k") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert len(account.simulator.placed) == 1


def test_registered_and_inbound_calls_have_no_pace() -> None:
    """Only calls that Retell dials count as calls per second."""
    account = Account(calls_per_second=1)
    for _ in range(3):
        account.simulator.register({"agent_id": "agent_1", "to_number": ANSWERED})
        account.simulator.ring_in(ANSWERED)
    assert account.create().status_code == 201


@pytest.mark.parametrize("limit", [0, -1])
def test_limit_that_allows_nothing_is_refused(limit: int) -> None:
    """With such a limit no call could ever be placed."""
    with pytest.raises(ValueError, match=f"calls_per_second is {limit}: it cannot be less than 1"):
        Simulator(calls_per_second=limit)


@given(acts=ACTS, auto_dial=st.booleans())
def test_busy_lines_are_the_calls_between_dialing_and_end(acts: list[str], auto_dial: bool) -> None:
    """Whatever happens to calls, exactly those occupy a line that are dialed and not over."""
    account = Account(auto_dial=auto_dial, concurrency_limit=100)
    simulator = account.simulator
    for act in acts:
        for call_id in list(simulator.calls)[-1:]:
            _change(account, act, call_id)
        if act == "create":
            account.create()
        elif act == "register":
            simulator.register({"agent_id": "agent_1", "to_number": ANSWERED})
        elif act == "ring_in":
            simulator.ring_in(ANSWERED)
        elif act.startswith("pass"):
            account.clock.advance(float(act.split()[1]))
        assert account.busy() == sum(1 for _ in _live(account))


def _change(account: Account, act: str, call_id: str) -> None:
    if act == "stop":
        account.client.post(f"/v2/stop-call/{call_id}")
    elif act == "delete":
        account.client.delete(f"/v2/delete-call/{call_id}")
    elif act == "dial" and account.simulator.calls[call_id].dialed_at is None:
        account.simulator.dial(call_id)


def _live(account: Account) -> Iterator[str]:
    now = account.clock()
    for call in account.simulator.calls.values():
        if call.dialed_at is not None and call.dialed_at <= now and not call.is_over(now):
            yield call.call_id


def test_counting_lines_does_not_go_through_all_calls(functions_run: Any) -> None:
    """Creating a call costs the same however many other calls are in progress."""

    def cost(calls: int) -> int:
        account = Account(concurrency_limit=10_000)
        for _ in range(calls):
            account.simulator.ring_in(ANSWERED)
        return functions_run(account.create)

    assert cost(2000) == pytest.approx(cost(20), rel=0.05)
