"""Test the page as Airflow mounts it: what it shows, to whom, and what users may do."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import entry_points
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import AIRFLOW_2, DAGS

from airflow_provider_retell.simulator import RealClock, Simulator

if AIRFLOW_2:
    pytest.skip("Airflow 2 has no such pages", allow_module_level=True)
pytest.importorskip("airflow.models.team", reason="Airflow before 3.1 has no such pages")

from airflow.api_fastapi.app import create_auth_manager, purge_cached_app
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.models.connection import Connection
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.models.log import Log
from airflow.models.renderedtifields import RenderedTaskInstanceFields as Rendered
from airflow.models.taskinstance import TaskInstance
from airflow.models.team import Team
from airflow.models.variable import Variable
from airflow.utils.session import create_session
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import delete, select, update

from airflow_provider_retell.api.client import RetellClient
from airflow_provider_retell.api.endpoints import create_phone_call, get_call
from airflow_provider_retell.api.settings import ConnectionSettings, SettingsError
from airflow_provider_retell.calls.campaign_pause import pause_variable, read_pause
from airflow_provider_retell.page import accounts as accounts_module
from airflow_provider_retell.page import connections
from airflow_provider_retell.page.actions import CONTINUED, HUNG_UP, PAUSED
from airflow_provider_retell.page.guard import HEADERS, why_refused
from airflow_provider_retell.page.plugin import PREFIX, LazyApp, RetellPlugin
from airflow_provider_retell.page.runs import CONNECTION

HOSTILE = "<script>alert(1)</script>"
ORIGIN = "http://testserver"
DAG_ID = "calls_of_a_page"
DAG = f"""
from airflow.sdk import DAG
from airflow_provider_retell.operators import RetellCampaignOperator, RetellCreatePhoneCallOperator

PEOPLE = [{{"to_number": f"+1206555010{{n}}"}} for n in range(4)]
with DAG("{DAG_ID}") as dag:
    RetellCreatePhoneCallOperator.partial(
        task_id="one", from_number="+14155550199", wait_for="ended", poll_interval=1,
        metadata={{"x": "{HOSTILE}"}},
    ).expand(to_number=["+12065550111", "+12065550112"])
    RetellCampaignOperator(
        task_id="many", from_number="+14155550199", people=PEOPLE, lines=4, calls_per_second=10, poll_interval=1
    )
"""


@pytest.fixture(scope="module")
def run(database: None) -> Iterator[SimpleNamespace]:
    """A run with two mapped calls and a campaign of four people, and the simulator that they were placed at."""
    simulator = Simulator(clock=RealClock(speed=30), list_registered=False)
    for number in ("+12065550111", *(f"+1206555010{n}" for n in range(3))):
        simulator.play(number, "agent_hangup")
    for number in ("+12065550112", "+12065550103"):
        simulator.play(number, "dial_busy")
    (path := DAGS / f"{DAG_ID}.py").write_text(DAG)
    spec = importlib.util.spec_from_file_location(DAG_ID, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with simulator.serve() as url:
        os.environ["AIRFLOW_CONN_RETELL_DEFAULT"] = simulator.connection(url)
        dag_run = module.dag.test()
        assert str(dag_run.state) == "success"
        yield SimpleNamespace(simulator=simulator, run_id=dag_run.run_id)
        del os.environ["AIRFLOW_CONN_RETELL_DEFAULT"]
    path.unlink()


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[FastAPI]:
    """An API server that has the page, a login, and no state of Airflow's own app."""
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "0123456789abcdef" * 8)
    monkeypatch.setenv("AIRFLOW__CORE__AUTH_MANAGER", SIMPLE)
    accounts_module.accounts.cache_clear()
    app = FastAPI()
    app.mount(PREFIX, LazyApp())
    yield app
    accounts_module.accounts().close()
    purge_cached_app()


SIMPLE = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
Login = Callable[[str], TestClient]


@pytest.fixture
def login(app: FastAPI) -> Login:
    """Log a user in who has a role of the simple auth manager."""
    manager = create_auth_manager()

    def login(role: str) -> TestClient:
        token = manager.generate_jwt(SimpleAuthManagerUser(username=f"a {role.lower()}", role=role))
        headers = {"Authorization": f"Bearer {token}", "Origin": ORIGIN}
        return TestClient(app, headers=headers)

    return login


