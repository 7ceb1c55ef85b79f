"""``call_key``: there is one call of a name, whichever DAG, run, task or backfill asks for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from conftest import CREATE, REGISTER, SteppingClock, Store, TaskInstance, place, run_task

from airflow_provider_retell.calls.intent import STORE_KEY, TAG
from airflow_provider_retell.errors import (
    RetellCallError,
    RetellCallFinalError,
    RetellInputError,
    RetellRateLimitError,
)
from airflow_provider_retell.policy import Redial
from airflow_provider_retell.simulator import Fault, ManualClock, Simulator

pytestmark = pytest.mark.usefixtures("connect")

TO, OTHER = "+14155550155", "+14155550156"
KEY = "appointment-17"
NO_ANSWER, BUSY, ANSWERED = "dial_no_answer", "dial_busy", "user_hangup"


class Crash(BaseException):
    """The worker is gone."""


@pytest.fixture
def ask(clock: SteppingClock) -> Callable[..., Any]:
    """Ask for the call of a name, from some DAG and run, and return its row."""

    def ask(
        endpoint: str = CREATE,
        *,
        dag: str = "dag",
        run: str = "run",
        task: str = "task",
        map_index: int = -1,
        try_number: int = 1,
        max_tries: int = 0,
        on: SteppingClock | None = None,
        store: Store | None = None,
        kind: str = "manual",
        **arguments: Any,
    ) -> Any:
        ti = TaskInstance(try_number=try_number, max_tries=max_tries, map_index=map_index)
        ti.dag_id, ti.run_id, ti.task_id = dag, run, task
        given = {"to_number": TO, "call_key": KEY, "wait_for": "ended", "poll_interval": 5, **arguments}
        context: dict[str, Any] = {"dag_run": SimpleNamespace(run_type=kind, start_date=None)}
        if store is not None:
            context["task_state_store"] = store
        return run_task(lambda: place(endpoint, **given), ti, on or clock, **context)

    return ask


def looked_up(simulator: Simulator) -> int:
    """Return how often calls were listed."""
    return sum(request.endpoint == "list-calls" for request in simulator.requests)


@pytest.mark.parametrize(
    "who",
    [
        {"dag": "another"},
        {"run": "another"},
        {"task": "another"},
        {"map_index": 7},
        {"kind": "backfill", "run": "backfill", "backfill": True},
        {"dag": "another", "try_number": 3, "max_tries": 5},
    ],
    ids=str,
)
@pytest.mark.parametrize("later", [0, 60, 7200, 30 * 86400])
def test_every_task_that_asks_gets_the_same_call(
    endpoint: str, ask: Callable[..., Any], simulator: Simulator, time: ManualClock, who: Any, later: float
) -> None:
    """Tasks share a call at once, and also long after the idempotency key has expired."""
    simulator.play(TO, ANSWERED)
    first = ask(endpoint)
    time.advance(later)
    assert ask(endpoint, **who)["call_id"] == first["call_id"]
    assert len(simulator.calls) == 1


@pytest.mark.parametrize("later", [2, 60])
def test_a_call_that_rings_or_goes_on_is_not_placed_again(
    ask: Callable[..., Any], simulator: Simulator, time: ManualClock, later: float
) -> None:
    """Retell does not list a ringing call; the key, which is the same for all, finds it."""
    simulator.play(TO, "talks_forever")
    first = ask(wait_for=None)
    time.advance(later)
    assert ask(dag="another", wait_for=None)["call_id"] == first["call_id"]
    assert len(simulator.calls) == 1


def test_another_name_is_another_call(endpoint: str, ask: Callable[..., Any], simulator: Simulator) -> None:
    """Only the name decides which call is meant."""
    ask(endpoint)
    ask(endpoint, call_key="appointment-18", to_number=OTHER)
    ask(endpoint, call_key=None)
    assert len(simulator.calls) == 3


def test_the_tag_and_the_key_are_made_of_the_name_alone(ask: Callable[..., Any], simulator: Simulator) -> None:
    """No DAG, run, namespace or generation is in them, and neither is the name itself."""
    ask()
    ask(call_key="appointment-18", dag="another", run="another", max_tries=4)
    bodies = [request.json for request in simulator.requests if request.endpoint == CREATE]
    tags = [body["metadata"][TAG] for body in bodies]
    assert all(tag.endswith(".0000.0000") for tag in tags)
    assert len({tag.split(".")[0] for tag in tags}) == 2
    assert [body["idempotency_key"] for body in bodies] == [f"airflow.{tag}" for tag in tags]
    assert KEY not in str(bodies)


@pytest.mark.parametrize("later", [0, 7200])
def test_a_name_of_another_number_fails_and_names_both(
    endpoint: str, ask: Callable[..., Any], simulator: Simulator, time: ManualClock, later: float
) -> None:
    """Two people cannot share one name of a call: a person must decide, and no phone rings."""
    simulator.play(TO, ANSWERED)
    ask(endpoint)
    time.advance(later)
    with pytest.raises(RetellCallFinalError, match=r"…0155.*…0156.*needs another call_key"):
        ask(endpoint, to_number=OTHER, dag="another")
    assert len(simulator.calls) == 1


def test_a_ringing_call_of_another_number_fails_too(ask: Callable[..., Any], simulator: Simulator) -> None:
    """It is not listed, and the key finds it."""
    simulator.play(TO, "talks_forever")
    ask(wait_for=None)
    with pytest.raises(RetellCallFinalError, match=r"…0155.*…0156.*another call needs another call_key"):
        ask(to_number=OTHER, dag="another", wait_for=None)


@pytest.mark.parametrize("store", [Store(), None], ids=["store", "no store"])
@pytest.mark.parametrize("scenario", [ANSWERED, BUSY, "talks_forever"])
@pytest.mark.parametrize("later", [60, 7200])
def test_a_clear_finds_the_call(
    endpoint: str,
    ask: Callable[..., Any],
    simulator: Simulator,
    time: ManualClock,
    store: Store | None,
    scenario: str,
    later: float,
) -> None:
    """It stops nothing, and places nothing, whatever fail_on says."""
    simulator.play(TO, scenario)
    written = None if store is None else Store()
    first = ask(endpoint, wait_for=None, store=written)
    time.advance(later)
    for _ in range(2):
        row = ask(endpoint, wait_for=None, store=written, try_number=2, max_tries=1, fail_on=["busy"])
        assert row["call_id"] == first["call_id"]
    assert len(simulator.calls) == 1
    assert not [request for request in simulator.requests if request.endpoint == "stop-call"]


@pytest.mark.parametrize("answer", [403, 404])
@pytest.mark.parametrize("try_number", [1, 2])
@pytest.mark.parametrize("store", [True, False], ids=["store", "no store"])
def test_without_permission_to_list_nothing_is_placed(
    endpoint: str, ask: Callable[..., Any], simulator: Simulator, answer: int, try_number: int, store: bool
) -> None:
    """The name cannot be looked up, so even the first try fails."""
    simulator.fail(Fault(endpoint="list-calls", answer=answer, times=None))
    with pytest.raises(RetellCallFinalError, match="with call_key, calls are looked up"):
        ask(endpoint, try_number=try_number, store=Store() if store else None)
    assert not simulator.calls


def test_the_name_is_looked_up_before_each_send(ask: Callable[..., Any], simulator: Simulator) -> None:
    """Another task may have placed the call while this one waited for a line."""
    simulator.fail(Fault(endpoint=CREATE, answer=429, retry_after=60, times=2))
    ask(limit_timeout=600)
    assert looked_up(simulator) == 3


def test_a_retry_hours_later_looks_before_it_sends(
    ask: Callable[..., Any], simulator: Simulator, time: ManualClock
) -> None:
    """A refusal in this task's record says nothing about calls that others have placed since."""
    simulator.play(TO, ANSWERED)
    store = Store()
    simulator.fail(Fault(endpoint=CREATE, answer=429))
    with pytest.raises(RetellRateLimitError):
        ask(limit_timeout=0, store=store)
    other = ask(dag="another")
    time.advance(2 * 3600)
    assert ask(try_number=2, store=store)["call_id"] == other["call_id"]
    assert len(simulator.calls) == 1


