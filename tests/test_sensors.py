"""Test the sensor in each of its modes, against the simulator over a real socket."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from conftest import SteppingClock, TaskInstance, TickingTime, fire, run_task

from airflow_provider_retell.api.patience import NOT_THERE_YET, UNREADABLE_FOR
from airflow_provider_retell.errors import (
    RetellAuthenticationError,
    RetellCallFinalError,
    RetellError,
    RetellInputError,
    RetellInvalidRequestError,
    RetellNotFoundError,
)
from airflow_provider_retell.operators import RetellRegisterPhoneCallOperator
from airflow_provider_retell.sensors import RetellCallSensor
from airflow_provider_retell.simulator import Fault, ManualClock, Simulator
from airflow_provider_retell.testing import clock_replaced_by

pytestmark = pytest.mark.usefixtures("connect")

MODES: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}


@pytest.fixture
def time() -> TickingTime:
    """Time goes on whenever the simulator is asked."""
    return TickingTime()


@pytest.fixture(params=MODES)
def wait(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Run a sensor to its end in one of the three modes."""

    def wait(call_id: Any, clock: SteppingClock | None = None, **arguments: Any) -> Any:
        chosen = {"poke_interval": 0, **MODES[request.param], **arguments}
        return run_task(lambda: RetellCallSensor(task_id="wait", call_id=call_id, **chosen), clock=clock)

    return wait


@pytest.mark.parametrize(
    ("scenario", "status", "outcome"),
    [
        ("user_hangup", "ended", "answered"),
        ("voicemail_reached", "ended", "voicemail"),
        ("dial_no_answer", "not_connected", "no_answer"),
        ("error_retell", "error", "technical"),
        ("registered_call_timeout", "error", "not_dialed"),
    ],
)
def test_waiting_ends_with_every_ending(
    wait: Callable[..., Any], register: Callable[..., str], scenario: str, status: str, outcome: str
) -> None:
    """A call that is ended, error or not_connected is over, in every mode, and its row says how it went."""
    row = wait(register(scenario))
    assert (row["call_status"], row["outcome"]) == (status, outcome)


def test_rows_come_in_the_order_given(wait: Callable[..., Any], register: Callable[..., str]) -> None:
    """Many calls give their rows in the order of the ids, one that is named twice twice."""
    first, second, third = (register(name) for name in ("dial_busy", "user_hangup", "error_retell"))
    rows = wait([third, {"call_id": first}, second, third])
    assert [row["call_id"] for row in rows] == [third, first, second, third]


def test_a_sequence_of_one_gives_a_list(wait: Callable[..., Any], register: Callable[..., str]) -> None:
    """The result's shape follows the input's, not the number of calls."""
    assert isinstance(wait([register("user_hangup")]), list)


def test_a_row_is_taken_for_its_call(wait: Callable[..., Any], register: Callable[..., str]) -> None:
    """The output of an operator is as good as the id in it."""
    call_id = register("user_hangup")
    assert wait({"call_id": call_id, "call_status": "registered"})["call_id"] == call_id


def test_an_empty_sequence_succeeds_without_a_request(wait: Callable[..., Any], simulator: Simulator) -> None:
    """Without calls there is no reason to fail, or to ask Retell."""
    assert wait([]) == []
    assert simulator.requests == []


@pytest.mark.parametrize("many", [False, True], ids=["one call", "many calls"])
def test_analyzed_waits_for_the_analysis(
    wait: Callable[..., Any], register: Callable[..., str], many: bool
) -> None:
    """With wait_for="analyzed" the row has its call_analysis."""
    ids = [register("user_hangup"), register("user_hangup")]
    rows = wait(ids, wait_for="analyzed") if many else [wait(ids[0], wait_for="analyzed")]
    assert all(row["call_analysis"]["call_summary"] for row in rows)


def test_an_analysis_that_never_comes_is_waited_for_until_the_bound(
    wait: Callable[..., Any], register: Callable[..., str]
) -> None:
    """analysis_timeout seconds after its end a call without analysis is taken as it is."""
    assert "call_analysis" not in wait(register("never_analyzed"), wait_for="analyzed", analysis_timeout=0)


