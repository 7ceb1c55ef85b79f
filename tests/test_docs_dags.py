"""Test that the DAGs on the pages do what the pages say, by running them against the simulator."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from conftest import DAGS
from test_docs import PAGES, blocks, section, table

from airflow_provider_retell.notifications import RetellPhoneCallNotifier
from airflow_provider_retell.simulator import Fault, RealClock, Simulator

QUICKSTART, HTTP, RECIPES = (PAGES[f"docs/{name}.md"] for name in ("quickstart", "http-operator", "recipes"))
pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def saved(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Any]]:
    """Save a DAG where Airflow finds it again, and return it."""
    path = DAGS / f"{re.sub(r'[^a-z]', '_', request.node.name)}.py"

    def save(code: str) -> Any:
        path.write_text(code)
        (dag,) = DagBag(DAGS, collect_dags=False).process_file(str(path))
        return dag

    yield save
    path.unlink()


def dag_of(page: str, heading: str, number: int = 0) -> str:
    """Return a DAG that stands below a heading."""
    return blocks(section(page, heading), "python")[number]


def dag_after() -> str:
    """Return the DAG that replaces the one with HTTP operators: the quickstart's."""
    return dag_of(QUICKSTART, "Write the DAG")


def lines_of_code(code: str) -> int:
    """Return how many lines are neither blank nor a comment."""
    return sum(1 for line in code.splitlines() if line.strip() and not line.strip().startswith("#"))


def states(run: Any) -> list[tuple[str, str]]:
    """Return the tasks of a run, mapped ones as often as there are of them, with their states."""
    return sorted((ti.task_id, str(ti.state)) for ti in run.get_task_instances())


def result(run: Any, task_id: str) -> Any:
    """Return what a task returned."""
    with create_session() as session:
        key = {"run_id": run.run_id, "dag_ids": run.dag_id, "task_ids": task_id, "key": "return_value"}
        (value,) = (row.value for row in session.scalars(XComModel.get_many(**key)))
    return json.loads(value) if isinstance(value, str) else value


# -- policy.md -----------------------------------------------------------------------------------------------


def test_appointments_are_confirmed_in_25_lines(saved: Callable[[str], Any], retell_simulator: Simulator) -> None:
    """Once for each, with two more calls if nobody picks up, however often the DAG runs (here at any hour)."""
    code = dag_of(PAGES["docs/policy.md"], "Call again in the same task")
    assert lines_of_code(code) <= 25
    for asked, here in (('"09:00", "20:00"', '"00:00", "24:00"'), ("timedelta(hours=2)", "timedelta(0)")):
        assert asked in code
        code = code.replace(asked, here)
    retell_simulator.play("+12125550155", "dial_no_answer", "dial_busy", "user_hangup")
    retell_simulator.play("+14155550156", "voicemail_reached")
    dag = saved(code)
    for _ in range(2):
        run = dag.test()
        assert states(run) == [
            ("appointments", "success"),
            ("call", "success"),
            ("call", "success"),
            ("write_back", "success"),
        ]
        assert result(run, "write_back") == {"17": "answered", "18": "voicemail"}
    assert len(retell_simulator.calls) == 4


# -- quickstart.md and http-operator.md ----------------------------------------------------------------------


def test_a_hundred_people_are_called_in_twenty_lines(
    saved: Callable[[str], Any], retell_simulator: Simulator
) -> None:
    """Call 100 people, wait, load: the DAG of the quickstart has 20 lines at most, and does it (here with ten)."""
    code = dag_of(QUICKSTART, "Write the DAG")
    assert "for area in range(201, 301)]" in code
    assert lines_of_code(code) <= 20
    assert f"in {lines_of_code(code)} lines" in PAGES["README.md"]
    run = saved(code.replace("range(201, 301)", "range(201, 211)")).test()
    assert states(run) == [
        *[("call", "success")] * 10,
        ("load", "success"),
        ("people", "success"),
        ("wait", "success"),
    ]
    rows = result(run, "wait")
    assert [row["to_number"] for row in rows] == [f"+1{area}5550100" for area in range(201, 211)]
    assert {row["call_id"] for row in rows} == set(retell_simulator.calls)
    assert {row["outcome"] for row in rows} == {"answered"}


