"""Test the notifier that phones: once for each failure, from any process, and never with an error of its own."""

from __future__ import annotations

import asyncio
import copy
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from threading import Thread, current_thread, main_thread
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG
from airflow.utils.types import DagRunType
from blockbuster import blockbuster_ctx
from conftest import AIRFLOW_2, CREATE, DAGS, FROM, SteppingClock, TaskInstance

from airflow_provider_retell.calls.intent import TAG, task_prefix
from airflow_provider_retell.calls.notifying import Occasion
from airflow_provider_retell.errors import RetellInputError, RetellTimeZoneError
from airflow_provider_retell.notifications import OVERTIME, RetellPhoneCallNotifier
from airflow_provider_retell.policy import CallingHours, zones
from airflow_provider_retell.simulator import Fault, Simulator
from airflow_provider_retell.testing import clock_replaced_by

ADA, BOB, EVE = "+12065550100", "+12065550101", "+12065550102"
MESSAGE = "{{ ti.task_id }} of {{ ti.dag_id }} failed: {{ exception }}"


@pytest.fixture(autouse=True)
def _plain_calls(simulator: Simulator) -> None:
    """Let every number answer, even those that stand for a scenario."""
    for number in (ADA, BOB, EVE):
        simulator.play(number, "agent_hangup")


@pytest.fixture
def notifier(clock: SteppingClock, connect: object) -> Callable[..., RetellPhoneCallNotifier]:
    """Make a notifier on the simulator."""

    def make(to_number: Any = ADA, message: str = "The load failed.", **arguments: Any) -> RetellPhoneCallNotifier:
        return RetellPhoneCallNotifier(FROM, to_number, message, **arguments)

    return make


Make = Callable[..., RetellPhoneCallNotifier]


def failure(*, exception: Any = None, **more: Any) -> dict[str, Any]:
    """Return the context of a task's failure on a worker."""
    ti = TaskInstance(try_number=more.pop("try_number", 1), map_index=more.pop("map_index", -1))
    given = {"exception": exception or ValueError("no rows"), "dag": None, **more}
    return ti.context(**given)


def missed(deadline: str = "0199", **run: Any) -> dict[str, Any]:
    """Return the context that Airflow gives to a deadline's callback."""
    fields = {"dag_id": "dag", "dag_run_id": "run", "run_type": "manual", **run}
    return {"dag_run": fields, "deadline": {"id": deadline, "deadline_time": "2026-07-06T09:00:00Z"}}


def on_a_loop(make: Callable[[], Any]) -> None:
    """Await a notifier as a triggerer does, and fail if it blocks the loop."""
    with suppress(ModuleNotFoundError):  # a triggerer has loaded it long before
        import_module("airflow.sdk.execution_time.cache")

    async def run() -> None:
        with blockbuster_ctx(scanned_modules=["airflow_provider_retell"]):
            await make()

    asyncio.run(run())


def rung(simulator: Simulator) -> list[str]:
    """Return the numbers that were rung, in order."""
    return [str(call.request["to_number"]) for call in simulator.placed]


# -- a call ------------------------------------------------------------------------------------------------------