def calls(client: TestClient, run: SimpleNamespace, **asked: Any) -> dict[str, Any]:
    """Return what the tab shows."""
    query = {"dag_id": DAG_ID, "run_id": run.run_id, **asked}
    response = client.get(f"{PREFIX}/api/calls", params=query)
    assert response.status_code == 200, response.text
    return dict(response.json())


@pytest.fixture
def under_way(run: SimpleNamespace) -> Iterator[dict[str, Any]]:
    """Make Airflow believe that the campaign is still running; return its names."""
    names = {"dag_id": DAG_ID, "run_id": run.run_id, "task_id": "many", "map_index": -1}

    def set_state(state: str) -> None:
        with create_session() as session:
            chosen = (TaskInstance.run_id == run.run_id, TaskInstance.task_id == "many")
            session.execute(update(TaskInstance).where(*chosen).values(state=state))

    set_state("running")
    yield names
    set_state("success")
    with create_session() as session:
        session.execute(delete(Variable).where(Variable.key.startswith("retell_pause")))


def audit(event: str) -> list[tuple[Any, ...]]:
    """Return who did what to which DAG, as the audit log has it."""
    with create_session() as session:
        lines = session.scalars(select(Log).where(Log.event == event)).all()
        return [(line.owner, line.dag_id, line.run_id, json.loads(line.extra)) for line in lines]


def test_the_tab_shows_the_calls_of_the_run(run: SimpleNamespace, login: Login) -> None:
    """All of its tasks: totals, outcomes, and the list, with the task of each."""
    view = calls(login("VIEWER"), run)
    assert view["complete"]
    assert view["totals"]["calls"] == 6
    assert view["totals"]["people"] == 6
    assert view["totals"]["reached"] == 4
    assert view["outcomes"] == {"answered": 4, "busy": 2}
    assert {(row["task_id"], row["map_index"]) for row in view["calls"]["rows"]} == {
        ("one", 0),
        ("one", 1),
        ("many", -1),
    }
    assert view["connections"] == ["retell_default"]
    assert {row["url"].split("/")[2] for row in view["calls"]["rows"]} == {"dashboard.retellai.com"}


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({"task_id": "one"}, 2),
        ({"task_id": "one", "map_index": 1}, 1),
        ({"task_id": "one", "map_index": "{MAP_INDEX}"}, 2),
        ({"task_id": "many", "map_index": -1}, 4),
        ({"task_id": "another"}, 0),
    ],
)
def test_the_tab_of_a_task_shows_its_calls(
    run: SimpleNamespace, login: Login, asked: dict[str, Any], count: int
) -> None:
    """Of one map index, or of all of them if Airflow names none."""
    assert calls(login("VIEWER"), run, **asked)["totals"]["calls"] == count


def test_a_run_that_does_not_exist_is_not_looked_for(run: SimpleNamespace, login: Login) -> None:
    """An invented id costs no request to Retell."""
    before = len(run.simulator.requests)
    answer = login("VIEWER").get(f"{PREFIX}/api/calls", params={"dag_id": DAG_ID, "run_id": "another"})
    assert answer.status_code == 404
    assert len(run.simulator.requests) == before


def test_filters_and_pages(run: SimpleNamespace, login: Login) -> None:
    """The totals are of all calls, the list is of those with the outcome, and a person has a list of attempts."""
    client = login("VIEWER")
    view = calls(client, run, outcome="busy", limit=1)
    assert view["totals"]["calls"] == 6
    assert (view["calls"]["matching"], len(view["calls"]["rows"])) == (2, 1)
    row = view["calls"]["rows"][0]
    one = calls(client, run, person_of=row["call_id"])
    assert (one["totals"]["calls"], one["person"]) == (1, row["number"])


def test_no_number_and_no_key_leaves_the_server(run: SimpleNamespace, login: Login) -> None:
    """Numbers are shown by their last digits; nothing else of a call goes out, neither metadata nor key."""
    client = login("ADMIN")
    shown = json.dumps(calls(client, run)) + client.get(f"{PREFIX}/api/overview").text
    assert "\\u20260111" in shown
    assert "2065550111" not in shown
    assert "key_" not in shown
    assert HOSTILE not in shown
    assert "transcript" not in shown