def test_a_call_whose_end_is_not_known_is_bounded_too(
    wait: Callable[..., Any], register: Callable[..., str], time: ManualClock
) -> None:
    """If end_timestamp is of no use, the bound runs from when the call was first seen over, in every mode."""
    ahead = 1e6  # seconds by which Retell's clock is ahead of Airflow's

    class Behind(SteppingClock):
        def now(self) -> float:
            return super().now() - ahead

    time.advance(ahead)
    row = wait(register("never_analyzed"), Behind(time), wait_for="analyzed", analysis_timeout=60)
    assert row["outcome"] == "answered"


def test_a_call_that_never_connected_is_not_waited_for_to_be_analyzed(
    wait: Callable[..., Any], register: Callable[..., str]
) -> None:
    """If nothing was said, there is no analysis to wait for, however long the bound."""
    row = wait(register("dial_busy"), wait_for="analyzed", analysis_timeout=1e7)
    assert row["outcome"] == "busy"


@pytest.mark.parametrize("many", [False, True], ids=["one call", "many calls"])
def test_include_puts_heavy_fields_into_the_row(
    wait: Callable[..., Any], register: Callable[..., str], many: bool
) -> None:
    """A row is light unless include names more, for many calls as for one."""
    ids = [register("user_hangup"), register("dial_busy")]
    light = wait(ids)[0] if many else wait(ids[0])
    heavy = wait(ids, include=("transcript",))[0] if many else wait(ids[0], include=("transcript",))
    assert "transcript" not in light
    assert heavy["transcript"].startswith("Agent: ")


@pytest.mark.parametrize("ending", ["error", "technical", "error_retell"])
def test_fail_on_fails_for_good(wait: Callable[..., Any], register: Callable[..., str], ending: str) -> None:
    """A status, an outcome or a reason in fail_on fails the sensor, without an Airflow retry, naming the call."""
    call_id = register("error_retell")
    with pytest.raises(RetellCallFinalError, match=call_id) as raised:
        wait([register("user_hangup"), call_id], fail_on=(ending,))
    assert isinstance(raised.value, AirflowFailException)
    assert raised.value.call_ids == (call_id,)


@pytest.mark.parametrize("ending", ["not_connected", "busy", "dial_busy"])
def test_skip_on_skips(wait: Callable[..., Any], register: Callable[..., str], ending: str) -> None:
    """A status, an outcome or a reason in skip_on skips the sensor."""
    with pytest.raises(AirflowSkipException, match="skip_on"):
        wait(register("dial_busy"), skip_on=ending)


def test_failing_wins_over_skipping(wait: Callable[..., Any], register: Callable[..., str]) -> None:
    """A call to fail on among others to skip on fails the task."""
    with pytest.raises(RetellCallFinalError):
        wait([register("dial_busy"), register("error_retell")], fail_on=["error"], skip_on=["busy"])


def test_the_timeout_ends_the_wait(wait: Callable[..., Any], register: Callable[..., str]) -> None:
    """A call that is never over times the sensor out, after at least one look at it."""
    with pytest.raises(AirflowSensorTimeout):
        wait(register("rings_forever"), timeout=0)


@pytest.mark.parametrize("reason", ["timeout", "fail_on", "bad input"])
def test_soft_fail_means_the_same_in_every_mode(
    wait: Callable[..., Any], register: Callable[..., str], reason: str
) -> None:
    """soft_fail turns a time-out, a failure by fail_on and bad input into a skipped task."""
    arguments: dict[str, Any] = {"call_id": register("error_retell"), "fail_on": ("error",)}
    if reason == "timeout":
        arguments = {"call_id": register("rings_forever"), "timeout": 0}
    if reason == "bad input":
        arguments = {"call_id": "../x"}
    with pytest.raises(AirflowSkipException):
        wait(**arguments, soft_fail=True)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(endpoint="get-call", answer=500, times=1),
        Fault(endpoint="get-call", answer=503, times=6),
        Fault(endpoint="get-call", answer=429, times=6),
        Fault(endpoint="get-call", answer="reset", times=6),
        Fault(endpoint="get-call", answer="truncate", times=6),
    ],
    ids=["500", "503", "429", "reset", "truncated"],
)
def test_trouble_on_the_way_never_fails_a_wait(
    wait: Callable[..., Any], register: Callable[..., str], simulator: Simulator, fault: Fault
) -> None:
    """5xx, 429 and lost answers say nothing about the call: the next poll asks again."""
    call_id = register("user_hangup")
    simulator.fail(fault)
    assert wait(call_id)["outcome"] == "answered"


