"""The campaign operator: people in, counts and files out, through kills, retries, clears and deferrals."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from conftest import FROM, SteppingClock, Store, TaskInstance, fire, run_task

from airflow_provider_retell.errors import RetellCallError, RetellCallFinalError, RetellInputError
from airflow_provider_retell.operators import RetellCampaignOperator
from airflow_provider_retell.operators.campaign_process import Beginning, Process, first_began
from airflow_provider_retell.policy import AttemptLimit, CallingHours, Redial
from airflow_provider_retell.provider.deferral import Wake, WakeEvent
from airflow_provider_retell.simulator import Fault, Simulator

pytestmark = pytest.mark.usefixtures("connect")


def people(count: int = 4) -> list[dict[str, Any]]:
    return [
        {"to_number": f"+1206555{100 + n:04d}", "retell_llm_dynamic_variables": {"name": "Ada"}}
        for n in range(count)
    ]


@pytest.fixture(autouse=True)
def _plain_calls(simulator: Simulator) -> None:
    """Let every number answer, even those that stand for a scenario."""
    for each in people(20):
        simulator.play(each["to_number"], "agent_hangup")


def operator(**arguments: Any) -> RetellCampaignOperator:
    given = {"task_id": "call", "from_number": FROM, "people": people(), "calls_per_second": 5, "lines": 3}
    return RetellCampaignOperator(**{**given, **arguments})


class KilledTaskInstance(TaskInstance):
    """A task that is killed when it reports for the first time."""

    killed: Callable[[], None]

    def xcom_push(self, key: str, value: Any) -> None:
        self.killed()


def test_everybody_is_called_and_the_result_is_small(simulator: Simulator, clock: SteppingClock) -> None:
    """The result has the counts of the contract, and without a path the rows, without variables."""
    ti = TaskInstance()
    result = operator().execute(ti.context())
    assert sorted(call.request["to_number"] for call in simulator.placed) == [p["to_number"] for p in people()]
    rows = result.pop("rows")
    assert result == {
        "people": 4,
        "reached": 4,
        "outcomes": {"answered": 4},
        "attempts": 4,
        "refused": {},
        "not_called": 0,
        "talk_seconds": 80,
        "cost_cents": result["cost_cents"],
        "paths": [],
    }
    assert result["cost_cents"] > 0
    assert [row["outcome"] for row in rows] == ["answered"] * 4
    assert "Ada" not in json.dumps([rows, ti.xcoms])
    assert ti.xcoms["progress"]["done"] == 4


def test_rendered_fields_show_how_many_and_no_person(simulator: Simulator, clock: SteppingClock) -> None:
    """Airflow stores rendered fields: of people and numbers they hold the count, and the task still calls them."""
    task = operator(do_not_call=[people()[0]["to_number"]], until="{{ '2999-01-01' }}")
    ti = TaskInstance()
    task.render_template_fields(ti.context())
    assert (task.people, task.do_not_call, task.until) == ("4 given", "1 given", "2999-01-01")
    assert task.execute(ti.context())["refused"] == {"do_not_call": 1}
    assert len(simulator.placed) == 3


def test_the_results_are_files(simulator: Simulator, clock: SteppingClock, tmp_path: Path) -> None:
    """``people-*`` has a row for each person in order, ``attempts-*`` one for each attempt and each refusal."""
    given = [*people(3), {"to_number": "12"}]
    result = operator(people=given, path=str(tmp_path / "out")).execute(TaskInstance().context())
    assert len(result["paths"]) == 2
    rows = {
        path.name[:6]: list(map(json.loads, path.read_text().splitlines()))
        for path in (tmp_path / "out").glob("*.jsonl")
    }
    assert [row["to_number"] for row in rows["people"]] == [row["to_number"] for row in given]
    assert [row["refused"] for row in rows["people"]] == [None, None, None, "bad_number"]
    assert len(rows["attemp"]) == 4
    assert result["refused"] == {"bad_number": 1}


def test_a_retry_and_a_clear_call_no_person_again(
    simulator: Simulator, clock: SteppingClock, tmp_path: Path
) -> None:
    """Another try finds who was called, with or without the list."""
    path = str(tmp_path / "out")
    first = operator(path=path).execute(TaskInstance().context())
    again = operator(path=path).execute(TaskInstance(try_number=2, max_tries=3).context())
    for call_id in simulator.calls:
        simulator.delete(call_id)
    third = operator(path=path).execute(TaskInstance(try_number=3, max_tries=3).context())
    assert not simulator.placed
    assert first["outcomes"] == again["outcomes"] == third["outcomes"] == {"answered": 4}


def test_a_list_from_a_file(simulator: Simulator, clock: SteppingClock, tmp_path: Path) -> None:
    """Columns of other names are dynamic variables."""
    source = tmp_path / "people.csv"
    source.write_text("to_number,name\n+12065550100,Ada\n+12065550101,Grace\n")
    operator(people=str(source)).execute(TaskInstance().context())
    spoken = {
        call.request["to_number"]: call.request["retell_llm_dynamic_variables"]["name"]
        for call in simulator.placed
    }
    assert spoken == {"+12065550100": "Ada", "+12065550101": "Grace"}


def test_checks_of_each_person(simulator: Simulator, clock: SteppingClock) -> None:
    """People who are on the list or not eligible are refused with the reason; the others are called."""
    numbers = [each["to_number"] for each in people()]
    seen: list[Any] = []

    def eligible(person: Any) -> bool | str:
        seen.append((person["attempts"], person["last_outcome"]))
        return "paid already" if person["to_number"] == numbers[1] else True

    task = operator(
        do_not_call=[numbers[0]],
        eligible=eligible,
        calling_hours=CallingHours("00:00", "24:00", time_zone="UTC"),
    )
    result = task.execute(TaskInstance().context())
    assert result["refused"] == {"do_not_call": 1, "not_eligible": 1}
    assert sorted(call.request["to_number"] for call in simulator.placed) == numbers[2:]
    assert set(seen) == {(0, None)}


@pytest.mark.parametrize("with_path", [True, False])
def test_a_redial_is_waited_for(
    simulator: Simulator, clock: SteppingClock, tmp_path: Path, *, with_path: bool
) -> None:
    """Ten minutes are spent without a worker if files say when a call ended, else on it; the redial comes once."""
    shy = people()[0]["to_number"]
    simulator.play(shy, "dial_no_answer", "agent_hangup")
    rules = [Redial("no_answer", after=timedelta(minutes=10), times=1)]
    path = str(tmp_path / "out") if with_path else None
    began, looks = clock.now(), []

    def make() -> RetellCampaignOperator:
        looks.append(clock.now())
        return operator(deferrable=True, redial=rules, path=path)

    result = run_task(make, clock=clock)
    assert result["outcomes"] == {"answered": 4}
    assert result["attempts"] == 5
    assert 600 <= clock.now() - began < 1200
    assert (len(looks) > 2) is with_path


def test_hours_that_are_shut_are_waited_for_without_a_worker(simulator: Simulator, clock: SteppingClock) -> None:
    """Outside the hours the task defers until they open, and places nothing."""
    opens = datetime.fromtimestamp(clock.now() + 3 * 3600, UTC)
    closes = opens + timedelta(hours=2)
    hours = CallingHours(f"{opens:%H:%M}", f"{closes:%H:%M}", time_zone="UTC")
    with pytest.raises(TaskDeferred) as deferral:
        operator(deferrable=True, calling_hours=hours).execute(TaskInstance().context())
    assert not simulator.placed
    fire(deferral.value.trigger, clock)
    assert clock.now() >= opens.timestamp() - 60


def test_a_kill_leaves_live_calls_or_stops_them(simulator: Simulator, clock: SteppingClock) -> None:
    """``cancel_on_kill`` decides; nothing is placed after the kill either way."""
    for stops in (False, True):
        task = operator(cancel_on_kill=stops, lines=2, calls_per_second=1)
        ti = KilledTaskInstance()
        ti.run_id = f"run {stops}"
        for each in people():
            simulator.play(each["to_number"], "talks_forever")
        before = len(simulator.placed)
        ti.killed = task.on_kill
        with pytest.raises(RetellCallError, match="killed"):
            task.execute(ti.context(task_state_store=Store()))
        placed = simulator.placed[before:]
        assert len(placed) == 2
        assert all(bool(call.stops) is stops for call in placed)


def test_trouble_of_the_account_fails_the_task_for_good(simulator: Simulator, clock: SteppingClock) -> None:
    """Airflow does not retry it; a clear goes on with everybody."""
    simulator.fail(Fault(endpoint="create-phone-call", answer=402, times=None))
    with pytest.raises(RetellCallFinalError, match="402"):
        operator().execute(TaskInstance().context())
    simulator.recover()
    assert operator().execute(TaskInstance(try_number=2).context())["outcomes"] == {"answered": 4}


def test_until_and_limit(simulator: Simulator, clock: SteppingClock, caplog: pytest.LogCaptureFixture) -> None:
    """An ``until`` that is past places nothing, and succeeds; ``limit`` calls so many people."""
    past = datetime.fromtimestamp(clock.now() - 1, UTC)
    assert operator(until=past.isoformat()).execute(TaskInstance().context())["not_called"] == 4
    assert "until is past" in caplog.text
    assert not simulator.placed
    assert operator(limit="1").execute(TaskInstance().context())["attempts"] == 1


def test_many_people_need_a_path(simulator: Simulator, clock: SteppingClock) -> None:
    """Rows of more than a thousand people do not go through XCom; without files, a day is the longest memory."""
    many = [{"to_number": f"+1206{5550000 + n}"} for n in range(1001)]
    with pytest.raises(RetellInputError, match="path must be given"):
        operator(people=many).execute(TaskInstance().context())
    store = Store()
    operator().execute(TaskInstance().context(task_state_store=store))
    clock.sleep(25 * 3600)
    with pytest.raises(RetellInputError, match="24 hours"):
        operator().execute(TaskInstance(try_number=2).context(task_state_store=store))


@pytest.mark.parametrize("field", ["path", "until"])
@pytest.mark.parametrize("given", ["", "None", " "])
def test_an_argument_that_arrives_empty_is_not_left_out(
    simulator: Simulator, clock: SteppingClock, field: str, given: str
) -> None:
    """Other campaigns would know nothing of these calls, or people be called at any time."""
    with pytest.raises(RetellInputError, match=f"{field} .*Nothing was sent"):
        operator(**{field: given}).execute(TaskInstance().context())
    assert not simulator.requests


NOW, BEGAN, DUE = 1_000_000.0, 950_000.0, 900_000.0
FORGOTTEN = WakeEvent.from_airflow({"error": "Trigger timeout"}, now=NOW)
REMEMBERED = WakeEvent(
    wake=Wake.OVER,
    deadline=NOW,
    memo={**Beginning(5.0, 4.0).memo(), "process": 3, "began": 6.0, "placed_at": 7.0},
)


def run_due(at: float) -> SimpleNamespace:
    """Return a run that was due at a time, and is run now."""
    return SimpleNamespace(run_after=datetime.fromtimestamp(at, UTC), start_date=datetime.now(UTC))


@pytest.mark.parametrize(
    ("try_number", "event", "stored", "expected"),
    [
        (1, None, None, Beginning(NOW, NOW)),
        (2, None, None, Beginning(NOW, DUE)),
        (1, FORGOTTEN, None, Beginning(BEGAN, DUE)),
        (2, FORGOTTEN, None, Beginning(NOW, DUE)),
        (1, None, {}, Beginning(NOW, NOW)),
        (2, None, {}, Beginning(NOW, DUE)),
        (1, FORGOTTEN, {}, Beginning(BEGAN, DUE)),
        (1, FORGOTTEN, {"began": 3.0, "at_earliest": 2.0}, Beginning(3.0, 2.0)),
        (2, None, {"began": 3.0}, Beginning(3.0, 3.0)),
        (2, None, {"began": 3.0, "at_earliest": 2.0}, Beginning(3.0, 2.0)),
        (1, REMEMBERED, None, Beginning(5.0, 4.0)),
        (2, REMEMBERED, {}, Beginning(5.0, 4.0)),
        (2, REMEMBERED, {"began": 3.0}, Beginning(3.0, 3.0)),
    ],
)
def test_the_beginning_of_a_campaign_is_known_or_not_before_its_run_was_due(
    try_number: int, event: WakeEvent | None, stored: dict[str, float] | None, expected: Beginning
) -> None:
    """The table of the function; the store then says the same to each later try."""
    ti = TaskInstance(try_number=try_number)
    ti.start_date = datetime.fromtimestamp(BEGAN, UTC)
    context = ti.context(dag_run=run_due(DUE))
    store = Store({} if not stored else {"retell_campaign": stored})
    if stored is not None:
        context["task_state_store"] = store
    assert first_began(context, Process.of(context, event, now=NOW), now=NOW) == expected
    if stored is not None:
        context["ti"] = TaskInstance(try_number=9)
        later = NOW + 10**6
        assert first_began(context, Process.of(context, None, now=later), now=later) == expected


@pytest.mark.parametrize(
    ("try_number", "event", "expected"),
    [
        (1, None, (0, BEGAN, -inf, False)),
        (2, None, (0, BEGAN, -inf, True)),
        (1, REMEMBERED, (3, 6.0, 7.0, True)),
        (2, REMEMBERED, (3, 6.0, 7.0, True)),
        (1, FORGOTTEN, (int(NOW), BEGAN, NOW, True)),
        (2, FORGOTTEN, (int(NOW), BEGAN, NOW, True)),
    ],
)
def test_a_process_knows_its_try_from_a_memo_or_assumes_the_worst(
    try_number: int, event: WakeEvent | None, expected: tuple[int, float, float, bool]
) -> None:
    """The table of the class: after an event of Airflow's own, calls may have been placed up to this moment."""
    ti = TaskInstance(try_number=try_number)
    ti.start_date = datetime.fromtimestamp(BEGAN, UTC)
    process = Process.of(ti.context(), event, now=NOW)
    assert (process.number, process.began, process.placed_at, process.continues) == expected
    assert process.memo(8.0) == {"process": expected[0] + 1, "began": expected[1], "placed_at": 8.0}


