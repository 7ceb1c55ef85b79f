"""Test the pytest plugin for users who test their own DAGs."""

from __future__ import annotations

import asyncio
import os
import re
import time as real_time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout, AirflowSkipException
from conftest import AIRFLOW_2, TaskInstance, run_task

from airflow_provider_retell._clock import CLOCK
from airflow_provider_retell.api.concurrency import RequestRate
from airflow_provider_retell.errors import RetellCallTimeoutError
from airflow_provider_retell.hooks import RetellHook
from airflow_provider_retell.operators import RetellCreatePhoneCallOperator, RetellRegisterPhoneCallOperator
from airflow_provider_retell.policy import CallingHours
from airflow_provider_retell.sensors import RetellCallSensor
from airflow_provider_retell.simulator import SCENARIOS, Fault, ManualClock, Simulator
from airflow_provider_retell.testing import SteppingClock, clock_replaced_by

DOCS = Path(__file__).parent.parent / "docs"
ADA, GRACE = "+14155550100", "+14155550101"


@pytest.fixture(autouse=True)
def _at_once(request: pytest.FixtureRequest) -> Iterator[None]:
    """No task of these tests waits, whatever it waits for."""
    started = real_time.monotonic()
    yield
    if "pytester" not in request.fixturenames:  # starting a pytest takes its time
        assert real_time.monotonic() - started < 60  # as long as two polls take, and a busy machine does not


def create(**given: Any) -> Callable[[], RetellCreatePhoneCallOperator]:
    """Return what makes an operator that has a number called."""
    given = {"from_number": "+14155550199", "to_number": ADA, "wait_for": "ended", **given}
    return lambda: RetellCreatePhoneCallOperator(task_id="call", **given)


def test_the_connection_leads_to_the_simulator(retell_simulator: Simulator) -> None:
    """Tasks that use ``retell_default`` talk to the simulator only."""
    assert RetellHook().test_connection()[0]
    assert [request.endpoint for request in retell_simulator.requests] == ["get-api-key-info", "get-concurrency"]


def test_the_connection_ends_with_the_test(pytester: pytest.Pytester) -> None:
    """The next test has the environment it had, and tasks of it wait by the machine's clock."""
    pytester.makepyfile(
        """
        import os, time
        from airflow_provider_retell._clock import CLOCK
        def test_first(retell_simulator):
            assert "AIRFLOW_CONN_RETELL_DEFAULT" in os.environ
            CLOCK.sleep(5000)
        def test_second():
            assert "AIRFLOW_CONN_RETELL_DEFAULT" not in os.environ
            assert abs(CLOCK.now() - time.time()) < 60
        """
    )
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)


class TestChosenDay:
    """A module that defines ``retell_clock`` chooses when its tests take place."""

    SUNDAY = datetime(2026, 7, 5, 12, tzinfo=UTC)

    @pytest.fixture
    def retell_clock(self) -> ManualClock:
        """A Sunday, two and a half days ahead of the hours of the tests."""
        return ManualClock(self.SUNDAY.timestamp())

    @pytest.mark.parametrize("deferrable", [False, True])
    def test_a_call_waits_for_the_calling_hours(
        self, retell_simulator: Simulator, retell_clock: ManualClock, deferrable: bool
    ) -> None:
        """The hours are read off that clock, and so are the times of the calls."""
        hours = CallingHours("09:00", "17:00", days="tue", time_zone="UTC")
        run_task(create(calling_hours=hours, deferrable=deferrable))
        (call,) = map(retell_simulator.call, retell_simulator.calls)
        opened = datetime(2026, 7, 7, 9, tzinfo=UTC).timestamp()
        assert opened < call["start_timestamp"] / 1000 < opened + 60
        assert opened < retell_clock() < opened + 3600


def test_a_replaced_clock_is_the_clock_of_all_that_is_there() -> None:
    """Objects made before, other threads and an event loop have it too, until the block ends, however it ends."""
    outer, inner = SteppingClock(ManualClock(1000)), SteppingClock(ManualClock(2000))
    rate = RequestRate(1)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(CLOCK.now).result()  # the thread is there
        with clock_replaced_by(outer):
            with suppress(ZeroDivisionError), clock_replaced_by(inner):
                assert pool.submit(CLOCK.now).result() == 2000
                rate.wait()
                rate.wait()
                asyncio.run(CLOCK.asleep(5))
                inner.sleep(1 / 0)
            assert (CLOCK.now(), CLOCK.monotonic(), CLOCK.boottime()) == (1000, 1000, 1000)
    assert (inner.slept, outer.slept) == ([1, 5], [])
    assert abs(CLOCK.now() - real_time.time()) < 60


@pytest.mark.parametrize("deferrable", [False, True])
def test_an_operator_waits_without_waiting(retell_simulator: Simulator, deferrable: bool) -> None:
    """The defaults of half a minute between polls cost a test nothing."""
    assert run_task(create(deferrable=deferrable))["outcome"] == "answered"


@pytest.mark.parametrize(
    "how",
    [{}, {"mode": "reschedule"}, {"deferrable": True}, {"wait_for": "analyzed"}, {"exponential_backoff": True}],
)
def test_a_sensor_waits_without_waiting(retell_simulator: Simulator, how: dict[str, Any]) -> None:
    """A sensor waits in each mode without real time passing."""
    call = run_task(lambda: RetellRegisterPhoneCallOperator(task_id="register", agent_id="agent_1"))
    row = run_task(lambda: RetellCallSensor(task_id="wait", call_id=call, **how))
    assert (call["outcome"], row["outcome"]) == (None, "answered")


