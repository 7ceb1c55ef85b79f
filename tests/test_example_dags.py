"""Run each example DAG unchanged, with ``dag.test()`` against the simulator."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import AIRFLOW_2, DAGS
from sqlalchemy import select

from airflow_provider_retell.files.manifest import MANIFEST
from airflow_provider_retell.simulator import SCENARIOS, RealClock, Simulator

EXAMPLES = sorted((Path(__file__).parent.parent / "example_dags").glob("*.py"))


@pytest.fixture(scope="module")
def dags(database: None) -> None:
    """Give Airflow its tables, and the examples as its DAGs."""
    for example in EXAMPLES:
        shutil.copy(example, DAGS)


@pytest.fixture
def simulator() -> Simulator:
    """A Retell where half a minute is a second."""
    return Simulator(clock=RealClock(speed=30))


@pytest.fixture
def run(
    dags: None, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., SimpleNamespace]]:
    """Run an example, and return its state and what its tasks returned."""
    with simulator.serve() as url:
        monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", simulator.connection(url))

        def run(example: str, *, logical_date: datetime | None = None, **conf: Any) -> SimpleNamespace:
            spec = importlib.util.spec_from_file_location(example, DAGS / f"{example}.py")
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            date = "execution_date" if AIRFLOW_2 else "logical_date"
            dag_run = module.dag.test(run_conf=conf, **({date: logical_date} if logical_date else {}))
            states = {ti.task_id: str(ti.state) for ti in dag_run.get_task_instances()}
            return SimpleNamespace(state=str(dag_run.state), states=states, result=_results(dag_run))

        yield run


def _results(dag_run: Any) -> Callable[[str], Any]:
    from airflow.models import xcom  # noqa: PLC0415 (Airflow's home is set in conftest)
    from airflow.utils.session import create_session  # noqa: PLC0415

    model = xcom.XCom if AIRFLOW_2 else xcom.XComModel

    def result(task_id: str) -> Any:
        with create_session() as session:
            query = select(model).where(
                model.dag_id == dag_run.dag_id,
                model.run_id == dag_run.run_id,
                model.task_id == task_id,
                model.key == "return_value",
            )
            return [row.value for row in session.scalars(query)]

    return result


def test_a_single_call_takes_its_params(run: Callable[..., SimpleNamespace], simulator: Simulator) -> None:
    """The number and name of the form reach the request; the sensor hands on the finished call."""
    done = run("single_call", to_number=SCENARIOS["dial_busy"].number, name="Grace")
    sent = simulator.requests[0].json
    assert (sent["to_number"], sent["retell_llm_dynamic_variables"]) == (
        SCENARIOS["dial_busy"].number,
        {"name": "Grace"},
    )
    assert done.state == "success"
    assert done.result("wait")[0]["outcome"] == "busy"


def test_a_list_of_people_is_called_and_reported(
    run: Callable[..., SimpleNamespace], simulator: Simulator
) -> None:
    """One mapped task a person, one sensor for all, and a report of the outcomes."""
    done = run("call_list")
    assert done.state == "success"
    assert len(simulator.calls) == 4
    assert done.result("report") == [{"answered": 1, "voicemail": 1, "no_answer": 1, "technical": 1}]


def test_a_call_ends_up_in_a_table(
    run: Callable[..., SimpleNamespace], simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call becomes a row of a database table, with the conversation and Retell's analysis."""
    path = tmp_path / "calls.db"
    monkeypatch.setenv("AIRFLOW_CONN_SQLITE_DEFAULT", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    assert run("call_to_table").state == "success"
    with sqlite3.connect(path) as database:
        ((call_id, outcome, seconds, summary, sentiment, said),) = database.execute("SELECT * FROM calls")
    assert call_id in simulator.calls
    assert (outcome, seconds, sentiment) == ("answered", 20.0, "Positive")
    assert summary
    assert said.startswith("Oh yes, thank you.")


# Airflow's own relation warns so when a run goes on with a DAG that was stored in two versions.
@pytest.mark.filterwarnings("ignore:Multiple rows returned with uselist=False:sqlalchemy.exc.SAWarning")
def test_appointments_are_confirmed_by_ten_people_and_then_the_rest(
    run: Callable[..., SimpleNamespace], simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run calls ten people of the table; without the limit the same run calls those who are left."""
    path = tmp_path / "appointments.db"
    monkeypatch.setenv("AIRFLOW_CONN_SQLITE_DEFAULT", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    monkeypatch.setenv("RETELL_CAMPAIGNS", str(tmp_path))
    due = datetime.now(UTC)
    numbers = [f"+12065550{151 + n}" for n in range(14)]
    for number in numbers:
        simulator.play(number, "agent_hangup")
    simulator.play(numbers[3], "voicemail_reached")
    for limit, called in (("10", 10), ("None", 14)):
        monkeypatch.setenv("AIRFLOW_VAR_RETELL_LIMIT", limit)
        assert run("campaign", logical_date=due).state == "success"
        assert Counter(call.to_number for call in simulator.placed) == Counter(numbers[:called])
        with sqlite3.connect(path) as database:
            outcomes = [row[0] for row in database.execute("SELECT outcome FROM appointments ORDER BY id")]
        assert outcomes == [("voicemail" if n == 3 else "answered") if n < called else None for n in range(14)]
    assert simulator.placed[0].request["retell_llm_dynamic_variables"] == {"name": "Ada 151", "at": "10:30"}


@pytest.mark.parametrize(
    ("scenario", "follows"),
    [
        ("user_hangup", "thank_them"),
        ("voicemail_reached", "send_a_message"),
        ("dial_no_answer", "try_tomorrow"),
        ("error_retell", "look_into_it"),
    ],
)
def test_the_outcome_chooses_what_follows(
    run: Callable[..., SimpleNamespace], scenario: str, follows: str
) -> None:
    """One branch runs, the others are skipped."""
    done = run("branch_on_outcome", to_number=SCENARIOS[scenario].number)
    assert done.state == "success"
    assert {task for task, state in done.states.items() if state == "success"} == {"call", "choose", follows}


def test_finished_calls_are_announced(run: Callable[..., SimpleNamespace]) -> None:
    """Each call that is over makes an event, with its id and outcome, of the asset that its outcome names."""
    AssetEvent = pytest.importorskip("airflow.models.asset").AssetEvent  # noqa: N806 (Airflow 2 has another)
    from airflow.utils.session import create_session  # noqa: PLC0415 (Airflow's home is set in conftest)

    done = run("calls_then_analysis")
    assert done.state == "success"
    outcomes = {row["call_id"]: row["outcome"] for row in done.result("wait")[0]}
    assert sorted(outcomes.values()) == ["answered", "no_answer", "voicemail"]
    with create_session() as session:
        events = [(event.uri, event.extra) for event in session.query(AssetEvent).order_by(AssetEvent.id)]
    assert sorted(uri for uri, _ in events) == sorted(
        f"retell://retell_default/calls/{o}" for o in outcomes.values()
    )
    assert {extra["call_id"]: extra["outcome"] for _, extra in events} == outcomes


def test_a_night_is_exported_summarised_and_drawn(
    run: Callable[..., SimpleNamespace], simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three thousand seeded calls, those of yesterday are in a file, in the summary, and in a picture."""
    for library in ("duckdb", "matplotlib", "pyarrow"):
        pytest.importorskip(library)
    simulator.seed(3000)
    monkeypatch.setenv("RETELL_EXPORTS", str(tmp_path))
    done = run("nightly_export")
    assert done.state == "success"
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    began = [call.connected_at for call in simulator.calls.values()]
    calls = sum(midnight - 86400 <= moment < midnight for moment in began)
    assert calls > 500
    (exported,), (rows,) = (done.result(task) for task in ("export", "summarise"))
    assert exported["calls"] == calls == sum(row[2] for row in rows)
    assert round(exported["cost_cents"]) == round(100 * sum(row[4] for row in rows))
    folder = tmp_path / f"{datetime.fromtimestamp(midnight - 1, UTC):%Y-%m-%d}"
    assert {path.name for path in folder.iterdir()} == {MANIFEST, "calls-00000.parquet", "outcomes.png"}
    assert (folder / "outcomes.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_read_in_one_sitting(example: Path) -> None:
    """An example has fewer than 60 lines, and a row in the table of the README."""
    assert len(example.read_text().splitlines()) < 60
    assert f"]({example.name})" in (example.parent / "README.md").read_text()