# -- retries -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", [True, False], ids=["store", "no store"])
def test_a_retry_places_another_if_fail_on_names_the_first(
    ask: Callable[..., Any], simulator: Simulator, store: bool
) -> None:
    """As without a name; and later tasks get the newest one."""
    simulator.play(TO, BUSY, ANSWERED)
    written = Store() if store else None
    with pytest.raises(RetellCallError, match="busy"):
        ask(fail_on=["busy"], store=written)
    row = ask(fail_on=["busy"], store=written, try_number=2)
    assert row["outcome"] == "answered"
    assert ask(dag="another")["call_id"] == row["call_id"]
    assert len(simulator.calls) == 2


@pytest.mark.parametrize("later", [60, 7200])
def test_two_tasks_whose_retries_want_another_get_one(
    ask: Callable[..., Any], simulator: Simulator, time: ManualClock, later: float
) -> None:
    """Each has its own record of the first call, and neither knows of the other."""
    simulator.play(TO, BUSY, ANSWERED)
    stores = {"a": Store(), "b": Store()}
    for dag, store in stores.items():
        with pytest.raises(RetellCallError, match="busy"):
            ask(dag=dag, fail_on=["busy"], store=store)
    rows = []
    for dag, store in stores.items():
        rows.append(ask(dag=dag, fail_on=["busy"], store=store, try_number=2))
        time.advance(later)
    assert rows[0]["call_id"] == rows[1]["call_id"]
    assert len(simulator.calls) == 2


