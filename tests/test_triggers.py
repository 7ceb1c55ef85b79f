"""Test the trigger: it is truly asynchronous, knows no secrets, and always wakes its task."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from conftest import AIRFLOW_2, SteppingClock, TaskInstance, fire

from airflow_provider_retell.api.patience import LONGEST_RINGING
from airflow_provider_retell.calls.stopping import STOP_INTERVAL
from airflow_provider_retell.hooks import RetellHook
from airflow_provider_retell.simulator import SCENARIOS, Fault, ManualClock, Simulator
from airflow_provider_retell.testing import clock_replaced_by
from airflow_provider_retell.triggers import RetellCallTrigger

pytestmark = pytest.mark.usefixtures("connect")


def trigger(*call_ids: str, deadline: float = 1e12, **arguments: Any) -> RetellCallTrigger:
    """Return a trigger with a deadline far away."""
    return RetellCallTrigger(call_ids=call_ids, retell_conn_id="retell_default", deadline=deadline, **arguments)


def test_what_is_stored_makes_the_same_trigger_again(simulator: Simulator) -> None:
    """A triggerer restart loses nothing: the stored kwargs are JSON, and all there is of the trigger."""
    first = trigger("call_1", "call_2", deadline=5.0, poll_interval=3, wait_for="analyzed", analysis_timeout=9)
    path, kwargs = json.loads(json.dumps(first.serialize()))
    assert path == "airflow_provider_retell.triggers.RetellCallTrigger"
    assert RetellCallTrigger(**kwargs).serialize() == first.serialize()


def test_nothing_secret_is_stored(
    register: Callable[..., str], simulator: Simulator, clock: SteppingClock
) -> None:
    """Neither kwargs nor event hold the key, a number or a transcript: Airflow logs and keeps both."""
    waiting = trigger(register("user_hangup"))
    kept = json.dumps(waiting.serialize()) + json.dumps(fire(waiting, clock))
    for secret in (simulator.api_key, SCENARIOS["user_hangup"].number[-7:], "appointment"):
        assert secret not in kept


def test_it_fires_when_every_call_is_over(register: Callable[..., str], clock: SteppingClock) -> None:
    """The event names each call with its status."""
    answered, busy = register("user_hangup"), register("dial_busy")
    event = fire(trigger(answered, busy, poll_interval=10), clock)
    assert (event["wake"], event["calls"]) == ("over", {answered: "ended", busy: "not_connected"})


def test_it_polls_at_its_interval(register: Callable[..., str], clock: SteppingClock) -> None:
    """Between two polls it sleeps poll_interval seconds, and less only before the deadline."""
    call_id = register("rings_forever")
    fire(trigger(call_id, poll_interval=10, deadline=clock.now() + 25), clock)
    assert clock.slept == pytest.approx([10, 10, 5])


def test_it_looks_once_before_it_says_timed_out(
    register: Callable[..., str], time: ManualClock, clock: SteppingClock
) -> None:
    """A call that ended while no triggerer ran is over, although the deadline has passed."""
    call_id = register("user_hangup")
    time.advance(3600)
    assert fire(trigger(call_id, deadline=0), clock)["wake"] == "over"
    assert fire(trigger(register("rings_forever"), deadline=0), clock)["wake"] == "timeout"


@pytest.mark.parametrize("answer", [408, 425, 429, 500, 502, 503, 504, "reset", "drop", "truncate"])
def test_trouble_is_waited_out(
    register: Callable[..., str], simulator: Simulator, clock: SteppingClock, answer: Any
) -> None:
    """Trouble on the way says nothing about the call: the next poll asks again."""
    call_id = register("user_hangup")
    simulator.fail(Fault(endpoint="get-call", answer=answer, times=9))
    assert fire(trigger(call_id), clock)["wake"] == "over"


@pytest.mark.parametrize("answer", [401, 403, 422, "empty"])
def test_what_cannot_heal_wakes_the_task(
    register: Callable[..., str], simulator: Simulator, clock: SteppingClock, answer: Any
) -> None:
    """A refused key, an unknown call or a host that is not Retell is handed to the task, with the reason."""
    call_id = register("user_hangup")
    simulator.fail(Fault(endpoint="get-call", answer=answer, times=None))
    event = fire(trigger(call_id), clock)
    assert (event["wake"], event["calls"]) == ("failed", {call_id: None})
    assert call_id in event["message"]


def test_a_few_unreadable_answers_are_waited_out(
    register: Callable[..., str], simulator: Simulator, clock: SteppingClock
) -> None:
    """A response that is cut short is no reason to give up a wait."""
    call_id = register("user_hangup")
    simulator.fail(Fault(endpoint="get-call", answer="empty", times=9))
    assert fire(trigger(call_id), clock)["wake"] == "over"


def test_trouble_that_goes_on_is_logged_once(
    register: Callable[..., str],
    simulator: Simulator,
    clock: SteppingClock,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A night of trouble is one line in the task's log, not one for each poll."""
    call_id = register("user_hangup")
    simulator.fail(Fault(endpoint="get-call", answer=500, times=9))
    fire(trigger(call_id), clock)
    # Airflow 2 logs through the standard library, Airflow 3 writes by itself.
    logged = capsys.readouterr().out if not AIRFLOW_2 else caplog.text
    assert logged.count("Reading the calls failed") == 1


