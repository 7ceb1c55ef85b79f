"""Test whom a campaign does not call, and when it waits: list, contacts, history, backfills, pause."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException
from airflow.utils.types import DagRunType
from conftest import FROM, SteppingClock, TaskInstance
from test_connection_pause import Lifting

from airflow_provider_retell.errors import RetellCallFinalError, RetellInputError
from airflow_provider_retell.operators import RetellCampaignOperator
from airflow_provider_retell.policy import AttemptLimit, CallingHours, Redial
from airflow_provider_retell.simulator import Fault, ManualClock, Simulator
from airflow_provider_retell.testing import clock_replaced_by

pytestmark = pytest.mark.usefixtures("connect")

PLACING, CONTACT = "create-phone-call", "get-contact-by-phone"
NUMBERS = [f"+1206555010{n}" for n in range(4)]
REMEMBERS = {"honor_internal_dnc": True}


@pytest.fixture(autouse=True)
def _plain_calls(simulator: Simulator) -> None:
    """Let every number answer, even those that stand for a scenario."""
    for number in NUMBERS:
        simulator.play(number, "agent_hangup")


@pytest.fixture
def campaign(clock: SteppingClock) -> Callable[..., Any]:
    """Run a campaign, and return its result."""

    def run(run_id: str = "run", ti: TaskInstance | None = None, **arguments: Any) -> Any:
        given = {"task_id": "call", "from_number": FROM, "calls_per_second": 1, "lines": 3, "deferrable": False}
        people = [{"to_number": number} for number in NUMBERS]
        context = {"dag_run": arguments.pop("dag_run", None)}
        on = arguments.pop("clock", clock)
        task = RetellCampaignOperator(**{**given, "people": people, **arguments})
        ti = ti or TaskInstance()
        ti.run_id = run_id
        with clock_replaced_by(on):
            return task.execute(ti.context(**context))

    return run


Run = Callable[..., Any]


def dialed(simulator: Simulator) -> list[str]:
    """Return the numbers that were rung, in order."""
    return [str(call.request["to_number"]) for call in simulator.placed]


def requests(simulator: Simulator, endpoint: str) -> int:
    return sum(request.endpoint == endpoint for request in simulator.requests)


# -- contacts of the account -----------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [None, "", "None", {}, {NUMBERS[1]: True}, 7])
def test_a_do_not_call_list_that_arrives_empty_is_an_error(
    campaign: Callable[..., Any], simulator: Simulator, given: Any
) -> None:
    """A template that renders to nothing, or a task that returned nothing, must not open the list."""
    with pytest.raises(RetellInputError, match="do_not_call takes numbers") as raised:
        campaign(do_not_call=given)
    assert NUMBERS[1] not in str(raised.value)
    assert not simulator.placed


def test_an_empty_do_not_call_file_is_an_error_unless_it_says_so(
    campaign: Callable[..., Any], simulator: Simulator, tmp_path: Path
) -> None:
    """A file of 0 bytes may be about to be written; a header says that there are no rows."""
    (tmp_path / "dnc.jsonl").write_text("")
    with pytest.raises(RetellInputError, match=r"dnc\.jsonl' is empty"):
        campaign(do_not_call=str(tmp_path / "dnc.jsonl"))
    assert not simulator.placed
    (tmp_path / "dnc.csv").write_text("to_number\n")
    campaign(do_not_call=tmp_path / "dnc.csv")
    assert simulator.placed


@pytest.mark.parametrize("rendered", [None, "", "None"])
def test_a_history_that_arrives_empty_is_an_error(simulator: Simulator, rendered: Any) -> None:
    """Without it, earlier calls would not count, and who asked never to be called again would be called."""
    people = [{"to_number": number} for number in NUMBERS]
    task = RetellCampaignOperator(
        task_id="call", from_number=FROM, people=people, history="{{ var.value.folder }}"
    )
    task.history = rendered  # as the template may render
    with pytest.raises(RetellInputError, match=r"history=.* is not a folder"):
        task.execute(TaskInstance().context())
    assert not simulator.placed


@pytest.mark.parametrize("given_by", ["campaign", "person"])
def test_a_contact_that_retell_keeps_as_do_not_call_is_refused(
    campaign: Run, simulator: Simulator, caplog: pytest.LogCaptureFixture, tmp_path: Path, given_by: str
) -> None:
    """The contact is read, because the 400 has no documented text; no log shows its number."""
    caplog.set_level(logging.DEBUG)
    simulator.put_contact(NUMBERS[1], do_not_call=True)
    arguments: dict[str, Any] = REMEMBERS
    if given_by == "person":
        arguments = {"people": [{"to_number": number, **REMEMBERS} for number in NUMBERS]}
    result = campaign(path=str(tmp_path), **arguments)
    assert result["refused"] == {"do_not_call": 1}
    assert dialed(simulator) == [NUMBERS[0], *NUMBERS[2:]]
    assert requests(simulator, CONTACT) == 1
    rows = [json.loads(line) for line in (tmp_path / "attempts-00000.jsonl").read_text().splitlines()]
    (refusal,) = (row for row in rows if row["call_id"] is None)
    assert (refusal["refused"], refusal["to_number"]) == ("do_not_call", NUMBERS[1])
    assert refusal["detail"] == "Retell keeps this contact as do_not_call"
    ours = [record.getMessage() for record in caplog.records if record.name.startswith(("airflow_", "http"))]
    assert ours
    assert not [line for line in ours if "2065550101" in line]


@pytest.mark.parametrize("contact", [None, False, "without the field"])
def test_any_other_400_is_trouble_of_the_account(
    campaign: Run, simulator: Simulator, contact: bool | str | None
) -> None:
    """Without ``do_not_call: true`` a refusal that names no field stops the campaign and refuses no person."""
    if contact is not None:
        simulator.put_contact(NUMBERS[1], do_not_call=bool(contact))
    if contact:
        simulator.fail(Fault(endpoint=CONTACT, answer="empty"))
    simulator.fail(Fault(endpoint=PLACING, answer=400, message="Something else.", skip=1))
    with pytest.raises(RetellCallFinalError, match=r"Something else.*'refused': \{\}, 'not_called': 3"):
        campaign(**REMEMBERS)
    assert dialed(simulator) == NUMBERS[:1]
    assert requests(simulator, CONTACT) == 1


def test_without_honor_internal_dnc_no_contact_is_read(campaign: Run, simulator: Simulator) -> None:
    """Retell does not look at the contact then, so it cannot be the reason."""
    simulator.put_contact(NUMBERS[1], do_not_call=True)
    simulator.fail(Fault(endpoint=PLACING, answer=400, message="Something else.", skip=1))
    with pytest.raises(RetellCallFinalError):
        campaign()
    assert requests(simulator, CONTACT) == 0


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_contact_that_may_not_be_read_refuses_no_person(
    campaign: Run, simulator: Simulator, status: int
) -> None:
    """If the reason cannot be known it counts as trouble, and a clear goes on."""
    simulator.put_contact(NUMBERS[1], do_not_call=True)
    simulator.fail(
        Fault(endpoint=CONTACT, answer=status, times=None),
        Fault(endpoint=PLACING, answer=400, message="Something else.", skip=1),
    )
    with pytest.raises(RetellCallFinalError, match="Something else"):
        campaign(**REMEMBERS)
    simulator.recover()
    assert campaign(ti=TaskInstance(try_number=2), **REMEMBERS)["refused"] == {"do_not_call": 1}
    assert sorted(dialed(simulator)) == [NUMBERS[0], *NUMBERS[2:]]


@pytest.mark.parametrize("answer", [503, 429, "reset", "truncate"])
def test_a_contact_is_read_again_after_trouble_on_the_way(
    campaign: Run, simulator: Simulator, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither refused nor trouble until it can be read; no phone rings meanwhile."""
    simulator.put_contact(NUMBERS[1], do_not_call=True)
    simulator.fail(Fault(endpoint=CONTACT, answer=answer, times=6))
    assert campaign(**REMEMBERS)["refused"] == {"do_not_call": 1}
    assert sorted(dialed(simulator)) == [NUMBERS[0], *NUMBERS[2:]]
    assert "A contact could not be read, to see whether the person may be called" in caplog.text
    assert "2065550101" not in caplog.text


