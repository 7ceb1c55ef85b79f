"""Test that one intended call is placed once, through retries, clears and crashes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, AirflowTaskTimeout
from conftest import CREATE, FROM, REGISTER, SteppingClock, Store, TaskInstance, place

from airflow_provider_retell.api import endpoints
from airflow_provider_retell.api.patience import LONGEST_RINGING
from airflow_provider_retell.calls.capacity import LineWait
from airflow_provider_retell.calls.gate import Gate, Hours
from airflow_provider_retell.calls.intent import STORE_KEY, TAG, Intent, Record, run_prefix, task_prefix
from airflow_provider_retell.calls.placing import Placement
from airflow_provider_retell.calls.sending import RecordedSender
from airflow_provider_retell.calls.steps import KEY_LIFETIME
from airflow_provider_retell.errors import (
    RetellCallError,
    RetellCallFinalError,
    RetellCallTimeoutError,
    RetellConnectionError,
    RetellError,
    RetellRateLimitError,
    RetellServerError,
)
from airflow_provider_retell.hooks import RetellHook
from airflow_provider_retell.operators import RetellRegisterPhoneCallOperator
from airflow_provider_retell.simulator import SCENARIOS, Fault, ManualClock, Simulator
from airflow_provider_retell.testing import clock_replaced_by

pytestmark = pytest.mark.usefixtures("connect")


NO_LINE = "concurrency_limit_reached"


class Crash(BaseException):
    """The worker is gone."""


class CrashingStore(Store):
    """A store to which the worker dies before it writes the id of the call."""

    def set(self, key: str, value: Any) -> None:
        if value["call_id"]:
            raise Crash
        super().set(key, value)


class Attempts:
    """The tries of one task, which share a state store as Airflow's do."""

    def __init__(
        self, endpoint: str, time: ManualClock, store: Store | None, scenario: str = "talks_forever"
    ) -> None:
        self.endpoint, self.time, self.store = endpoint, time, store
        self.scenario = scenario
        self.try_number, self.max_tries, self.run_id = 0, 2, "run"
        self.clock: Any = SteppingClock(time)

    def retry(self, **arguments: Any) -> dict[str, Any]:
        """Run the next try, and return its row."""
        self.try_number += 1
        ti = TaskInstance(try_number=self.try_number, max_tries=self.max_tries)
        ti.run_id = self.run_id
        operator = place(self.endpoint, self.scenario, retries=2, **arguments)
        store = {} if self.store is None else {"task_state_store": self.store}
        with clock_replaced_by(self.clock):
            row: dict[str, Any] = operator.execute(ti.context(**store))
        return row

    def clear(self) -> None:
        """Change try numbers as a user's clear does."""
        self.max_tries = self.try_number + 2


@pytest.fixture(params=[True, False], ids=["store", "no store"])
def store(request: pytest.FixtureRequest) -> Store | None:
    """Return a state store as in Airflow 3.3 and later, or none as before."""
    return Store() if request.param else None


def test_a_retry_adopts_a_live_call(
    endpoint: str, time: ManualClock, simulator: Simulator, store: Store | None
) -> None:
    """The call of an earlier try is gone on with, on every Airflow."""
    attempts = Attempts(endpoint, time, store)
    first = attempts.retry()
    time.advance(60)
    assert attempts.retry()["call_id"] == first["call_id"]
    assert len(simulator.calls) == 1


def test_a_retry_adopts_a_call_that_is_over_well(
    endpoint: str, time: ManualClock, simulator: Simulator, store: Store | None
) -> None:
    """A call that took place is not placed again because its task failed afterwards."""
    attempts = Attempts(endpoint, time, store, "user_hangup")
    first = attempts.retry()
    time.advance(600)
    second = attempts.retry()
    assert (second["call_id"], second["outcome"]) == (first["call_id"], "answered")


@pytest.mark.parametrize("skip_on", [(), ("not_connected", "error")])
@pytest.mark.parametrize("wait_for", [None, "ended"])
@pytest.mark.parametrize("scenario", ["dial_busy", "dial_no_answer", "user_declined", "error_retell", NO_LINE])
def test_a_status_is_no_reason_to_call_again(
    time: ManualClock, simulator: Simulator, store: Store | None, scenario: str, wait_for: Any, skip_on: Any
) -> None:
    """Without ``fail_on`` a retry adopts the call, however it went. ``skip_on`` skips a task that waits."""
    attempts = Attempts(CREATE, time, store, scenario)
    first = attempts.retry()
    time.advance(600)
    skips = pytest.raises(AirflowSkipException) if skip_on and wait_for else nullcontext()
    with skips:
        assert attempts.retry(wait_for=wait_for, skip_on=skip_on)["call_id"] == first["call_id"]
    assert len(simulator.calls) == 1


