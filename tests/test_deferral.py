"""Test deferrals: one typed event, one way to continue, and no event before Airflow can take it."""

from __future__ import annotations

import asyncio
import inspect
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout, BaseSensorOperator, TaskDeferred
from conftest import (
    CREATE,
    REGISTER,
    AirflowRescheduleException,
    SteppingClock,
    TaskInstance,
    fire,
    offered_tasks,
    place,
    resume,
)
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_retell.errors import RetellError
from airflow_provider_retell.hooks import RetellHook
from airflow_provider_retell.provider.deferral import (
    BACKSTOP,
    DISAGREEMENT_PAUSE,
    DeferringOperator,
    Wake,
    WakeEvent,
    event_for,
    first_portion,
    shortest_deferral,
)
from airflow_provider_retell.provider.options import Options
from airflow_provider_retell.sensors import RetellCallSensor
from airflow_provider_retell.simulator import SCENARIOS, Fault, ManualClock, Simulator
from airflow_provider_retell.triggers import RetellCallTrigger

EVENTS = [
    WakeEvent(wake=Wake.OVER, deadline=5.0, calls={"call_1": "ended", "call_2": None}),
    WakeEvent(wake=Wake.TIMEOUT, deadline=1.5, calls={"call_1": "ongoing"}),
    WakeEvent(wake=Wake.FAILED, deadline=1e9, calls={}, message="RetellPermissionError: no"),
    WakeEvent(wake=Wake.OVER, deadline=5.0, calls={"call_1": "ended"}, unanalyzed=["call_1"]),
    WakeEvent(wake=Wake.OVER, deadline=5.0, calls={"call_1": "ended"}, unanalyzed=[]),
]

# -- the event ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.wake)
def test_an_event_survives_being_stored(event: WakeEvent) -> None:
    """The task reads the event that the trigger sent, through the JSON of Airflow's database."""
    assert WakeEvent.read(json.loads(json.dumps(event.to_payload()))) == event


def test_an_event_that_an_earlier_version_stored_is_read() -> None:
    """A task that was deferred before an upgrade continues after it."""
    stored = {"wake": "over", "deadline": 12.5, "calls": {"call_1": "not_connected"}}
    assert WakeEvent.read(stored) == WakeEvent(wake=Wake.OVER, deadline=12.5, calls={"call_1": "not_connected"})


@pytest.mark.parametrize(
    "payload",
    [
        None,
        "over",
        [],
        {},
        {"wake": "over", "deadline": 1.0},
        {"wake": "over", "calls": {}},
        {"wake": "done", "deadline": 1.0, "calls": {}},
        {"wake": None, "deadline": 1.0, "calls": {}},
        {"wake": "over", "deadline": "soon", "calls": {}},
        {"wake": "over", "deadline": 1.0, "calls": ["call_1"]},
    ],
)
def test_anything_else_is_refused(payload: Any) -> None:
    """A task does not guess what the event of another trigger means."""
    with pytest.raises(RetellError, match="does not send"):
        WakeEvent.read(payload)


def test_an_event_of_a_thousand_calls_is_small() -> None:
    """Airflow logs and stores the event: ids and statuses of a thousand calls stay far under 100 kB."""
    statuses = {f"call_{number:032x}": "not_connected" for number in range(1000)}
    event = WakeEvent(wake=Wake.OVER, deadline=1e9, calls=statuses)
    assert len(json.dumps(event.to_payload())) < 65_000


@pytest.mark.parametrize(
    ("next_kwargs", "wake", "message"),
    [
        ({"error": "Trigger timeout"}, Wake.TIMEOUT, "Trigger timeout"),
        ({"error": "Trigger failure", "traceback": ["ValueError"]}, Wake.FAILED, "Trigger failure"),
        ({}, Wake.FAILED, "for an unknown reason"),
        (None, Wake.FAILED, "for an unknown reason"),
    ],
)
def test_airflow_ends_a_wait_with_an_event_as_well(
    next_kwargs: dict[str, Any] | None, wake: Wake, message: str
) -> None:
    """A trigger that no triggerer ran in time has timed out; one that could not be run has failed."""
    assert WakeEvent.from_airflow(next_kwargs, now=7.0) == WakeEvent(wake=wake, deadline=7.0, message=message)


