"""The pause of a campaign: no call is placed five seconds later, on any server that speaks Retell's API."""

from __future__ import annotations

import importlib
import json
import logging
import os
import queue
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException
from another_server import Clock, Server, serving
from conftest import AIRFLOW_2, FROM, SteppingClock, Supervisor, TaskInstance
from cryptography.fernet import Fernet
from test_campaign_run import Make
from test_campaign_run import campaign as made
from test_plan import Campaign as PlannedCampaign
from test_plan import person

from airflow_provider_retell.calls.campaign_pause import (
    PAUSE_INTERVAL,
    PAUSE_MAX_AGE,
    UNKNOWN_FOR,
    CampaignPause,
    pause_variable,
    read_pause,
)
from airflow_provider_retell.campaign.people.person import Person
from airflow_provider_retell.campaign.plan.checks import NotEligible
from airflow_provider_retell.campaign.run.eligibility import Eligibility
from airflow_provider_retell.campaign.run.pauses import Pause, read_pauses
from airflow_provider_retell.campaign.run.terms import End, Terms
from airflow_provider_retell.errors import RetellCallError, RetellCallFinalError
from airflow_provider_retell.hooks import RetellHook
from airflow_provider_retell.operators import RetellCampaignOperator
from airflow_provider_retell.simulator import ManualClock
from airflow_provider_retell.testing import clock_replaced_by

__all__ = ["made"]

COMMS = None if AIRFLOW_2 else importlib.import_module("airflow.sdk.execution_time.comms")
ERRORS = None if AIRFLOW_2 else importlib.import_module("airflow.sdk.exceptions").ErrorType
HAS_KEYS = hasattr(COMMS, "GetVariableKeys")
"""Since Airflow 3.3 a task can ask which Variables there are."""

SINCE_3_2 = pytest.mark.skipif(not hasattr(ERRORS, "PERMISSION_DENIED"), reason="not before 3.2")
SINCE_3_3 = pytest.mark.skipif(not HAS_KEYS, reason="not before 3.3")

NAMES: dict[str, Any] = {"dag_id": "dag", "run_id": "run", "task_id": "task", "map_index": -1}
NAME = pause_variable(**NAMES)
VARIABLE = f"AIRFLOW_VAR_{NAME.upper()}"
PAUSE = json.dumps({"paused": True, "by": "ada", "at": "2026-07-06T12:00:00Z"})
TALKS = ((0, {"call_status": "ongoing"}), (3, {"call_status": "ended", "disconnection_reason": "user_hangup"}))

LONG = ((0, {"call_status": "ongoing"}), (700, {"call_status": "ended", "disconnection_reason": "user_hangup"}))