def test_fail_on_alone_asks_for_a_new_call(time: ManualClock, simulator: Simulator, store: Store | None) -> None:
    """A call that fail_on names is replaced by a retry, once for each retry, with a key and a tag of its own."""
    attempts = Attempts(CREATE, time, store, "dial_busy")
    for tries in (1, 2, 3):
        with pytest.raises(RetellCallError, match="busy"):
            attempts.retry(wait_for="ended", fail_on=["busy"])
        assert len(simulator.calls) == tries
    bodies = [request.json for request in simulator.requests if request.endpoint == CREATE]
    assert len({body["idempotency_key"] for body in bodies}) == 3
    assert len({body["metadata"][TAG] for body in bodies}) == 3


def test_fail_on_without_wait_for_has_no_effect(
    endpoint: str, time: ManualClock, simulator: Simulator, store: Store | None
) -> None:
    """A task that does not wait for the end cannot fail because of it, nor may its retry call again."""
    attempts = Attempts(endpoint, time, store, "dial_busy")
    first = attempts.retry(fail_on=["busy", "not_connected"])
    time.advance(600)
    assert attempts.retry(fail_on=["busy", "not_connected"])["call_id"] == first["call_id"]


def test_who_asked_never_to_be_called_again_is_not(
    endpoint: str, time: ManualClock, simulator: Simulator, store: Store | None
) -> None:
    """Not even if fail_on names that ending: it fails the task, without a retry."""
    attempts = Attempts(endpoint, time, store, "user_requested_dnc")
    attempts.retry()
    time.advance(600)
    for _ in range(2):
        with pytest.raises(RetellCallFinalError, match="do_not_call"):
            attempts.retry(wait_for="ended", fail_on=["do_not_call"])
    assert len(simulator.calls) == 1


def test_the_worker_dies_between_the_answer_and_writing_it_down(
    endpoint: str, time: ManualClock, simulator: Simulator
) -> None:
    """A created call is found again by its key. A registered one by its tag, once Retell lists it."""
    attempts = Attempts(endpoint, time, CrashingStore())
    with pytest.raises(Crash):
        attempts.retry()
    attempts.store = Store(attempts.store or {})
    time.advance(60)
    row = attempts.retry()
    assert list(simulator.calls) == [row["call_id"]]


class CountingStore(Store):
    """A store that keeps the ids of the calls in all that was written, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str | None] = []

    def set(self, key: str, value: Any) -> None:
        super().set(key, value)
        self.written.append(value["call_id"])


def test_only_a_request_that_rings_a_phone_is_recorded_before(endpoint: str, time: ManualClock) -> None:
    """A created call is written down before and after its request, a registered one after it."""
    store = CountingStore()
    call_id = Attempts(endpoint, time, store).retry()["call_id"]
    assert store.written == ([None, call_id] if endpoint == CREATE else [call_id])


def test_a_registration_that_cannot_be_found_is_made_again(time: ManualClock, simulator: Simulator) -> None:
    """If Retell does not list it, a lost registration is made again; the lost one times out."""
    attempts = Attempts(REGISTER, time, Store(), "registered_call_timeout")
    simulator.fail(Fault(endpoint=REGISTER, answer="reset", after=True))
    with pytest.raises(RetellConnectionError):
        attempts.retry()
    row = attempts.retry()
    assert len(simulator.calls) == 2
    assert row["call_id"] == list(simulator.calls)[1]


@pytest.mark.parametrize("answer", ["reset", "drop", "truncate", "empty", 500, 502, 503, 504])
def test_a_lost_answer_is_settled_by_the_next_try(
    endpoint: str, time: ManualClock, simulator: Simulator, answer: Any
) -> None:
    """Whatever was lost after the call was made, one call is handed on."""
    attempts = Attempts(endpoint, time, Store())
    lost = Fault(endpoint=endpoint, answer=answer, after=True, times=4)
    simulator.fail(lost)
    with pytest.raises(RetellError):
        attempts.retry()
    simulator.recover()
    time.advance(60)
    row = attempts.retry()
    assert list(simulator.calls) == [row["call_id"]]


def test_the_stored_body_is_sent_again(time: ManualClock, simulator: Simulator) -> None:
    """A re-sent create is the stored request, byte for byte, so that the key means the same request."""
    attempts = Attempts(CREATE, time, Store())
    simulator.fail(Fault(endpoint=CREATE, answer="reset", after=True, times=4))
    with pytest.raises(RetellConnectionError):
        attempts.retry(metadata={"rendered": "at the first try"})
    attempts.retry(metadata={"rendered": "at the second try"})
    bodies = [request.json for request in simulator.requests if request.endpoint == CREATE]
    assert all(body == bodies[0] for body in bodies)


def test_the_key_does_not_depend_on_the_try(time: ManualClock, simulator: Simulator) -> None:
    """The key is the task's, the run's and the generation's: a retry has the same, another run another."""
    attempts = Attempts(CREATE, time, Store())
    simulator.fail(Fault(endpoint=CREATE, answer=429, times=4))
    with pytest.raises(RetellRateLimitError):
        attempts.retry(limit_timeout=0)
    attempts.retry()
    attempts.run_id, attempts.store, attempts.try_number = "another", Store(), 0
    attempts.retry()
    keys = [request.json["idempotency_key"] for request in simulator.requests if request.endpoint == CREATE]
    assert len(set(keys[:-1])) == 1
    assert keys[-1] not in keys[:-1]