# -- the event of another trigger --------------------------------------------------------------------------------

OURS = WakeEvent(wake=Wake.TIMEOUT, deadline=5.0, calls={"call_1": "ongoing"})


@pytest.mark.parametrize(
    ("payload", "deadline", "event"),
    [
        (OURS.to_payload(), 5.0, OURS),
        (OURS.to_payload(), 5.000001, WakeEvent(wake=Wake.OVER, deadline=5.000001)),
        ({"moment": "now"}, 5.0, WakeEvent(wake=Wake.OVER, deadline=5.0)),
        (OURS.to_payload(), None, OURS),
    ],
    ids=["its deadline", "another deadline", "another package", "no deadline"],
)
def test_the_event_of_another_trigger_counts_as_none(
    payload: Any, deadline: float | None, event: WakeEvent
) -> None:
    """The table of ``event_for``, row by row."""
    assert event_for(payload, deadline=deadline) == event


@pytest.mark.usefixtures("connect")
@pytest.mark.parametrize("kind", ["operator", "sensor"])
def test_a_task_waits_for_its_own_call_whatever_trigger_wakes_it(
    kind: str, register: Any, simulator: Simulator, clock: SteppingClock
) -> None:
    """On SQLite, a cleared task may be woken with the call of the try before, and would return its row."""
    ids = iter([register("talks_forever"), register("talks_forever")])
    arguments: dict[str, Any] = {"to_number": SCENARIOS["talks_forever"].number, "wait_for": "ended"}

    def task(call_id: str = "") -> Any:
        if kind == "operator":
            return place(CREATE, deferrable=True, **arguments)
        return RetellCallSensor(task_id="wait", call_id=call_id or next(ids), deferrable=True)

    def deferral(ti: TaskInstance) -> TaskDeferred:
        with pytest.raises(TaskDeferred) as deferred:
            task().execute(ti.context())
        return deferred.value

    before = deferral(TaskInstance())
    cleared = TaskInstance(try_number=2, max_tries=1)
    own = deferral(cleared)
    ((other,), (call_id,)) = before.trigger.call_ids, own.trigger.call_ids
    clock.time.advance(60)  # they ring no more
    if kind == "sensor":  # the operator's new try has stopped it
        RetellHook().stop_call(other)
    with pytest.raises(TaskDeferred) as again:
        resume(own, fire(before.trigger, clock), cleared.context(), task(call_id))
    assert again.value.trigger.call_ids == [call_id] != [other]
    assert again.value.trigger.deadline == own.trigger.deadline
    RetellHook().stop_call(call_id)
    row = resume(again.value, fire(again.value.trigger, clock), cleared.context(), task(call_id))
    assert row["call_id"] == call_id


# -- one way to continue -----------------------------------------------------------------------------------------


DEFERRABLE = [each for each in offered_tasks() if "deferrable" in inspect.signature(each.__init__).parameters]


@pytest.mark.parametrize("kind", DEFERRABLE)
def test_every_task_that_defers_continues_in_the_same_way(kind: type[DeferringOperator]) -> None:
    """No task has an ``execute_complete`` or ``resume_execution`` of its own."""
    assert issubclass(kind, DeferringOperator)
    own = {name for base in kind.__mro__ for name in vars(base) if base.__module__.startswith("airflow_provider")}
    assert {"execute_complete", "resume_execution"} <= own
    for name in ("execute_complete", "resume_execution"):
        assert getattr(kind, name) is getattr(DeferringOperator, name)


def test_a_sensor_keeps_airflows_own_way_to_resume() -> None:
    """The sensor's base class turns errors of other resumptions into soft failures: ours comes before it."""
    order = RetellCallSensor.__mro__
    assert order.index(DeferringOperator) < order.index(BaseSensorOperator)


