"""Test both operators: what they send and return, how they wait, and what they refuse."""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from types import FrameType, SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
    BaseOperator,
    TaskDeferred,
)
from conftest import (
    CREATE,
    FROM,
    REGISTER,
    InTheMiddle,
    SteppingClock,
    Store,
    TaskInstance,
    TickingTime,
    fire,
    place,
    run_task,
)

from airflow_provider_retell.api.requests import CreatePhoneCallRequest, RegisterPhoneCallRequest
from airflow_provider_retell.calls.intent import STORE_KEY, TAG
from airflow_provider_retell.errors import (
    RetellCallError,
    RetellCallTimeoutError,
    RetellError,
    RetellInputError,
    RetellResponseError,
    RetellStatusError,
)
from airflow_provider_retell.operators import RetellCreatePhoneCallOperator, RetellRegisterPhoneCallOperator
from airflow_provider_retell.policy import CallingHours
from airflow_provider_retell.provider.deferral import DISAGREEMENT_PAUSE
from airflow_provider_retell.provider.version_compat import TASKS_ASK_A_SUPERVISOR
from airflow_provider_retell.retry_policy import DEFAULT_RETRY_POLICY
from airflow_provider_retell.simulator import SCENARIOS, Fault, ManualClock, Simulator
from airflow_provider_retell.testing import clock_replaced_by

pytestmark = pytest.mark.usefixtures("connect")


@pytest.fixture(params=[False, True], ids=["blocking", "deferrable"])
def deferrable(request: pytest.FixtureRequest) -> bool:
    """Each of the two ways to wait."""
    return bool(request.param)


def test_every_field_reaches_the_request(simulator: Simulator) -> None:
    """Each request field of each operator is sent as given; those left out are not sent."""
    fields: dict[str, dict[str, Any]] = {
        REGISTER: {
            "agent_id": "agent_9",
            "agent_version": "prod",
            "agent_override": {"agent": {"voice_temperature": 0.5}},
            "from_number": FROM,
            "to_number": "+14155550100",
            "direction": "outbound",
            "metadata": {"customer": 7},
            "retell_llm_dynamic_variables": {"name": "Ada"},
        },
        CREATE: {
            "from_number": FROM,
            "to_number": "+14155550100",
            "override_agent_id": "agent_9",
            "override_agent_version": 3,
            "agent_override": {"retell_llm": {"model_temperature": 0}},
            "metadata": {"customer": 7},
            "retell_llm_dynamic_variables": {"name": "Ada"},
            "custom_sip_headers": {"X-Campaign": "autumn"},
            "ignore_e164_validation": True,
            "honor_internal_dnc": True,
        },
    }
    for operator in (RetellRegisterPhoneCallOperator, RetellCreatePhoneCallOperator):
        endpoint = REGISTER if operator is RetellRegisterPhoneCallOperator else CREATE
        assert set(fields[endpoint]) == set(operator.request_fields)
        assert set(operator.template_fields) == {
            "retell_conn_id",
            "is_dry_run",
            "time_zone",
            "call_key",
            *operator.request_fields,
        }
        operator(task_id="call", durable=False, **fields[endpoint]).execute(TaskInstance().context())
        sent = {name: value for name, value in simulator.requests[-1].json.items() if name != "idempotency_key"}
        assert (simulator.requests[-1].path, sent) == (f"/v2/{endpoint}", fields[endpoint])


def test_only_what_is_given_is_sent(simulator: Simulator) -> None:
    """An argument left out, or None, is left out of the request."""
    place(REGISTER, durable=False).execute(TaskInstance().context())
    assert set(simulator.requests[-1].json) == {"agent_id", "to_number"}


def test_the_result_is_the_row_of_the_placed_call(endpoint: str, simulator: Simulator) -> None:
    """Without wait_for the operator hands on the call as it is, and does not look again."""
    ti = TaskInstance()
    row = place(endpoint).execute(ti.context())
    assert (row["call_status"], row["outcome"]) == ("registered", None)
    assert ti.xcoms["call_id"] == row["call_id"]
    assert len(simulator.requests) == 1


def test_registering_hands_on_where_to_dial() -> None:
    """A registered call has its SIP address under an XCom key of its own; a created one has none."""
    registered, created = TaskInstance(), TaskInstance()
    call_id = place(REGISTER).execute(registered.context())["call_id"]
    place(CREATE).execute(created.context())
    assert registered.xcoms["sip_uri"] == f"sip:{call_id}@sip.retellai.com"
    assert "sip_uri" not in created.xcoms