@pytest.mark.parametrize(
    "call_id", ["", None, "None", "a/b", "a?b", "..", "a\nb", {"id": "x"}, 7, b"call_1", ["a", None]]
)
def test_a_bad_call_id_fails_before_any_request(
    wait: Callable[..., Any], simulator: Simulator, call_id: Any
) -> None:
    """A value that cannot be a call id fails the task at once, for good, and nothing is sent."""
    with pytest.raises(RetellInputError, match="call_id") as raised:
        wait(call_id)
    assert isinstance(raised.value, AirflowFailException)
    assert simulator.requests == []


@pytest.mark.parametrize("many", [False, True], ids=["one call", "many calls"])
def test_an_unknown_call_fails_after_a_minute(
    wait: Callable[..., Any], register: Callable[..., str], clock: SteppingClock, many: bool
) -> None:
    """A call that Retell does not know is an error, not an endless wait."""
    began = clock.now()
    with pytest.raises(RetellNotFoundError, match="call_unknown"):
        wait([register("rings_forever"), "call_unknown"] if many else "call_unknown", clock)
    assert clock.now() - began >= NOT_THERE_YET


@pytest.mark.parametrize("status", [404, 422])
def test_a_call_that_is_not_there_yet_is_looked_at_again(
    wait: Callable[..., Any], register: Callable[..., str], simulator: Simulator, status: int
) -> None:
    """Retell may not show a call in the moment after it was placed: the sensor does not give it up."""
    call_id = register("user_hangup")
    simulator.fail(Fault(endpoint="get-call", answer=status, times=2))
    assert wait(call_id)["outcome"] == "answered"


def test_one_refused_call_fails_its_own_sensor_only(
    wait: Callable[..., Any], register: Callable[..., str], simulator: Simulator
) -> None:
    """A 400 for one id is that call's error, and names it."""
    refused, other = register("user_hangup"), register("user_hangup")
    simulator.fail(Fault(endpoint=f"GET /v2/get-call/{refused}", answer=400, times=None))
    assert wait(other)["outcome"] == "answered"
    with pytest.raises(RetellInvalidRequestError, match=refused):
        wait(refused)


@pytest.mark.parametrize("html", [{"answer": 403}, {"answer": 404}, {"answer": 401}, {"answer": 200}])
def test_a_gateways_page_is_waited_out(
    wait: Callable[..., Any], register: Callable[..., str], simulator: Simulator, html: dict[str, Any]
) -> None:
    """A page in place of Retell's JSON says nothing about key, permission or call, whatever its status."""
    call_id = register("user_hangup")
    simulator.fail(Fault(endpoint="get-call", html=True, times=9, **html))
    assert wait(call_id)["outcome"] == "answered"


def test_a_refused_key_fails_at_once(wait: Callable[..., Any], simulator: Simulator) -> None:
    """A key that Retell refuses fails the sensor for good, in Retell's own words."""
    simulator.fail(Fault(endpoint="get-call", answer=401, times=None))
    with pytest.raises(RetellAuthenticationError, match="API key is missing or invalid"):
        wait("call_1")


@pytest.mark.parametrize(
    "fault",
    [
        Fault(endpoint="get-call", times=None, answer=200, html=True),
        Fault(endpoint="get-call", times=None, answer="empty"),
        Fault(endpoint="get-call", times=None, answer=307),
    ],
    ids=["html", "no call_id", "redirect"],
)
@pytest.mark.parametrize("mode", ["poke", "deferrable"])
def test_unreadable_responses_fail_in_the_end(
    register: Callable[..., str], simulator: Simulator, clock: SteppingClock, mode: str, fault: Fault
) -> None:
    """A wrong host is an error with the first characters of its page, and is not polled for three hours.

    Each look of a rescheduled sensor is a process of its own, so this holds in the other modes.
    """
    call_id = register("user_hangup")
    simulator.fail(fault)
    sensor = partial(RetellCallSensor, task_id="wait", call_id=call_id, poke_interval=0, **MODES[mode])
    began = clock.now()
    with pytest.raises(RetellError, match=call_id):
        run_task(sensor, clock=clock)
    assert UNREADABLE_FOR <= clock.now() - began < 2 * UNREADABLE_FOR + 60