def test_the_log_has_the_traceback_of_a_trigger_that_failed(
    connect: object, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reason why the wait ended is logged, although the task reads once more instead of failing at once."""
    sensor = RetellCallSensor(task_id="wait", call_id=[])
    failed = {"error": "Trigger failure", "traceback": ["Traceback:\n", "ImportError: no such trigger\n"]}
    assert sensor.resume_execution("__fail__", failed, TaskInstance().context()) == []
    assert "ImportError: no such trigger" in caplog.text + capsys.readouterr().out


@pytest.mark.usefixtures("connect")
def test_the_triggerers_clock_decides_about_the_deadline(register: Any, clock: SteppingClock) -> None:
    """A worker whose clock is a moment behind gives up too, instead of deferring for that moment."""
    call_id = register("rings_forever")
    sensor = RetellCallSensor(task_id="wait", call_id=call_id, deferrable=True)
    event = WakeEvent(wake=Wake.TIMEOUT, deadline=clock.now() + 1, calls={call_id: "registered"})
    with pytest.raises(AirflowSensorTimeout):
        sensor.execute_complete(TaskInstance().context(), event.to_payload())


@pytest.mark.usefixtures("connect")
def test_a_sensor_that_sees_a_call_go_on_defers_again_for_half_a_minute(
    register: Any, clock: SteppingClock
) -> None:
    """A trigger that sees the call over would fire at once, and both would disagree in a tight loop."""
    call_id = register("rings_forever")
    sensor = RetellCallSensor(task_id="wait", call_id=call_id, deferrable=True)
    event = WakeEvent(wake=Wake.OVER, deadline=clock.now() + 3600, calls={call_id: "ended"})
    with pytest.raises(TaskDeferred) as again:
        sensor.execute_complete(TaskInstance().context(), event.to_payload())
    assert again.value.trigger.not_before == clock.now() + DISAGREEMENT_PAUSE


@pytest.mark.usefixtures("connect")
def test_the_first_deadline_counts_after_every_deferral(register: Any, clock: SteppingClock) -> None:
    """A task that defers again does not begin its time-out again."""
    call_id = register("rings_forever")
    sensor = RetellCallSensor(task_id="wait", call_id=call_id, deferrable=True, timeout=10_000)
    event = WakeEvent(wake=Wake.OVER, deadline=clock.now() + 100, calls={call_id: "ended"})
    with pytest.raises(TaskDeferred) as deferral:
        sensor.execute_complete(TaskInstance().context(), event.to_payload())
    assert deferral.value.trigger.deadline == event.deadline


@pytest.mark.usefixtures("connect")
@pytest.mark.parametrize("noted", [{"unanalyzed": []}, {}], ids=["noted", "by an earlier version"])
@pytest.mark.parametrize("kind", ["operator", "sensor"])
def test_an_analysis_that_the_trigger_saw_is_waited_for(
    kind: str, noted: dict[str, Any], register: Any, clock: SteppingClock
) -> None:
    """The task's own reading may be older, as this one is: the analysis comes three seconds after the end."""
    waits = {"wait_for": "analyzed", "deferrable": True}
    call_id = register("user_hangup")
    clock.time.advance(20.5 + 4 + 1)
    event = {"wake": "over", "deadline": clock.now() + 900, "calls": {call_id: "ended"}, **noted}
    context = TaskInstance().context()

    def resume() -> Any:
        if kind == "sensor":
            return RetellCallSensor(task_id="wait", call_id=call_id, **waits).execute_complete(context, event)
        return place(CREATE, **waits).execute_complete(context, event)

    if not noted:
        assert "call_analysis" not in resume()
        return
    with pytest.raises(TaskDeferred) as deferral:
        resume()
    event = fire(deferral.value.trigger, clock)
    assert event["unanalyzed"] == []
    assert resume()["call_analysis"]


# -- more calls than a trigger holds -----------------------------------------------------------------------------


@given(st.lists(st.integers(10, 80).map(lambda length: "c" * length), max_size=3000))
def test_a_portion_fits_into_airflows_column(call_ids: list[str]) -> None:
    """On MySQL the arguments of a trigger are a text of 65,535 bytes, encrypted."""
    portion = first_portion(call_ids)
    assert portion == call_ids[: len(portion)]
    assert portion or not call_ids
    trigger = RetellCallTrigger(
        call_ids=portion, retell_conn_id="c" * 250, deadline=1.7e9, memo={"calls": portion[:9]}
    )
    stored = json.dumps({"__type": "dict", "__var": trigger.serialize()[1]})
    assert len(Fernet(Fernet.generate_key()).encrypt(stored.encode())) < 65_535


def test_a_thousand_calls_are_one_portion() -> None:
    """As many as one request lists are watched by one trigger."""
    call_ids = [f"call_{number:032x}" for number in range(2000)]
    assert 1000 < len(first_portion(call_ids)) < 2000


@pytest.mark.usefixtures("connect")
def test_more_calls_than_a_trigger_holds_are_waited_for_in_portions(
    register: Any, simulator: Simulator, clock: SteppingClock
) -> None:
    """The task reads all of them in between, and defers for those only that are not over by then."""
    request = {"agent_id": "agent_1", "to_number": SCENARIOS["user_hangup"].number}
    ids = [simulator.register(request) for _ in range(1400)]
    longest = register("talks_forever")
    sensor = RetellCallSensor(task_id="wait", call_id=[*ids, longest], deferrable=True)
    with pytest.raises(TaskDeferred) as deferral:
        sensor.execute(TaskInstance().context())
    assert len(deferral.value.trigger.call_ids) < 1400
    event = fire(deferral.value.trigger, clock)
    with pytest.raises(TaskDeferred) as deferral:
        sensor.execute_complete(TaskInstance().context(), event)
    assert deferral.value.trigger.call_ids == [longest]
    RetellHook().stop_call(longest)
    event = fire(deferral.value.trigger, clock)
    rows = sensor.execute_complete(TaskInstance().context(), event)
    assert [row["call_id"] for row in rows] == [*ids, longest]


# -- not before Airflow can take it ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("woken_by", "option", "seconds"),
    [
        (None, 10, 10),
        (None, 0, 0),
        (Wake.TIMEOUT, 10, 10),
        (Wake.FAILED, 10, 10),
        (Wake.OVER, 10, DISAGREEMENT_PAUSE),
        (Wake.OVER, 0, DISAGREEMENT_PAUSE),
        (Wake.OVER, 60, 60),
    ],
)
def test_a_deferral_lasts_at_least_so_long(woken_by: Wake | None, option: float, seconds: float) -> None:
    """The option counts; a task and a trigger that contradict each other do so twice a minute at most."""
    event = None if woken_by is None else WakeEvent(wake=woken_by, deadline=1e9)
    assert shortest_deferral(option=option, woken_by=event) == seconds


