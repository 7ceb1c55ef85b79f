"""Add the page to Airflow: a tab of a DAG run and of a task instance, and an entry in the navigation.

Airflow imports plugins in every process, also in each task's. So the modules of the page are imported at the first
request to it, in the API server only. For Airflow before 3.1, which has no such tabs, the plugin is empty.

See https://airflow.apache.org/docs/apache-airflow/stable/administration-and-deployment/plugins.html
"""

from __future__ import annotations

import threading
from typing import Any, Final
from urllib.parse import urlsplit

from airflow.plugins_manager import AirflowPlugin
from airflow.providers.common.compat.sdk import conf

PREFIX: Final = "/retell"


class LazyApp:
    """The page's app, made at the first request to it."""

    def __init__(self) -> None:
        self._app: Any = None
        self._lock = threading.Lock()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request (ASGI)."""
        if self._app is None:
            with self._lock:
                if self._app is None:
                    from airflow_provider_retell.page.app import build  # noqa: PLC0415 (see above)

                    self._app = build()
        await self._app(scope, receive, send)


def below_base_url(path: str) -> str:
    """Return a path of the API server, below the path of ``[api] base_url`` if it has one."""
    base_url = str(conf.get("api", "base_url", fallback="/"))
    return urlsplit(base_url).path.rstrip("/") + path


def _view(name: str, destination: str, url_route: str, path: str, **more: str) -> dict[str, str]:
    return {
        "name": name,
        "destination": destination,
        "url_route": url_route,
        "href": below_base_url(f"{PREFIX}{path}"),
        "icon": below_base_url(f"{PREFIX}/assets/phone.svg"),
        "icon_dark_mode": below_base_url(f"{PREFIX}/assets/phone-dark.svg"),
        **more,
    }


HAS_VIEWS: Final = hasattr(AirflowPlugin, "external_views")
"""True since 3.1."""

_RUN: Final = "/calls?dag_id={DAG_ID}&run_id={RUN_ID}"


class RetellPlugin(AirflowPlugin):
    """The page of calls."""

    name = "retell"
    if HAS_VIEWS:
        fastapi_apps = [{"app": LazyApp(), "url_prefix": PREFIX, "name": "Retell calls"}]
        external_views = [
            _view("Calls", "dag_run", "retell-calls", _RUN),
            _view(
                "Calls",
                "task_instance",
                "retell-task-calls",
                f"{_RUN}&task_id={{TASK_ID}}&map_index={{MAP_INDEX}}",
            ),
            _view("Retell calls", "nav", "retell", "/overview", category="browse"),
        ]
