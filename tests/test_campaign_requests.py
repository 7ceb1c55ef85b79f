"""The requests of a campaign, and what it reads of the account, of its arguments and of its run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import FROM, SteppingClock, TaskInstance
from test_campaign import operator, people

from airflow_provider_retell.campaign.people.identity import CampaignIdentity
from airflow_provider_retell.campaign.people.person import Person, read_person
from airflow_provider_retell.campaign.run.requests import CallRequests, rejection
from airflow_provider_retell.errors import RetellError, RetellInputError, RetellInvalidRequestError
from airflow_provider_retell.operators.campaign_bounds import due_at, read_limit, until_at
from airflow_provider_retell.simulator import Fault, Simulator

IDENTITY = CampaignIdentity.of(dag_id="dag", run_id="run", task_id="call", map_index=-1)
NUMBER = "+14155550100"
DUE = datetime(2026, 7, 6, 9, tzinfo=UTC)


def person(**fields: Any) -> Person:
    """Return one of the people."""
    return read_person(0, {"to_number": NUMBER, **fields})


# -- requests ----------------------------------------------------------------------------------------------------


def test_a_persons_own_value_wins_and_objects_are_merged_by_their_keys() -> None:
    """Defaults hold for all people; of variables and metadata each key counts for itself."""
    requests = CallRequests(
        IDENTITY,
        {
            "from_number": FROM,
            "override_agent_id": "agent_all",
            "override_agent_version": 3,
            "retell_llm_dynamic_variables": {"clinic": "North", "name": "you"},
            "metadata": {"campaign": "spring", "kind": 1},
            "agent_override": {"agent": {"voice_speed": 1.0}},
        },
    )
    own = person(
        override_agent_id="agent_ada",
        retell_llm_dynamic_variables={"name": "Ada"},
        metadata={"kind": 2},
        agent_override={"retell_llm": {"model": "gpt-4.1"}},
    )
    body = dict(requests.of(own, 1).body or {})
    metadata = body.pop("metadata")
    del body["idempotency_key"]
    assert body == {
        "from_number": FROM,
        "to_number": NUMBER,
        "override_agent_id": "agent_ada",
        "override_agent_version": 3,
        "retell_llm_dynamic_variables": {"clinic": "North", "name": "Ada"},
        "agent_override": {"retell_llm": {"model": "gpt-4.1"}},
    }
    assert metadata.pop("airflow_call").startswith(IDENTITY.prefix)
    assert metadata == {"campaign": "spring", "kind": 2}


def test_the_same_attempt_is_the_same_request() -> None:
    """Nothing of a process or of a time is in it; the next attempt has another key and another tag."""
    requests = [CallRequests(IDENTITY, {"from_number": FROM}) for _ in range(2)]
    first, again = (each.of(person(), 1) for each in requests)
    second = requests[0].of(person(), 2)
    assert first.body == again.body
    for name in ("idempotency_key", "metadata"):
        assert (first.body or {})[name] != (second.body or {})[name]


def test_the_key_by_which_calls_are_found_is_the_campaign_s_alone() -> None:
    """A value of the user's under it would hide the call from the campaign."""
    taken = {"metadata": {"airflow_call": "mine"}}
    with pytest.raises(RetellInputError, match="airflow_call"):
        CallRequests(IDENTITY, {"from_number": FROM, **taken}).check()
    with pytest.raises(RetellInputError, match="airflow_call"):
        CallRequests(IDENTITY, {"from_number": FROM}).of(person(**taken), 1)


def test_a_tag_that_a_row_brings_along_is_replaced() -> None:
    """A list made of rows brings their metadata: the new call is found by its own tag, and not by the old one."""
    old = CallRequests(IDENTITY, {"from_number": FROM}).of(person(), 1).body or {}
    handed_on = {"metadata": {**old["metadata"], "kind": 2}}
    new = CallRequests(IDENTITY, {"from_number": FROM}).of(person(**handed_on), 2).body or {}
    assert new["metadata"]["kind"] == 2
    assert new["metadata"]["airflow_call"] not in {None, old["metadata"]["airflow_call"]}


@pytest.mark.parametrize(
    ("message", "field", "shared"),
    [
        ("to_number must be in E.164 format.", "to_number", False),
        ("from_number is not yours.", None, True),
        ("Something is wrong.", None, False),
        ("metadata is too large.", "metadata", False),
        ("Calls from from_number +14155550199 to to_number +12065550100 are not enabled.", "to_number", True),
    ],
)
def test_a_refusal_is_about_the_person_if_it_names_what_the_person_gave(
    message: str, field: str | None, *, shared: bool
) -> None:
    """A field that the task has for all people is named beside it, or alone: then it is the account's trouble."""
    error = RetellInvalidRequestError(message, status_code=400, message=message)
    found = rejection(error, person(metadata={"a": 1}), {"from_number": FROM, "metadata": {}})
    assert (found.field, found.shared) == (field, shared)
    assert FROM not in found.message
    assert not rejection(error, person(metadata={"a": 1}, from_number=FROM), {"from_number": FROM}).shared


# -- the account's lines -----------------------------------------------------------------------------------------