@pytest.mark.parametrize(
    ("poll_interval", "left", "seconds"),
    [(30, 100, 30), (30, 12, 12), (30, 0, 0), (30, -5, 0), (0, 100, 0.5), (0, 0.1, 0.1)],
)
def test_a_pause_between_two_polls_is_bounded(poll_interval: float, left: float, seconds: float) -> None:
    """It is as long as the task asks for, not below the option, and not beyond the deadline."""
    assert Options(shortest_poll_interval=0.5).pause(poll_interval, left=left) == seconds


@pytest.fixture
def shortest(monkeypatch: pytest.MonkeyPatch) -> float:
    """The option, in seconds."""
    monkeypatch.setenv("AIRFLOW__RETELL__SHORTEST_DEFERRAL", "12")
    return 12.0


@pytest.mark.usefixtures("connect")
@pytest.mark.parametrize("endpoint", [REGISTER, CREATE])
def test_the_task_tells_its_trigger_from_when_on_it_may_fire(
    endpoint: str, shortest: float, clock: SteppingClock
) -> None:
    """The time is absolute and stored with the trigger, so that a triggerer that restarts does not begin again."""
    operator = place(endpoint, wait_for="ended", deferrable=True)
    with pytest.raises(TaskDeferred) as deferral:
        operator.execute(TaskInstance().context())
    _, kwargs = deferral.value.trigger.serialize()
    assert kwargs["not_before"] == clock.now() + shortest