class Pausing(Clock):
    """The server's time; at two moments the pause button is pressed."""

    def __init__(self, server: Server, monkeypatch: pytest.MonkeyPatch, *, after: float, until: float) -> None:
        self.server = server
        self.began = server.clock.now()
        self.paused_at, self.continued_at = self.began + after, self.began + until
        self._environment = monkeypatch

    def now(self) -> float:
        return self.server.clock.now()

    monotonic = boottime = now

    def sleep(self, seconds: float) -> None:
        self.server.clock.sleep(seconds)
        if self.paused_at <= self.now() < self.continued_at:
            self._environment.setenv(VARIABLE, PAUSE)
        else:
            self._environment.delenv(VARIABLE, raising=False)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The server, as the connection ``retell_default``."""
    with serving() as server:
        host = f"http://127.0.0.1:{server.server_port}"
        fields = {"conn_type": "retell", "password": "key_1", "host": host, "extra": {"max_retry_delay": 0}}
        monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", json.dumps(fields))
        server.fates = [TALKS] * 100
        yield server


def campaign(count: int, **arguments: Any) -> RetellCampaignOperator:
    people = [{"to_number": f"+1206555{100 + n:04d}"} for n in range(count)]
    given = {"task_id": "task", "from_number": FROM, "people": people, "lines": 20, "calls_per_second": 2}
    return RetellCampaignOperator(**{**given, **arguments})


@pytest.mark.parametrize("after", [0, 7, 9.7, 11.1])
def test_a_paused_campaign_places_no_call_five_seconds_later(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, after: float
) -> None:
    """A pause takes effect within five seconds, and so does its end; no person is lost."""
    clock = Pausing(server, monkeypatch, after=after, until=after + 60)
    clock.sleep(0)
    with clock_replaced_by(clock), caplog.at_level(logging.INFO):
        result = campaign(60).execute(TaskInstance().context())
    placed = server.placed_at()
    assert result["attempts"] == len(placed) == 60
    assert [at for at in placed if clock.paused_at + PAUSE_MAX_AGE < at < clock.continued_at] == []
    assert bool([at for at in placed if at < clock.paused_at]) == bool(after)
    assert min(at for at in placed if at >= clock.continued_at) <= clock.continued_at + PAUSE_MAX_AGE + 1
    assert caplog.text.count("is paused by ada at 2026-07-06T12:00:00Z") == 1
    assert caplog.text.count("is not paused any more") == 1


def test_live_calls_are_followed_to_their_end_during_a_pause(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pause keeps calls from being placed, and does not forget those that go on."""
    clock = Pausing(server, monkeypatch, after=1, until=50)
    with clock_replaced_by(clock):
        result = campaign(3, calls_per_second=1).execute(TaskInstance().context())
    assert result["outcomes"] == {"answered": 3}