class TestWaiting:
    """``wait_for`` in the same task, blocking and deferrable."""

    @pytest.fixture
    def time(self) -> TickingTime:
        """Time goes on whenever the simulator is asked."""
        return TickingTime()

    @pytest.fixture
    def run(self, endpoint: str, deferrable: bool, clock: SteppingClock) -> Callable[..., Any]:
        """Run one of the operators to its end, in one of the two modes."""

        def run(scenario: str = "user_hangup", **arguments: Any) -> Any:
            waiting = {"wait_for": "ended", "deferrable": deferrable, "poll_interval": 5, **arguments}
            return run_task(lambda: place(endpoint, scenario, **waiting), clock=clock)

        return run

    @pytest.mark.parametrize("scenario", ["user_hangup", "dial_busy", "error_retell"])
    def test_waiting_ends_with_every_ending(self, run: Callable[..., Any], scenario: str) -> None:
        """The row is the one of the finished call, whatever its status."""
        assert run(scenario)["disconnection_reason"] == scenario

    def test_analyzed_waits_for_the_analysis(self, run: Callable[..., Any]) -> None:
        """With wait_for="analyzed" the row has its call_analysis."""
        assert run(wait_for="analyzed")["call_analysis"]["call_summary"]

    def test_an_analysis_that_never_comes_is_bounded(self, run: Callable[..., Any]) -> None:
        """analysis_timeout after the end, the call is taken as it is."""
        assert "call_analysis" not in run("never_analyzed", wait_for="analyzed", analysis_timeout=0)

    def test_include_puts_heavy_fields_into_the_row(self, run: Callable[..., Any]) -> None:
        """Fields in include are there, the others are not."""
        row = run(include=["transcript"])
        assert row["transcript"]
        assert "transcript_object" not in row

    def test_fail_on_may_be_retried(self, run: Callable[..., Any]) -> None:
        """A failure by fail_on leaves Airflow its retries: a retry places a new call."""
        with pytest.raises(RetellCallError, match="busy") as raised:
            run("dial_busy", fail_on=["busy"])
        assert not isinstance(raised.value, AirflowFailException)

    def test_skip_on_skips(self, run: Callable[..., Any]) -> None:
        """An outcome in skip_on skips the task."""
        with pytest.raises(AirflowSkipException):
            run("voicemail_reached", skip_on=["voicemail"])

    def test_trouble_on_the_way_is_waited_out(self, run: Callable[..., Any], simulator: Simulator) -> None:
        """A poll that fails says nothing about the call."""
        simulator.fail(Fault(endpoint="get-call", answer=500, times=3))
        assert run()["outcome"] == "answered"

    def test_one_intended_call_is_one_request(self, run: Callable[..., Any], simulator: Simulator) -> None:
        """However the task waits, it asks for one call."""
        run()
        assert len(simulator.calls) == 1

    def test_a_timeout_stops_the_call_and_says_so(
        self, run: Callable[..., Any], endpoint: str, simulator: Simulator
    ) -> None:
        """At the deadline a live call is stopped, and the error says what became of it."""
        with pytest.raises(RetellCallTimeoutError, match="was stopped") as raised:
            run("talks_forever", timeout=60)
        (call,) = simulator.calls
        assert raised.value.call_ids == (call,)
        assert simulator.call(call)["disconnection_reason"] == "manual_stopped"

    def test_a_timeout_leaves_the_call_alone_if_so_wanted(
        self, run: Callable[..., Any], simulator: Simulator
    ) -> None:
        """With cancel_on_kill=False a call that was not over in time goes on."""
        with pytest.raises(RetellCallTimeoutError, match="goes on"):
            run("talks_forever", timeout=60, cancel_on_kill=False)
        (call,) = simulator.calls
        assert simulator.call(call)["call_status"] == "ongoing"

    def test_a_kill_hangs_up(self, endpoint: str, simulator: Simulator, time: ManualClock) -> None:
        """on_kill stops a live call, with a request of its own."""
        kill(_killed_while_waiting(endpoint, "talks_forever", time))
        (call,) = simulator.calls
        assert simulator.call(call)["disconnection_reason"] == "manual_stopped"

    def test_a_kill_leaves_the_call_alone_if_so_wanted(
        self, endpoint: str, simulator: Simulator, time: ManualClock
    ) -> None:
        """With cancel_on_kill=False a kill asks Retell for nothing."""
        operator = _killed_while_waiting(endpoint, "talks_forever", time, cancel_on_kill=False)
        asked = len(simulator.requests)
        kill(operator)
        assert len(simulator.requests) == asked


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_request_is_validated_once_in_a_process(endpoint: str, clock: SteppingClock, deferrable: bool) -> None:
    """A request is validated once per process, and not at all in a process that only reads the call."""
    model = {REGISTER: RegisterPhoneCallRequest, CREATE: CreatePhoneCallRequest}[endpoint]
    reads = 0

    def seen(frame: FrameType, event: str, _: object) -> None:
        nonlocal reads
        reads += event == "call" and frame.f_code is model.read.__func__.__code__  # type: ignore[attr-defined]

    hours = CallingHours("00:00", "24:00", time_zone="UTC")
    given: dict[str, Any] = {"wait_for": "ended", "poll_interval": 5, "calling_hours": hours}
    sys.setprofile(seen)
    try:
        run_task(lambda: place(endpoint, deferrable=deferrable, **given), clock=clock)
    finally:
        sys.setprofile(None)
    assert reads == 1