@pytest.mark.parametrize("later", [1, 60, 7200])
def test_a_lost_response_is_settled_by_the_next_try(
    ask: Callable[..., Any], simulator: Simulator, time: ManualClock, later: float
) -> None:
    """The next try, or any other task that asks for the name, finds the call."""
    simulator.play(TO, ANSWERED)
    simulator.fail(Fault(endpoint=CREATE, answer="reset", after=True, times=4))
    store = Store()
    with pytest.raises(Exception, match="POST"):
        ask(store=store)
    simulator.recover()
    time.advance(later)
    other = ask(dag="another")
    assert ask(store=store, try_number=2)["call_id"] == other["call_id"]
    assert len(simulator.calls) == 1


@pytest.mark.parametrize("cleared", [True, False])
def test_a_call_that_was_lost_for_good_is_placed_after_a_clear_alone(
    ask: Callable[..., Any], simulator: Simulator, time: ManualClock, cleared: bool
) -> None:
    """A retry cannot know whether it rang. A person who has looked may say so by a clear."""
    simulator.fail(Fault(endpoint=CREATE, answer="reset", times=4))
    store = Store()
    with pytest.raises(Exception, match="POST"):
        ask(store=store)
    time.advance(7200)
    if cleared:
        ask(store=store, try_number=2, max_tries=1)
    else:
        with pytest.raises(RetellCallFinalError, match="Not called again"):
            ask(store=store, try_number=2)
    assert len(simulator.calls) == cleared


def test_a_name_that_changes_between_tries_is_refused(ask: Callable[..., Any], simulator: Simulator) -> None:
    """A key with the time or the try in it would ring at each try: the task fails and says so."""
    simulator.play(TO, ANSWERED)
    store = Store()
    ask(store=store)
    with pytest.raises(RetellCallFinalError, match="under another call_key"):
        ask(store=store, call_key="appointment-17-2", try_number=2)
    assert len(simulator.calls) == 1


@pytest.mark.parametrize(("before", "after"), [(KEY, "appointment-18"), (None, KEY), (KEY, None)])
def test_a_clear_may_ask_for_another_name(
    ask: Callable[..., Any], simulator: Simulator, before: str | None, after: str | None
) -> None:
    """After a corrected DAG and a clear, the record from before does not count."""
    simulator.play(TO, ANSWERED)
    store = Store()
    ask(store=store, call_key=before)
    ask(store=store, call_key=after, try_number=2, max_tries=1)
    assert len(simulator.calls) == 2