def test_an_event_of_airflows_own_makes_nobody_be_called_twice(simulator: Simulator, clock: SteppingClock) -> None:
    """Without a path, a day later the account may have dropped its calls: the task is back before, and stays."""
    began = clock.now()
    given = people(3)
    given[2]["not_before"] = datetime.fromtimestamp(began + 26 * 3600, UTC).isoformat()
    ti, dag_run, resumed = TaskInstance(), run_due(began), 0
    ti.start_date = datetime.fromtimestamp(began, UTC)
    context = ti.context(dag_run=dag_run)
    with pytest.raises(TaskDeferred) as deferral:
        operator(people=given, deferrable=True).execute(context)
    result, dropped = None, []
    while result is None:
        assert deferral.value.timeout is not None
        clock.sleep(deferral.value.timeout.total_seconds())
        for call_id, call in list(simulator.calls.items()):
            if clock.now() - call.created_at > 24 * 3600:
                simulator.delete(call_id)
                dropped.append(call)
        task, resumed = operator(people=given, deferrable=True), resumed + 1
        try:
            result = task.resume_execution("__fail__", {"error": "Trigger timeout"}, context)
        except TaskDeferred as again:
            deferral.value.timeout = again.timeout
    assert resumed > 2
    assert result["outcomes"] == {"answered": 3}
    called = sorted(call.request["to_number"] for call in (*dropped, *simulator.placed))
    assert called == [each["to_number"] for each in given]