def test_another_campaign_goes_on(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Variable names one campaign: a task, a run and a map index."""
    monkeypatch.setenv(VARIABLE, PAUSE)
    with clock_replaced_by(server.clock):
        result = campaign(2).execute(TaskInstance(map_index=3).context())
    assert result["attempts"] == 2


def test_a_pause_is_read_every_four_seconds_and_known_for_five() -> None:
    """Threads that send read nothing: a call is placed only until what was read is too old."""
    read: list[bool] = []
    connection = Pause(look_up=lambda: False, interval=15, max_age=30)
    pause = Pause(look_up=lambda: bool(read.append(True)), interval=PAUSE_INTERVAL, max_age=PAUSE_MAX_AGE)
    known = [read_pauses([connection, pause], steady)[1] for steady in (0.0, 3.9, 4.0)]
    assert known == [PAUSE_MAX_AGE, PAUSE_MAX_AGE, 4 + PAUSE_MAX_AGE]
    assert len(read) == 2


class SlowBackend:
    """A secrets backend that answers when a test says so; its look-up waits in a thread."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def look_up(self) -> bool | None:
        self.asked += 1
        answer: bool | None = self.answers.get(timeout=60)
        return answer


def test_no_call_waits_for_a_slow_look_up() -> None:
    """With five seconds for each look-up calls are placed all the time, on readings eleven seconds old at most."""
    backend = SlowBackend()
    pause = Pause(look_up=backend.look_up, interval=PAUSE_INTERVAL, max_age=PAUSE_MAX_AGE)
    assert read_pauses([pause], 0.0)[0]
    for began in range(0, 60, 5):
        backend.answers.put(item=False)
        while pause.read_at < began:
            pause.read(began + 5.0)
        assert read_pauses([pause], began + 5.0) == (False, began + 11.0)
        assert not read_pauses([pause], began + 9.9)[0]
        assert backend.asked == began // 5 + 2, "one look-up at a time"
    backend.answers.put(item=True)
    while not pause.on:
        pause.read(65.0)
    assert read_pauses([pause], 65.0)[0]


def test_a_look_up_that_hangs_ends_the_campaign_and_a_freeze_is_none() -> None:
    """After half a minute nothing is placed, after ten minutes of waiting it ends."""
    backend = SlowBackend()
    pause = Pause(look_up=backend.look_up, interval=PAUSE_INTERVAL, max_age=PAUSE_MAX_AGE)
    pause.known_until = 10**6  # waits less
    pause.read(0.0)
    pause.read(10_000.0)  # frozen meanwhile
    for seconds in range(50, 550, 50):
        pause.read(10_000.0 + seconds)
    with pytest.raises(RetellCallError, match="has not answered whether calls are paused"):
        pause.read(10_550.0)
    backend.answers.put(item=False)


@pytest.mark.parametrize(("connection", "campaign"), [(True, False), (False, True), (True, True), (False, False)])
def test_either_pause_holds_a_campaign(*, connection: bool, campaign: bool) -> None:
    """The pause of the connection goes on working beside the campaign's own."""
    pauses = [Pause(look_up=lambda on=on: on, interval=1, max_age=1) for on in (connection, campaign)]  # type: ignore[misc]
    assert read_pauses(pauses, 0.0)[0] == (connection or campaign)


@pytest.mark.parametrize(
    ("stored", "pause"),
    [
        (None, None),
        (PAUSE, {"by": "ada", "at": "2026-07-06T12:00:00Z"}),
        ('{"paused": false, "by": "ada"}', None),
        ("{}", {"by": "", "at": ""}),
        ("true", {"by": "", "at": ""}),
        ("yes", {"by": "", "at": ""}),
        ("", {"by": "", "at": ""}),
        ("[1", {"by": "", "at": ""}),
        ("false", None),
        ("False", None),
    ],
)
def test_what_pauses(stored: str | None, pause: dict[str, str] | None) -> None:
    """A Variable that is there pauses, unless it says false: in doubt, no phone rings."""
    assert read_pause(stored) == pause


def test_names_of_any_length_give_a_variable_that_fits() -> None:
    """Airflow takes 250 characters; campaigns whose names begin alike have Variables of their own."""
    long: dict[str, Any] = {"dag_id": "d" * 250, "run_id": "r" * 250, "task_id": "t" * 250, "map_index": 1}
    assert len(pause_variable(**long)) <= 250
    assert (
        len({pause_variable(**{**long, name: "x"}) for name in ("dag_id", "run_id", "task_id", "map_index")}) == 4
    )


def test_a_pause_without_a_name_is_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Variable written by hand pauses the campaign too."""
    monkeypatch.setenv(VARIABLE, "true")
    assert CampaignPause(name=NAME).look_up()
    del os.environ[VARIABLE]
    assert not CampaignPause(name=NAME).look_up()


FAILURES = pytest.mark.parametrize(
    "fails",
    [
        "API_SERVER_ERROR",
        OSError("the socket is gone"),
        pytest.param("PERMISSION_DENIED", marks=SINCE_3_2),
        pytest.param("DATABASE_ERROR", marks=SINCE_3_3),
    ],
)


@pytest.mark.skipif(AIRFLOW_2, reason="tasks of Airflow 2 have no supervisor")
@FAILURES
def test_without_an_answer_of_airflow_a_pause_stays(
    supervisor: Supervisor, caplog: pytest.LogCaptureFixture, fails: Any
) -> None:
    """An error is no "there is no such Variable": what was read last holds, and the trouble is logged once."""
    pause = CampaignPause(name=NAME)
    last_read = Pause(look_up=pause.look_up, interval=PAUSE_INTERVAL, max_age=PAUSE_MAX_AGE)
    supervisor.variables[NAME] = PAUSE
    assert read_pauses([last_read], 0.0) == (True, PAUSE_MAX_AGE)
    supervisor.fails = fails
    for steady in (4.0, 8.0, 60.0):
        assert read_pauses([last_read], steady) == (True, PAUSE_MAX_AGE)
    assert caplog.text.count("does not say whether the campaign is paused") == 1
    assert "is not paused any more" not in caplog.text
    supervisor.fails = None
    del supervisor.variables[NAME]
    assert read_pauses([last_read], 61.0) == (False, 61 + PAUSE_MAX_AGE)


@pytest.mark.skipif(AIRFLOW_2, reason="tasks of Airflow 2 have no supervisor")
@FAILURES
def test_without_an_answer_of_airflow_no_call_is_placed_five_seconds_later(
    supervisor: Supervisor, fails: Any
) -> None:
    """A campaign that is not paused goes on for as long as its last reading counts, and not longer."""
    last_read = Pause(look_up=CampaignPause(name=NAME).look_up, interval=PAUSE_INTERVAL, max_age=PAUSE_MAX_AGE)
    assert read_pauses([last_read], 0.0) == (False, PAUSE_MAX_AGE)
    supervisor.fails = fails
    assert [read_pauses([last_read], steady) for steady in (4.0, 5.0, 5.1)] == [
        (False, PAUSE_MAX_AGE),
        (False, PAUSE_MAX_AGE),
        (True, PAUSE_MAX_AGE),
    ]


@SINCE_3_3
def test_a_pause_whose_value_airflow_cannot_read_is_not_known(supervisor: Supervisor) -> None:
    """Such as one that was encrypted with another Fernet key: it is there, and has no value."""
    supervisor.variables[NAME] = None
    assert CampaignPause(name=NAME).look_up() is None


@pytest.mark.skipif(not AIRFLOW_2, reason="tasks of Airflow 3 ask a supervisor")
def test_a_database_that_fails_says_nothing_about_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow 2 takes its error for "there is no such Variable"; so the database is asked once more."""
    pause = CampaignPause(name=NAME)
    assert pause.look_up() is False
    with monkeypatch.context() as broken:

        def no_session() -> Any:
            message = "the database is gone"
            raise OSError(message)

        broken.setattr("airflow.settings.Session", no_session)
        assert pause.look_up() is None
    assert pause.look_up() is False


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Put a row into a table of Airflow 2's database, and take it out again; Airflow has a Fernet key."""
    if not AIRFLOW_2:
        pytest.skip("tasks of Airflow 3 ask a supervisor")
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", Fernet.generate_key().decode())
    from airflow.models import crypto  # noqa: PLC0415 (Airflow 2 only)
    from airflow.utils.session import create_session  # noqa: PLC0415 (as above)

    importlib.reload(crypto)  # it keeps the first key that it reads

    stored: list[tuple[Any, str]] = []

    def put(kind: Any, name: str, **fields: Any) -> None:
        with create_session() as session:
            session.execute(kind.__table__.insert().values(**{name: NAME}, **fields))
        stored.append((kind, name))

    yield put
    with create_session() as session:
        for kind, name in stored:
            session.execute(kind.__table__.delete().where(kind.__table__.c[name] == NAME))


def test_a_pause_that_airflow_2_cannot_decrypt_is_not_known(store: Callable[..., None]) -> None:
    """Airflow 2 says that there is no such Variable: so the database is asked whether there is."""
    from airflow.models.variable import Variable  # noqa: PLC0415 (Airflow 2's own)

    store(Variable, "key", val="of another Fernet key", is_encrypted=True)
    assert CampaignPause(name=NAME).look_up() is None


@pytest.mark.parametrize("field", ["password", "extra"])
def test_a_connection_that_airflow_2_cannot_decrypt_is_not_taken_for_one_without_a_pause(
    store: Callable[..., None], field: str
) -> None:
    """Airflow 2 says that there is no such connection, which is an error: no call is placed."""
    from airflow.models.connection import Connection  # noqa: PLC0415 (Airflow 2's own)

    encrypted = {"password": "is_encrypted", "extra": "is_extra_encrypted"}
    fields = {"password": "key_1", "extra": '{"paused": false}', field: "of another Fernet key"}
    store(Connection, "conn_id", conn_type="retell", **fields, **{encrypted[field]: True})
    with pytest.raises(AirflowNotFoundException):
        RetellHook(NAME).pause.is_on()


class Silent(Clock):
    """The server's time; from a moment on Airflow does not say whether the campaign is paused."""

    def __init__(self, server: Server, supervisor: Supervisor, *, after: float, fails: str) -> None:
        self.server, self.supervisor, self.fails = server, supervisor, fails
        self.silent_at = server.clock.now() + after

    def now(self) -> float:
        return self.server.clock.now()

    monotonic = boottime = now

    def sleep(self, seconds: float) -> None:
        self.server.clock.sleep(seconds)
        if self.now() >= self.silent_at:
            self.supervisor.fails = self.fails


@pytest.mark.skipif(AIRFLOW_2, reason="tasks of Airflow 2 have no supervisor")
@pytest.mark.parametrize(
    ("fails", "final", "says"),
    [
        pytest.param(
            "PERMISSION_DENIED", True, "Give tasks of this DAG the permission to read Variables", marks=SINCE_3_2
        ),
        ("API_SERVER_ERROR", False, "Look at Airflow's API server"),
    ],
)
def test_a_campaign_whose_pause_stays_unknown_ends(
    server: Server, supervisor: Supervisor, fails: str, says: str, *, final: bool
) -> None:
    """After ten minutes, and the last live call, with an error that names the Variable and says what to do."""
    server.fates = [LONG, *[TALKS] * 100]
    clock = Silent(server, supervisor, after=7, fails=fails)
    with clock_replaced_by(clock), pytest.raises(RetellCallError, match=says) as caught:
        campaign(60).execute(TaskInstance().context())
    assert isinstance(caught.value, RetellCallFinalError) == final
    assert NAME in str(caught.value)
    placed = server.placed_at()
    assert 0 < len(placed) < 60
    assert max(placed) <= clock.silent_at + PAUSE_INTERVAL + PAUSE_MAX_AGE
    assert UNKNOWN_FOR + 60 <= clock.now() - clock.silent_at <= UNKNOWN_FOR + 160
    supervisor.fails = None
    with clock_replaced_by(server.clock):
        assert campaign(60).execute(TaskInstance(try_number=2).context())["attempts"] == 60
    assert len(server.placed_at()) == 60


@pytest.mark.parametrize("seconds", [0.5, 6, 9])
def test_a_slow_eligible_holds_up_no_person_for_ever(made: Make, seconds: float) -> None:
    """The pauses are read again after its answer, which may take longer than a reading of them counts."""
    campaign = made(count=4)
    asked: list[int] = []

    def eligible(person: Person, _: object) -> None:
        asked.append(person.row)
        campaign.time.advance(seconds)

    begun = campaign.time()
    done = campaign.run(checks={"eligible": eligible}, terms=Terms(ends_at=begun + 3600))
    assert done == End(failure=None)
    assert asked == [0, 1, 2, 3]


@pytest.mark.parametrize("slow", [True, False])
def test_live_calls_are_looked_after_between_slow_answers_of_eligible(*, slow: bool) -> None:
    """Five hundred answers of nine seconds each would be over an hour without a look at a kill, or at a call."""
    asked: list[int] = []

    def eligible(of: Person, _: object) -> NotEligible:
        asked.append(of.row)
        return NotEligible("no")

    checks = {"eligible": eligible, "is_slow": lambda: slow}
    campaign = PlannedCampaign([person(row) for row in range(9)], checks=checks)
    campaign.next()
    assert len(asked) == (1 if slow else 9)


def test_an_answer_of_eligible_is_slow_from_a_second_on() -> None:
    """The time is measured by the clock, around the function."""
    time = ManualClock()
    for seconds in 0.9, 1.0:
        eligibility = Eligibility(
            lambda _, seconds=seconds: time.advance(seconds) or True, clock=SteppingClock(time)
        )
        assert eligibility(person(), ()) is None
        assert eligibility.is_slow() == (seconds >= 1)
