"""The page asks the auth manager that Airflow has: roles of FAB, down to a single DAG, decide as elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("airflow.api_fastapi.app", reason="Airflow 2 has no such pages")
pytest.importorskip("airflow.providers.fab", reason="FAB is in an environment of its own: make test-fab")

from airflow.api_fastapi.app import create_auth_manager, purge_cached_app
from airflow.providers.fab.auth_manager.models.db import FABDBManager
from airflow.utils.session import create_session
from fastapi import FastAPI
from fastapi.testclient import TestClient

from airflow_provider_retell.page.plugin import PREFIX, LazyApp

FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
QUERY = {"dag_id": "some_dag", "run_id": "run"}
Login = Callable[..., TestClient]


@pytest.fixture
def login(database: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Login]:
    """Log a user in who has some permissions: an action and a resource each."""
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "0123456789abcdef" * 8)
    monkeypatch.setenv("AIRFLOW__CORE__AUTH_MANAGER", FAB)
    purge_cached_app()
    with create_session() as session:
        FABDBManager(session).initdb()
    manager: Any = create_auth_manager()
    assert manager.get_fastapi_app() is not None  # which makes the app that FAB's security manager lives in
    app = FastAPI()
    app.mount(PREFIX, LazyApp())

    def login(*permissions: tuple[str, str]) -> TestClient:
        with manager.flask_app.app_context():
            security = manager.security_manager
            name = f"role {len(security.get_all_users())}"
            role = security.add_role(name)
            for action, resource in permissions:
                security.add_permission_to_role(role, security.create_permission(action, resource))
            user = security.add_user(name, "A", "B", f"{name.replace(' ', '')}@example.com", role, password="x")
            token = manager.generate_jwt(user)
        return TestClient(app, headers={"Authorization": f"Bearer {token}", "Origin": "http://testserver"})

    yield login
    purge_cached_app()


READ = [("can_read", "DAGs"), ("can_read", "Task Instances"), ("can_read", "DAG Runs")]
EDIT = [("can_edit", "DAGs"), ("can_edit", "Task Instances"), ("can_edit", "DAG Runs")]


def answers(client: TestClient) -> tuple[int, int, int]:
    """Return the statuses of seeing, hanging up and pausing."""
    seen = client.get(f"{PREFIX}/api/calls", params=QUERY).status_code
    hung_up = client.post(f"{PREFIX}/api/hang-up", json={**QUERY, "call_id": "call_1"}).status_code
    paused = client.post(f"{PREFIX}/api/pause", json={**QUERY, "task_id": "t", "paused": True}).status_code
    return seen, hung_up, paused


@pytest.mark.parametrize(
    ("permissions", "expected"),
    [
        ([], (403, 403, 403)),
        ([("can_read", "DAGs")], (403, 403, 403)),
        (READ, (404, 403, 403)),
        ([*READ, ("can_edit", "Task Instances")], (404, 403, 403)),
        ([*READ, *EDIT], (404, 404, 404)),
        ([("can_read", "DAG:some_dag"), ("can_edit", "DAG:some_dag"), *READ[1:], *EDIT[1:]], (404, 404, 404)),
        ([("can_read", "DAG:another_dag"), *READ[1:]], (403, 403, 403)),
    ],
)
def test_permissions_of_fab(
    login: Login, permissions: list[tuple[str, str]], expected: tuple[int, int, int]
) -> None:
    """To see takes read on the DAG and its task instances, to act edit; 404: there is no such run or call."""
    assert answers(login(*permissions)) == expected


@pytest.mark.parametrize("may", [True, False])
def test_an_account_is_for_those_who_may_read_connections(
    login: Login, monkeypatch: pytest.MonkeyPatch, *, may: bool
) -> None:
    """The overview leaves out what a user may not read."""
    monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", '{"conn_type": "retell", "host": "http://127.0.0.1:9"}')
    client = login(*([("can_read", "Connections")] if may else []))
    accounts = client.get(f"{PREFIX}/api/overview").json()["accounts"]
    assert [account["conn_id"] for account in accounts] == (["retell_default"] if may else [])