def test_a_run_that_was_due_long_ago_is_as_young_as_its_first_try(
    simulator: Simulator, clock: SteppingClock
) -> None:
    """A run of last week, a path is not given: after a deferral the task knows when it began."""
    for each in people():
        simulator.play(each["to_number"], "talks_forever")
    began: list[float] = []

    def make() -> RetellCampaignOperator:
        began.append(clock.now())
        return operator(deferrable=True, lines=4, timeout=1800)

    result = run_task(make, clock=clock, dag_run=run_due(clock.now() - 2 * 86400))
    assert len(began) > 1
    assert result["outcomes"] == {"stopped": 4}


def test_an_empty_list_succeeds(clock: SteppingClock) -> None:
    """A campaign without people succeeds."""
    assert operator(people=[]).execute(TaskInstance().context())["people"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lines": 0}, "lines"),
        ({"reserved_lines": -1}, "reserved_lines"),
        ({"calls_per_second": -1}, "calls_per_second"),
        ({"attempts": AttemptLimit(1, per=timedelta(days=1))}, "history"),
        ({"attempts": 3}, "attempts takes an AttemptLimit"),
        ({"redial": ["no_answer"]}, "redial takes rules"),
        ({"redial": None}, "redial takes rules"),
        ({"eligible": 3}, "eligible takes a function"),
        ({"wait_for": None}, "wait_for"),
        ({"file_format": "xml"}, "file_format"),
    ],
)
def test_a_wrong_argument_is_an_error_of_the_dag(arguments: dict[str, Any], message: str) -> None:
    """Arguments that contradict each other are refused when the DAG is parsed."""
    with pytest.raises(RetellInputError, match=message):
        operator(**arguments)