def test_an_unknown_connection_is_airflows_own_error(wait: Callable[..., Any]) -> None:
    """A connection that does not exist raises Airflow's not-found error, untouched."""
    with pytest.raises(AirflowNotFoundException, match="retell_nowhere"):
        wait("call_1", retell_conn_id="retell_nowhere")


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        ({"wait_for": "over"}, "'ended', 'analyzed'"),
        ({"wait_for": None}, "'ended', 'analyzed'"),
        ({"fail_on": ["broken"]}, "not_connected"),
        ({"skip_on": "voice_mail"}, "voicemail"),
        ({"include": ["transcripts"]}, "transcript"),
        ({"analysis_timeout": -1}, "non-negative"),
        ({"poke_interval": -1}, "non-negative"),
        ({"timeout": -1}, "non-negative"),
    ],
)
def test_a_bad_argument_fails_when_the_dag_is_parsed(arguments: dict[str, Any], allowed: str) -> None:
    """The constructor refuses words and numbers that cannot be meant, and lists what is allowed."""
    with pytest.raises(ValueError, match=allowed):
        RetellCallSensor(task_id="wait", call_id="call_1", **arguments)


@pytest.mark.parametrize("mapped", [False, True], ids=["one call", "mapped"])
@pytest.mark.parametrize("place_of", ["argument", "default"])
def test_nothing_is_waited_for_that_does_not_arrive(place_of: str, *, mapped: bool) -> None:
    """A task with do_xcom_push=False hands on no rows: the sensor would succeed while its calls go on."""
    silent = {"do_xcom_push": False}
    with DAG("dag", schedule=None, default_args=silent if place_of == "default" else {}):
        arguments: Any = {"task_id": "call", "agent_id": "agent_1", **(silent if place_of == "argument" else {})}
        if mapped:
            call: Any = RetellRegisterPhoneCallOperator.partial(**arguments).expand(to_number=["+14155550100"])
        else:
            call = RetellRegisterPhoneCallOperator(**arguments)
        for task_id, given in (("wait_one", call.output), ("wait_some", [call.output, "call_2"])):
            with pytest.raises(RetellInputError, match=r"^call_id is the output of the task 'call'.*do_xcom_push"):
                RetellCallSensor(task_id=task_id, call_id=given)
        sensor = RetellCallSensor(task_id="wait", call_id=call.output["call_id"])
        assert sensor.upstream_task_ids == {"call"}


def test_the_output_of_other_tasks_is_waited_for() -> None:
    """A task that pushes its result, as by default, may be waited for, mapped or not."""
    with DAG("dag", schedule=None):
        one = RetellRegisterPhoneCallOperator(task_id="one", agent_id="agent_1")
        many = RetellRegisterPhoneCallOperator.partial(task_id="many", agent_id="agent_1").expand(
            to_number=["+14155550100"]
        )
        for task_id, given in (("wait_one", one.output), ("wait_many", many.output)):
            assert RetellCallSensor(task_id=task_id, call_id=given).call_id is given


def test_templated_fields_are_left_alone_until_they_are_rendered() -> None:
    """The constructor assigns a templated field as it is given, whatever it is."""
    given = object()
    assert RetellCallSensor(task_id="wait", call_id=given).call_id is given  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("call_1", "call_1"),
        ({"call_id": "call_1", "to_number": "+14155550100"}, "call_1"),
        ([{"call_id": "call_1", "to_number": "+14155550100"}, "call_2"], ["call_1", "call_2"]),
        ([], []),
    ],
)
def test_rendered_fields_show_call_ids(given: Any, shown: Any) -> None:
    """Airflow's UI shows which calls are waited for, and not rows with phone numbers; one stays one."""
    sensor = RetellCallSensor(task_id="wait", call_id=given)
    sensor.render_template_fields({})
    assert sensor.call_id == shown