@pytest.mark.parametrize(
    ("role", "sees", "acts", "accounts"),
    [
        (None, False, False, False),
        ("VIEWER", True, False, False),
        ("USER", True, True, False),
        ("OP", True, True, True),
    ],
)
def test_permissions_are_airflow_s_own(
    run: SimpleNamespace,
    login: Login,
    app: FastAPI,
    under_way: dict[str, Any],
    role: str | None,
    *,
    sees: bool,
    acts: bool,
    accounts: bool,
) -> None:
    """Read shows, edit acts, and an account is for those who may read its connection; without a login, nothing."""
    client = login(role) if role else TestClient(app, headers={"Origin": ORIGIN})
    query = {"dag_id": DAG_ID, "run_id": run.run_id}
    seen = client.get(f"{PREFIX}/api/calls", params=query)
    assert seen.status_code == (200 if sees else 401)
    overview = client.get(f"{PREFIX}/api/overview")
    assert overview.status_code == (200 if role else 401)
    if role:
        assert seen.json()["may_act"] is acts
        assert [it["conn_id"] for it in overview.json()["accounts"]] == (["retell_default"] if accounts else [])
        assert [it["may_act"] for it in overview.json()["campaigns"]] == [acts]
    before = len(run.simulator.requests)
    hung_up = client.post(f"{PREFIX}/api/hang-up", json={**query, "call_id": "call_unknown"})
    paused = client.post(f"{PREFIX}/api/pause", json={**under_way, "paused": True})
    refused = 403 if role else 401
    assert (hung_up.status_code, paused.status_code) == ((404, 200) if acts else (refused, refused))
    assert acts or len(run.simulator.requests) == before


def forget_teams() -> None:
    """Make Airflow look up again of which team a DAG is."""
    with suppress(ImportError):  # before 3.3 it always does
        from airflow.models.dag import clear_team_name_cache  # noqa: PLC0415

        clear_team_name_cache()