def test_a_wish_is_certain_though_the_account_gets_into_trouble(campaign: Run, simulator: Simulator) -> None:
    """The person stays refused; the others are not called."""
    simulator.put_contact(NUMBERS[0], do_not_call=True)
    simulator.fail(Fault(endpoint=PLACING, answer=402, skip=1, times=None))
    with pytest.raises(RetellCallFinalError, match=r"'refused': \{'do_not_call': 1\}, 'not_called': 3"):
        campaign(**REMEMBERS)


@pytest.mark.parametrize(
    ("arguments", "warns"),
    [({}, True), ({"honor_internal_dnc": "False"}, True), (REMEMBERS, False), ({"history": "{here}"}, False)],
)
def test_a_campaign_that_forgets_wishes_is_warned_about(
    campaign: Run, caplog: pytest.LogCaptureFixture, tmp_path: Path, arguments: dict[str, Any], warns: bool
) -> None:
    """The warning comes once per campaign: the next one would call people who asked not to be called again."""
    given = {name: str(tmp_path) if value == "{here}" else value for name, value in arguments.items()}
    campaign(**given)
    campaign(ti=TaskInstance(try_number=2), **given)
    assert caplog.text.count("will call people who ask in this one never to be called again") == warns


# -- who asked in a call ---------------------------------------------------------------------------------------