def test_an_hour_later_the_call_is_looked_up_by_its_tag(time: ManualClock, simulator: Simulator) -> None:
    """Beyond the key's hour nothing is sent again: the tag finds the call."""
    attempts = Attempts(CREATE, time, Store(), "user_hangup")
    simulator.fail(Fault(endpoint=CREATE, answer="reset", after=True, times=4))
    with pytest.raises(RetellConnectionError):
        attempts.retry()
    time.advance(2 * 3600)
    assert attempts.retry()["outcome"] == "answered"
    assert len(simulator.calls) == 1


def test_an_hour_later_a_call_that_cannot_be_found_is_not_placed_again(
    time: ManualClock, simulator: Simulator
) -> None:
    """If it cannot be known whether it rang, the task fails for good, and says what to do."""
    attempts = Attempts(CREATE, time, Store())
    simulator.fail(Fault(endpoint=CREATE, answer="reset", times=4))
    with pytest.raises(RetellConnectionError):
        attempts.retry()
    time.advance(2 * 3600)
    with pytest.raises(RetellCallFinalError, match=r"Not called again.* clear the task") as raised:
        attempts.retry()
    assert isinstance(raised.value, AirflowFailException)
    assert not simulator.calls


def test_a_refusal_after_a_lost_answer_does_not_forget_it(time: ManualClock, simulator: Simulator) -> None:
    """A 429 at the second attempt says nothing of the first: hours later the call is still not placed again."""
    attempts = Attempts(CREATE, time, Store(), "user_hangup")
    simulator.fail(Fault(endpoint=CREATE, answer="reset", after=True), Fault(endpoint=CREATE, answer=429, times=3))
    with pytest.raises(RetellRateLimitError) as raised:
        attempts.retry(limit_timeout=0)
    assert raised.value.may_have_arrived
    time.advance(2 * 3600)
    attempts.retry()
    assert len(simulator.calls) == 1


def test_a_refused_request_is_simply_made_again(endpoint: str, time: ManualClock, simulator: Simulator) -> None:
    """A request that Retell certainly did not carry out is sent again by the next try, however late."""
    attempts = Attempts(endpoint, time, Store())
    simulator.fail(Fault(endpoint=endpoint, answer=429, times=4))
    with pytest.raises(RetellRateLimitError):
        attempts.retry(limit_timeout=0)
    time.advance(2 * 3600)
    attempts.retry()
    assert len(simulator.calls) == 1


def test_a_clear_stops_the_live_call_and_places_a_new_one(
    endpoint: str, time: ManualClock, simulator: Simulator, store: Store | None
) -> None:
    """A clear is a new intent: never two live calls, never the old one, never none."""
    attempts = Attempts(endpoint, time, store)
    first = attempts.retry()
    time.advance(60)
    attempts.clear()
    second = attempts.retry()
    assert second["call_id"] != first["call_id"]
    assert simulator.call(first["call_id"])["disconnection_reason"] == "manual_stopped"
    time.advance(60)
    assert attempts.retry()["call_id"] == second["call_id"], "a retry after the clear adopts the new call"


def test_a_clear_after_the_end_places_a_new_call(endpoint: str, time: ManualClock, simulator: Simulator) -> None:
    """A cleared task calls again, also if its first call went well."""
    attempts = Attempts(endpoint, time, Store(), "user_hangup")
    first = attempts.retry()
    time.advance(600)
    attempts.clear()
    assert attempts.retry()["call_id"] != first["call_id"]
    assert not [request for request in simulator.requests if request.endpoint == "stop-call"]


