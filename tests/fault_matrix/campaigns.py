"""Campaigns of 300 people meet each fault on a real Airflow, and ten thousand people two kills of their worker."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
from airflow_api import AirflowError
from airflow_stack import AirflowStack

from airflow_provider_retell.simulator import Fault
from airflow_provider_retell.simulator.responses import Patience, Request, Response, error
from airflow_provider_retell.simulator.server import serving
from fault_matrix.campaign import Campaign, Outcome
from fault_matrix.stage import HERE, SETTINGS, MissedError

PEOPLE: Final = 300
MANY: Final = 10_000
COLUMNS: Final = {"campaign_blocking": "blocking", "campaign_deferrable": "deferrable"}
PLACING, LISTING = "create-phone-call", "list-calls"
LOST: Final[tuple[Any, ...]] = (500, 502, 503, 504, "reset", "truncate", "drop")

# -- the plays -------------------------------------------------------------------------------------------------


def nothing(campaign: Campaign) -> None:
    """Let the campaign end without a fault."""
    campaign.let_it_end()


def killed(*moments: int) -> Callable[[Campaign], None]:
    """Kill the worker each time so many calls are placed."""

    def play(campaign: Campaign) -> None:
        for moment in moments:
            campaign.wait_for_calls(moment)
            tries = campaign.task["try_number"]
            campaign.kill_worker()
            campaign.wait_for(
                lambda tries=tries: campaign.task["try_number"] > tries, "Airflow does not try again"
            )
        campaign.let_it_end()

    return play


def cleared_while_live(campaign: Campaign) -> None:
    """Clear it while it places calls."""
    campaign.wait_for_calls(PEOPLE // 2)
    campaign.clear()
    campaign.let_it_end()


def cleared_after_the_end(campaign: Campaign) -> None:
    """Clear it once it is over."""
    campaign.let_it_end()
    tries = campaign.task["try_number"]
    campaign.clear()
    campaign.wait_for_try(tries + 1)
    campaign.wait_for_end()


def restarted(name: str, sig: signal.Signals) -> Callable[[Campaign], None]:
    """End a component once all calls that are to come are placed, or half of them, and start it again."""

    def play(campaign: Campaign) -> None:
        if name == "triggerer":
            campaign.wait_until_all_wait()
        else:
            campaign.wait_for_calls(PEOPLE // 2)
        campaign.airflow.kill(name, sig)
        campaign.airflow.start(name)
        campaign.let_it_end()

    return play


# -- the rows --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class CampaignRow:
    """One fault.

    Attributes:
        name: Part of connection ids.
        title: Its name on the page.
        faults: What goes wrong with requests.
        play: What happens meanwhile.
        tries: How many tries it takes at least, else nothing has gone wrong.
        alone: Whether it does something to Airflow itself, which other campaigns would meet too.
        columns: Which columns meet it.
    """

    name: str
    title: str
    faults: Sequence[Fault] = ()
    play: Callable[[Campaign], None] = nothing
    tries: int = 1
    alone: bool = False
    columns: Sequence[str] = field(default_factory=lambda: tuple(COLUMNS))

    def reached(self, outcome: Outcome, people: int = PEOPLE) -> bool:
        """Return whether each person was called once and is in the file, and the task succeeded."""
        right = (outcome.once, outcome.in_file, outcome.state, outcome.note) == (people, people, "success", "")
        return right and outcome.tries >= self.tries


MOMENTS: Final = (37, 118, 203)
"""Calls after which the worker is killed: drawn once, so that a miss can be looked into."""

ROWS: Final = (
    CampaignRow(name="killed", title="worker SIGKILL three times", play=killed(*MOMENTS), tries=4),
    CampaignRow(
        name="lost",
        title="answers lost in eight ways, the calls were made",
        faults=[
            *(
                Fault(endpoint=PLACING, answer=answer, after=answer != "truncate", html=answer == 502, skip=30 * i)
                for i, answer in enumerate(LOST)
            ),
            Fault(endpoint=PLACING, answer=None, delay=6, after=True, skip=250),
        ],
    ),
    CampaignRow(
        name="limited",
        title="three bursts of 429",
        faults=[Fault(endpoint=PLACING, answer=429, retry_after=1, skip=skip, times=3) for skip in (20, 120, 220)],
    ),
    CampaignRow(
        name="unlisted",
        title="list-calls fails, at the beginning and later",
        faults=[
            Fault(endpoint=LISTING, answer=500, times=3),
            Fault(endpoint=LISTING, answer="drop", skip=8, times=6),
        ],
    ),
    CampaignRow(name="clear_live", title="clear while calls are live", play=cleared_while_live, tries=2),
    CampaignRow(name="clear_over", title="clear after the end", play=cleared_after_the_end, tries=2),
    CampaignRow(
        name="triggerer",
        title="triggerer SIGKILL while deferred",
        play=restarted("triggerer", signal.SIGKILL),
        alone=True,
        columns=("campaign_deferrable",),
    ),
    CampaignRow(
        name="scheduler",
        title="scheduler SIGKILL, with its workers",
        play=restarted("scheduler", signal.SIGKILL),
        alone=True,
        tries=2,
    ),
)
TEN_THOUSAND: Final = CampaignRow(
    name="many", title="10,000 people, worker SIGKILL twice", play=killed(2500, 6500), tries=3, alone=True
)

Outcomes = dict[str, dict[str, Outcome]]


def measure(rows: Sequence[CampaignRow], folder: Path) -> Outcomes:
    """Run the campaigns of some rows on one Airflow, and return what became of each."""
    campaigns = [
        (row, Campaign(row.name, _dag(row, dag), folder, faults=row.faults, people=_people(row)))
        for row in rows
        for dag in row.columns
    ]
    lines = {f"Bearer {each.simulator.api_key}": each.simulator for _, each in campaigns}

    def handle(request: Request, wait: Patience) -> Response | None:
        simulator = lines.get(request.headers.get("authorization", ""))
        return simulator.respond(request, wait) if simulator else error(401)

    with ExitStack() as stack:
        url = stack.enter_context(serving(handle, 0))
        home = folder / "airflow"
        env = {f"AIRFLOW__{name}": value for name, value in _settings(home).items()}
        env |= dict(each.connection(url) for _, each in campaigns)
        airflow = stack.enter_context(AirflowStack(HERE / "campaign_dags", home=home, env=env))
        played = dict(_played(campaigns, airflow))
    return {
        row.name: {each.dag_id.removesuffix("_many"): played[each] for met, each in campaigns if met is row}
        for row in rows
    }


def _dag(row: CampaignRow, column: str) -> str:
    return f"{column}_many" if row is TEN_THOUSAND else column


def _people(row: CampaignRow) -> int:
    return MANY if row is TEN_THOUSAND else PEOPLE


def _settings(home: Path) -> dict[str, str]:
    ours = ("PLUGINS_FOLDER", "XCOM_BACKEND", "SLOT_COUNT")
    settings = {name: value for name, value in SETTINGS.items() if not name.endswith(ours)}
    return settings | {
        "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=60",
        "CORE__MAX_ACTIVE_RUNS_PER_DAG": "16",
    }


def _played(
    campaigns: Sequence[tuple[CampaignRow, Campaign]], airflow: AirflowStack
) -> Iterator[tuple[Campaign, Outcome]]:
    together = [(row, each) for row, each in campaigns if not row.alone]
    for _, each in together:
        each.start(airflow)
    if together:
        with ThreadPoolExecutor(len(together)) as pool:
            yield from pool.map(lambda it: (it[1], _play(*it)), together)
    for row, each in campaigns:
        if row.alone:
            each.start(airflow)
            yield each, _play(row, each)


def _play(row: CampaignRow, campaign: Campaign) -> Outcome:
    note = ""
    try:
        row.play(campaign)
    except (MissedError, AirflowError, httpx.TransportError, psutil.Error) as missed:
        note = str(missed)
    return campaign.outcome(note)


def describe(outcomes: Outcomes) -> str:
    """Return the table of the page."""
    lines = [f"| fault | {' | '.join(COLUMNS.values())} |", "| --- | --- | --- |"]
    for row in (*ROWS, TEN_THOUSAND):
        cells = [_cell(row, outcomes[row.name].get(dag)) for dag in COLUMNS]
        lines.append(f"| {row.title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row: CampaignRow, outcome: Outcome | None) -> str:
    if outcome is None:
        return "n/a"
    return "yes" if row.reached(outcome, _people(row)) else f"**{outcome}**"