def test_who_asked_in_a_call_is_not_called_by_the_next_campaign(
    campaign: Run, simulator: Simulator, tmp_path: Path
) -> None:
    """Known by the history, by number and by id, without any budget, and for ever."""
    simulator.play(NUMBERS[0], "user_requested_dnc")
    people = [{"to_number": number, "person_id": f"p{n}"} for n, number in enumerate(NUMBERS)]
    first = campaign(people=people, path=str(tmp_path / "a"), history=str(tmp_path))
    assert first["outcomes"] == {"answered": 3, "do_not_call": 1}
    moved = [{"to_number": "+12065550110", "person_id": "p0"}, {"to_number": NUMBERS[0], "person_id": "new"}]
    before = len(simulator.placed)
    again = campaign("next", people=[*moved, *people[1:]], path=str(tmp_path / "b"), history=str(tmp_path))
    assert again["refused"] == {"do_not_call": 2}
    assert dialed(simulator)[before:] == NUMBERS[1:]


@pytest.mark.parametrize("kept_as", ["jsonl", "parquet", "csv", "rows"])
def test_who_asked_in_a_call_is_refused_if_the_results_are_the_next_list(
    campaign: Run, simulator: Simulator, tmp_path: Path, kept_as: str
) -> None:
    """The row itself says so, without any history, whatever the list was made of in between."""
    if kept_as == "parquet":
        pytest.importorskip("pyarrow")
    simulator.play(NUMBERS[0], "user_requested_dnc")
    path = None if kept_as == "rows" else str(tmp_path)
    first = campaign(path=path, file_format="parquet" if kept_as == "parquet" else "jsonl")
    people = first["rows"] if kept_as == "rows" else first["paths"][0]
    if kept_as == "csv":
        rows = [json.loads(line) for line in Path(people).read_text().splitlines()]
        cells = (",".join("" if cell is None else str(cell) for cell in row.values()) for row in rows)
        people = tmp_path / "next.csv"
        people.write_text("\n".join([",".join(rows[0]), *cells]))
    before = len(simulator.placed)
    again = campaign("next", people=people)
    assert again["refused"] == {"do_not_call": 1}
    assert dialed(simulator)[before:] == NUMBERS[1:]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("who", [{"to_number": NUMBERS[0]}, {"to_number": NUMBERS[3], "person_id": "ada"}])
def test_one_row_that_says_so_refuses_the_person_in_all_rows(
    campaign: Run, simulator: Simulator, order: int, who: dict[str, str]
) -> None:
    """The person is in the list once more, before or after, by number or by id."""
    results = dict.fromkeys(("attempts", "call_id", "detail", "not_called", "refused"))
    said = {"to_number": NUMBERS[0], "person_id": "ada", "outcome": "do_not_call", **results}
    result = campaign(people=[{"to_number": NUMBERS[1]}, *[said, who, said, who][::order]])
    assert result["refused"] == {"do_not_call": 4}
    assert dialed(simulator) == [NUMBERS[1]]