DAGS_COMPARED = [("Before", 1, partial(dag_of, HTTP, "Before")), ("After", 2, dag_after)]


@pytest.mark.parametrize(("heading", "code"), [(heading, code) for heading, _, code in DAGS_COMPARED])
def test_the_lines_of_the_comparison_are_counted(heading: str, code: Callable[[], str]) -> None:
    """The page says how many lines either DAG has, and the count is right."""
    said = re.search(r"^(\d+) lines", section(HTTP, heading), re.MULTILINE)
    assert said
    assert int(said[1]) == lines_of_code(code())


@pytest.mark.filterwarnings("ignore:The `airflow.utils.operator_helpers.determine_kwargs`")  # HttpSensor's own
@pytest.mark.parametrize(("column", "code"), [(column, code) for _, column, code in DAGS_COMPARED])
def test_both_dags_of_the_comparison_do_the_same(
    saved: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, column: int, code: Callable[[], str]
) -> None:
    """Five people instead of a hundred: each is called, waited for and loaded; the tasks are as many as said."""
    simulator = Simulator(clock=RealClock(speed=100_000), concurrency_limit=100)
    with simulator.serve() as url:
        header = {"Authorization": f"Bearer {simulator.api_key}"}
        http = {"conn_type": "http", "host": url, "extra": header}
        monkeypatch.setenv("AIRFLOW_CONN_RETELL_HTTP", json.dumps(http))
        monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", simulator.connection(url))
        run = saved(code().replace("range(201, 301)", "range(201, 206)")).test()
    assert run.state == "success"
    assert len(simulator.placed) == 5
    mapped = Counter(task_id for task_id, _ in states(run))
    assert set(mapped.values()) == {1, 5}
    (said,) = (line[column] for line in table(HTTP, "what") if line[0] == "tasks for 100 people")
    assert int(said) == sum(100 if times == 5 else 1 for times in mapped.values())


# -- recipes.md ----------------------------------------------------------------------------------------------


def test_a_dry_run_sends_nothing(
    saved: Callable[[str], Any], retell_simulator: Simulator, capfd: pytest.CaptureFixture[str]
) -> None:
    """The log has the line of the page, the rows are as shown, and the sensor returns them."""
    recipe = section(RECIPES, "Try a DAG without sending anything")
    code, dry_run = blocks(PAGES["README.md"], "python")[0], 'default_args={"dry_run": True})'
    assert f"@dag(schedule=None, {dry_run}" in recipe
    assert code.count("@dag(schedule=None)") == 1
    run = saved(code.replace("@dag(schedule=None)", f"@dag(schedule=None, {dry_run}")).test()
    assert run.state == "success"
    assert retell_simulator.requests == []
    (line,) = blocks(recipe, "text")
    assert line.strip() in capfd.readouterr().out
    (row,) = blocks(recipe, "json")
    assert result(run, "wait")[0] == json.loads(row)


def test_everybody_has_a_row_reached_or_not(saved: Callable[[str], Any], retell_simulator: Simulator) -> None:
    """Two of three are called three times in vain: their tasks fail, and the sensor returns three rows."""
    code = dag_of(RECIPES, "A row for each person, reached or not")
    run = saved(code.replace("hours=1", "seconds=0")).test()
    assert states(run) == [
        ("call", "failed"),
        ("call", "failed"),
        ("call", "success"),
        ("last_calls", "success"),
        ("load", "success"),
        ("people", "success"),
    ]
    called = Counter(call.to_number for call in retell_simulator.placed)
    assert called == {"+14155550100": 1, "+14155550120": 3, "+14155550121": 3}
    rows = result(run, "last_calls")
    assert [(row["to_number"], row["outcome"]) for row in rows] == [
        ("+14155550100", "answered"),
        ("+14155550120", "no_answer"),
        ("+14155550121", "busy"),
    ]
    last = [[call for call in retell_simulator.placed if call.to_number == row["to_number"]][-1] for row in rows]
    assert [row["call_id"] for row in rows] == [call.call_id for call in last]