def test_a_call_retell_no_longer_knows_is_not_placed_again(
    endpoint: str, time: ManualClock, simulator: Simulator
) -> None:
    """A stored call that was deleted may have rung: the task fails for good and says what to do."""
    attempts = Attempts(endpoint, time, Store())
    call_id = attempts.retry()["call_id"]
    time.advance(60)
    simulator.fail(Fault(endpoint="get-call", answer=422))
    with pytest.raises(RetellCallFinalError, match=f"Not called again.*{call_id}.*clear the task"):
        attempts.retry()
    assert len(simulator.calls) == 1


@pytest.mark.parametrize("status", [404, 422])
def test_a_call_that_retell_does_not_show_yet_is_read_again(
    endpoint: str, time: ManualClock, simulator: Simulator, status: int
) -> None:
    """A retry may come within seconds of the placing: for a minute, "not found" means "not there yet"."""
    attempts = Attempts(endpoint, time, Store())
    call_id = attempts.retry()["call_id"]
    simulator.fail(Fault(endpoint="get-call", answer=status, times=3))
    assert attempts.retry()["call_id"] == call_id
    assert len(simulator.calls) == 1


@pytest.mark.parametrize("value", ["call_1", 7, {"job_id": "x"}, {"generation": "2"}, []])
def test_something_else_in_the_store_is_no_reason_to_call(
    endpoint: str, time: ManualClock, simulator: Simulator, value: Any
) -> None:
    """A value that this operator did not write stops it: it cannot know whether it called before."""
    with pytest.raises(RetellCallFinalError, match=r"Not called again.*retell_call"):
        Attempts(endpoint, time, Store({STORE_KEY: value})).retry()
    assert simulator.requests == []


def test_the_stored_form_of_a_record_stays() -> None:
    """A record of the last version is read, and the next one is written in the same form."""
    stored = {
        "generation": 4,
        "number": 1,
        "sent_at": 1769813990.0,
        "try_number": 2,
        "body": None,
        "call_id": "call_2",
        "refused": False,
        "sent_again_at": None,
        "prefix": "0123456789abcdef.01234567.000000.",
        "earlier": ["call_1"],
        "conn_id": "retell_default",
        "key_digest": "0123456789abcdef",
    }
    record = Record.read(stored)
    assert record is not None
    assert (record.ordinal, record.earlier) == (1, ("call_1",))
    assert record.to_json() == stored


def test_the_users_own_key_is_never_overwritten(endpoint: str, time: ManualClock, simulator: Simulator) -> None:
    """Metadata that already uses the tag's key is sent as it is."""
    Attempts(endpoint, time, Store()).retry(metadata={TAG: "mine"})
    assert simulator.requests[-1].json["metadata"] == {TAG: "mine"}