def test_who_asked_in_this_run_is_not_called_again(campaign: Run, simulator: Simulator) -> None:
    """Whatever the rules of redial and a clear say."""
    simulator.play(NUMBERS[0], "user_requested_dnc")
    rules = [Redial("ended", after=timedelta(0), times=3)]
    people = [{"to_number": NUMBERS[0]}]
    for number in (1, 2):
        assert campaign(ti=TaskInstance(try_number=number), people=people, redial=rules)["attempts"] == 1
    assert dialed(simulator) == NUMBERS[:1]


def test_an_id_that_no_file_can_hold_keeps_no_results_back(campaign: Run, tmp_path: Path) -> None:
    """The person is refused, the others are called, and the tables are written."""
    pytest.importorskip("pyarrow")
    people = [{"to_number": NUMBERS[0], "person_id": "x\ud83d"}, {"to_number": NUMBERS[1]}]
    result = campaign(people=people, path=str(tmp_path), file_format="parquet")
    assert (result["refused"], result["attempts"], len(result["paths"])) == ({"bad_request": 1}, 1, 2)


# -- the list --------------------------------------------------------------------------------------------------


def csv(path: Path, *numbers: str) -> str:
    path.write_text("to_number\n" + "".join(f"{number}\n" for number in numbers))
    return str(path)


class At(SteppingClock):
    """A clock on which something happens when a task has slept for some seconds."""

    def __init__(self, time: ManualClock, act: Callable[[], object], after: float) -> None:
        super().__init__(time)
        self._acts: Iterator[Callable[[], object]] = iter([act])
        self._at = time() + after

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if self.now() >= self._at:
            next(self._acts, lambda: None)()


NOT_AT_ONCE = {"redial": [Redial("no_answer", after=timedelta(minutes=10), times=1)]}


def test_a_list_that_changes_is_read_again(
    campaign: Run, simulator: Simulator, time: ManualClock, tmp_path: Path
) -> None:
    """A person who is put on the list while the campaign runs is not called once more."""
    simulator.play(NUMBERS[0], "dial_no_answer")
    simulator.play(NUMBERS[1], "dial_no_answer")
    path = tmp_path / "dnc.csv"
    listed = csv(path, NUMBERS[3])
    clock = At(time, lambda: csv(path, NUMBERS[0], NUMBERS[3]), after=300)
    result = campaign(do_not_call=listed, clock=clock, **NOT_AT_ONCE)
    assert result["refused"] == {"do_not_call": 2}
    assert dialed(simulator) == [*NUMBERS[:3], NUMBERS[1]]


def test_a_list_that_is_not_there_places_nothing(campaign: Run, simulator: Simulator, tmp_path: Path) -> None:
    """Without a readable list no call is placed."""
    with pytest.raises(RetellInputError, match="there is no such file"):
        campaign(do_not_call=str(tmp_path / "dnc.csv"))
    with pytest.raises(RetellInputError, match="Nobody is called until it can be read"):
        campaign(do_not_call=csv(tmp_path / "dnc.csv", "nobody"))
    assert not simulator.calls


def test_a_list_that_disappears_stops_the_campaign(
    campaign: Run, simulator: Simulator, time: ManualClock, tmp_path: Path
) -> None:
    """Live calls are waited for, nothing more is placed, and a clear goes on once it is there again."""
    simulator.play(NUMBERS[0], "dial_no_answer")
    path = tmp_path / "dnc.csv"
    listed = csv(path, NUMBERS[3])
    with pytest.raises(RetellInputError, match="there is no such file"):
        campaign(do_not_call=listed, clock=At(time, path.unlink, after=300), **NOT_AT_ONCE)
    assert dialed(simulator) == NUMBERS[:3]
    csv(path, NUMBERS[3])
    campaign(ti=TaskInstance(try_number=2), do_not_call=listed, **NOT_AT_ONCE)
    assert dialed(simulator) == [*NUMBERS[:3], NUMBERS[0]]


# -- the history -----------------------------------------------------------------------------------------------