def kill(operator: Any) -> None:
    """Kill a task as Airflow does, and let it come to its end: the call is stopped in a thread."""
    operator.on_kill()
    # Only its own thread, the last one: tests of killed processes leave theirs behind.
    for thread in [it for it in threading.enumerate() if it.name == "retell-kill"][-1:]:
        thread.join(5)


def _killed_while_waiting(
    endpoint: str, scenario: str, time: ManualClock, *, store: Store | None = None, **arguments: Any
) -> BaseOperator:
    """Return an operator whose wait was broken off, as by a signal."""

    class Signal(BaseException):
        pass

    class KilledClock(SteppingClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(60)
            raise Signal

    operator = place(endpoint, scenario, wait_for="ended", **arguments)
    context = {} if store is None else {"task_state_store": store}
    with clock_replaced_by(KilledClock(time)), pytest.raises(Signal):
        operator.execute(TaskInstance().context(**context))
    return operator


def test_a_kill_leaves_a_registered_call_alone_that_nobody_dialed(time: ManualClock, simulator: Simulator) -> None:
    """A registered call rings no phone until it is dialed, and times out by itself."""
    kill(_killed_while_waiting(REGISTER, "registered_call_timeout", time))
    assert [request.endpoint for request in simulator.requests] == [REGISTER, "get-call"]


def test_a_killed_task_does_not_take_the_call_it_hung_up_on_for_a_success(
    endpoint: str, simulator: Simulator, time: ManualClock
) -> None:
    """Airflow's signal handler does not end the task: the next poll sees the call over, and the task fails."""

    class SignalledClock(SteppingClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(60)
            operator.on_kill()

    operator = place(endpoint, "talks_forever", wait_for="ended")
    with clock_replaced_by(SignalledClock(time)), pytest.raises(RetellCallError, match="The task was killed"):
        operator.execute(TaskInstance().context())


class TestAKillInTheMiddle:
    """A kill while the request that places the call waits for its answer."""

    @pytest.fixture
    def time(self) -> InTheMiddle:
        """Something can happen while the simulator answers."""
        return InTheMiddle()

    def test_the_call_of_the_answer_is_stopped(self, simulator: Simulator, time: InTheMiddle) -> None:
        """The signal finds no call yet; the call that the answer brings is not left alone."""
        operator: Any = place(CREATE, "talks_forever", wait_for="ended", timeout=60)
        time.after(1, simulator, operator.on_kill)
        with pytest.raises(RetellCallError, match="The task was killed"):
            operator.execute(TaskInstance().context())
        assert [request.endpoint for request in simulator.requests].count("stop-call") == 1


def test_a_kill_right_before_the_request_places_no_call(simulator: Simulator) -> None:
    """The task is asked once more when all other checks are done."""

    class Signal(CallingHours):
        asked = 0

        def next_opening(self, number: str | None, at: datetime, time_zone: str | None = None) -> datetime:
            type(self).asked += 1
            if self.asked == 3:  # at the beginning, before the record, and right before the request
                operator.on_kill()
            return at

    operator: Any = place(CREATE, "talks_forever", wait_for="ended", calling_hours=Signal(), timeout=60)
    with pytest.raises(RetellCallError, match="The task was killed"):
        operator.execute(TaskInstance().context())
    assert not simulator.calls


@pytest.mark.skipif(not TASKS_ASK_A_SUPERVISOR, reason="Airflow 2 does not say whose a task is")
def test_a_process_that_lost_its_task_leaves_the_call_to_the_next_try(
    simulator: Simulator, time: ManualClock
) -> None:
    """A worker that froze wakes up when a retry has adopted its call: its own end must not end that call."""

    class Lost(Store):
        def set(self, key: str, value: Any) -> None:
            if key != STORE_KEY:
                error = RuntimeError("no such try")
                error.error = SimpleNamespace(detail={"status_code": 404})  # type: ignore[attr-defined]
                raise error
            super().set(key, value)

    kill(_killed_while_waiting(CREATE, "talks_forever", time, store=Lost()))
    (call,) = simulator.calls
    assert simulator.call(call)["call_status"] == "ongoing"


def test_a_kill_before_the_call_asks_for_nothing(endpoint: str, simulator: Simulator) -> None:
    """A task killed before it placed its call has nothing to stop."""
    place(endpoint).on_kill()
    assert simulator.requests == []


def resumption(endpoint: str, time: ManualClock) -> tuple[TaskInstance, Any]:
    """Defer a task whose call goes on and on; return it, and the operator with which Airflow resumes it."""
    ti = TaskInstance()
    with pytest.raises(TaskDeferred):
        place(endpoint, "talks_forever", wait_for="ended", deferrable=True).execute(ti.context())
    time.advance(60)
    return ti, place(endpoint, "talks_forever", wait_for="ended", deferrable=True)


def test_a_wait_that_airflow_ended_stops_the_call(
    endpoint: str, simulator: Simulator, time: ManualClock, clock: SteppingClock
) -> None:
    """If Airflow gives up on the trigger, the call is found by its XCom, stopped, and the error says so."""
    ti, resumed = resumption(endpoint, time)
    with pytest.raises(RetellCallTimeoutError, match=r"Trigger timeout.* was stopped"):
        resumed.resume_execution("__fail__", {"error": "Trigger timeout"}, ti.context())
    (call,) = simulator.calls
    assert simulator.call(call)["disconnection_reason"] == "manual_stopped"


def test_a_trigger_that_failed_leaves_the_call_alone(
    endpoint: str, time: ManualClock, simulator: Simulator
) -> None:
    """A triggerer without this package says nothing about the person who is talking: a retry adopts the call."""
    ti, resumed = resumption(endpoint, time)
    with pytest.raises(RetellCallError, match=r"Trigger failure.* go on; a retry waits") as error:
        resumed.resume_execution("__fail__", {"error": "Trigger failure"}, ti.context())
    assert not isinstance(error.value, RetellCallTimeoutError | AirflowFailException)
    (call,) = simulator.calls
    assert simulator.call(call)["call_status"] == "ongoing"


@pytest.mark.parametrize("after", ["the deferral", "a try that failed"])
def test_a_signal_to_a_task_that_is_done_stops_no_call(
    time: ManualClock, simulator: Simulator, after: str
) -> None:
    """The trigger watches the call now, or a retry will: Airflow may end the process of the task for all that."""
    operator = place(CREATE, "talks_forever", wait_for="ended", deferrable=True)
    with pytest.raises(TaskDeferred):
        operator.execute(TaskInstance().context())
    time.advance(60)
    (call,) = simulator.calls
    if after == "a try that failed":
        operator = place(CREATE, "talks_forever", wait_for="ended", deferrable=True)
        event = {"wake": "failed", "deadline": time() + 1000, "message": "no idea", "calls": {call: None}}
        with pytest.raises(RetellError, match="no idea"):
            operator.execute_complete(TaskInstance().context(), event)
    kill(operator)
    assert simulator.call(call)["call_status"] == "ongoing"


def test_one_error_is_no_reason_to_let_the_call_go_on(
    time: ManualClock, simulator: Simulator, clock: SteppingClock
) -> None:
    """At a time-out the call is stopped as soon as Retell is well again."""
    simulator.fail(Fault(endpoint="stop-call", answer=500, times=2))
    with pytest.raises(RetellCallTimeoutError, match="was stopped"):
        run_task(lambda: place(CREATE, "talks_forever", wait_for="ended", timeout=60), clock=clock)
    (call,) = simulator.calls
    assert simulator.call(call)["disconnection_reason"] == "manual_stopped"


def test_a_call_that_only_the_trigger_can_read_is_read_again_after_a_pause(
    endpoint: str, time: ManualClock, simulator: Simulator, clock: SteppingClock
) -> None:
    """A trigger that has seen the call over would fire again at once: the next one waits for half a minute."""
    operator = place(endpoint, wait_for="ended", deferrable=True, poll_interval=60)
    with pytest.raises(TaskDeferred) as deferral:
        operator.execute(TaskInstance().context())
    time.advance(600)
    event = fire(deferral.value.trigger)
    simulator.fail(Fault(endpoint="get-call", answer=500, times=4))
    with pytest.raises(TaskDeferred) as again:
        operator.execute_complete(TaskInstance().context(), event)
    assert again.value.trigger.not_before == clock.now() + DISAGREEMENT_PAUSE
    event = fire(again.value.trigger, clock)
    assert operator.execute_complete(TaskInstance().context(), event)["outcome"] == "answered"


def test_the_deadline_is_the_shorter_of_timeout_and_execution_timeout(endpoint: str) -> None:
    """A deferred wait holds to execution_timeout too, which Airflow forgets once a task is deferred."""
    for arguments, seconds in (
        ({}, 10800),
        ({"timeout": timedelta(minutes=1)}, 60),
        ({"execution_timeout": timedelta(seconds=50)}, 45),
        ({"execution_timeout": timedelta(hours=1)}, 3540),
    ):
        operator = place(endpoint, wait_for="ended", deferrable=True, **arguments)
        clock = SteppingClock(ManualClock(start=1000))
        with clock_replaced_by(clock), pytest.raises(TaskDeferred) as deferral:
            operator.execute(TaskInstance().context())
        assert deferral.value.trigger.deadline == 1000 + seconds


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"agent_id": ""}, "agent_id .*got ''"),
        ({"agent_id": "  "}, "agent_id .*got '  '"),
        ({"agent_id": None}, "agent_id .*got None"),
        ({"agent_id": "None"}, "agent_id .*got 'None'"),
        ({"agent_id": 7}, "agent_id must be a string, not int"),
        ({"agent_version": "V 2"}, "agent_version must be a version number"),
        ({"to_number": "555-0100"}, r"to_number .*\+14155550100, got '…0100'"),
        ({"to_number": "+1 415 555 0100"}, r"to_number .*got '…0100'"),
        ({"to_number": "+1415555010012345"}, r"to_number .*got '…2345'"),
        ({"from_number": "None"}, "from_number must be given"),
        ({"direction": "up"}, "direction .*inbound.*outbound.*got 'up'"),
        ({"metadata": "x"}, "metadata must be an object, got 'x'"),
        ({"metadata": {"when": timedelta(1)}}, "metadata must be JSON, but 'when' is of type timedelta"),
        ({"metadata": {"x": "y" * 50_000}}, "metadata must be at most 50000 bytes of JSON, not 50008"),
        ({"retell_llm_dynamic_variables": {"age": 7}}, "retell_llm_dynamic_variables .*'age' is of type int"),
        (
            {"retell_llm_dynamic_variables": {"age": None}},
            "retell_llm_dynamic_variables .*'age' is None",
        ),
    ],
)
def test_bad_input_fails_before_any_request(simulator: Simulator, arguments: dict[str, Any], named: str) -> None:
    """An invalid field fails for good; the message names the field and the value, numbers by their last digits."""
    with pytest.raises(RetellInputError, match=named) as raised:
        place(REGISTER, **arguments).execute(TaskInstance().context())
    assert isinstance(raised.value, AirflowFailException)
    assert simulator.requests == []