@pytest.mark.usefixtures("connect")
def test_airflow_does_not_end_a_trigger_that_must_not_fire_yet(
    shortest: float, clock: SteppingClock, simulator: Simulator
) -> None:
    """Even with a deadline that is close, Airflow's own limit lies far beyond the earliest event."""
    sensor = RetellCallSensor(task_id="wait", call_id="call_1", deferrable=True, timeout=1)
    simulator.fail(Fault(endpoint="get-call", answer=500, times=1))
    with pytest.raises(TaskDeferred) as deferral:
        sensor.execute(TaskInstance().context())
    assert deferral.value.timeout.total_seconds() == shortest + BACKSTOP


@pytest.mark.usefixtures("connect")
def test_a_rescheduled_sensor_leaves_airflow_as_much_time(
    shortest: float, register: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its next look is a process of its own too: it must not be queued before the end of this one is noticed."""
    sensor = RetellCallSensor(
        task_id="wait", call_id=register("rings_forever"), mode="reschedule", poke_interval=1
    )
    before = datetime.now(UTC)
    with pytest.raises(AirflowRescheduleException) as reschedule:
        sensor.execute(TaskInstance().context())
    assert reschedule.value.reschedule_date >= before + timedelta(seconds=shortest)


@pytest.mark.usefixtures("connect")
@pytest.mark.parametrize("wake", list(Wake))
def test_no_event_comes_before_its_time(
    wake: Wake, register: Any, time: ManualClock, clock: SteppingClock
) -> None:
    """Over, timed out or failed: the trigger holds its event back until Airflow can take it."""
    call_id = register("talks_forever" if wake is Wake.TIMEOUT else "user_hangup")
    time.advance(300)
    trigger = RetellCallTrigger(
        call_ids=[call_id],
        retell_conn_id="retell_nowhere" if wake is Wake.FAILED else "retell_default",
        deadline=clock.now() + 1,
        not_before=clock.now() + 12,
    )
    earliest = clock.now() + 12
    assert fire(trigger, clock)["wake"] == wake
    assert clock.now() >= earliest


@pytest.mark.usefixtures("connect")
def test_a_poll_that_others_asked_for_makes_no_event_come_earlier(register: Any, clock: SteppingClock) -> None:
    """A round answers all who wait: what it shows before a trigger's time is kept until then."""
    clock.time.advance(300)
    ids = [register("user_hangup"), register("talks_forever")]
    clock.time.advance(300)
    arguments = {"retell_conn_id": "retell_default", "deadline": clock.now() + 5}
    early = RetellCallTrigger(call_ids=ids[1:], poll_interval=1, **arguments)
    late = RetellCallTrigger(call_ids=ids[:1], not_before=clock.now() + 12, **arguments)
    earliest = clock.now() + 12

    async def fire_both() -> list[float]:
        async def fired_at(trigger: RetellCallTrigger) -> float:
            _ = [event async for event in trigger.run()]
            return clock.now()

        return await asyncio.gather(fired_at(early), fired_at(late))

    _, late_at = asyncio.run(fire_both())
    assert late_at >= earliest


@pytest.mark.usefixtures("connect")
def test_a_stored_trigger_without_that_time_fires_as_before(register: Any, clock: SteppingClock) -> None:
    """A trigger stored by a version without ``not_before`` still loads, and fires as soon as it can."""
    call_id = register("user_hangup")
    clock.time.advance(300)
    stored = {
        "call_ids": [call_id],
        "retell_conn_id": "retell_default",
        "deadline": clock.now() + 60,
        "poll_interval": 30,
        "wait_for": "ended",
        "analysis_timeout": 600,
        "cancel_on_kill": False,
        "leave_registered": False,
    }
    assert fire(RetellCallTrigger(**stored), clock)["wake"] == "over"
    assert clock.slept == []


@pytest.mark.usefixtures("connect")
def test_nothing_is_asked_before_that_time(register: Any, simulator: Simulator, clock: SteppingClock) -> None:
    """A poll whose result could not be used yet is not sent."""
    trigger = RetellCallTrigger(
        call_ids=[register("user_hangup")],
        retell_conn_id="retell_default",
        deadline=clock.now() + 1000,
        not_before=clock.now() + 300,
    )
    before = len(simulator.requests)
    fire(trigger, clock)
    assert len(simulator.requests) == before + 1
