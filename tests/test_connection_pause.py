"""Test the pause of a connection: while the connection is paused, no call is placed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from conftest import CREATE, SteppingClock, Store, TaskInstance, place, run_task

from airflow_provider_retell.calls.connection_pause import MAX_AGE, ConnectionPause
from airflow_provider_retell.errors import RetellCallError
from airflow_provider_retell.simulator import Fault, ManualClock, Simulator


def requests(simulator: Simulator, endpoint: str) -> list[float]:
    """Return when requests were made that place a call."""
    return [request.clock for request in simulator.requests if request.endpoint == endpoint]


class Lifting(SteppingClock):
    """A clock that changes the connection while the task sleeps, after some seconds."""

    def __init__(self, time: ManualClock, change: Callable[[], None], after: float) -> None:
        super().__init__(time)
        self.change, self.at = change, time() + after

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if self.now() >= self.at:
            self.change()


def test_a_paused_connection_places_nothing(
    endpoint: str, connect: Callable[..., None], simulator: Simulator, clock: SteppingClock
) -> None:
    """The task waits for limit_timeout, and the try fails with what to do; a retry may look again."""
    connect(paused=True)
    with pytest.raises(RetellCallError, match=r"'retell_default' is paused.*Take that out") as raised:
        run_task(lambda: place(endpoint, limit_timeout=100), clock=clock)
    assert not isinstance(raised.value, AirflowFailException)
    assert not simulator.requests
    assert sum(clock.slept) == 100
    assert max(clock.slept) <= MAX_AGE


def test_with_a_limit_of_zero_no_task_waits(
    connect: Callable[..., None], simulator: Simulator, clock: SteppingClock
) -> None:
    """``limit_timeout=0`` fails at once."""
    connect(paused=True)
    with pytest.raises(RetellCallError, match="is paused"):
        run_task(lambda: place(CREATE, limit_timeout=0), clock=clock)
    assert not clock.slept


def test_the_task_says_that_it_waits(
    connect: Callable[..., None], clock: SteppingClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The task logs once that it waits, and not at each look."""
    connect(paused=True)
    with pytest.raises(RetellCallError):
        run_task(lambda: place(CREATE), clock=clock)
    assert caplog.text.count("no call is placed. Looking again every 30 s, for up to 600 s.") == 1


def test_a_pause_that_is_lifted_is_seen_within_half_a_minute(
    endpoint: str, connect: Callable[..., None], simulator: Simulator, time: ManualClock
) -> None:
    """The connection is looked up again, and the call placed."""
    connect(paused=True)
    began = time()
    run_task(lambda: place(endpoint), clock=Lifting(time, connect, after=61))
    (placed,) = requests(simulator, endpoint)
    assert began + 61 <= placed <= began + 61 + MAX_AGE


def test_a_pause_holds_requests_that_are_on_their_way(
    endpoint: str, connect: Callable[..., None], simulator: Simulator, time: ManualClock
) -> None:
    """A task that waits for a line looks at the pause again before it asks again."""
    simulator.fail(Fault(endpoint=endpoint, answer=429, retry_after=60, times=1))
    with pytest.raises(RetellCallError, match="is paused"):
        run_task(lambda: place(endpoint), clock=Lifting(time, lambda: connect(paused=True), after=1))
    assert len(requests(simulator, endpoint)) == 1
    assert not simulator.calls


@pytest.mark.parametrize("store", [Store(), None], ids=["store", "no store"])
def test_a_retry_of_a_paused_task_calls_once(
    connect: Callable[..., None], simulator: Simulator, clock: SteppingClock, store: Store | None
) -> None:
    """A try that was paused has placed nothing, and leaves nothing that would keep the next one from calling."""
    context = {} if store is None else {"task_state_store": store}
    connect(paused=True)
    with pytest.raises(RetellCallError):
        run_task(lambda: place(CREATE), clock=clock, **context)
    connect()
    run_task(lambda: place(CREATE), TaskInstance(try_number=2), clock, **context)
    assert len(simulator.calls) == 1


def test_a_live_call_goes_on(
    endpoint: str, connect: Callable[..., None], simulator: Simulator, time: ManualClock
) -> None:
    """The pause keeps calls from being placed: one that was placed is waited for."""
    clock = Lifting(time, lambda: connect(paused=True), after=1)
    row = run_task(lambda: place(endpoint, wait_for="ended", poll_interval=5), clock=clock)
    assert row["outcome"] == "answered"


def test_what_is_known_of_the_pause_is_half_a_minute_old_at_most(time: ManualClock, clock: SteppingClock) -> None:
    """A hundred sends in a minute are three look-ups, and none is decided by what was true a minute ago."""
    looked_up: list[float] = []
    pause = ConnectionPause(conn_id="x", look_up=lambda: bool(looked_up.append(time())), clock=clock)
    for _ in range(100):
        assert not pause.is_on()
        time.advance(0.7)
    assert len(looked_up) == 3


def test_a_pause_that_was_set_while_the_machine_slept_is_seen(time: ManualClock) -> None:
    """A suspended machine's monotonic clock stands still: it would take what was true hours ago for new."""

    class Suspended(SteppingClock):
        def monotonic(self) -> float:
            return 0.0

    paused = False
    pause = ConnectionPause(conn_id="x", look_up=lambda: paused, clock=Suspended(time))
    assert not pause.is_on()
    paused = True
    time.advance(8 * 3600)
    assert pause.is_on()