@pytest.mark.parametrize("field", ["from_number", "to_number"])
def test_creating_needs_both_numbers(simulator: Simulator, field: str) -> None:
    """Creating a call needs both numbers."""
    with pytest.raises(RetellInputError, match=f"{field} must be given, got None"):
        place(CREATE, **{field: None}).execute(TaskInstance().context())
    assert simulator.requests == []


def test_the_check_of_numbers_can_be_switched_off(simulator: Simulator) -> None:
    """validate_e164=False leaves the judgement to Retell."""
    place(REGISTER, to_number="555-0100", validate_e164=False).execute(TaskInstance().context())
    assert simulator.requests[-1].json["to_number"] == "555-0100"


def test_a_calling_number_of_ones_own_telephony_is_not_checked(simulator: Simulator) -> None:
    """ignore_e164_validation lets from_number be anything, but not to_number."""
    context = TaskInstance().context()
    place(CREATE, from_number="my-trunk", ignore_e164_validation=True).execute(context)
    assert simulator.requests[-1].json["from_number"] == "my-trunk"
    with pytest.raises(RetellInputError, match="to_number"):
        place(CREATE, to_number="555-0100", ignore_e164_validation=True).execute(context)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 422])
def test_a_refusal_fails_for_good_in_retells_own_words(endpoint: str, simulator: Simulator, status: int) -> None:
    """A permanent error is typed, carries Retell's message, and is not repeated by Airflow or in place."""
    simulator.fail(Fault(endpoint=endpoint, answer=status, message="Because we say so."))
    with pytest.raises(RetellStatusError.kind(status), match=f"{status} Because we say so.") as raised:
        place(endpoint).execute(TaskInstance().context())
    assert isinstance(raised.value, AirflowFailException)
    assert len(simulator.requests) == 1


