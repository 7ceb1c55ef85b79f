"""Test that one intended call is placed once: every fault, on a real Airflow, compared with other code.

`make reliability` runs all of it and writes `docs/reliability.md`. `pytest -m reliability -k reset` runs
one row, and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import pytest
from fault_matrix import campaigns
from fault_matrix.campaigns import TEN_THOUSAND, CampaignRow
from fault_matrix.columns import COLUMNS
from fault_matrix.load import RUNS, TASKS, Load
from fault_matrix.load import measure as measure_load
from fault_matrix.measure import Results, measure
from fault_matrix.page import page
from fault_matrix.row import Row
from fault_matrix.rows import ROWS

PAGE = Path(__file__).parent.parent / "docs" / "reliability.md"
CAMPAIGNS = (*campaigns.ROWS, TEN_THOUSAND)

T = TypeVar("T")


def selected(request: pytest.FixtureRequest, argument: str, rows: Iterable[T]) -> list[T]:
    """Return the rows that the selected tests have as an argument."""
    calls = [getattr(item, "callspec", None) for item in request.session.items]
    asked = [call.params[argument] for call in calls if call and argument in call.params]
    return [row for row in rows if row in asked]


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Return the results of the selected rows; write the page if all rows, of campaigns too, were selected."""
    rows = selected(request, "row", ROWS)
    results = measure(rows, tmp_path_factory.mktemp("matrix"))
    if (rows, selected(request, "campaign", CAMPAIGNS)) == ([*ROWS], [*CAMPAIGNS]):
        PAGE.write_text(page(rows, results, request.getfixturevalue("load"), request.getfixturevalue("called")))
    return results


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    """Return the results of many deferred tasks on a busy machine."""
    return measure_load(tmp_path_factory.mktemp("load"))


@pytest.fixture(scope="module")
def called(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> campaigns.Outcomes:
    """Return the results of the campaigns of the selected rows."""
    rows = selected(request, "campaign", CAMPAIGNS)
    return campaigns.measure(rows, tmp_path_factory.mktemp("campaigns"))


@pytest.mark.reliability
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_one_intended_call_is_one_call(row: Row, results: Results) -> None:
    """This package's columns reach the goal of each row, except for known misses that the page explains."""
    ours = {column: results[row.name][column.dag] for column in row.columns if column.ours}
    for column, figures in ours.items():
        miss = row.misses.get(column.dag)
        if miss:
            assert figures.shown() == miss.shown, f"{column.title}: {figures}"
        else:
            assert row.reached(column, figures), f"{column.title}: {figures}"


@pytest.mark.reliability
@pytest.mark.parametrize("row", [row for row in ROWS if row.name == "reset"], ids=lambda row: row.name)
def test_what_users_would_write_instead_repeats_the_request(row: Row, results: Results) -> None:
    """The other columns meet the same faults, and after a lost answer place or register again."""
    assert results[row.name]["http"].at_once == 2
    assert results[row.name]["sdk"].placed >= 3


@pytest.mark.reliability
@pytest.mark.parametrize("campaign", CAMPAIGNS, ids=lambda row: f"campaign-{row.name}")
def test_a_campaign_calls_each_person_once(campaign: CampaignRow, called: campaigns.Outcomes) -> None:
    """Each person is called once and in the file, blocking and deferrable, whatever dies or is lost."""
    people = campaigns.MANY if campaign is TEN_THOUSAND else campaigns.PEOPLE
    for column, outcome in called[campaign.name].items():
        assert campaign.reached(outcome, people), f"{column}: {outcome}"


@pytest.mark.reliability
def test_airflow_fails_no_deferred_task_for_nothing(load: Load) -> None:
    """On a busy machine each task whose call ends within seconds of its deferral succeeds, in its first try."""
    assert load.states == {"success": RUNS * TASKS}
    assert load.blamed == 0


def test_the_page_shows_every_row() -> None:
    """The page is of these rows and columns, not of earlier ones."""
    lines = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    measured = [line for line in lines if len(line) == len(COLUMNS) + 1 and line[0] != "---"]
    assert [line[0] for line in measured if line[0] != "fault"] == [row.title for row in ROWS]
    assert [line[1:] for line in measured if line[0] == "fault"] == [[column.title for column in COLUMNS]] * 3
