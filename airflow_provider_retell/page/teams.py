"""The teams of Airflow's multi-team mode, to which a DAG, a connection and a pause may belong.

====================================  =============================================================================
of a team, in multi-team mode         belongs to it by
====================================  =============================================================================
a DAG                                 its bundle
a connection in the database          its field ``team_name``
a connection in the environment       its name, ``AIRFLOW_CONN__<TEAM>___<ID>``
a connection in a secrets backend     what the backend says: the page asks it for a DAG's team, and cannot list it
====================================  =============================================================================

When Airflow looks up a connection for a team, it finds the team's own connections and those without a team. So for
the calls of a DAG, the page uses the connection that the DAG's tasks use. Outside multi-team mode there are no
teams.

See https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/multi-team.html
"""

from __future__ import annotations

from typing import Any

from airflow.configuration import conf
from airflow.models.connection import Connection
from airflow.models.dag import DagModel
from airflow.models.team import Team


def are_enabled() -> bool:
    """Return whether Airflow is in multi-team mode (3.2 and later)."""
    return bool(conf.getboolean("core", "multi_team", fallback=False))


def of_dag(dag_id: str) -> str | None:
    """Return the team of a DAG."""
    team: str | None = DagModel.get_team_name(dag_id) if are_enabled() else None
    return team


def of_connection(conn_id: str) -> str | None:
    """Return the team of a connection in the database."""
    team: str | None = Connection.get_team_name(conn_id) if are_enabled() else None
    return team


def by_upper_case(word: str) -> str | None:
    """Return the team whose name in upper case is a given word of an environment variable's name."""
    return next((name for name in sorted(Team.get_all_team_names()) if name.upper() == word), None)


def argument(team: str | None) -> dict[str, Any]:
    """Return the argument that names a team to Airflow's models; older versions do not have it."""
    return {} if team is None else {"team_name": team}