def test_a_budget_counts_the_calls_of_other_campaigns(campaign: Run, simulator: Simulator, tmp_path: Path) -> None:
    """Two calls in a week, whichever DAG placed them."""
    budget = {"attempts": AttemptLimit(2, per=timedelta(days=7)), "history": str(tmp_path)}
    for name in "abc":
        result = campaign(name, path=str(tmp_path / name), **budget)
    assert result["refused"] == {"attempt_limit": 4}
    assert len(simulator.calls) == 8


def test_a_campaign_beside_this_one_is_seen_while_this_one_waits(
    campaign: Run, simulator: Simulator, time: ManualClock, tmp_path: Path
) -> None:
    """Its part is written while this one waits to call again: who was called there is not called here again."""
    for number in NUMBERS[:2]:
        simulator.play(number, "dial_no_answer")

    def call_beside() -> None:
        placed_at = datetime.fromtimestamp(time(), UTC).isoformat()
        row = {"call_id": "call_beside", "to_number": NUMBERS[0], "placed_at": placed_at, "outcome": "no_answer"}
        part = tmp_path / "other" / "_retell_parts" / "abc" / "attempts-1-00000.jsonl"
        part.parent.mkdir(parents=True)
        part.write_text(json.dumps(row) + "\n")

    result = campaign(
        path=str(tmp_path / "this"),
        history=str(tmp_path),
        attempts=AttemptLimit(2, per=timedelta(days=7)),
        redial=[Redial("no_answer", after=timedelta(minutes=30), times=1)],
        clock=At(time, call_beside, after=300),
    )
    assert result["refused"] == {"attempt_limit": 1}
    assert dialed(simulator) == [*NUMBERS, NUMBERS[1]]


def test_calls_in_progress_of_another_campaign_count(
    campaign: Run, simulator: Simulator, time: ManualClock, tmp_path: Path
) -> None:
    """A campaign that begins while the phones ring for another one calls only those who are left."""
    budget = {"attempts": AttemptLimit(1, per=timedelta(days=7)), "history": str(tmp_path)}
    beside: list[Any] = []

    def begin_beside() -> None:
        assert len(simulator.placed) == 3
        beside.append(campaign("other", path=str(tmp_path / "other"), **budget))

    people = [{"to_number": number} for number in NUMBERS[:3]]
    clock = At(time, begin_beside, after=8)
    assert campaign(people=people, path=str(tmp_path / "this"), clock=clock, **budget)["attempts"] == 3
    assert [(each["attempts"], each["refused"]) for each in beside] == [(1, {"attempt_limit": 3})]
    assert dialed(simulator) == NUMBERS


def test_a_wish_in_another_campaign_is_known_here_after_a_minute(
    campaign: Run, simulator: Simulator, time: ManualClock, tmp_path: Path
) -> None:
    """Both run at the same time; who says in one of them never to be called again is not called by the other."""
    simulator.play(NUMBERS[0], "user_requested_dnc")
    later = datetime.fromtimestamp(time() + 200, UTC).isoformat()
    people = [{"to_number": NUMBERS[0], "not_before": later}, {"to_number": NUMBERS[1]}]

    def run_other() -> None:
        asked = [{"to_number": NUMBERS[0]}]
        campaign("other", people=asked, path=str(tmp_path / "other"), history=str(tmp_path))

    arguments = {"people": people, "path": str(tmp_path / "this"), "history": str(tmp_path)}
    result = campaign(clock=At(time, run_other, after=10), **arguments)
    assert result["refused"] == {"do_not_call": 1}
    assert dialed(simulator) == [NUMBERS[1], NUMBERS[0]]


def test_a_damaged_history_places_nothing(campaign: Run, simulator: Simulator, tmp_path: Path) -> None:
    """If earlier calls cannot be counted no call is placed; other programs' files are left alone."""
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "attempts-1.jsonl").write_text("{")
    with pytest.raises(RetellInputError, match=r"attempts-1\.jsonl cannot be read"):
        campaign(history=str(tmp_path))
    assert not simulator.calls


def test_zones_that_are_never_open_together_refuse_the_person(campaign: Run, simulator: Simulator) -> None:
    """Pensacola's area has two zones, and an hour of both at once does not exist."""
    people = [{"to_number": "+18505550100"}, {"to_number": "+18005550100"}]
    hours = CallingHours("09:00", "10:00")
    assert campaign(people=people, calling_hours=hours)["refused"] == {"outside_hours": 1, "no_time_zone": 1}
    assert not simulator.calls