@pytest.mark.parametrize(
    "fault",
    [{"answer": 200, "html": True}, {"answer": "empty"}, {"answer": 302}],
    ids=["html", "no call_id", "redirect"],
)
def test_an_unreadable_answer_is_reported(endpoint: str, simulator: Simulator, fault: dict[str, Any]) -> None:
    """HTML, a call without call_id and a redirect are errors with the status and the first characters."""
    simulator.fail(Fault(endpoint=endpoint, times=None, **fault))
    with pytest.raises(RetellResponseError, match=r"\(\d{3}\) is .* It begins: '"):
        place(endpoint).execute(TaskInstance().context())


def test_registering_is_not_repeated_when_the_answer_is_lost(simulator: Simulator) -> None:
    """A registration whose answer was lost may have been made: it is not sent again in place."""
    simulator.fail(Fault(endpoint=REGISTER, answer="reset", after=True))
    with pytest.raises(RetellError):
        place(REGISTER).execute(TaskInstance().context())
    assert len(simulator.calls) == 1


def test_creating_is_repeated_with_its_key(simulator: Simulator) -> None:
    """A lost answer is asked for again with the same key: one call, and its id is known."""
    simulator.fail(Fault(endpoint=CREATE, answer="reset", after=True, times=2))
    row = place(CREATE).execute(TaskInstance().context())
    assert list(simulator.calls) == [row["call_id"]]
    assert len({request.json["idempotency_key"] for request in simulator.requests}) == 1
    assert len(simulator.requests) == 3