@contextmanager
def telephony(dial: Callable[[dict[str, str]], None]) -> Iterator[str]:
    """Answer on a socket as a user's telephony would."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            dial(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_registered_calls_are_dialed_by_one_s_own_telephony(
    saved: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each person is connected with the call that was registered for them, and all calls come to their end."""
    dialed: list[tuple[str, str]] = []

    def dial(asked: dict[str, str]) -> None:
        (call_id,) = re.findall(r"^sip:(\w+)@sip\.retellai\.com$", asked["connect_to"])
        dialed.append((asked["to"], str(simulator.calls[call_id].to_number)))

    simulator = Simulator(clock=RealClock(speed=50))
    with simulator.serve() as url, telephony(dial) as exchange:
        monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", simulator.connection(url))
        monkeypatch.setenv("AIRFLOW_CONN_TELEPHONY", json.dumps({"conn_type": "http", "host": exchange}))
        run = saved(dag_of(RECIPES, "Call through your own telephony")).test()
    assert run.state == "success"
    assert sorted(dialed) == [(number, number) for number in ("+14155550100", "+14155550110")]
    assert len(states(run)) == 1 + 2 * 3


@pytest.mark.parametrize(
    ("fault", "printed"),
    [
        (None, r"For the owner of the calls: call_\w+ 1 of 1 call ended as listed in fail_on: .*error_retell"),
        (Fault(endpoint="create-phone-call", answer=402), "For the account owner: POST .*: 402 "),
        (Fault(endpoint="create-phone-call", answer=400), "For the DAG author: POST .*: 400 "),
    ],
)
def test_a_callback_names_who_must_act(
    saved: Callable[[str], Any],
    retell_simulator: Simulator,
    capfd: pytest.CaptureFixture[str],
    fault: Fault | None,
    printed: str,
) -> None:
    """The callback on the page gets the error, and names the person who must act."""
    if fault:
        retell_simulator.fail(fault)
    run = saved(dag_of(RECIPES, "Alert when a task fails")).test()
    assert run.state == "failed"
    assert re.search(printed, capfd.readouterr().out)


def test_a_phone_rings_when_a_task_fails(saved: Callable[[str], Any], retell_simulator: Simulator) -> None:
    """The notifier of the page calls both numbers, and says which task failed and why."""
    for number in (numbers := ("+12065550100", "+12065550101")):
        retell_simulator.play(number, "agent_hangup")
    run = saved(dag_of(RECIPES, "Ring a phone when a task fails")).test()
    assert states(run) == [("load", "failed")]
    spoken = {call.to_number: call.request["retell_llm_dynamic_variables"] for call in retell_simulator.placed}
    message = "The task load of load_orders failed: no rows"
    assert spoken == {number: {"message": message} for number in numbers}


def test_a_phone_rings_when_a_deadline_is_missed(saved: Callable[[str], Any], retell_simulator: Simulator) -> None:
    """The notifier in the page's DAG rings, with the context that Airflow has of the run."""
    retell_simulator.play("+12065550100", "agent_hangup")
    dag = saved(dag_of(RECIPES, "Ring a phone when a task fails", number=1))
    # Not dag.test(): that of Airflow 3.3 cannot make a run of a DAG with a deadline.
    deadlines = dag.deadline if isinstance(dag.deadline, list) else [dag.deadline]
    (callback,) = (deadline.callback for deadline in deadlines)
    assert callback.path == "airflow_provider_retell.notifications.RetellPhoneCallNotifier"
    run = {"dag_id": dag.dag_id, "dag_run_id": "run", "run_type": "scheduled"}
    RetellPhoneCallNotifier(**callback.kwargs)({"dag_run": run, "deadline": {"id": "0199"}})
    (call,) = retell_simulator.placed
    message = "load_orders_in_time is not done after an hour."
    assert call.request["retell_llm_dynamic_variables"] == {"message": message}
