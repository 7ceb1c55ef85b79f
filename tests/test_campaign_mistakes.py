"""Test lists and rows with mistakes: one in all rows fails the task, one in a row concerns that row alone."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from conftest import FROM, SteppingClock, TaskInstance
from test_campaign import operator, people
from test_campaign_run import Make, Wire, campaign

from airflow_provider_retell.campaign.plan.account_lines import AccountLines
from airflow_provider_retell.campaign.run.terms import End, Terms
from airflow_provider_retell.errors import RetellCallError, RetellInputError
from airflow_provider_retell.operators import RetellCampaignOperator
from airflow_provider_retell.simulator import Simulator

__all__ = ["campaign"]

INT = {"retell_llm_dynamic_variables": {"amount": 12}}
VERSION = {"override_agent_version": "v3"}


@pytest.mark.parametrize("count", [2, 50])
@pytest.mark.parametrize("mistake", [INT, VERSION], ids=["a number", "a version"])
def test_a_mistake_in_all_rows_fails_the_task(
    simulator: Simulator, clock: SteppingClock, connect: Any, mistake: dict[str, Any], count: int
) -> None:
    """Nothing can be sent for any of them, and a task that places no call because of that is not green."""
    task = operator(people=[{**each, **mistake} for each in people(count)])
    with pytest.raises(RetellCallError, match=next(iter(mistake))):
        task.execute(TaskInstance().context())
    assert not simulator.placed


def test_a_mistake_in_one_row_refuses_that_person(
    simulator: Simulator, clock: SteppingClock, connect: Any
) -> None:
    """The others are called."""
    for each in people(4):
        simulator.play(each["to_number"], "agent_hangup")
    rows = people(4)
    rows[1] |= INT
    result = operator(people=rows).execute(TaskInstance().context())
    assert (result["refused"], result["outcomes"]) == ({"bad_request": 1}, {"answered": 3})


def test_without_any_number_to_call_from_nothing_is_sent(
    simulator: Simulator, clock: SteppingClock, connect: Any
) -> None:
    """That is an error before the first request; a row with a number of its own is enough."""
    task = RetellCampaignOperator(task_id="call", people=people(3), lines=3)
    with pytest.raises(RetellInputError, match="from_number is missing"):
        task.execute(TaskInstance().context())
    assert not simulator.requests
    rows = people(3)
    rows[2]["from_number"] = FROM
    simulator.play(rows[2]["to_number"], "agent_hangup")
    result = RetellCampaignOperator(task_id="call", people=rows, lines=3).execute(TaskInstance().context())
    assert (result["refused"], result["outcomes"]) == ({"bad_request": 2}, {"answered": 1})


@pytest.mark.parametrize("mistake", [{}, INT], ids=["none", "a number"])
def test_a_dry_run_refuses_whom_the_campaign_would_refuse(
    simulator: Simulator, clock: SteppingClock, connect: Any, mistake: dict[str, Any]
) -> None:
    """It makes the requests that it does not send."""
    rows = people(4)
    rows[1] |= mistake
    for each in rows:
        simulator.play(each["to_number"], "agent_hangup")
    dry = operator(people=rows, dry_run=True).execute(TaskInstance().context())
    real = operator(people=rows).execute(TaskInstance().context())
    assert dry["refused"] == real["refused"] == ({"bad_request": 1} if mistake else {})
    assert dry["outcomes"] == {"dry_run": real["outcomes"]["answered"]}
    for there, here in zip(dry["rows"], real["rows"], strict=True):
        assert (there["refused"], there["detail"]) == (here["refused"], here["detail"])
        assert (there["earliest_call_at"] is None) == (here["call_id"] is None)


def test_a_dry_run_fails_as_the_campaign_would(clock: SteppingClock) -> None:
    """One mistake in all rows, without a connection."""
    task = operator(people=[{**each, **INT} for each in people(9)], dry_run=True)
    with pytest.raises(RetellCallError, match="amount"):
        task.execute(TaskInstance().context())


class Unknown(Wire):
    """A network on which Retell does not know one number to call from."""

    def __init__(self, number: str) -> None:
        super().__init__()
        self._number = number

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        placing = request.url.path.endswith("create-phone-call")
        if placing and json.loads(request.content)["from_number"] == self._number:
            message = f"Item {self._number} not found from phone-number"
            return httpx.Response(404, json={"status": "error", "message": message})
        return super().handle_request(request)


def test_a_number_to_call_from_that_retell_does_not_know_concerns_its_row(campaign: Make) -> None:
    """The number of one row is retired: that person is refused, and all others are called."""
    made = campaign(count=12)
    retired = "+14155550111"
    given = {**json.loads(made.people[3].given), "from_number": retired}
    made.people[3] = made.people[3].__class__(
        row=3,
        to_number=made.people[3].to_number,
        person_id=made.people[3].person_id,
        given=json.dumps(given).encode(),
    )
    done = made.run(Unknown(retired))
    assert done == End(failure=None)
    assert (made.result["refused"], made.result["outcomes"]) == ({"bad_request": 1}, {"answered": 11})


def test_lines_that_are_kept_for_inbound_calls_are_left_alone(clock: SteppingClock) -> None:
    """Outbound calls do not get them."""
    answer = {"concurrency_limit": 20, "current_concurrency": 4, "reserved_inbound_concurrency": 5}

    class Account:
        def send(self, _: object) -> dict[str, int]:
            return answer

    account: Any = Account()
    assert AccountLines(account, reserved=2, clock=clock)(own=4) == 13
    with pytest.raises(RetellInputError, match="5 of them for inbound calls"):
        AccountLines(account, reserved=15, clock=clock)(own=0)


class Moody(TaskInstance):
    """A task instance whose every second push fails."""

    def __init__(self) -> None:
        super().__init__()
        self.pushes = 0

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushes += 1
        if self.pushes % 2:
            raise RuntimeError("API_SERVER_ERROR 502")


def test_progress_that_airflow_does_not_take_ends_no_campaign(
    simulator: Simulator, clock: SteppingClock, connect: Any
) -> None:
    """The calls matter more than the figures."""
    for each in people(12):
        simulator.play(each["to_number"], "agent_hangup")
    ti = Moody()
    result = operator(people=people(12), lines=2).execute(ti.context())
    assert result["outcomes"] == {"answered": 12}
    assert ti.pushes > 2


@pytest.mark.parametrize("times", [3, None], ids=["for a minute", "for ever"])
def test_a_pause_that_airflow_does_not_say(campaign: Make, times: int | None) -> None:
    """Nothing is placed while it is not known; after ten minutes the campaign ends, and a retry goes on."""
    made = campaign(count=8, lines=2)
    asked = 0

    def paused() -> bool:
        nonlocal asked
        asked += 1
        if asked > 2 and (times is None or asked <= 2 + times):
            raise RuntimeError("API_SERVER_ERROR 500")
        return False

    begun = made.time()
    done = made.run(terms=Terms(connection_paused=paused, ends_at=begun + 7200))
    assert isinstance(done, End)
    if times is None:
        assert "whether the connection is paused (RuntimeError: API_SERVER_ERROR" in str(done.error)
        assert 0 < len(made.simulator.placed) < 8
        assert 600 <= made.time() - begun < 1200
    else:
        assert done == End(failure=None)
        made.assert_each_called_once()
