"""The page's own API, and its files, below ``/retell`` of Airflow's API server.

=====  ===================  =================================  ==========================================
       path                 user                               returns
=====  ===================  =================================  ==========================================
GET    /calls, /overview    any, as they hold no data          the page, which asks for the rest
GET    /assets/...          any                                its script, its style
GET    /api/calls           may see the DAG's calls            ``views.calls_view``
GET    /api/overview        is logged in, and sees a part      ``views.overview``
POST   /api/hang-up         may edit the task instances        the result of the stop, in words
POST   /api/pause           may edit the task instances        the campaign
=====  ===================  =================================  ==========================================

Endpoints are plain functions: FastAPI runs them in threads, where they may wait for Retell and the database.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

from airflow.api_fastapi.core_api.security import get_user
from airflow.configuration import conf
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response, status
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles

from airflow_provider_retell.errors import RetellError, RetellNotFoundError
from airflow_provider_retell.page import access, actions, guard, runs, teams, views
from airflow_provider_retell.page.accounts import Accounts, accounts

log = logging.getLogger(__name__)

ASSETS: Final = Path(__file__).parent / "assets"

User = Annotated[Any, Depends(get_user)]
Store = Annotated[Accounts, Depends(accounts)]
"""The accounts of this process; a test has its own."""


async def read_change(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request that may change something."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    if refused := guard.why_refused(headers, base_url=conf.get("api", "base_url", fallback="")):
        raise HTTPException(status.HTTP_403_FORBIDDEN, refused)
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > guard.LONGEST_BODY:
            raise HTTPException(413, "The request is too long.")
    try:
        change = json.loads(body)
    except ValueError:
        change = None
    if not isinstance(change, dict):
        raise HTTPException(status.HTTP_400_BAD_REQUEST, "The request is not a JSON object.")
    return change


Change = Annotated[dict[str, Any], Depends(read_change)]


def build() -> FastAPI:
    """Return the app."""
    # Airflow does not authenticate requests here, so there are no pages that describe the API.
    app = FastAPI(title="Retell calls", docs_url=None, redoc_url=None, openapi_url=None)
    app.middleware("http")(add_headers)
    app.get("/calls")(lambda: _page("calls.html"))
    app.get("/overview")(lambda: _page("overview.html"))
    app.get("/api/calls")(show_calls)
    app.get("/api/overview")(show_overview)
    app.post("/api/hang-up")(hang_up)
    app.post("/api/pause")(pause)
    app.add_exception_handler(RetellError, _answer_retell_error)
    app.mount("/assets", StaticFiles(directory=ASSETS))
    return app


async def add_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Add the headers that limit what a browser may do with the response."""
    response = await call_next(request)
    response.headers.update(guard.HEADERS)
    if "/api/" in request.url.path:
        response.headers["Cache-Control"] = "no-store"
    else:
        response.headers["Cache-Control"] = "no-cache"
    return response


def _page(name: str) -> Response:
    return FileResponse(ASSETS / name, media_type="text/html")


async def _answer_retell_error(_: Request, error: Exception) -> Response:
    log.warning("A request to the page failed: %s", error)
    return JSONResponse({"detail": str(error)}, status_code=status.HTTP_502_BAD_GATEWAY)


def show_calls(
    *,
    user: User,
    store: Store,
    dag_id: str,
    run_id: str,
    task_id: str | None = None,
    map_index: str | None = None,
    outcome: str | None = None,
    person_of: str | None = None,
    offset: int = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> dict[str, Any]:
    """Return the calls of a run, of a task, or of one person."""
    access.require(access.may_see(user, dag_id))
    if not runs.exists(dag_id, run_id):
        raise HTTPException(status.HTTP_404_NOT_FOUND, "There is no such run.")
    return views.calls_view(
        store,
        dag_id=dag_id,
        run_id=run_id,
        task_id=task_id or None,
        map_index=_index(map_index),
        outcome=outcome or None,
        person_of=person_of or None,
        offset=offset,
        limit=limit,
        may_act=access.may_act(user, dag_id),
    )


def _index(given: str | None) -> int | None:
    """Return a map index, or None for the placeholder that Airflow leaves if a task has none."""
    try:
        return int(given or "")
    except ValueError:
        return None


def show_overview(user: User, store: Store) -> dict[str, Any]:
    """Return the accounts and the campaigns that a user may see."""
    return views.overview(
        store,
        may_read_connection=partial(access.may_read_connection, user),
        dag_ids=access.visible_dags(user),
        may_act=lambda dag_id: access.may_act(user, dag_id),
    )


def hang_up(user: User, store: Store, change: Change) -> dict[str, Any]:
    """Stop a live call of a run."""
    dag_id, run_id, call_id = (_text(change, name) for name in ("dag_id", "run_id", "call_id"))
    access.require(access.may_act(user, dag_id))
    beginning = views.run_tag_prefix(dag_id, run_id)
    names = {"dag_id": dag_id, "run_id": run_id}
    problem, team = None, teams.of_dag(dag_id)
    for conn_id in runs.connections_of(dag_id, run_id):
        try:
            account = store.of(conn_id, team)
            client = account.client()
            found = actions.is_of_run(client, call_id, beginning=beginning)
        except RetellNotFoundError:
            continue
        except RetellError as error:
            # Ask the next account: it may have the call, which is still live.
            problem = problem or error
            continue
        if found:
            result = actions.hang_up(client, call_id, user=user, names=names)
            account.calls_tagged(beginning).read_soon()
            return {"message": result.message, "stopped": not result.may_go_on}
    if problem is not None:
        raise problem
    raise HTTPException(status.HTTP_404_NOT_FOUND, "This run has no such call.")


def pause(user: User, change: Change) -> dict[str, Any]:
    """Pause or continue a campaign."""
    dag_id, run_id, task_id = (_text(change, name) for name in ("dag_id", "run_id", "task_id"))
    map_index, paused = change.get("map_index", -1), change.get("paused")
    if not isinstance(map_index, int) or not isinstance(paused, bool):
        raise HTTPException(status.HTTP_400_BAD_REQUEST, "map_index must be an integer, paused true or false.")
    access.require(access.may_act(user, dag_id))
    campaign = runs.find_campaign(dag_id, run_id, task_id, map_index)
    if campaign is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "There is no such campaign.")
    actions.pause(campaign, paused=paused, user=user, now=time.time())
    return views.campaign_view(campaign, may_act=True)


def _text(change: dict[str, Any], name: str) -> str:
    value = change.get(name)
    if not isinstance(value, str) or not value:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, f"{name} is missing.")
    return value