def test_a_failure_rings_a_phone(notifier: Make, simulator: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    """A phone rings with the message rendered for this failure; the log has the call, and no number."""
    caplog.set_level(logging.INFO)
    notifier(message=MESSAGE, override_agent_id="agent_7")(failure())
    (call,) = simulator.placed
    assert call.request["retell_llm_dynamic_variables"] == {"message": "task of dag failed: no rows"}
    assert (call.request["override_agent_id"], call.request["from_number"]) == ("agent_7", FROM)
    assert f"Rang …0100 about try 1 of the task task in the run run of the DAG dag: {call.call_id}." in caplog.text
    assert "2065550100" not in caplog.text


def test_one_notifier_serves_many_failures(notifier: Make, simulator: Simulator) -> None:
    """Airflow renders a notifier in place: the second failure is reported in its own words."""
    shared = notifier(message=MESSAGE)
    shared(failure())
    shared(failure(exception=ValueError("no table"), try_number=2))
    spoken = [call.request["retell_llm_dynamic_variables"]["message"] for call in simulator.placed]
    assert spoken == ["task of dag failed: no rows", "task of dag failed: no table"]


@pytest.mark.parametrize(("more", "error"), [({}, "no error is known"), ({"reason": "timed_out"}, "timed_out")])
def test_a_message_asks_for_an_exception_that_is_not_known(
    notifier: Make, simulator: Simulator, more: dict[str, Any], error: str
) -> None:
    """In the DAG processor there is none: the phone rings all the same."""
    context = {name: value for name, value in failure(**more).items() if name != "exception"}
    notifier(message=MESSAGE)(context)
    assert simulator.placed[0].request["retell_llm_dynamic_variables"] == {
        "message": f"task of dag failed: {error}"
    }


def test_templates_stand_in_each_field(notifier: Make, simulator: Simulator) -> None:
    """Templates work in each field, also in a list of numbers."""
    numbers = ["{{ params.first }}", "{{ params.second }}"]
    notifier(numbers)(failure(params={"first": ADA, "second": BOB}))
    assert rung(simulator) == [ADA, BOB]


def test_no_task_takes_the_call_for_its_own(notifier: Make, simulator: Simulator) -> None:
    """The tag begins as those of the run, and not as those of any task in it."""
    notifier()(failure())
    (call,) = simulator.placed
    run = {"namespace": "", "dag_id": "dag", "run_id": "run"}
    tag = call.request["metadata"][TAG]
    own = task_prefix(**run, task_id="task")
    assert tag.partition(".")[0] == own.partition(".")[0]
    assert not tag.startswith(own)
    assert len(tag) == len(f"{own}000000.{'0' * 24}.0000.0000")


# -- once --------------------------------------------------------------------------------------------------------


def test_a_callback_that_runs_twice_rings_once(notifier: Make, simulator: Simulator) -> None:
    """On a worker, and in the DAG processor, which knows no exception; at once, and hours later."""
    elsewhere = {name: value for name, value in failure().items() if name != "exception"}
    for context in (failure(), failure(), elsewhere):
        notifier()(context)
    simulator.clock.advance(3 * 3600)  # type: ignore[attr-defined]  # the time of the tests
    notifier()(failure())
    assert rung(simulator) == [ADA]


@pytest.mark.parametrize("again", ["listed", "by its key alone"])
@pytest.mark.parametrize("on", ["a worker", *["a loop"] * (not AIRFLOW_2)])
def test_a_call_that_was_found_is_not_reported_as_placed(
    on: str, again: str, notifier: Make, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """The metrics count calls, and the log says of which callback a phone has rung."""
    caplog.set_level(logging.INFO)

    def notify() -> None:
        if on == "a worker":
            notifier()(failure())
        else:
            on_a_loop(lambda: notifier(context=failure()))

    notify()
    if again != "listed":
        simulator.fail(Fault(endpoint="list-calls", answer=403, times=None))
    simulator.clock.advance(120)  # type: ignore[attr-defined]  # the time of the tests: the first call is over
    notify()
    (call,) = simulator.placed
    assert caplog.text.count("Rang …0100") == 1
    assert "…0100 has been rung before about try 1 of the task task" in caplog.text
    assert caplog.text.count(call.call_id) == 2


def test_a_call_whose_response_was_lost_counts_as_placed(
    notifier: Make, simulator: Simulator, clock: SteppingClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The next attempt finds it, but it is this callback that has rung."""
    caplog.set_level(logging.INFO)
    simulator.fail(Fault(endpoint=CREATE, answer=503, after=True))
    notifier()(failure())
    assert rung(simulator) == [ADA]
    assert "Rang …0100" in caplog.text


@pytest.mark.parametrize(
    "another",
    [
        lambda notify: notify()(failure(try_number=2)),
        lambda notify: notify()(failure(map_index=3)),
        lambda notify: notify(BOB)(failure()),
        lambda notify: notify()({"dag": DAG("dag", schedule=None), "run_id": "run"}),
        lambda notify: notify()({**failure(), "ti": TaskInstance(try_number=1, map_index=-1), **missed()}),
    ],
    ids=["try", "map index", "number", "run", "deadline"],
)
def test_another_failure_rings_again(
    notifier: Make, simulator: Simulator, another: Callable[[Make], object]
) -> None:
    """Another failure has another key."""
    notifier()(failure())
    another(notifier)
    assert len(rung(simulator)) == 2


@pytest.mark.parametrize("answer", ["reset", 500, 429])
def test_a_lost_response_rings_once(notifier: Make, simulator: Simulator, answer: Any) -> None:
    """The call is asked for again under its key."""
    simulator.fail(Fault(endpoint=CREATE, answer=answer, after=True))
    notifier()(failure())
    assert rung(simulator) == [ADA]


def test_a_key_that_may_not_list_rings_all_the_same(notifier: Make, simulator: Simulator) -> None:
    """The key of the request keeps it to one call for an hour."""
    simulator.fail(Fault(endpoint="list-calls", answer=403, times=None))
    for _ in range(2):
        notifier()(failure())
    assert rung(simulator) == [ADA]


# -- several numbers ---------------------------------------------------------------------------------------------


def test_all_numbers_are_called(notifier: Make, simulator: Simulator, clock: SteppingClock) -> None:
    """One after the other, without waiting, and a number that is given twice once."""
    notifier([ADA, BOB, ADA, EVE])(failure())
    assert rung(simulator) == [ADA, BOB, EVE]
    assert not clock.slept


UNTIL_ANSWERED = {"mode": "until_answered", "timeout": timedelta(minutes=5)}


@pytest.fixture
def _overtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a task's callbacks run on for ten minutes."""
    monkeypatch.setenv("AIRFLOW__CORE__TASK_SUCCESS_OVERTIME", "600")


@pytest.mark.usefixtures("_overtime")
@pytest.mark.parametrize(
    ("scenarios", "called"),
    [
        (("agent_hangup", "agent_hangup"), [ADA]),
        (("dial_no_answer", "agent_hangup"), [ADA, BOB]),
        (("voicemail_reached", "dial_busy"), [ADA, BOB, EVE]),
        (("talks_forever", "agent_hangup"), [ADA, BOB, EVE]),
    ],
)
def test_the_next_number_is_called_if_the_last_did_not_answer(
    notifier: Make, simulator: Simulator, scenarios: tuple[str, str], called: list[str], clock: SteppingClock
) -> None:
    """Voicemail is no answer; after a call that is not over in time, the others are called at once."""
    for number, scenario in zip((ADA, BOB), scenarios, strict=True):
        simulator.play(number, scenario)
    began = clock.now()
    notifier([ADA, BOB, EVE], **UNTIL_ANSWERED)(failure())
    assert rung(simulator) == called
    assert clock.now() - began <= 300


@pytest.mark.usefixtures("_overtime")
def test_the_last_number_is_not_waited_for(notifier: Make, simulator: Simulator, clock: SteppingClock) -> None:
    """The last number is not waited for, because no other follows it."""
    notifier([ADA], **UNTIL_ANSWERED)(failure())
    assert not clock.slept


@pytest.mark.usefixtures("_overtime")
def test_hours_that_shut_during_a_call_keep_the_next_number_from_ringing(
    notifier: Make, simulator: Simulator, clock: SteppingClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The hours are checked before each number: the first call lasts until they are shut."""
    simulator.play(ADA, "talks_forever")
    now = datetime.fromtimestamp(clock.now(), UTC)
    start, end = (f"{now + timedelta(minutes=minutes):%H:%M}" for minutes in (-60, 2))
    hours = CallingHours(start, end, time_zone="UTC", closed=())
    notifier([ADA, BOB, EVE], calling_hours=hours, **UNTIL_ANSWERED)(failure())
    assert rung(simulator) == [ADA]
    (record,) = (record for record in caplog.records if record.levelname == "ERROR")
    assert "…0101: Not called: the calling hours of …0101 are shut" in record.getMessage()
    assert "…0102: Not called: the calling hours of …0102 are shut" in record.getMessage()


class Meanwhile(SteppingClock):
    """Let something happen during each sleep."""

    def __init__(self, time: Any, act: Callable[[], object]) -> None:
        super().__init__(time)
        self.act = act

    def sleep(self, seconds: float) -> None:
        """Move the time ahead, and act."""
        super().sleep(seconds)
        self.act()


@pytest.mark.usefixtures("_overtime")
@pytest.mark.parametrize("on_loop", [False, True])
def test_a_pause_during_a_call_keeps_the_next_number_from_ringing(
    notifier: Make, simulator: Simulator, connect: Any, caplog: pytest.LogCaptureFixture, on_loop: bool
) -> None:
    """The pause is read again before each number; the log says which were rung and which were not."""
    caplog.set_level(logging.INFO)
    simulator.play(ADA, "talks_forever")
    simulator.fail(Fault(endpoint=CREATE, answer=503))
    made = notifier([ADA, BOB], **UNTIL_ANSWERED)
    with clock_replaced_by(Meanwhile(simulator.clock, lambda: connect(paused=True))):
        if on_loop:
            made.context = missed()
            on_a_loop(lambda: made)
        else:
            made(failure())
    assert rung(simulator) == [ADA]
    assert "Rang …0100" in caplog.text
    assert "…0101: The connection 'retell_default' is paused" in caplog.text


@pytest.mark.skipif(AIRFLOW_2, reason="Airflow 2 runs a callback before the task ends")
def test_answers_are_not_waited_for_longer_than_airflow_lets_a_callback_run(
    notifier: Make, simulator: Simulator, clock: SteppingClock, caplog: pytest.LogCaptureFixture
) -> None:
    """By default Airflow ends the process twenty seconds after its task: by then all have been called."""
    simulator.play(ADA, "talks_forever")
    notifier([ADA, BOB, EVE], **UNTIL_ANSWERED)(failure())
    assert rung(simulator) == [ADA, BOB, EVE]
    assert sum(clock.slept) <= OVERTIME - 5
    assert "set [core] task_success_overtime to 305" in caplog.text


@pytest.mark.parametrize("exception", ["a text, as the DAG processor has it", None])
def test_all_are_called_if_nothing_can_wait(
    notifier: Make, simulator: Simulator, clock: SteppingClock, caplog: pytest.LogCaptureFixture, exception: Any
) -> None:
    """If nothing can wait, all numbers are called, and the log says so."""
    context = {**failure(), "exception": exception}
    notifier([ADA, BOB], **UNTIL_ANSWERED)(context)
    assert rung(simulator) == [ADA, BOB]
    assert "There is no time to wait for answers here" in caplog.text
    assert not clock.slept


# -- deadlines ---------------------------------------------------------------------------------------------------


def test_a_missed_deadline_rings_on_an_event_loop(notifier: Make, simulator: Simulator) -> None:
    """Once, however often its trigger runs, and whichever way; another deadline rings again."""
    message = "{{ dag_run.dag_id }} is late"

    def made(context: dict[str, Any]) -> RetellPhoneCallNotifier:
        each = notifier(message=message)
        each.context = context
        return each

    for _ in range(2):
        on_a_loop(lambda: made(missed()))
    notifier(message=message)(missed())
    assert rung(simulator) == [ADA]
    assert simulator.placed[0].request["retell_llm_dynamic_variables"] == {"message": "dag is late"}
    on_a_loop(lambda: made(missed("0200")))
    assert len(simulator.placed) == 2


def test_all_numbers_are_called_on_a_loop(notifier: Make, simulator: Simulator) -> None:
    """After trouble on the way each again, under its key."""
    simulator.fail(Fault(endpoint=CREATE, answer=503, after=True))
    each = notifier([ADA, BOB], **UNTIL_ANSWERED)
    each.context = missed()
    on_a_loop(lambda: each)
    assert rung(simulator) == [ADA, BOB]


# -- nothing rings -----------------------------------------------------------------------------------------------

BACKFILL = SimpleNamespace(run_type=DagRunType.BACKFILL_JOB, dag_id="dag", run_id="run")
NIGHT = CallingHours("00:00", "00:01", time_zone="UTC", closed=())


def trouble(make: Make, name: str, simulator: Simulator, connect: Any, monkeypatch: Any) -> tuple[Any, Any]:
    """Return a notifier and a context in which no phone rings."""
    context: Any = failure()
    match name:
        case "no connection":
            monkeypatch.delenv("AIRFLOW_CONN_RETELL_DEFAULT")
        case "a bad number":
            return make("5550100"), context
        case "a bad sender":
            made = make()
            made.from_number = "5550100"
            return made, context
        case "Retell is down":
            simulator.fail(Fault(endpoint="*", answer="reset", times=None))
        case "Retell is in trouble":
            simulator.fail(Fault(endpoint="*", answer=503, times=None))
        case "a bad key":
            simulator.fail(Fault(endpoint="*", answer=401, times=None))
        case "a template that fails":
            return make(message="{{ nothing.at.all }}"), context
        case "a context without a run":
            context = {"dag": None}
        case "a backfill":
            context = failure(dag_run=BACKFILL)
        case "a number without a zone":
            return make("+18005550100", calling_hours=CallingHours()), context
        case "shut hours":
            return make(calling_hours=NIGHT), context
    return make(), context


TROUBLE = [
    "no connection",
    "a bad number",
    "a bad sender",
    "Retell is down",
    "Retell is in trouble",
    "a bad key",
    "a template that fails",
    "a context without a run",
    "a backfill",
    "a number without a zone",
    "shut hours",
]


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("name", TROUBLE)
def test_trouble_is_one_line_in_the_log(
    notifier: Make,
    simulator: Simulator,
    connect: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    asynchronous: bool,
) -> None:
    """Nothing is raised, no phone rings, and no number or key is shown."""
    caplog.set_level(logging.INFO)
    made, context = trouble(notifier, name, simulator, connect, monkeypatch)
    if asynchronous:
        made.context = context
        on_a_loop(lambda: made)
    else:
        made(context)
    assert not simulator.calls
    (record,) = (record for record in caplog.records if record.name.startswith("airflow_provider_retell"))
    assert record.levelname == "ERROR"
    assert record.exc_info is None
    for secret in ("5550100", simulator.api_key):
        assert secret not in record.getMessage()


def test_a_paused_connection_rings_no_phone(
    notifier: Make, simulator: Simulator, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The pause is read for each call, and the log says what to do."""
    connect(paused=True)
    notifier()(failure())
    assert not simulator.requests
    assert "Ringing failed: RetellCallError: The connection 'retell_default' is paused" in caplog.text


@pytest.mark.parametrize("context", [failure(dag_run=BACKFILL), missed(run_type="backfill")])
def test_a_backfill_rings_if_wanted(notifier: Make, simulator: Simulator, context: dict[str, Any]) -> None:
    """As the operators do; a deadline's context has the run as JSON."""
    notifier()(copy.copy(context))
    assert not simulator.calls
    notifier(backfill=True)(copy.copy(context))
    assert rung(simulator) == [ADA]


def test_a_backfill_is_known_by_the_id_of_its_run_alone(notifier: Make, simulator: Simulator) -> None:
    """The run's id alone shows a backfill, because the DAG processor may have no more."""
    notifier()({"dag": SimpleNamespace(dag_id="dag"), "run_id": "backfill__2026-07-06"})
    assert not simulator.calls


def test_one_bad_number_keeps_no_other_from_ringing(
    notifier: Make, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """The line names those that were not rung."""
    simulator.fail(Fault(endpoint=CREATE, answer=400, message="No."))
    notifier(["5550100", ADA, BOB])(failure())
    assert rung(simulator) == [BOB]
    (record,) = (record for record in caplog.records if record.levelname == "ERROR")
    assert "…0100: to_number must be a phone number" in record.getMessage()
    assert "400 No." in record.getMessage()


def test_a_retell_that_does_not_answer_is_not_waited_for_once_more_per_number(
    notifier: Make, simulator: Simulator, clock: SteppingClock
) -> None:
    """After one time-out the other numbers are given up, because a callback has little time."""
    simulator.fail(Fault(endpoint="*", answer="reset", times=None))
    notifier([ADA, BOB, EVE])(failure())
    placing = [request for request in simulator.requests if request.endpoint == CREATE]
    assert {request.json["to_number"] for request in placing} == {ADA}
    assert sum(clock.slept) < 6


def test_hours_that_are_open_ring(notifier: Make, simulator: Simulator) -> None:
    """Hours that are open on the given clock let the phone ring."""
    notifier(calling_hours=CallingHours("00:00", "24:00"), time_zone="Europe/Berlin")(failure())
    assert rung(simulator) == [ADA]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"mode": "some"}, RetellInputError, "mode takes 'all', 'until_answered'"),
        ({"timeout": -1}, RetellInputError, "timeout"),
        ({"calling_hours": "9-20"}, RetellInputError, "calling_hours takes CallingHours"),
        ({"calling_hours": {"start": "25:00"}}, RetellInputError, "25:00"),
        ({"time_zone": "EST"}, RetellTimeZoneError, "EST"),
        ({"backfill": "no"}, RetellInputError, "backfill must be True or False"),
    ],
)
def test_a_wrong_argument_is_an_error_of_the_dag(arguments: Any, error: type[Exception], message: str) -> None:
    """Arguments that contradict each other are refused when the DAG is parsed."""
    with pytest.raises(error, match=message):
        RetellPhoneCallNotifier(FROM, ADA, "Hello", **arguments)


# -- what a context says -----------------------------------------------------------------------------------------

RUN = SimpleNamespace(dag_id="dag", run_id="run", run_type="scheduled")
TASK = {"dag_id": "dag", "run_id": "run", "task_id": "task", "try_number": 1}


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (failure(), Occasion(**TASK, may_wait=True)),
        (failure(map_index=4, dag_run=RUN), Occasion(**TASK, map_index=4, may_wait=True)),
        ({"ti": TaskInstance(), "reason": "task_failure"}, Occasion(**TASK)),
        ({"dag": SimpleNamespace(dag_id="dag"), "run_id": "run"}, Occasion(dag_id="dag", run_id="run")),
        (missed(), Occasion(dag_id="dag", run_id="run", deadline="0199")),
        (missed(run_type="backfill"), Occasion(dag_id="dag", run_id="run", deadline="0199", in_backfill=True)),
    ],
)
def test_what_has_happened_is_read_from_the_context(context: dict[str, Any], expected: Occasion) -> None:
    """The table of the module."""
    assert Occasion.of(context) == expected