def test_an_unknown_connection_wakes_the_task(clock: SteppingClock) -> None:
    """A trigger that cannot even begin says so, instead of waiting for ever."""
    lost = RetellCallTrigger(call_ids=["call_1"], retell_conn_id="retell_nowhere", deadline=1e12)
    assert "retell_nowhere" in fire(lost, clock)["message"]


@pytest.mark.parametrize("listed", [True, False], ids=["registered calls are listed", "they are not"])
def test_many_calls_are_one_request(
    listed: bool, time: ManualClock, clock: SteppingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls are polled together; of those that the list does not show, a poll reads no more than 20."""
    simulator = Simulator(clock=time, list_registered=listed)
    with simulator.serve() as url, RetellHook() as hook:
        monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", simulator.connection(url))
        request = {"agent_id": "agent_1", "to_number": SCENARIOS["user_hangup"].number}
        ids = [hook.register_phone_call(request).call_id for _ in range(30)]
        before = len(simulator.requests)
        fire(trigger(*ids, deadline=0), clock)
        polled = [request.endpoint for request in simulator.requests[before:]]
    assert polled == ["list-calls"] + ["get-call"] * (0 if listed else 20)


def test_triggers_of_one_loop_share_one_client(
    register: Callable[..., str], simulator: Simulator, clock: SteppingClock
) -> None:
    """A hundred triggers wait side by side on one client and one look-up, and the last one closes it."""
    ids = [register("user_hangup") for _ in range(100)]

    async def wait(call_id: str) -> Any:
        waiting = trigger(call_id, poll_interval=1)
        return [event async for event in waiting.run()]

    async def wait_for_all() -> Any:
        return await asyncio.gather(*map(wait, ids))

    events = asyncio.run(wait_for_all())
    assert all(event.payload["wake"] == "over" for (event,) in events)


class TestKill:
    """Test what happens to the calls when the task is killed while it is deferred."""

    @pytest.fixture
    def live(self, register: Callable[..., str], time: ManualClock) -> str:
        """A call that goes on until it is stopped."""
        call_id = register("talks_forever")
        time.advance(60)
        return call_id

    @staticmethod
    def kill(killed: RetellCallTrigger) -> None:
        asyncio.run(killed.on_kill())

    def test_a_live_call_is_hung_up_on(self, live: str, simulator: Simulator) -> None:
        """A kill stops the call, if the operator wants that."""
        self.kill(trigger(live, cancel_on_kill=True))
        assert simulator.call(live)["disconnection_reason"] == "manual_stopped"

    def test_a_second_cancellation_does_not_keep_the_call_alive(self, live: str, simulator: Simulator) -> None:
        """A triggerer may cancel the trigger again while it hangs up: the call is stopped all the same."""
        simulator.fail(Fault(endpoint="get-call", delay=0.2))

        async def kill_twice() -> None:
            killing = asyncio.create_task(trigger(live, cancel_on_kill=True).on_kill())
            while not [request for request in simulator.requests if request.endpoint == "get-call"]:
                await asyncio.sleep(0.01)
                killing.cancel()
            while simulator.call(live)["call_status"] == "ongoing":  # noqa: ASYNC110 (the simulator sends no events)
                await asyncio.sleep(0.01)

        asyncio.run(asyncio.wait_for(kill_twice(), timeout=60))

    def test_a_phone_that_rings_is_hung_up_on_as_soon_as_retell_lets_it(
        self, register: Callable[..., str], simulator: Simulator, clock: SteppingClock
    ) -> None:
        """Retell stops ongoing calls only: the trigger tries again until the call is answered, or over."""
        ringing = trigger(register("talks_forever"), cancel_on_kill=True)
        self.kill(ringing)
        assert simulator.call(ringing.call_ids[0])["disconnection_reason"] == "manual_stopped"
        assert set(clock.slept) == {STOP_INTERVAL}

    def test_a_call_that_cannot_be_stopped_is_given_up(
        self, live: str, simulator: Simulator, clock: SteppingClock
    ) -> None:
        """No phone rings for longer than five minutes: after that there is nothing to stop."""
        simulator.fail(Fault(endpoint="stop-call", answer=400, times=None))
        began = clock.now()
        stubborn = trigger(live, cancel_on_kill=True)
        self.kill(stubborn)
        assert LONGEST_RINGING <= clock.now() - began < LONGEST_RINGING + STOP_INTERVAL

    def test_a_sensors_calls_are_left_alone(self, live: str, simulator: Simulator) -> None:
        """Without cancel_on_kill no call is stopped: a sensor's calls are not its own."""
        self.kill(trigger(live))
        assert simulator.call(live)["call_status"] == "ongoing"

    def test_a_call_that_is_over_for_the_task_is_left_alone(self, live: str, simulator: Simulator) -> None:
        """Once the event is out, the task decides: a kill that comes late stops nothing."""
        late = trigger(live, cancel_on_kill=True, deadline=0)

        async def fire_and_kill() -> None:
            (event,) = [event async for event in late.run()]
            assert event.payload["calls"] == {live: "ongoing"}
            await late.on_kill()

        asyncio.run(fire_and_kill())
        assert simulator.call(live)["call_status"] == "ongoing"

    def test_a_call_that_was_not_dialed_is_left_alone(
        self, register: Callable[..., str], simulator: Simulator
    ) -> None:
        """A registered call that is not dialed times out by itself."""
        self.kill(trigger(register("rings_forever"), cancel_on_kill=True, leave_registered=True))
        assert not [request for request in simulator.requests if request.endpoint == "stop-call"]

    def test_trouble_is_logged_and_goes_no_further(
        self,
        live: str,
        simulator: Simulator,
        clock: SteppingClock,
        caplog: pytest.LogCaptureFixture,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """A kill is best effort: what cannot be stopped is tried again for as long, and then named in the log."""
        simulator.fail(Fault(endpoint="stop-call", answer=500, times=None))
        killed = trigger(live, cancel_on_kill=True)
        self.kill(killed)
        assert sum(clock.slept) >= LONGEST_RINGING
        # Airflow 2 logs through the standard library, Airflow 3 writes by itself.
        assert f"{live} may go on" in caplog.text + capsys.readouterr().out

    def test_a_handed_over_trigger_stops_no_call(self, live: str, simulator: Simulator) -> None:
        """While Airflow still calls the task deferred, it is being handed over, not killed."""

        class HandedOver(RetellCallTrigger):
            async def still_deferred(self) -> bool:
                return True

        self.kill(HandedOver(call_ids=[live], retell_conn_id="retell_default", deadline=1e12, cancel_on_kill=True))
        assert simulator.call(live)["call_status"] == "ongoing"

    @pytest.mark.parametrize(
        ("still_deferred", "cancel_on_kill", "left", "becomes"),
        [
            pytest.param(False, True, 5, "ended", id="killed"),
            pytest.param(True, True, 5, "ongoing", id="handed over"),
            pytest.param(None, True, 5, "ongoing", id="not known"),
            pytest.param(False, False, 5, "ongoing", id="not wanted"),
            pytest.param(False, True, 0, "ongoing", id="left to the task"),
        ],
    )
    def test_a_cancelled_wait_hangs_up_if_the_task_was_killed(
        self,
        live: str,
        simulator: Simulator,
        time: ManualClock,
        *,
        still_deferred: bool | None,
        cancel_on_kill: bool,
        left: float,
        becomes: str,
    ) -> None:
        """If Airflow only cancels the wait, the task's state shows a kill; in doubt no call is stopped."""
        asleep = asyncio.Event()

        class Sleeper(SteppingClock):
            async def asleep(self, seconds: float) -> None:
                asleep.set()
                await asyncio.Event().wait()

        class Cancelled(RetellCallTrigger):
            learns_of_kills = False  # as before Airflow 3.3

            async def still_deferred(self) -> bool | None:
                return still_deferred

        async def cancel() -> None:
            deadline = time() + 10
            killed = Cancelled(
                call_ids=[live], retell_conn_id="retell_default", deadline=deadline, cancel_on_kill=cancel_on_kill
            )
            killed.task_instance = TaskInstance()
            wait = asyncio.ensure_future(anext(killed.run()))
            await asleep.wait()
            time.advance(10 - left)
            wait.cancel()
            with pytest.raises(asyncio.CancelledError):
                await wait

        with clock_replaced_by(Sleeper(time)):
            asyncio.run(cancel())
        assert simulator.call(live)["call_status"] == becomes