@pytest.fixture
def team(run: SimpleNamespace, app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Make the DAG, a connection in the database and one in the environment those of a team."""
    if "teams" not in signature(SimpleAuthManagerUser).parameters:
        pytest.skip("the users of this Airflow have no teams")
    create_auth_manager()
    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")
    monkeypatch.setenv("AIRFLOW_CONN__OURS___IN_ENV", os.environ["AIRFLOW_CONN_RETELL_DEFAULT"])
    monkeypatch.setenv("AIRFLOW_CONN__UNKNOWN___IN_ENV", os.environ["AIRFLOW_CONN_RETELL_DEFAULT"])
    fields = json.loads(os.environ["AIRFLOW_CONN_RETELL_DEFAULT"])
    extra = json.dumps(fields.pop("extra", {}))
    with create_session() as session:
        ours, model = Team(name="ours"), session.get(DagModel, DAG_ID)
        session.add(ours)
        session.flush()
        session.add(Connection(conn_id="of_a_team", team_name="ours", extra=extra, **fields))
        bundle = session.get(DagBundleModel, model.bundle_name)
        if bundle is None:
            session.add(bundle := DagBundleModel(name=model.bundle_name))
        bundle.teams = [ours]
    forget_teams()
    yield "ours"
    forget_teams()
    with create_session() as session:
        session.get(DagBundleModel, model.bundle_name).teams = []
        for table, name in ((Connection.conn_id, "of_a_team"), (Variable.team_name, "ours"), (Team.name, "ours")):
            session.execute(delete(table.class_).where(table == name))


def of_team(name: str) -> SimpleAuthManagerUser:
    """Return an operator of a team."""
    return SimpleAuthManagerUser(username=name, role="OP", teams=[name])


def test_the_accounts_of_a_team_are_for_its_members(app: FastAPI, team: str) -> None:
    """Its connections in the database and in the environment; those of no team are for all."""
    manager = create_auth_manager()

    def accounts(user: SimpleAuthManagerUser) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {manager.generate_jwt(user)}"}
        view = TestClient(app, headers=headers).get(f"{PREFIX}/api/overview").json()
        return {it["conn_id"]: it for it in view["accounts"]}

    ours, theirs = accounts(of_team(team)), accounts(of_team("theirs"))
    assert {(name, it["team"]) for name, it in ours.items()} == {
        ("in_env", team),
        ("of_a_team", team),
        ("retell_default", None),
    }
    assert {it["problem"] for it in ours.values()} == {None}
    assert set(theirs) == {"retell_default"}


def test_the_page_uses_the_connection_that_the_team_s_tasks_use(team: str) -> None:
    """Airflow finds it for this team alone; one of no team is found for all."""
    for conn_id in ("of_a_team", "in_env", "retell_default"):
        assert connections.read_settings(conn_id, team).conn_id == conn_id
    for conn_id in ("of_a_team", "in_env"):
        for other in (None, "theirs"):
            with pytest.raises(SettingsError, match="there is no connection"):
                connections.read_settings(conn_id, other)


def test_the_pause_of_a_team_s_campaign_is_the_team_s(under_way: dict[str, Any], app: FastAPI, team: str) -> None:
    """Members of another team cannot change it; the page shows it, and the tasks of the team read it."""
    user = of_team(team)
    headers = {"Authorization": f"Bearer {create_auth_manager().generate_jwt(user)}", "Origin": ORIGIN}
    client = TestClient(app, headers=headers)
    answer = client.post(f"{PREFIX}/api/pause", json={**under_way, "paused": True})
    assert (answer.status_code, answer.json()["pause"]["by"]) == (200, team)
    name = pause_variable(**under_way)
    assert Variable.get_team_name(name) == team
    assert read_pause(Variable.get(name, team_name=team)) is not None
    answer = client.post(f"{PREFIX}/api/pause", json={**under_way, "paused": False})
    assert (answer.status_code, answer.json()["pause"]) == (200, None)
    assert Variable.get(name, default_var=None, team_name=team) is None


def test_hanging_up_stops_the_call_and_leaves_a_line(run: SimpleNamespace, login: Login) -> None:
    """A live call of the run is over; the audit log says who did it, to which call, without a number."""
    live = place_live(run, "+12065550113")
    client = login("USER")
    body = {"dag_id": DAG_ID, "run_id": run.run_id, "call_id": live}
    answer = client.post(f"{PREFIX}/api/hang-up", json=body)
    assert (answer.status_code, answer.json()["stopped"]) == (200, True)
    assert read(run, live)["disconnection_reason"] == "manual_stopped"
    assert audit(HUNG_UP)[-1] == (
        "a user",
        DAG_ID,
        run.run_id,
        {"dag_id": DAG_ID, "run_id": run.run_id, "call_id": live},
    )
    rows = calls(client, run, outcome="stopped")["calls"]["rows"]
    assert [row["call_id"] for row in rows] == [live]


@pytest.fixture
def lost_connection(run: SimpleNamespace) -> Iterator[str]:
    """Let a task of the run have used a connection that was deleted, and that is asked first; return its id."""
    with create_session() as session:
        rendered = session.scalars(select(Rendered).where(Rendered.run_id == run.run_id)).first()
        names = (Rendered.run_id == run.run_id, Rendered.task_id == rendered.task_id)
        chosen = (*names, Rendered.map_index == rendered.map_index)
        fields = dict(rendered.rendered_fields)
        changed = {**fields, CONNECTION: "a_lost_one"}
        session.execute(update(Rendered).where(*chosen).values(rendered_fields=changed))
    yield "a_lost_one"
    with create_session() as session:
        session.execute(update(Rendered).where(*chosen).values(rendered_fields=fields))


def test_a_lost_connection_does_not_keep_a_call_alive(
    run: SimpleNamespace, login: Login, lost_connection: str
) -> None:
    """The other connections of the run are asked for the call; without it, the answer says what is broken."""
    live = place_live(run, "+12065550114")
    client = login("USER")
    body = {"dag_id": DAG_ID, "run_id": run.run_id, "call_id": live}
    answer = client.post(f"{PREFIX}/api/hang-up", json=body)
    assert (answer.status_code, answer.json().get("stopped")) == (200, True)
    assert read(run, live)["disconnection_reason"] == "manual_stopped"
    answer = client.post(f"{PREFIX}/api/hang-up", json={**body, "call_id": "call_unknown"})
    assert answer.status_code == 502
    assert lost_connection in answer.json()["detail"]


def test_a_connection_that_airflow_cannot_read_has_a_problem_of_its_own(
    run: SimpleNamespace, login: Login
) -> None:
    """Such as one encrypted with an older Fernet key: the overview shows the other accounts as ever."""
    table = Connection.metadata.tables["connection"]
    unreadable = {"password": "of another key", "is_encrypted": True}
    with create_session() as session:
        session.execute(table.insert().values(conn_id="old_key", conn_type="retell", **unreadable))
    try:
        answer = login("OP").get(f"{PREFIX}/api/overview")
    finally:
        with create_session() as session:
            session.execute(delete(Connection).where(Connection.conn_id == "old_key"))
    accounts = {account["conn_id"]: account for account in answer.json()["accounts"]}
    assert "cannot be used" in accounts["old_key"]["problem"]
    assert accounts["retell_default"]["lines_limit"]


def test_a_call_of_another_run_is_not_hung_up(run: SimpleNamespace, login: Login) -> None:
    """A user who may edit one DAG cannot stop the calls of another by their ids."""
    other = place(
        run, {"from_number": "+14155550199", "to_number": "+12065550111", "metadata": {"airflow_call": "f"}}
    )
    lines = len(audit(HUNG_UP))
    body = {"dag_id": DAG_ID, "run_id": run.run_id, "call_id": other}
    assert login("ADMIN").post(f"{PREFIX}/api/hang-up", json=body).status_code == 404
    assert "disconnection_reason" not in read(run, other)
    assert len(audit(HUNG_UP)) == lines


def test_a_campaign_is_paused_and_goes_on(run: SimpleNamespace, login: Login, under_way: dict[str, Any]) -> None:
    """The Variable says who and when; the page shows it; both acts leave a line in the audit log."""
    client = login("USER")
    answer = client.post(f"{PREFIX}/api/pause", json={**under_way, "paused": True}).json()
    assert answer["pause"]["by"] == "a user"
    assert answer["pause"]["at"].endswith("Z")
    (shown,) = calls(client, run)["campaigns"]
    assert shown["pause"] == answer["pause"]
    assert shown["progress"]["people"] == 4
    with create_session() as session:
        (stored,) = session.scalars(select(Variable).where(Variable.key.startswith("retell_pause"))).all()
        assert json.loads(stored.val)["task_id"] == "many"
        assert stored.key.startswith(f"retell_pause.{DAG_ID}.many.")
    assert client.post(f"{PREFIX}/api/pause", json={**under_way, "paused": False}).json()["pause"] is None
    with create_session() as session:
        assert not session.scalars(select(Variable).where(Variable.key.startswith("retell_pause"))).all()
    assert [audit(event)[-1][0] for event in (PAUSED, CONTINUED)] == ["a user", "a user"]


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ({"Content-Type": "text/plain"}, "{}"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, "a=1"),
        ({"Origin": "https://evil.example"}, "{}"),
        ({"Origin": "null"}, "{}"),
        ({"Sec-Fetch-Site": "same-site"}, "{}"),
    ],
)
def test_another_site_changes_nothing(
    run: SimpleNamespace, login: Login, headers: dict[str, str], content: str
) -> None:
    """A form, or a page of another site, is refused before anything is read."""
    client = login("ADMIN")
    for path in ("hang-up", "pause"):
        given = {"Content-Type": "application/json", **headers}
        answer = client.post(f"{PREFIX}/api/{path}", content=content, headers=given)
        assert answer.status_code == 403


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({"sec-fetch-site": "same-origin"}, False),
        ({"sec-fetch-site": "cross-site"}, True),
        ({"sec-fetch-site": "same-site"}, True),
        ({}, True),
    ],
)
def test_a_proxy_that_rewrites_the_host_disables_no_button(headers: dict[str, str], refused: bool) -> None:
    """No page can forge Sec-Fetch-Site; without it the message names the option that helps."""
    given = {
        "content-type": "application/json",
        "origin": "https://airflow.example",
        "host": "api:8080",
        **headers,
    }
    reason = why_refused(given, base_url="http://api:8080")
    assert (reason is not None) is refused
    assert reason is None or "[api] base_url" in reason


@pytest.mark.parametrize("body", ["[]", "no JSON", "{}", '{"dag_id": 7}', "x" * 20_000])
def test_a_broken_request_is_refused(run: SimpleNamespace, login: Login, body: str) -> None:
    """With a status of its own, and no error of the server."""
    headers = {"Content-Type": "application/json"}
    for path in ("hang-up", "pause"):
        answer = login("ADMIN").post(f"{PREFIX}/api/{path}", content=body, headers=headers)
        assert answer.status_code in {400, 413}


def test_the_page_s_files_are_its_own_and_small(app: FastAPI) -> None:
    """They need no login and hold nothing; they load nothing from elsewhere, and are below 100 kB together."""
    client = TestClient(app)
    size = 0
    folder = Path(accounts_module.__file__).parent / "assets"
    for path in ("calls", "overview", *(f"assets/{file.name}" for file in folder.iterdir())):
        answer = client.get(f"{PREFIX}/{path}")
        assert answer.status_code == 200
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        size += 0 if path.endswith(".html") else len(answer.content)
        assert "://" not in answer.text.replace("http://www.w3.org/2000/svg", "")
        assert "innerHTML" not in answer.text
    assert size < 100_000


def test_nothing_describes_the_api_to_strangers(app: FastAPI) -> None:
    """Airflow asks for no login here, so FastAPI's own pages are off."""
    client = TestClient(app)
    assert [client.get(f"{PREFIX}/{path}").status_code for path in ("docs", "redoc", "openapi.json")] == [404] * 3


def test_the_views_are_those_that_airflow_knows() -> None:
    """A tab of a run, one of a task instance, and an entry of the navigation, each at a route of its own."""
    views = RetellPlugin.external_views
    assert [(view["destination"], view["name"]) for view in views] == [
        ("dag_run", "Calls"),
        ("task_instance", "Calls"),
        ("nav", "Retell calls"),
    ]
    assert len({view["url_route"] for view in views}) == 3


def test_airflow_finds_the_plugin() -> None:
    """By an entry point: what a provider's metadata names is loaded only if providers are discovered at once."""
    found = [entry for entry in entry_points(group="airflow.plugins") if entry.name == "retell"]
    assert [entry.load() for entry in found] == [RetellPlugin]


def test_a_retell_that_is_away_is_said_on_the_page(
    run: SimpleNamespace, login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page stands, says why there are no calls, and asks again later."""
    gone = json.dumps({"conn_type": "retell", "password": "key_1", "host": "http://127.0.0.1:9"})
    monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", gone)
    view = calls(login("OP"), run)
    assert view["problem"]
    assert view["totals"]["calls"] == 0
    (account,) = login("OP").get(f"{PREFIX}/api/overview").json()["accounts"]
    assert account["problem"]


def place_live(run: SimpleNamespace, number: str) -> str:
    """Place a call of the run that talks on and on, and wait until it is live; return its id."""
    first = next(call for call in run.simulator.placed if call.request["to_number"] == "+12065550111")
    run.simulator.play(number, "talks_forever")
    metadata = first.request["metadata"]
    call_id = place(run, {"from_number": "+14155550199", "to_number": number, "metadata": metadata})
    while read(run, call_id)["call_status"] == "registered":
        pass  # it rings for an eighth of a second
    return call_id


def place(run: SimpleNamespace, request: dict[str, Any]) -> str:
    """Place a call that talks on and on; return its id."""
    return _retell(run).send(create_phone_call(request)).call_id


def read(run: SimpleNamespace, call_id: str) -> dict[str, Any]:
    """Return a call as Retell has it."""
    return _retell(run).send(get_call(call_id)).json_dict()


def _retell(run: SimpleNamespace) -> RetellClient:
    settings = ConnectionSettings.read(conn_id="x", password="key_simulator", host="https://simulator.example")
    return RetellClient(settings, transport=run.simulator)