def test_an_unknown_connection_is_airflows_own_error(endpoint: str) -> None:
    """A connection that does not exist raises Airflow's not-found error, untouched."""
    with pytest.raises(AirflowNotFoundException):
        place(endpoint, retell_conn_id="retell_nowhere").execute(TaskInstance().context())


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        ({"wait_for": "over"}, "None, 'ended', 'analyzed'"),
        ({"fail_on": ["broken"]}, "not_connected"),
        ({"skip_on": "voice_mail"}, "voicemail"),
        ({"include": ["transcripts"]}, "transcript"),
        ({"analysis_timeout": -1}, "non-negative"),
        ({"poll_interval": timedelta(seconds=-1)}, "non-negative"),
        ({"timeout": True}, "non-negative"),
    ],
)
def test_a_bad_argument_fails_when_the_dag_is_parsed(
    endpoint: str, arguments: dict[str, Any], allowed: str
) -> None:
    """The constructor refuses words and numbers that cannot be meant, and lists what is allowed."""
    with pytest.raises(ValueError, match=allowed):
        place(endpoint, **arguments)


def test_every_argument_is_kept(endpoint: str) -> None:
    """Each argument of the signature becomes an attribute: one that was forgotten would change nothing."""
    operator: Any = place(endpoint, retry_policy=DEFAULT_RETRY_POLICY)
    parameters = inspect.signature(type(operator).__init__).parameters.values()
    taken = {each.name for each in parameters if each.kind is each.KEYWORD_ONLY}
    assert taken - {"dry_run", "retry_policy"} <= {*vars(operator)}
    assert operator.is_dry_run is False  # Airflow's operators have a method dry_run
    assert getattr(operator, "retry_policy", None) is DEFAULT_RETRY_POLICY