def test_people_whose_hours_are_shut_are_passed_over_until_they_open(
    campaign: Run, simulator: Simulator, clock: SteppingClock
) -> None:
    """The first of the list is called last, in the first minute of the hours there."""
    now = datetime.fromtimestamp(clock.now(), UTC)
    opens = (now + timedelta(hours=2)).replace(second=0, microsecond=0)
    # The clock of the others is three hours ahead.
    people = [{"to_number": number, "time_zone": "Etc/GMT-3"} for number in NUMBERS]
    people[0]["time_zone"] = "UTC"
    hours = CallingHours(f"{opens:%H:%M}", f"{opens + timedelta(hours=12):%H:%M}")
    assert campaign(people=people, calling_hours=hours)["outcomes"] == {"answered": 4}
    assert dialed(simulator) == [*NUMBERS[1:], NUMBERS[0]]
    (last,) = (call for call in simulator.placed if call.request["to_number"] == NUMBERS[0])
    assert 0 <= last.created_at - opens.timestamp() < 60


# -- runs for past dates ---------------------------------------------------------------------------------------


def test_a_backfill_places_no_call_unless_wanted(campaign: Run, simulator: Simulator) -> None:
    """It is skipped, and says why."""
    backfill = SimpleNamespace(run_type=DagRunType.BACKFILL_JOB)
    with pytest.raises(AirflowSkipException, match="belongs to a backfill"):
        campaign(dag_run=backfill)
    assert not simulator.requests
    campaign(dag_run=backfill, backfill=True)
    assert len(simulator.calls) == 4


def test_a_late_campaign_says_how_late(
    campaign: Run, clock: SteppingClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Three days of a daily schedule."""
    due = datetime.fromtimestamp(clock.now(), UTC) - timedelta(days=3, hours=1)
    interval = {"data_interval_start": due - timedelta(days=1), "data_interval_end": due}
    campaign(dag_run=SimpleNamespace(run_type=DagRunType.SCHEDULED, run_after=due, **interval))
    assert "This run is 3 intervals of its schedule late" in caplog.text


# -- the connection's pause -------------------------------------------------------------------------------------


def test_a_paused_campaign_waits_until_it_is_lifted(
    campaign: Run,
    connect: Callable[..., None],
    simulator: Simulator,
    time: ManualClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It says so once, and calls within half a minute of being let."""
    connect(paused=True)
    began = time()
    assert campaign(clock=Lifting(time, connect, after=600))["outcomes"] == {"answered": 4}
    placed = [request.clock for request in simulator.requests if request.endpoint == PLACING]
    assert began + 600 <= placed[0] <= began + 630
    assert caplog.text.count("Looking again every 15 s") == 1


def test_a_paused_campaign_waits_no_longer_than_until(
    campaign: Run, connect: Callable[..., None], simulator: Simulator, clock: SteppingClock
) -> None:
    """It succeeds, with everybody not called."""
    connect(paused=True)
    until = datetime.fromtimestamp(clock.now() + 900, UTC)
    assert campaign(until=until)["not_called"] == 4
    assert not simulator.calls


def test_a_switch_that_is_turned_stops_a_campaign_within_half_a_minute(
    campaign: Run, connect: Callable[..., None], simulator: Simulator, time: ManualClock
) -> None:
    """Nothing is placed later; live calls are waited for."""
    people = [{"to_number": f"+1206555{n:04}"} for n in range(100, 200)]
    for person in people:
        simulator.play(person["to_number"], "agent_hangup")
    began = time()
    clock = Lifting(time, lambda: connect(paused=True), after=100)
    until = datetime.fromtimestamp(began + 3600, UTC)
    result = campaign(people=people, clock=clock, until=until, poll_interval=1)
    placed = [request.clock - began for request in simulator.requests if request.endpoint == PLACING]
    assert 100 <= max(placed) <= 130
    assert result["not_called"] == 100 - len(placed) > 0
    assert result["outcomes"] == {"answered": len(placed)}