@pytest.fixture
def five_lines(clock: SteppingClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A Retell whose account has five lines, at the connection ``retell_default``."""
    simulator = Simulator(clock=clock.time, concurrency_limit=5)
    with simulator.serve() as url:
        monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", simulator.connection(url))
        yield simulator


@pytest.mark.parametrize("reserved", [0, 3])
def test_reserved_lines_are_left_alone(five_lines: Simulator, reserved: int) -> None:
    """The account has five lines: with three of them reserved, two calls are live at most."""
    for each in people(12):
        five_lines.play(each["to_number"], "agent_hangup")
    task = operator(people=people(12), lines=None, reserved_lines=reserved)
    assert task.execute(TaskInstance().context())["outcomes"] == {"answered": 12}
    spans = [(call.created_at, call.ended_at) for call in five_lines.placed]
    assert len(spans) == 12
    assert max(sum(b <= begin < e for b, e in spans) for begin, _ in spans) == 5 - reserved


def test_an_account_that_does_not_name_its_lines_is_an_error_before_the_first_call(
    simulator: Simulator, clock: SteppingClock, connect: Any
) -> None:
    """The error says what to do."""
    simulator.fail(Fault(endpoint="get-concurrency", answer=403, times=None))
    with pytest.raises(RetellError) as raised:
        operator(lines=None).execute(TaskInstance().context())
    assert any("lines=" in note for note in raised.value.__notes__)
    assert not simulator.placed


@pytest.mark.parametrize("reserved", [5, 6])
def test_reserving_every_line_of_the_account_is_an_error_before_the_first_call(
    five_lines: Simulator, reserved: int
) -> None:
    """No line would ever become free, so the task would wait for ever."""
    task = operator(lines=None, reserved_lines=reserved, timeout=600)
    with pytest.raises(RetellInputError, match=f"limit is 5 .*reserved_lines={reserved} leaves none"):
        task.execute(TaskInstance().context())
    assert not five_lines.placed


# -- times and limits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "due"),
    [
        ({"run_after": DUE, "data_interval_end": DUE - timedelta(days=1)}, DUE),
        ({"data_interval_end": DUE, "logical_date": DUE - timedelta(days=1)}, DUE),
        ({"run_after": None, "logical_date": DUE}, DUE),
        ({}, datetime.fromtimestamp(0, UTC)),
    ],
)
def test_a_timedelta_runs_from_when_the_run_was_due(run: dict[str, Any], due: datetime) -> None:
    """So that a retry and a clear do not move it; on Airflow 2 from the end of the data interval."""
    at = due_at({"dag_run": SimpleNamespace(**run)}, 0.0)
    assert at == due.timestamp()
    assert until_at(timedelta(hours=11), at) == (due + timedelta(hours=11)).timestamp()


@pytest.mark.parametrize(
    ("until", "at"),
    [
        (None, math.inf),
        ("2026-07-06T09:00:00", DUE.timestamp()),
        ("2026-07-06T11:00:00+02:00", DUE.timestamp()),
        ("2026-07-06T09:00:00Z", DUE.timestamp()),
        (DUE, DUE.timestamp()),
        (DUE.replace(tzinfo=None), DUE.timestamp()),
    ],
)
def test_until_is_a_time(until: Any, at: float) -> None:
    """Without a zone it is one of UTC."""
    assert until_at(until, 0.0) == at


@pytest.mark.parametrize("until", ["", "None", "tomorrow", 7, [DUE]])
def test_until_that_is_no_time_is_an_error(until: Any) -> None:
    """Nothing is sent."""
    with pytest.raises(RetellInputError, match="until"):
        until_at(until, 0.0)


@pytest.mark.parametrize(("given", "limit"), [(None, None), ("", None), ("None", None), (10, 10), ("10", 10)])
def test_limit_may_be_a_template(given: Any, limit: int | None) -> None:
    """A template renders to text."""
    assert read_limit(given) == limit


@pytest.mark.parametrize("given", [0, -1, "ten", True, 1.5])
def test_limit_that_is_no_number_of_people_is_an_error(given: Any) -> None:
    """Nothing is sent."""
    with pytest.raises(RetellInputError, match="limit"):
        read_limit(given)


# -- what may change while it runs -------------------------------------------------------------------------------


def test_a_list_of_numbers_never_to_be_called_that_vanishes_stops_the_campaign(
    simulator: Simulator, clock: SteppingClock, connect: Any, tmp_path: Any
) -> None:
    """No person whom it may name is called, or refused for it; a clear goes on."""
    listed = tmp_path / "dnc.csv"
    listed.write_text(f"to_number\n{people(1)[0]['to_number']}\n")
    for each in people(20):
        simulator.play(each["to_number"], "agent_hangup")

    class Vanishing(TaskInstance):
        def xcom_push(self, key: str, value: Any) -> None:
            listed.unlink(missing_ok=True)

    arguments = {"people": people(20), "lines": 1, "do_not_call": str(listed), "path": str(tmp_path / "out")}
    with pytest.raises(RetellError, match=r"dnc\.csv"):
        operator(**arguments).execute(Vanishing().context())
    placed = len(simulator.placed)
    assert 0 < placed < 19
    with pytest.raises(RetellError, match=r"dnc\.csv"):
        operator(**arguments).execute(TaskInstance(try_number=2).context())
    assert len(simulator.placed) == placed
    listed.write_text(f"to_number\n{people(1)[0]['to_number']}\n")
    result = operator(**arguments).execute(TaskInstance(try_number=3).context())
    assert (result["refused"], result["outcomes"]) == ({"do_not_call": 1}, {"answered": 19})
