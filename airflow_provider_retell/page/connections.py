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

_ENVIRONMENT: Final = "AIRFLOW_CONN_"
_FIELDS: Final = ("password", "host", "schema", "port", "extra")


def read_settings(conn_id: str) -> ConnectionSettings:
    """Return the settings of a connection, wherever Airflow keeps it.

    Raises:
        SettingsError: There is no such connection, or it cannot be used.
    """
    try:
        connection = Connection.get_connection_from_secrets(conn_id)
        fields = {name: getattr(connection, name) for name in _FIELDS}
    except AirflowNotFoundException:
        raise SettingsError(f"there is no connection {conn_id!r}") from None
    except Exception as error:  # noqa: BLE001 (a changed Fernet key, a broken backend: each has its own errors)
        # The type alone, because the text may hold a part of the connection.
        raise SettingsError(f"Airflow cannot read it ({type(error).__name__})") from None
    return ConnectionSettings.read(conn_id=conn_id, **fields)


def list_connections() -> list[str]:
    """Return the ids of the connections to Retell in Airflow's database and in the environment.

    Those in a secrets backend cannot be listed.
    """
    with create_session(scoped=False) as session:
        stored = session.scalars(select(Connection.conn_id).where(Connection.conn_type == CONN_TYPE)).all()
    return sorted({*map(str, stored), *_in_environment()})


def _in_environment() -> Iterator[str]:
    for name, value in os.environ.items():
        if name.startswith(_ENVIRONMENT) and _conn_type(value) == CONN_TYPE:
            yield name.removeprefix(_ENVIRONMENT).lower()


def _conn_type(value: str) -> str:
    if not value.startswith("{"):
        return value.partition("://")[0].lower()
    try:
        return str(json.loads(value).get("conn_type", ""))
    except ValueError:
        return ""