@pytest.mark.parametrize("given", [[{"to_number": "+14155550100"}], {"to_number": "+14155550100"}, "+14155550100"])
def test_what_is_no_call_is_not_shown(given: Any) -> None:
    """People handed to a sensor by mistake are no rendered field; what is wrong is said when the task runs."""
    sensor = RetellCallSensor(task_id="wait", call_id=given)
    sensor.render_template_fields({})
    assert sensor.call_id == "not the id of a call"
    with pytest.raises(RetellInputError, match="call_id"):
        sensor.execute(TaskInstance().context())


@pytest.mark.parametrize("many", [False, True])
def test_a_rendered_dry_run_is_handed_on(simulator: Simulator, *, many: bool) -> None:
    """The rows are the result, as without rendering, and not a field that Airflow shows."""
    row = {"to_number": "+14155550100", "call_id": None, "outcome": "dry_run"}
    given: Any = [row, row] if many else row
    sensor = RetellCallSensor(task_id="wait", call_id=given)
    sensor.render_template_fields({})
    assert sensor.call_id == "a dry run: no call to wait for"
    assert sensor.execute(TaskInstance().context()) == given
    assert not simulator.requests


def test_progress_is_one_line_per_change(register: Callable[..., str], caplog: pytest.LogCaptureFixture) -> None:
    """The log has a line when something changed, and none for a poll that brought nothing new."""
    ids = [register("user_hangup"), register("dial_busy")]
    with caplog.at_level(logging.INFO):
        run_task(lambda: RetellCallSensor(task_id="wait", call_id=ids, poke_interval=0))
    lines = [record.getMessage() for record in caplog.records if "calls over" in record.getMessage()]
    assert lines[-1] == "2 of 2 calls over"
    assert len(lines) == len(set(lines))


def test_the_worker_is_free_while_the_call_goes_on(register: Callable[..., str], simulator: Simulator) -> None:
    """A deferrable sensor reads once, defers, and wakes once: it asks nothing in between."""
    sensor = RetellCallSensor(task_id="wait", call_id=register("user_hangup"), deferrable=True, poke_interval=0)
    with pytest.raises(TaskDeferred) as deferral:
        sensor.execute(TaskInstance().context())
    asked = len(simulator.requests)
    assert fire(deferral.value.trigger)["wake"] == "over"
    assert asked == 2, "one registration, one look"


def test_the_deadline_counts_from_the_first_look(simulator: Simulator) -> None:
    """timeout, or a shorter execution_timeout, becomes the trigger's absolute deadline."""
    clock = SteppingClock(ManualClock(start=1000))
    for arguments, seconds in (({}, 10800), ({"timeout": 60}, 60), ({"execution_timeout": 5}, 5)):
        given = {name: timedelta(seconds=value) for name, value in arguments.items()}
        sensor = RetellCallSensor(task_id="wait", call_id="call_1", deferrable=True, **given)
        simulator.fail(Fault(endpoint="get-call", answer=500, times=1))
        with clock_replaced_by(clock), pytest.raises(TaskDeferred) as deferral:
            sensor.execute(TaskInstance().context())
        assert deferral.value.trigger.deadline == 1000 + seconds
        assert deferral.value.timeout.total_seconds() > seconds, "Airflow's own limit is a backstop only"


@pytest.mark.parametrize(
    ("reason", "error"),
    [("Trigger timeout", AirflowSensorTimeout), ("Trigger failure", RetellError)],
)
def test_a_wait_that_airflow_ended_looks_once_more(
    register: Callable[..., str], time: ManualClock, reason: str, error: type[Exception]
) -> None:
    """Calls that ended while no triggerer ran are over; for the others the error has Airflow's reason."""
    ended, ringing = register("user_hangup"), register("rings_forever")
    time.advance(600)

    def resume(call_id: str, **arguments: Any) -> Any:
        sensor = RetellCallSensor(task_id="wait", call_id=call_id, deferrable=True, **arguments)
        return sensor.resume_execution("__fail__", {"error": reason}, TaskInstance().context())

    assert resume(ended)["outcome"] == "answered"
    with pytest.raises(error):
        resume(ringing)


