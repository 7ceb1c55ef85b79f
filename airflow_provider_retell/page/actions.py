"""Carry out the actions of the page: hang up a call, pause or continue a campaign.

Each is first written to Airflow's audit log; if that fails, nothing is done.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from airflow.models.log import Log
from airflow.models.variable import Variable
from airflow.utils.session import create_session

from airflow_provider_retell.api.client import RetellClient
from airflow_provider_retell.api.endpoints import get_call
from airflow_provider_retell.api.flows import StopResult, stop
from airflow_provider_retell.calls.campaign_pause import pause_variable, read_pause
from airflow_provider_retell.calls.intent import tag_of
from airflow_provider_retell.page import teams
from airflow_provider_retell.page.runs import Campaign

HUNG_UP: Final = "retell_hang_up"
PAUSED: Final = "retell_pause_campaign"
CONTINUED: Final = "retell_continue_campaign"
"""The events in the audit log."""


def is_of_run(client: RetellClient, call_id: str, *, beginning: str) -> bool:
    """Return whether a call is one of a run.

    Args:
        client: The client of a connection that the run uses.
        call_id: The call.
        beginning: The beginning of the tags of the run's calls.

    Raises:
        RetellNotFoundError: The account has no such call.
        RetellError: Retell cannot be asked.
    """
    return tag_of(client.send(get_call(call_id))).startswith(beginning)


def hang_up(client: RetellClient, call_id: str, *, user: Any, names: Mapping[str, Any]) -> StopResult:
    """Stop a call; return the result.

    Args:
        client: The client of the connection under which the call was placed.
        call_id: The call.
        user: The user who does it.
        names: ``dag_id``, ``run_id``, and the task's names if they are known.

    Raises:
        RetellError: Retell cannot be asked.
    """
    _write(HUNG_UP, user, names, {"call_id": call_id})
    return client.run(stop(call_id, leave_registered=False))


def pause(campaign: Campaign, *, paused: bool, user: Any, now: float) -> None:
    """Pause or continue a campaign.

    Args:
        campaign: The campaign.
        paused: True to pause it, False to continue it.
        user: The user who does it.
        now: Seconds since the epoch.
    """
    names = names_of(campaign)
    _write(PAUSED if paused else CONTINUED, user, names, {})
    if paused:
        who_and_when = {"paused": True, "by": user.get_name(), "at": _text(now), **names}
        note = "Written by the page of the campaign's calls."
        Variable.set(variable_of(campaign), json.dumps(who_and_when), note, **_team(campaign))
    else:
        Variable.delete(variable_of(campaign), **_team(campaign))


def pause_of(campaign: Campaign) -> dict[str, str] | None:
    """Return by whom and when a campaign was paused; None if it is not paused."""
    return read_pause(Variable.get(variable_of(campaign), default_var=None, **_team(campaign)))


def _team(campaign: Campaign) -> dict[str, Any]:
    """Return the argument that assigns the Variable to the team whose tasks read it."""
    return teams.argument(teams.of_dag(campaign.dag_id))


def variable_of(campaign: Campaign) -> str:
    """Return the name of the Variable in which the campaign's pause is kept."""
    return pause_variable(**names_of(campaign))


def names_of(campaign: Campaign) -> dict[str, Any]:
    """Return the ids of a campaign's task instance."""
    return {name: getattr(campaign, name) for name in ("dag_id", "run_id", "task_id", "map_index")}


def _write(event: str, user: Any, names: Mapping[str, Any], extra: Mapping[str, Any]) -> None:
    who = user.get_name()
    with create_session(scoped=False) as session:
        line = Log(event, owner=who, owner_display_name=who, extra=json.dumps({**names, **extra}), **names)
        session.add(line)


def _text(now: float) -> str:
    return f"{datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%SZ}"