@pytest.mark.parametrize("how", [{}, {"mode": "reschedule"}, {"deferrable": True}])
@pytest.mark.parametrize(("soft_fail", "ends"), [(False, AirflowSensorTimeout), (True, AirflowSkipException)])
def test_a_sensor_times_out_without_waiting(
    retell_simulator: Simulator, how: dict[str, Any], soft_fail: bool, ends: type[Exception]
) -> None:
    """A call that never ends does not keep the test for hours; the time-out means what it means in Airflow."""
    retell_simulator.play(ADA, "talks_forever")
    call = run_task(create(wait_for=None))
    with pytest.raises(ends):
        run_task(lambda: RetellCallSensor(task_id="w", call_id=call, timeout=900, soft_fail=soft_fail, **how))


@pytest.mark.parametrize("deferrable", [False, True])
def test_an_operator_times_out_without_waiting(retell_simulator: Simulator, deferrable: bool) -> None:
    """Three hours are over at once."""
    retell_simulator.play(ADA, "talks_forever")
    with pytest.raises(RetellCallTimeoutError):
        run_task(create(deferrable=deferrable))


def test_a_call_that_is_not_waited_for_is_not_over(retell_simulator: Simulator) -> None:
    """A DAG that reads the outcome too early fails in the test as it would at night."""
    assert run_task(create(wait_for=None))["call_status"] == "registered"


def test_a_number_plays_its_scenarios(retell_simulator: Simulator) -> None:
    """One scenario after the other, then the last again and again; other numbers are not concerned."""
    retell_simulator.play(ADA, "dial_busy", SCENARIOS["dial_no_answer"])
    outcomes = [run_task(create(durable=False), TaskInstance(max_tries=n))["outcome"] for n in range(3)]
    assert outcomes == ["busy", "no_answer", "no_answer"]
    assert run_task(create(to_number=GRACE), TaskInstance(max_tries=3))["outcome"] == "answered"


@pytest.mark.parametrize("scenarios", [(), ("busy",)])
def test_a_scenario_that_there_is_not_is_an_error(retell_simulator: Simulator, scenarios: tuple[str, ...]) -> None:
    """The message lists the scenarios."""
    with pytest.raises(ValueError, match="scenario"):
        retell_simulator.play(ADA, *scenarios)


def test_the_calls_that_were_placed_are_listed(retell_simulator: Simulator) -> None:
    """In the order in which they were placed, registered ones and created ones."""
    run_task(create())
    run_task(lambda: RetellRegisterPhoneCallOperator(task_id="r", agent_id="agent_1", to_number=GRACE))
    run_task(lambda: RetellRegisterPhoneCallOperator(task_id="r2", agent_id="agent_1"))
    assert [call.to_number for call in retell_simulator.calls.values()] == [ADA, GRACE, None]


def test_more_calls_go_on_at_once_than_an_account_has(retell_simulator: Simulator) -> None:
    """Time stands still while calls are placed: a list of people must not run into the account's limit."""
    hook = RetellHook()
    for _ in range(30):
        hook.create_phone_call({"from_number": "+14155550199", "to_number": ADA})
    assert len(retell_simulator.placed) == 30


def test_trouble_is_over_at_once(retell_simulator: Simulator) -> None:
    """Pauses before repeated requests cost a test nothing, whatever Retry-After asks for."""
    retell_simulator.fail(Fault(endpoint="create-phone-call", answer=429, retry_after=60, times=3))
    assert run_task(create())["outcome"] == "answered"


def test_other_connections_are_left_alone(retell_simulator: Simulator) -> None:
    """Only the default is set; another is one line of the user's own."""
    assert [name for name in os.environ if name.startswith("AIRFLOW_CONN_")] == ["AIRFLOW_CONN_RETELL_DEFAULT"]


def test_the_plugin_is_found_and_costs_nothing(pytester: pytest.Pytester) -> None:
    """Installing the package is enough; tests that do not use the plugin load nothing heavy."""
    pytester.makepyfile(
        """
        import sys
        def test_nothing_is_loaded():
            assert "airflow_provider_retell.testing" in sys.modules
            assert not {"airflow", "httpx", "pydantic", "airflow_provider_retell.simulator"} & set(sys.modules)
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
    pytester.runpytest_subprocess("--fixtures").stdout.fnmatch_lines(["retell_simulator*"])


def blocks(page: str) -> list[str]:
    """Return the Python blocks of a page."""
    return re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)


def test_the_page_on_testing_works(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of the page, saved as it says, pass under pytest; the test of the DAG has five lines."""
    tested, conftest, chosen, scripted = blocks("testing.md")
    assert len(tested[tested.index("def ") :].splitlines()) == 5
    dag = blocks("quickstart.md")[0].replace("range(201, 301)", "range(201, 203)")
    if AIRFLOW_2:
        dag = dag.replace("from airflow.sdk import", "from airflow.decorators import")
    pytester.mkdir("dags").joinpath("call_a_hundred.py").write_text(dag)
    tests = pytester.mkdir("tests")
    (tests / "conftest.py").write_text(conftest)
    (tests / "test_call_a_hundred.py").write_text(tested)
    (tests / "test_scripted.py").write_text(scripted)
    (tests / "test_chosen.py").write_text(chosen)
    for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
        monkeypatch.delenv(name)
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "tests").assert_outcomes(passed=3)