def test_a_trigger_that_cannot_go_on_wakes_the_sensor_with_its_reason(register: Callable[..., str]) -> None:
    """The task's error has what stopped the trigger, if the worker does not see the same."""
    sensor = RetellCallSensor(task_id="wait", call_id=register("rings_forever"), deferrable=True)
    event = {
        "wake": "failed",
        "deadline": 1e12,
        "calls": {sensor.call_id: None},
        "message": "the triggerer's trouble",
    }
    with pytest.raises(RetellError, match="the triggerer's trouble"):
        sensor.execute_complete(TaskInstance().context(), event)


@pytest.mark.parametrize("many", [False, True])
def test_a_dry_run_is_handed_on(wait: Callable[..., Any], simulator: Simulator, *, many: bool) -> None:
    """Rows for which no call was placed are no calls to wait for: the pipeline behind it can be tried as well."""
    row = {"agent_id": "agent_1", "call_id": None, "outcome": "dry_run"}
    given = [row, row] if many else row
    assert wait(given) == given
    assert not simulator.requests


def test_the_last_look_leaves_no_call_out(register: Callable[..., str], simulator: Simulator) -> None:
    """Before a sensor gives up, it reads every call, also those that Retell does not list, however many."""
    ids = [register("rings_forever") for _ in range(30)]
    before = len(simulator.requests)
    sensor = RetellCallSensor(task_id="wait", call_id=ids, deferrable=True)
    event = {"wake": "timeout", "deadline": 0.0, "calls": dict.fromkeys(ids)}
    with pytest.raises(AirflowSensorTimeout):
        sensor.execute_complete(TaskInstance().context(), event)
    looked = [request.endpoint for request in simulator.requests[before:]]
    assert looked == ["list-calls"] + ["get-call"] * 30


def test_the_log_tells_of_each_call_at_the_end(
    register: Callable[..., str], clock: SteppingClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has outcome, duration and cost of each call, and the count of each outcome; no complete number."""
    ids = [register("user_hangup"), register("dial_busy")]
    clock.time.advance(3600)
    with caplog.at_level("INFO"):
        run_task(lambda: RetellCallSensor(task_id="wait", call_id=ids), clock=clock)
    lines = [
        record.getMessage()
        for record in caplog.records
        if record.name == "airflow_provider_retell.calls.task_wait"
    ]
    assert f"{ids[0]} to …0101: answered (ended, user_hangup), 20 s, 4.40 cents" in lines
    assert f"{ids[1]} to …0121: busy (not_connected, dial_busy)" in lines
    assert lines[-1] == "2 calls: 1 answered, 1 busy"


def test_trouble_while_the_details_are_read_is_waited_out(
    register: Callable[..., str], time: TickingTime, clock: SteppingClock, simulator: Simulator
) -> None:
    """A wait of hours does not fail because of one response at its end."""
    ids = [register("user_hangup"), register("user_hangup")]
    clock.time.advance(3600)
    simulator.fail(Fault(endpoint="get-call", answer=500, times=1))
    arguments: dict[str, Any] = {"call_id": ids, "include": ["transcript"], "poke_interval": 0}
    rows = run_task(lambda: RetellCallSensor(task_id="wait", **arguments), clock=clock)
    assert all("transcript" in row for row in rows)


class Lazy(Sequence[Any]):
    """The output of a mapped task as Airflow passes it on: a sequence, but neither a list nor fit for an XCom."""

    def __init__(self, *rows: Any) -> None:
        self.rows = rows

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)


def test_the_dry_run_of_mapped_tasks_is_handed_on_as_a_list(simulator: Simulator) -> None:
    """The rows of a mapped dry run become a list, because Airflow cannot store the lazy sequence."""
    rows = [{"call_id": None, "outcome": "dry_run"}] * 2
    sensor = RetellCallSensor(task_id="wait", call_id=Lazy(*rows))
    assert run_task(lambda: sensor) == rows
    assert not simulator.requests