def test_a_registered_call_that_is_not_listed_yet_is_found_by_its_record(
    ask: Callable[..., Any], simulator: Simulator
) -> None:
    """Retell may list a registered call when it is dialed: a retry of the same task knows its id."""
    store = Store()
    first = ask(REGISTER, wait_for=None, store=store)
    assert ask(REGISTER, wait_for=None, store=store, try_number=2)["call_id"] == first["call_id"]
    assert len(simulator.calls) == 1


def test_what_was_found_is_the_store_s_own(ask: Callable[..., Any]) -> None:
    """The record has the name of the call and no phone number."""
    store = Store()
    ask(store=store)
    assert store[STORE_KEY]["prefix"]
    assert TO not in str(store)


# -- with redial ---------------------------------------------------------------------------------------------


def test_a_plan_belongs_to_the_name(ask: Callable[..., Any], simulator: Simulator) -> None:
    """A second DAG goes on where the first one was, and begins no plan of its own."""
    simulator.play(TO, NO_ANSWER, NO_ANSWER, NO_ANSWER, ANSWERED)
    rules = [Redial("no_answer", after=timedelta(hours=2), times=2)]
    assert ask(redial=rules)["attempts"] == 3
    assert ask(redial=rules, dag="another")["attempts"] == 3
    assert len(simulator.calls) == 3


@pytest.mark.parametrize("store", [True, False], ids=["store", "no store"])
def test_a_second_task_that_waits_beside_the_first_places_no_call_of_its_own(
    ask: Callable[..., Any], simulator: Simulator, time: ManualClock, store: bool
) -> None:
    """The first dies while it waits; the second calls; the first one's retry finds that call, hours later."""

    class Dying(SteppingClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            if seconds == 60:  # in the wait for the next call
                raise Crash

    simulator.play(TO, NO_ANSWER, ANSWERED)
    rules = [Redial("no_answer", after=timedelta(hours=2), times=2)]
    written = Store() if store else None
    with pytest.raises(Crash):
        ask(redial=rules, store=written, on=Dying(time))
    row = ask(redial=rules, dag="another")
    time.advance(7200)
    again = ask(redial=rules, store=written, try_number=2)
    assert again["call_id"] == row["call_id"]
    assert (row["attempts"], again["attempts"]) == (2, 2)
    assert len(simulator.calls) == 2


def test_the_name_is_looked_up_before_a_redial(
    ask: Callable[..., Any], simulator: Simulator, time: ManualClock
) -> None:
    """If another task has called while this one waited longer than a key lives, this one takes that call."""
    asked: list[Any] = []

    class Meanwhile(SteppingClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            if seconds == 60 and not asked:
                asked.append(ask(dag="another", fail_on=["no_answer"], try_number=2))
                self.time.advance(5 * 3600)

    simulator.play(TO, NO_ANSWER, ANSWERED)
    rules = [Redial("no_answer", after=timedelta(hours=2), times=2)]
    row = ask(redial=rules, on=Meanwhile(time))
    assert row["call_id"] == asked[0]["call_id"]
    assert row["attempts"] == 2
    assert len(simulator.calls) == 2


# -- arguments -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call_key", ["", " ", "None", 17, ["a"]])
@pytest.mark.parametrize("dry_run", [True, False])
def test_an_empty_name_is_refused(
    endpoint: str, ask: Callable[..., Any], simulator: Simulator, call_key: Any, dry_run: bool
) -> None:
    """All people whose name is missing in a table would share one call."""
    with pytest.raises(RetellInputError, match="call_key must be text") as raised:
        ask(endpoint, call_key=call_key, dry_run=dry_run)
    assert isinstance(raised.value, AirflowFailException)
    assert not simulator.requests


def test_a_name_needs_to_be_looked_for(endpoint: str) -> None:
    """``durable=False`` leaves no tag by which a call could be found."""
    with pytest.raises(RetellInputError, match="call_key needs durable=True"):
        place(endpoint, call_key=KEY, durable=False)


def test_metadata_that_hides_the_tag_is_refused(
    endpoint: str, ask: Callable[..., Any], simulator: Simulator
) -> None:
    """The call could not be found again."""
    with pytest.raises(RetellInputError, match=TAG):
        ask(endpoint, metadata={TAG: "mine"})
    assert not simulator.calls
