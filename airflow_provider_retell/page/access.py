"""Check by Airflow's own permissions what a user may see and do.

====================================  =====================================================================
act                                   permission
====================================  =====================================================================
see the calls of a run, or of a task  read on the DAG's task instances
hang up, pause, continue              edit on the DAG's task instances
see an account on the overview        read on the connection
see a campaign on the overview        read on the DAG's task instances
====================================  =====================================================================

The page is mounted beside Airflow's own API and lacks the state of its app, so it asks the auth manager directly.

See https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/auth-manager/index.html
"""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import (
    ConnectionDetails,
    DagAccessEntity,
    DagDetails,
)
from airflow.models.dag import DagModel
from fastapi import HTTPException, status


def may_see(user: Any, dag_id: str) -> bool:
    """Return whether a user may see the calls of a DAG."""
    return _may(user, dag_id, "GET")


def may_act(user: Any, dag_id: str) -> bool:
    """Return whether a user may hang up on the calls of a DAG, and pause its campaigns."""
    return may_see(user, dag_id) and _may(user, dag_id, "PUT")


def _may(user: Any, dag_id: str, method: Any) -> bool:
    return get_auth_manager().is_authorized_dag(
        method=method,
        access_entity=DagAccessEntity.TASK_INSTANCE,
        details=DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id)),
        user=user,
    )


def may_read_connection(user: Any, conn_id: str, team: str | None) -> bool:
    """Return whether a user may read a connection; only its members may read a team's."""
    details = ConnectionDetails(conn_id=conn_id, team_name=team)
    return get_auth_manager().is_authorized_connection(method="GET", details=details, user=user)


def visible_dags(user: Any) -> set[str]:
    """Return the DAGs whose calls a user may see."""
    return {dag_id for dag_id in get_auth_manager().get_authorized_dag_ids(user=user) if may_see(user, dag_id)}


def require(allowed: bool) -> None:
    """Answer 403 unless something is allowed. Check this first, or a 404 shows which DAGs do not exist."""
    if not allowed:
        raise HTTPException(status.HTTP_403_FORBIDDEN, "You have no permission for this.")