def test_namespaces_keep_two_airflows_apart() -> None:
    """Two Airflows that share an account get different keys by their namespaces."""
    occasion = Occasion(**TASK)
    assert occasion.tag(ADA, namespace="a") != occasion.tag(ADA, namespace="b")


# -- in Airflow --------------------------------------------------------------------------------------------------

FAILING = """
from airflow.providers.common.compat.sdk import DAG, BaseOperator
from airflow_provider_retell.notifications import RetellPhoneCallNotifier

class Load(BaseOperator):
    def execute(self, context):
        raise ValueError("no rows")

notify = RetellPhoneCallNotifier(
    "+14155550199", ["+12065550100", "+12065550101"], "{{ ti.task_id }} of {{ ti.dag_id }} failed: {{ exception }}"
)
with DAG("fails", schedule=None, default_args={"on_failure_callback": notify}) as dag:
    Load(task_id="load")
"""


@pytest.mark.skipif(version("apache-airflow").startswith("3.0."), reason="dag.test() runs no callbacks there")
@pytest.mark.usefixtures("database")
def test_a_task_that_fails_rings_a_phone(retell_simulator: Simulator) -> None:
    """In a run of a DAG, with the templates of Airflow; the task stays failed, and nothing else is changed."""
    for number in (ADA, BOB):
        retell_simulator.play(number, "agent_hangup")
    path = DAGS / "fails.py"
    path.write_text(FAILING)
    try:
        run = dag_in(path).test()
    finally:
        path.unlink()
    assert [str(ti.state) for ti in run.get_task_instances()] == ["failed"]
    spoken = {
        str(call.request["to_number"]): call.request["retell_llm_dynamic_variables"]["message"]
        for call in retell_simulator.placed
    }
    # In dag.test() Airflow 3.1 gives callbacks no exception.
    assert len(set(spoken.values())) == 1
    assert spoken[ADA] in {"load of fails failed: no rows", "load of fails failed: no error is known"}
    assert set(spoken) == {ADA, BOB}


