"""Find the connections to Retell on the API server."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Final

from airflow.models.connection import Connection
from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.utils.session import create_session
from sqlalchemy import select

from airflow_provider_retell.api.settings import CONN_TYPE, ConnectionSettings, SettingsError
from airflow_provider_retell.page import teams

_ENVIRONMENT: Final = "AIRFLOW_CONN_"


def read_settings(conn_id: str, team: str | None = None) -> ConnectionSettings:
    """Return the settings of a connection, wherever Airflow keeps it.

    Args:
        conn_id: Its id.
        team: The team whose connection it is, or whose DAG uses it; None for none.

    Raises:
        SettingsError: There is no such connection, or it cannot be used.
    """
    try:
        connection = Connection.get_connection_from_secrets(conn_id, **teams.argument(team))
        return ConnectionSettings.of(connection, conn_id=conn_id)
    except SettingsError:
        raise
    except AirflowNotFoundException:
        raise SettingsError(f"there is no connection {conn_id!r}") from None
    except Exception as error:  # noqa: BLE001 (a changed Fernet key, a broken backend: each has its own errors)
        # The type alone, because the text may hold a part of the connection.
        raise SettingsError(f"Airflow cannot read it ({type(error).__name__})") from None


def list_connections() -> list[tuple[str, str | None]]:
    """Return the connections to Retell in Airflow's database and in the environment: the id, and the team or None.

    Those in a secrets backend cannot be listed.
    """
    with create_session(scoped=False) as session:
        stored = session.scalars(select(Connection.conn_id).where(Connection.conn_type == CONN_TYPE)).all()
    found = {*((str(conn_id), teams.of_connection(conn_id)) for conn_id in stored), *_in_environment()}
    return sorted(found, key=lambda each: (each[0], each[1] or ""))


def _in_environment() -> Iterator[tuple[str, str | None]]:
    for name, value in os.environ.items():
        if not name.startswith(_ENVIRONMENT) or _conn_type(value) != CONN_TYPE:
            continue
        conn_id = name.removeprefix(_ENVIRONMENT)
        word, of_a_team, own = conn_id.removeprefix("_").partition("___")
        if not (conn_id.startswith("_") and of_a_team and teams.are_enabled()):
            yield conn_id.lower(), None
        elif (team := teams.by_upper_case(word)) is not None:
            yield own.lower(), team


def _conn_type(value: str) -> str:
    if not value.startswith("{"):
        return value.partition("://")[0].lower()
    try:
        return str(json.loads(value).get("conn_type", ""))
    except ValueError:
        return ""
