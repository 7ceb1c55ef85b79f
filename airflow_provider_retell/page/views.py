"""Return the data of the pages as JSON: the calls of a run, and the overview."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from airflow_provider_retell.calls.intent import run_prefix
from airflow_provider_retell.page import actions, connections, runs, teams
from airflow_provider_retell.page.accounts import Account, Accounts
from airflow_provider_retell.page.call_cache import LONGEST_LOOK, CallCache, Snapshot
from airflow_provider_retell.page.entries import Entry, task_digest
from airflow_provider_retell.page.figures import Scope, newest_first, one_page, outcomes, over_time, totals
from airflow_provider_retell.page.runs import Campaign
from airflow_provider_retell.page.threads import within
from airflow_provider_retell.provider.links import call_url
from airflow_provider_retell.provider.options import read_options

ASK_WHILE_READING: Final = 1
ASK_WHILE_LIVE: Final = 5
ASK_WHILE_QUIET: Final = 15
"""Seconds after which a page asks again: while the list is being read, while calls are live, otherwise."""


def run_tag_prefix(dag_id: str, run_id: str) -> str:
    """Return the beginning of the tags of a run's calls."""
    return run_prefix(namespace=read_options().namespace, dag_id=dag_id, run_id=run_id)


def calls_view(
    store: Accounts,
    *,
    dag_id: str,
    run_id: str,
    task_id: str | None,
    map_index: int | None,
    outcome: str | None,
    person_of: str | None,
    offset: int,
    limit: int,
    may_act: bool,
) -> dict[str, Any]:
    """Return the calls of a run, or of a part of it.

    Args:
        store: The accounts.
        dag_id: The DAG.
        run_id: The run.
        task_id: Only this task's calls.
        map_index: Only this map index's calls.
        outcome: Only calls with this outcome in the list; the totals count all.
        person_of: Only calls to the same person as this call.
        offset: The number of calls before the page.
        limit: The most calls on the page.
        may_act: Whether the user may hang up and pause.
    """
    used, team = runs.connections_of(dag_id, run_id), teams.of_dag(dag_id)
    beginning = run_tag_prefix(dag_id, run_id)
    looks = [partial(_look, store.of(conn_id, team).calls_tagged(beginning)) for conn_id in used]
    snapshots = within(LONGEST_LOOK, looks)
    known = newest_first(entry for snapshot in snapshots for entry in snapshot.entries)
    scope = Scope(task=None if task_id is None else task_digest(task_id), map_index=map_index)
    shown = scope.select(known)
    person = next((entry for entry in shown if entry.call_id == person_of), None)
    if person is not None:
        shown = Scope.of_person(person).select(shown)
    tasks = runs.task_ids(dag_id, run_id)
    page = one_page(shown, outcome=outcome, offset=offset, limit=limit, tasks=tasks)
    for row in page["rows"]:
        row["url"] = call_url(row["call_id"])
    campaigns = [
        campaign_view(each, may_act=may_act)
        for each in runs.campaigns(dag_ids=[dag_id], run_id=run_id)
        if task_id in {None, each.task_id} and map_index in {None, each.map_index}
    ]
    return {
        **_freshness(snapshots, shown),
        "connections": used,
        "person": None if person is None else person.number,
        "totals": totals(shown),
        "outcomes": outcomes(shown),
        "over_time": over_time(shown),
        "calls": page,
        "campaigns": campaigns,
        "may_act": may_act,
    }


def _freshness(snapshots: Iterable[Snapshot], shown: Iterable[Entry]) -> dict[str, Any]:
    """Return the age of the data shown, which is that of the oldest reading, and whether it is complete."""
    snapshots = list(snapshots)
    complete = all(snapshot.complete for snapshot in snapshots)
    problem = next((snapshot.problem for snapshot in snapshots if snapshot.problem), None)
    live = any(entry.live for entry in shown)
    return {
        "as_of": min((snapshot.as_of for snapshot in snapshots if snapshot.as_of), default=None),
        "complete": complete,
        "cut": any(snapshot.cut for snapshot in snapshots),
        "problem": problem,
        "ask_again_in": _ask_again_in(complete=complete, live=live, failed=problem is not None),
    }


def _ask_again_in(*, complete: bool, live: bool, failed: bool) -> int:
    """Return the seconds after which the page asks again."""
    if failed or (complete and not live):
        return ASK_WHILE_QUIET
    return ASK_WHILE_LIVE if complete else ASK_WHILE_READING


def campaign_view(campaign: Campaign, *, may_act: bool) -> dict[str, Any]:
    """Return a campaign: its names, its counts, and by whom it is paused."""
    return {
        **actions.names_of(campaign),
        "state": campaign.state,
        "under_way": campaign.under_way,
        "progress": campaign.progress,
        "pause": actions.pause_of(campaign) if campaign.under_way else None,
        "may_act": may_act and campaign.under_way,
    }


def overview(
    store: Accounts,
    *,
    may_read_connection: Callable[[str, str | None], bool],
    dag_ids: Iterable[str],
    may_act: Callable[[str], bool],
) -> dict[str, Any]:
    """Return the accounts, with their lines and how today's calls ended, and the campaigns under way.

    Args:
        store: The accounts.
        may_read_connection: Whether the user may see an account.
        dag_ids: The DAGs that the user may see.
        may_act: Whether the user may pause the campaigns of a DAG.
    """
    found = runs.campaigns(dag_ids=dag_ids)
    seen = [each for each in connections.list_connections() if may_read_connection(*each)]
    accounts = within(LONGEST_LOOK, [partial(account_view, *each, store.of(*each)) for each in seen])
    known = all(account["complete"] or account["problem"] for account in accounts)
    return {
        "accounts": accounts,
        "campaigns": [campaign_view(each, may_act=may_act(each.dag_id)) for each in found],
        "ask_again_in": ASK_WHILE_LIVE if found or not known else ASK_WHILE_QUIET,
    }


def account_view(conn_id: str, team: str | None, account: Account, wait: float) -> dict[str, Any]:
    """Return an account: its lines, and the outcomes of the calls that ended today, as far as they are known.

    Args:
        conn_id: Its connection.
        team: The team of the connection.
        account: The account.
        wait: The most seconds to wait for readings that are due.
    """
    today = account.calls_of_today()
    lines, snapshot = within(wait, [partial(_lines, account), partial(_look, today)])
    known = snapshot.complete or snapshot.entries
    return {
        "conn_id": conn_id,
        "team": team,
        "paused": lines.paused,
        "lines_in_use": lines.in_use,
        "lines_limit": lines.limit,
        "today": outcomes(snapshot.entries) if known else None,
        "today_totals": totals(snapshot.entries) if known else None,
        "complete": snapshot.complete,
        "as_of": snapshot.as_of,
        "problem": lines.problem or snapshot.problem,
    }


def _lines(account: Account, wait: float) -> Any:
    return account.lines(longest=wait)


def _look(cache: CallCache, wait: float) -> Any:
    return cache.look(wait=wait)