def dag_in(path: Path) -> Any:
    """Return the DAG of a file, as Airflow finds it."""
    module = (
        "airflow.dag_processing.dagbag" if is_there("airflow.dag_processing.dagbag") else "airflow.models.dagbag"
    )
    (dag,) = import_module(module).DagBag(DAGS, collect_dags=False).process_file(str(path))
    return dag


# -- deadlines in Airflow ----------------------------------------------------------------------------------------


def is_there(module: str) -> bool:
    """Return whether this Airflow has a module."""
    with suppress(ModuleNotFoundError):
        return find_spec(module) is not None
    return False


@pytest.mark.skipif(not is_there("airflow.triggers.callback"), reason="from Airflow 3.2 on")
def test_a_deadline_s_trigger_rings_a_phone(notifier: Make, simulator: Simulator) -> None:
    """Airflow makes the notifier of its path and its arguments, in the triggerer."""
    sdk, triggers = import_module("airflow.sdk"), import_module("airflow.triggers.callback")
    hours = {"start": "00:00", "end": "24:00", "time_zone": "UTC"}
    message = {"message": "{{ dag_run.dag_id }} is late", "calling_hours": hours}
    arguments = {"from_number": FROM, "to_number": ADA, **message}
    callback = sdk.AsyncCallback(RetellPhoneCallNotifier, arguments)
    trigger = triggers.CallbackTrigger(callback.path, {**callback.kwargs, "context": missed()})

    async def events() -> list[str]:
        return [str(event.payload["state"]) async for event in trigger.run()]

    assert [event.rpartition(".")[2].lower() for event in asyncio.run(events())] == ["running", "success"]
    assert simulator.placed[0].request["retell_llm_dynamic_variables"] == {"message": "dag is late"}


class Imports:
    """A finder that finds nothing, and notes in which threads the data of phone numbers is imported."""

    def __init__(self) -> None:
        self.threads: set[Thread] = set()

    def find_spec(self, name: str, *_: Any) -> None:
        if name.startswith("phonenumbers"):
            self.threads.add(current_thread())


def test_a_loop_does_not_wait_for_the_data_of_phone_numbers(
    notifier: Make, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To import it takes up to half a second, in which no trigger of the process would do anything."""
    for name in [name for name in sys.modules if name.startswith("phonenumbers")]:
        monkeypatch.delitem(sys.modules, name)
    zones.zones_of.cache_clear()
    imports = Imports()
    monkeypatch.setattr(sys, "meta_path", [imports, *sys.meta_path])
    always = CallingHours("00:00", "24:00")
    on_a_loop(lambda: notifier("+12125550148", calling_hours=always).async_notify(missed()))
    assert rung(simulator) == ["+12125550148"]
    assert imports.threads
    assert main_thread() not in imports.threads