def test_a_namespace_that_is_set_between_two_tries_changes_no_call(
    time: ManualClock, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The response was lost under the old names, which are on record: under them the call is asked for again."""
    attempts = Attempts(CREATE, time, Store())
    simulator.fail(Fault(endpoint=CREATE, answer=503, after=True, times=None))
    with pytest.raises(RetellServerError):
        attempts.retry()
    simulator.recover()
    monkeypatch.setenv("AIRFLOW__RETELL__NAMESPACE", "prod")
    assert [attempts.retry()["call_id"]] == list(simulator.calls)
    attempts.clear()
    second = attempts.retry()["call_id"]
    assert list(simulator.calls)[1:] == [second]


def test_a_retry_through_another_connection_places_no_second_call(
    endpoint: str, time: ManualClock, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The idempotency key means nothing to another account: people decide whether a call is placed there."""
    attempts = Attempts(endpoint, time, Store())
    attempts.retry()
    other = Simulator(clock=time)
    with other.serve() as url:
        monkeypatch.setenv("AIRFLOW_CONN_OTHER", other.connection(url))
        with pytest.raises(RetellCallFinalError, match="through the connection 'retell_default'"):
            attempts.retry(retell_conn_id="other")
    assert not other.calls


def lose_the_response(attempts: Attempts, simulator: Simulator) -> None:
    """Let the first try place its call, and not learn of it."""
    simulator.fail(Fault(endpoint=CREATE, answer=503, after=True, times=None))
    with pytest.raises(RetellServerError):
        attempts.retry()
    simulator.recover()


def test_a_lost_call_is_not_asked_for_in_what_may_be_another_account(
    time: ManualClock, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection has another key by the retry: whether its idempotency key means anything there is unknown."""
    attempts = Attempts(CREATE, time, Store())
    lose_the_response(attempts, simulator)
    other = Simulator(clock=time)
    with other.serve() as url:
        monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", other.connection(url))
        with pytest.raises(RetellCallFinalError, match="another API key by now"):
            attempts.retry()
    assert (len(simulator.calls), len(other.calls)) == (1, 0)


def test_a_lost_call_is_found_with_another_key_of_the_account(
    time: ManualClock, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it rings it may not be listed, so the task looks for it for as long as a phone rings."""
    attempts = Attempts(CREATE, time, Store())
    lose_the_response(attempts, simulator)
    with simulator.serve() as url:  # another URL, which tells accounts apart as a key does
        monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", simulator.connection(url))
        assert [attempts.retry()["call_id"]] == list(simulator.calls)


@pytest.mark.parametrize("durable", [True, False])
def test_the_tag_of_another_call_is_not_taken_over(
    endpoint: str, time: ManualClock, simulator: Simulator, *, durable: bool
) -> None:
    """A row's metadata that is handed on must not make the new call a call of the old task."""
    Attempts(endpoint, time, Store()).retry(metadata={"kind": "first"})
    (first,) = simulator.calls.values()
    handed_on = first.request["metadata"]
    other = Attempts(endpoint, time, Store())
    other.run_id = "another"
    other.retry(metadata=handed_on, durable=durable)
    sent = simulator.requests[-1].json["metadata"]
    assert sent["kind"] == "first"
    assert sent.get(TAG) != handed_on[TAG]
    assert (TAG in sent) == durable


def test_durable_false_writes_and_tags_nothing(endpoint: str, time: ManualClock, simulator: Simulator) -> None:
    """Switched off, nothing is written down, and the metadata is the user's alone."""
    store = Store()
    Attempts(endpoint, time, store).retry(durable=False)
    assert not store
    assert "metadata" not in simulator.requests[-1].json


def test_a_strangers_call_is_never_adopted(time: ManualClock, simulator: Simulator) -> None:
    """Calls of other tasks, runs and map indices have other tags."""
    tags = set()
    for map_index in (-1, 0, 1):
        for run_id in ("a", "b"):
            ti = TaskInstance(map_index=map_index)
            ti.run_id = run_id
            operator = RetellRegisterPhoneCallOperator(task_id="call", agent_id="agent_1")
            operator.execute(ti.context())
            tags.add(simulator.requests[-1].json["metadata"][TAG])
    assert len(tags) == 6


def test_a_lost_stop_does_not_place_a_second_live_call(time: ManualClock, simulator: Simulator) -> None:
    """If the old call cannot be stopped after a clear, no new one is placed beside it."""
    attempts = Attempts(CREATE, time, Store())
    attempts.retry()
    time.advance(60)
    attempts.clear()
    simulator.fail(Fault(endpoint="stop-call", answer=500, times=None))
    attempts.clock = SteppingClock(time)
    with pytest.raises(RetellServerError):
        attempts.retry()
    assert len(simulator.calls) == 1


@pytest.mark.parametrize("by", ["an earlier try", "no store"])
def test_a_call_that_was_hung_up_on_is_not_placed_again(
    endpoint: str, time: ManualClock, simulator: Simulator, by: str
) -> None:
    """After a kill or a time-out stopped the call, a retry neither rings again nor calls that a success."""
    attempts = Attempts(endpoint, time, Store() if by == "an earlier try" else None)
    call_id = attempts.retry()["call_id"]
    time.advance(60)
    with RetellHook() as hook:
        hook.stop_call(call_id)
    with pytest.raises(RetellCallFinalError, match=r"was stopped.*clear the task"):
        attempts.retry()
    assert list(simulator.calls) == [call_id]
    with pytest.raises(RetellCallTimeoutError):
        attempts.retry(fail_on=["stopped"], wait_for="ended", timeout=10)
    assert len(simulator.calls) == 2, "unless fail_on asks for it"


def test_a_clear_while_the_phone_rings_waits_until_it_can_hang_up(time: ManualClock, simulator: Simulator) -> None:
    """A phone that rings may not let itself be stopped: the new call is placed when the old one is over."""
    attempts = Attempts(CREATE, time, Store())
    attempts.clock = SteppingClock(time)
    first = attempts.retry()["call_id"]
    attempts.clear()
    second = attempts.retry()["call_id"]
    assert simulator.call(first)["disconnection_reason"] == "manual_stopped"
    assert simulator.calls[second].created_at >= simulator.calls[first].stopped_at


def test_a_status_in_fail_on_never_replaces_a_call_that_was_stopped(
    time: ManualClock, simulator: Simulator, store: Store | None
) -> None:
    """Somebody was cut off: only the word stopped has a retry call again, and a failure without it is final."""
    attempts = Attempts(CREATE, time, store)
    with pytest.raises(RetellCallTimeoutError):
        attempts.retry(fail_on=["ended"], wait_for="ended", timeout=10)
    time.advance(60)
    with pytest.raises(RetellCallFinalError, match=r"was stopped.*clear the task"):
        attempts.retry(fail_on=["ended"], wait_for="ended")
    assert len(simulator.calls) == 1


def test_a_call_that_is_stopped_while_its_task_waits_fails_it_for_good(
    time: ManualClock, simulator: Simulator
) -> None:
    """A status in fail_on fails the task, but no retry would call again, so Airflow need not try."""
    attempts = Attempts(CREATE, time, Store(), "manual_stopped")
    with pytest.raises(RetellCallFinalError, match="stopped"):
        attempts.retry(fail_on=["ended"], wait_for="ended")


def test_a_clear_gives_up_on_a_call_that_cannot_be_stopped(time: ManualClock, simulator: Simulator) -> None:
    """A call that is live after the longest ringing, and cannot be stopped, gets no second call beside it."""
    attempts = Attempts(CREATE, time, Store(), "rings_forever")
    attempts.clock = SteppingClock(time)
    attempts.retry()
    attempts.clear()
    with pytest.raises(RetellCallError, match=r"Not called again.*still live"):
        attempts.retry()
    assert len(simulator.calls) == 1


def test_a_clear_after_a_lost_answer_waits_until_the_old_call_can_be_seen(
    time: ManualClock, simulator: Simulator
) -> None:
    """Retell may not list a call that rings: it is looked for until it would be, and stopped."""
    attempts = Attempts(CREATE, time, Store())
    simulator.fail(Fault(endpoint=CREATE, answer="reset", after=True, times=4))
    with pytest.raises(RetellConnectionError):
        attempts.retry()
    simulator.recover()
    time.advance(1)
    attempts.clear()
    attempts.clock = SteppingClock(time)
    new = attempts.retry()["call_id"]
    time.advance(60)
    live = [call_id for call_id in simulator.calls if simulator.call(call_id)["call_status"] == "ongoing"]
    assert (live, len(simulator.calls)) == ([new], 2)


def test_a_store_that_is_empty_at_a_later_try_proves_nothing(
    endpoint: str, time: ManualClock, simulator: Simulator
) -> None:
    """Airflow may have been upgraded between two tries: the first one's call is found by its tag."""
    attempts = Attempts(endpoint, time, None, "user_hangup")
    first = attempts.retry()
    time.advance(2 * 3600)
    attempts.store = Store()
    assert attempts.retry()["call_id"] == first["call_id"]
    assert len(simulator.calls) == 1


def test_a_clear_that_empties_the_store_ends_the_old_call(time: ManualClock, simulator: Simulator) -> None:
    """Whatever Airflow does to its store at a clear: the call of before is found by its tag, and stopped."""
    attempts = Attempts(CREATE, time, Store())
    first = attempts.retry()["call_id"]
    time.advance(60)
    attempts.clear()
    attempts.store = Store()
    attempts.retry()
    assert simulator.call(first)["disconnection_reason"] == "manual_stopped"
    assert len(simulator.calls) == 2


def requests(simulator: Simulator, endpoint: str) -> list[Any]:
    """Return the requests to an endpoint."""
    return [request for request in simulator.requests if request.endpoint == endpoint]


def placement(hook: RetellHook, time: ManualClock, store: Store, before_sending: Callable[[], None]) -> Placement:
    """Return what places a call, with something that happens before each request."""
    gate = Gate(
        kill=SimpleNamespace(check=before_sending),
        ends_at=math.inf,
        pause=hook.pause,
        limit_timeout=0,
        hours=Hours(hours=None, number=None, time_zone=None),
    )
    ti = TaskInstance(max_tries=2)
    sender = RecordedSender(
        hook.get_conn(),
        endpoints.create_phone_call({"from_number": FROM, "to_number": "+14155550100"}),
        Intent.of(ti.context(), retries=2),
        try_number=1,
        store=store,
        retell_dials=True,
        gate=gate,
        clock=SteppingClock(time),
    )
    return Placement(sender, first_try=True, fail_on=(), line=LineWait(limit=0, clock=SteppingClock(time)))


def test_a_task_that_is_killed_between_two_attempts_places_no_call(
    time: ManualClock, simulator: Simulator
) -> None:
    """Before each attempt the task checks twice whether it was killed: before it looks at the pause, and after."""
    alive = iter([True] * 5 + [False])

    def check() -> None:
        if not next(alive):
            raise RetellCallError("The task was killed.")

    simulator.fail(Fault(endpoint=CREATE, answer=503, times=1))
    with RetellHook() as hook, pytest.raises(RetellCallError, match="killed"):
        placement(hook, time, Store(), check).place()
    assert (len(requests(simulator, CREATE)), len(simulator.calls)) == (1, 0)


def test_a_key_that_grows_old_between_two_attempts_is_not_used_again(
    time: ManualClock, simulator: Simulator
) -> None:
    """Attempts may take minutes: the hour of a key counts at each of them, and what was lost stays lost."""
    store = Store()
    simulator.fail(Fault(endpoint=CREATE, answer="reset", after=True, times=None))
    with RetellHook() as hook, pytest.raises(RetellConnectionError):
        placement(hook, time, store, lambda: None).place()
    sent = len(requests(simulator, CREATE))
    time.advance(KEY_LIFETIME - 60)
    with RetellHook() as hook, pytest.raises(RetellCallError, match="may have expired"):
        placement(hook, time, store, lambda: time.advance(20)).place()
    assert len(requests(simulator, CREATE)) == sent + 1
    simulator.recover()
    (call,) = simulator.calls
    with RetellHook() as hook:
        assert placement(hook, time, store, lambda: None).place().call_id == call


def test_the_call_of_another_airflow_is_not_taken_for_ones_own(time: ManualClock, simulator: Simulator) -> None:
    """Two Airflows with one account and DAGs of the same names share keys: no call is placed or stopped."""
    theirs = Attempts(CREATE, time, Store(), "talks_forever").retry()["call_id"]
    time.advance(60)
    ours = Attempts(CREATE, time, Store(), "user_hangup")
    with pytest.raises(RetellCallFinalError, match="namespace") as error:
        ours.retry()
    assert "+1415" not in str(error.value)
    assert len(simulator.calls) == 1
    ours.clear()
    ours.retry()
    assert simulator.call(theirs)["call_status"] == "ongoing"


def test_an_adopted_call_has_all_of_its_fields(endpoint: str, time: ManualClock, simulator: Simulator) -> None:
    """A call that is found in a list is read again: lists leave the transcript out."""
    attempts = Attempts(endpoint, time, None, "user_hangup")
    attempts.retry()
    time.advance(600)
    assert "transcript" in attempts.retry(wait_for="ended", include=["transcript"])


def live(simulator: Simulator) -> list[str]:
    """Return the calls that ring or are going on."""
    return [i for i in simulator.calls if simulator.call(i)["call_status"] in {"registered", "ongoing"}]


@pytest.mark.parametrize("store", [None, "emptied by the clear"])
@pytest.mark.parametrize("scenario", ["talks_forever", "dial_no_answer"])
def test_a_clear_without_a_record_waits_while_a_phone_may_ring(
    time: ManualClock, simulator: Simulator, scenario: str, store: str | None
) -> None:
    """Retell may not list a ringing call, so a clear that has no record looks for it until it would be listed."""
    attempts = Attempts(CREATE, time, Store() if store else None, scenario)
    first = attempts.retry()["call_id"]
    time.advance(1)
    attempts.clear()
    attempts.store = Store() if store else None
    began = time()
    second = attempts.retry()["call_id"]
    assert second in live(simulator)
    assert first not in live(simulator)
    assert time() - began <= 2 * LONGEST_RINGING


def test_a_clear_of_a_call_that_is_over_does_not_wait(time: ManualClock, simulator: Simulator) -> None:
    """If one try placed one call and Retell lists it as over, no other one can ring."""
    attempts = Attempts(CREATE, time, None, "user_hangup")
    attempts.retry()
    time.advance(600)
    attempts.clear()
    began = time()
    attempts.retry()
    assert (time() - began, len(simulator.calls)) == (0, 2)


@pytest.mark.parametrize("record", ["store", "no store", "lost"])
def test_a_call_to_another_person_is_never_taken_for_ones_own(
    time: ManualClock, simulator: Simulator, record: str
) -> None:
    """A number that changed between two tries fails the task for good, and both are named by their last digits."""
    attempts = Attempts(CREATE, time, None if record == "no store" else Store(), "talks_forever")
    if record == "lost":
        simulator.fail(Fault(endpoint=CREATE, answer="reset", after=True, times=4))
        with pytest.raises(RetellConnectionError):
            attempts.retry()
        simulator.recover()
    else:
        attempts.retry()
    time.advance(60)
    before, attempts.scenario = attempts.scenario, "user_hangup"
    with pytest.raises(RetellCallFinalError) as raised:
        attempts.retry()
    for scenario in (before, attempts.scenario):
        assert f"…{SCENARIOS[scenario].number[-4:]}" in str(raised.value)
        assert SCENARIOS[scenario].number not in str(raised.value)
    assert len(simulator.calls) == 1


def test_another_agent_is_another_call(time: ManualClock, simulator: Simulator) -> None:
    """The agent is compared like the number, if the task names one."""
    attempts = Attempts(REGISTER, time, Store())
    attempts.retry(agent_id="agent_1")
    with pytest.raises(RetellCallFinalError, match="agent_1, but the task asks for agent agent_2"):
        attempts.retry(agent_id="agent_2")


def test_a_call_that_was_there_before_is_found_and_not_placed(
    time: ManualClock, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """A run id used twice within the hour has the first run's key: no phone rings, and the log warns."""
    first = Attempts(CREATE, time, Store(), "user_hangup").retry()
    time.advance(600)
    caplog.clear()
    with caplog.at_level("INFO"):
        again = Attempts(CREATE, time, Store(), "user_hangup").retry()
    assert again["call_id"] == first["call_id"]
    assert f"Found {first['call_id']}" in caplog.text
    assert "Placed" not in caplog.text
    assert len(simulator.calls) == 1


def test_nothing_personal_stays_in_the_store(endpoint: str, time: ManualClock, simulator: Simulator) -> None:
    """The request is kept as long as it may have to be sent again: until the call is known, or it was refused."""
    private = {"retell_llm_dynamic_variables": {"name": "Ada"}, "metadata": {"token": "secret"}}

    def stored(store: Store | None) -> str:
        return json.dumps(store)

    attempts = Attempts(endpoint, time, Store())
    simulator.fail(Fault(endpoint=endpoint, answer=402))
    with pytest.raises(RetellError):
        attempts.retry(**private)
    assert "Ada" not in stored(attempts.store)
    simulator.recover()
    simulator.fail(Fault(endpoint=endpoint, answer="reset", after=True, times=4))
    with pytest.raises(RetellConnectionError):
        attempts.retry(**private)
    assert ("Ada" in stored(attempts.store)) is (endpoint == CREATE), "a registration need not be sent again"
    simulator.recover()
    time.advance(60)
    attempts.retry(**private)
    for word in ("Ada", "secret", "+1"):
        assert word not in stored(attempts.store)


class Alarm(SteppingClock):
    """A clock with Airflow's alarm: the first sleep is interrupted."""

    def sleep(self, seconds: float) -> None:
        if not self.slept:
            self.slept.append(0)
            raise AirflowTaskTimeout
        super().sleep(seconds)


def test_a_ringing_phone_is_stopped_after_airflows_alarm_too(time: ManualClock, simulator: Simulator) -> None:
    """Airflow interrupts once: what follows stops the call as ``timeout`` does, as soon as Retell lets it."""
    attempts = Attempts(CREATE, time, None)
    attempts.clock = Alarm(time)
    with pytest.raises(AirflowTaskTimeout):
        attempts.retry(wait_for="ended", execution_timeout=timedelta(seconds=30))
    (call_id,) = simulator.calls
    assert simulator.call(call_id)["disconnection_reason"] == "manual_stopped"


def test_a_tag_lists_a_run_a_task_and_an_index_by_its_beginning() -> None:
    """Digests of fixed width stand from left to right, and nothing that differs between machines is in them."""
    names = {"namespace": "", "dag_id": "dag", "run_id": "run"}
    run = run_prefix(**names)
    task = task_prefix(**names, task_id="task")
    index = task_prefix(**names, task_id="task", map_index=7)
    tags = [
        Intent.of(TaskInstance(map_index=each, max_tries=2).context(), retries=2, namespace=space).tag
        for each, space in ((7, ""), (8, ""), (7, "other"))
    ]
    assert tags[0].startswith(index)
    assert index.startswith(task)
    assert task.startswith(run)
    assert tags[1].startswith(task)
    assert not tags[1].startswith(index)
    assert not tags[2].startswith(run)
    assert {len(tag) for tag in tags} == {len(tags[0])}