# -- dry runs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_path", [True, False])
def test_a_dry_run_sends_nothing_and_says_who_would_be_called_when(
    simulator: Simulator, clock: SteppingClock, tmp_path: Path, *, with_path: bool
) -> None:
    """Hours, pace, lines and refusals are those of the campaign; no request leaves, and no key is needed."""
    opens = datetime.fromtimestamp((clock.now() + 3 * 3600) // 60 * 60, UTC)
    closes = opens + timedelta(hours=2)
    numbers = [each["to_number"] for each in people()]
    task = operator(
        people=[*people(), {"to_number": "12"}],
        calls_per_second=1,
        lines=2,
        calling_hours=CallingHours(f"{opens:%H:%M}", f"{closes:%H:%M}", time_zone="UTC"),
        do_not_call=[numbers[1]],
        path=str(tmp_path) if with_path else None,
        dry_run="{{ True }}",
        retell_conn_id="there_is_none",
        deferrable=True,
    )
    ti = TaskInstance()
    task.render_template_fields(ti.context())
    result = task.execute(ti.context())
    rows = result.pop("rows", None) or list(
        map(json.loads, (tmp_path / "people-00000.jsonl").read_text().splitlines())
    )
    assert simulator.requests == []
    assert clock.now() < opens.timestamp()
    assert [(row["outcome"], row["refused"], row["call_id"], row["attempts"]) for row in rows] == [
        ("dry_run", None, None, 0),
        (None, "do_not_call", None, 0),
        ("dry_run", None, None, 0),
        ("dry_run", None, None, 0),
        (None, "bad_number", None, 0),
    ]
    times = [row["earliest_call_at"] for row in rows]
    assert times[1] is times[4] is None
    first, second, third = (datetime.fromisoformat(at) - opens for at in times if at is not None)
    assert timedelta(0) <= first < second <= timedelta(seconds=3)
    assert timedelta(seconds=120) <= third <= timedelta(seconds=135)  # two lines, and calls of two minutes
    assert result["outcomes"] == {"dry_run": 3}
    assert (result["people"], result["attempts"], result["reached"]) == (5, 0, 0)
    assert result["refused"] == {"do_not_call": 1, "bad_number": 1}
    assert abs(result["duration_seconds"] - (opens + third).timestamp() - 120 + clock.now()) < 2


def test_a_dry_run_says_who_is_left_at_until_and_at_limit(simulator: Simulator, clock: SteppingClock) -> None:
    """One line makes thirty calls of two minutes in an hour; more people than that are not called."""
    many = [{"to_number": f"+1206555{100 + n:04d}"} for n in range(40)]
    until = datetime.fromtimestamp(clock.now() + 3590, UTC)
    result = operator(people=many, lines=1, until=until, dry_run=True).execute(TaskInstance().context())
    assert result["outcomes"]["dry_run"] + result["not_called"] == 40
    assert result["outcomes"]["dry_run"] == 30
    limited = operator(people=many, limit=10, dry_run=True).execute(TaskInstance().context())
    assert (limited["outcomes"], limited["not_called"]) == ({"dry_run": 10}, 30)


def test_a_dry_run_of_a_list_without_a_good_number_fails(clock: SteppingClock) -> None:
    """The dry run fails as the campaign would."""
    with pytest.raises(RetellCallFinalError, match="bad_number"):
        operator(people=[{"to_number": "12"}], dry_run=True).execute(TaskInstance().context())


def test_a_dry_run_is_no_beginning_and_spends_nothing(
    simulator: Simulator, clock: SteppingClock, tmp_path: Path
) -> None:
    """The campaign goes into the same folder afterwards; a dry run in between leaves who was called."""
    path = str(tmp_path)
    operator(path=path, dry_run=True).execute(TaskInstance().context())
    clock.sleep(3600)
    first = operator(path=path, limit=1, timeout=600).execute(TaskInstance().context())
    assert (first["outcomes"], first["not_called"]) == ({"answered": 1}, 3)
    between = operator(path=path, dry_run=True).execute(TaskInstance().context())
    assert between["outcomes"] == {"answered": 1, "dry_run": 3}
    assert operator(path=path).execute(TaskInstance().context())["outcomes"] == {"answered": 4}
    assert len(simulator.placed) == 4


def test_a_dry_run_knows_calls_in_progress_and_waits_for_none(
    simulator: Simulator, clock: SteppingClock, tmp_path: Path
) -> None:
    """They are in the files after a kill; nothing is read, so how they go on stays unknown."""
    for each in people():
        simulator.play(each["to_number"], "talks_forever")
    killed = operator(path=str(tmp_path), lines=2)
    ti = KilledTaskInstance(max_tries=1)
    ti.killed = killed.on_kill
    with pytest.raises(RetellCallError, match="killed"):
        killed.execute(ti.context())
    found = operator(path=str(tmp_path), dry_run=True).execute(TaskInstance().context())
    assert found["outcomes"] == {"unknown": 2, "dry_run": 2}
    assert found["duration_seconds"] < 600


# -- times over several tries ------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_path", [True, False])
def test_timeout_runs_from_the_first_try_on(
    simulator: Simulator, clock: SteppingClock, tmp_path: Path, *, with_path: bool
) -> None:
    """On every Airflow: the folder knows when the first try began, and without one the calls that were placed."""
    path = str(tmp_path) if with_path else None
    for each in people():
        simulator.play(each["to_number"], "talks_forever")
    killed = operator(path=path, lines=2, timeout=1200)
    ti = KilledTaskInstance(max_tries=1)
    ti.killed = killed.on_kill
    began = clock.now()
    with pytest.raises(RetellCallError, match="killed"):
        killed.execute(ti.context())
    clock.sleep(began + 1000 - clock.now())
    again = operator(path=path, lines=2, timeout=1200).execute(TaskInstance(try_number=2).context())
    assert again["outcomes"] == {"stopped": 2}
    assert again["not_called"] == 2
    assert 1200 <= clock.now() - began < 1600
    assert all(call.ended_at - began < 1300 for call in simulator.placed)