def test_templated_fields_are_left_alone_until_they_are_rendered(endpoint: str) -> None:
    """The constructor assigns templated fields as they are given, whatever they are."""
    given = object()
    operator = place(endpoint)
    for name in type(operator).template_fields:
        argument = "dry_run" if name == "is_dry_run" else name  # Airflow's operators have a method of the name
        assert getattr(place(endpoint, **{argument: given}), name) is given


@pytest.mark.parametrize("flag", ["True", "true", "1", 1])
def test_a_dry_run_may_be_a_template(endpoint: str, simulator: Simulator, flag: Any) -> None:
    """A rendered value is read as Airflow reads its own booleans."""
    assert place(endpoint, dry_run=flag).execute(TaskInstance().context())["outcome"] == "dry_run"
    assert not simulator.requests


@pytest.mark.parametrize("flag", ["False", "0"])
def test_a_dry_run_may_be_off_in_a_template(endpoint: str, simulator: Simulator, flag: Any) -> None:
    """The text "False" switches a dry run off."""
    assert place(endpoint, dry_run=flag).execute(TaskInstance().context())["call_id"] in simulator.calls


@pytest.mark.parametrize("flag", ["", "None", "no idea", None, 2])
def test_a_dry_run_is_never_guessed(endpoint: str, simulator: Simulator, flag: Any) -> None:
    """A parameter that is missing decides nothing: the task fails, and no phone rings."""
    with pytest.raises(RetellInputError, match=r"^dry_run must be True or False"):
        place(endpoint, dry_run=flag).execute(TaskInstance().context())
    assert not simulator.requests


def test_the_output_of_a_task_is_no_text_of_an_override(endpoint: str, simulator: Simulator) -> None:
    """A text in agent_override is no template, so an XComArg inside one would be spoken as it is written."""
    with DAG("dag", schedule=None):
        word = place(endpoint, task_id="word").output
    override = {"agent": {"begin_message": f"Your {word} is due"}}
    with pytest.raises(RetellInputError, match="Put it into retell_llm_dynamic_variables"):
        place(endpoint, agent_override=override).execute(TaskInstance().context())
    assert not simulator.requests


def test_the_calls_tag_leaves_the_users_metadata_alone(endpoint: str, simulator: Simulator) -> None:
    """The tag is one key beside the user's; the mapping that was given is not changed."""
    metadata = {"customer": 7}
    place(endpoint, metadata=metadata).execute(TaskInstance().context())
    assert metadata == {"customer": 7}
    assert set(simulator.requests[-1].json["metadata"]) == {"customer", TAG}


# -- dry run -------------------------------------------------------------------------------------------------


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Return what operators log: Airflow 3 prints it outside of tasks, Airflow 2 leaves it to pytest."""
    caplog.set_level("INFO")
    return lambda: caplog.text + capsys.readouterr().out


DUE = "2026-01-31T10:00:00+00:00, order 31012026, 10.0.0.1"


def test_a_dry_run_sends_nothing(endpoint: str, simulator: Simulator, logged: Callable[[], str]) -> None:
    """The request is checked, logged without phone numbers and returned; there is no call id."""
    ti = TaskInstance()
    dry = place(
        endpoint, dry_run=True, wait_for="ended", metadata={"customer": 7, "note": "or\n4155550123", "due": DUE}
    )
    row = dry.execute(ti.context())
    assert (row["outcome"], row["call_id"], row["metadata"]["customer"]) == ("dry_run", None, 7)
    assert row["to_number"] == SCENARIOS["user_hangup"].number
    assert not simulator.requests
    assert not ti.xcoms
    text = logged()
    assert f"…{SCENARIOS['user_hangup'].number[-4:]}" in text
    # In JSON a line break before a number ends in a letter.
    assert "…0123" in text
    assert "5550" not in text
    assert f'"due": "{DUE}"' in text


def test_a_dry_run_refuses_what_cannot_be_sent(endpoint: str) -> None:
    """A dry run refuses a request that could not be sent."""
    with pytest.raises(RetellInputError, match="to_number"):
        place(endpoint, dry_run=True, to_number="555").execute(TaskInstance().context())
