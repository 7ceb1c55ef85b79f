"""Test that the documentation matches the code: every argument, default, word, message, link and example."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.providers.common.compat.sdk import AirflowFailException
from conftest import DAGS, HOME, SteppingClock, Store, TaskInstance, offered_tasks
from retell.types import PhoneCallResponse

import airflow_provider_retell
from airflow_provider_retell import errors
from airflow_provider_retell._kwargs import CallFilters
from airflow_provider_retell._metrics import METRICS
from airflow_provider_retell.api import endpoints
from airflow_provider_retell.api import settings as connection
from airflow_provider_retell.api.client import RetellClient
from airflow_provider_retell.api.retries import may_be_retried
from airflow_provider_retell.api.settings import SETTINGS, ConnectionSettings, FlagInExtra
from airflow_provider_retell.calls.intent import STORE_KEY
from airflow_provider_retell.errors import (
    RetellCallFinalError,
    RetellConnectionError,
    RetellError,
    RetellResponseError,
    RetellStatusError,
)
from airflow_provider_retell.export.tally import Tally
from airflow_provider_retell.files.columns import COLUMNS, SCHEMA_VERSION
from airflow_provider_retell.files.destination import Destination
from airflow_provider_retell.hooks import RetellHook
from airflow_provider_retell.notifications import RetellPhoneCallNotifier
from airflow_provider_retell.operators import (
    RetellCampaignOperator,
    RetellCreatePhoneCallOperator,
    RetellRegisterPhoneCallOperator,
)
from airflow_provider_retell.operators.phone_call_operator import PhoneCallOperator
from airflow_provider_retell.outcomes import CallStatus, DisconnectionReason, Outcome, outcome_of
from airflow_provider_retell.policy import AttemptLimit, CallingHours, Redial
from airflow_provider_retell.provider.connection_form import FIELD_BEHAVIOUR
from airflow_provider_retell.provider.options import OPTIONS
from airflow_provider_retell.retry_policy import RetellRetryPolicy
from airflow_provider_retell.rows import HEAVY_FIELDS, LATENCY_FIELDS
from airflow_provider_retell.sensors import RetellCallSensor
from airflow_provider_retell.simulator import SCENARIOS, Fault, RealClock, Simulator
from airflow_provider_retell.simulator.__main__ import parse
from airflow_provider_retell.transfers import RetellCallsToObjectStorageOperator
from airflow_provider_retell.triggers import RetellFinishedCallsTrigger

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (ROOT, ROOT / "docs", ROOT / "benchmarks", ROOT / "example_dags")
PATHS = [path for folder in FOLDERS for path in folder.glob("*.md")]
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in PATHS}
OPERATORS, CONNECTION = PAGES["docs/operators.md"], PAGES["docs/connection.md"]
ROWS = PAGES["docs/rows.md"]
SENSOR, HOOK = PAGES["docs/sensor.md"], PAGES["docs/hook.md"]
EXPORT = PAGES["docs/export.md"]
ERRORS, OUTCOMES = PAGES["docs/errors.md"], PAGES["docs/outcomes.md"]
RETRIED = "Which requests are retried within a task"
FROM = "+14155550199"


def blocks(page: str, language: str) -> list[str]:
    """Return the code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


def section(page: str, heading: str) -> str:
    """Return the text between a heading and the next one of any level."""
    # A comment in a code block is no heading.
    veiled = re.sub(
        r"^```.*?^```", lambda block: block[0].replace("#", "\0"), page, flags=re.DOTALL | re.MULTILINE
    )
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", veiled, re.DOTALL | re.MULTILINE)
    assert found, f"no heading {heading!r}"
    return found[1].replace("\0", "#")


def table(text: str, first_column: str) -> list[list[str]]:
    """Return the lines of the tables whose first column has this name; cells that are code without backticks."""
    bodies = re.findall(rf"^\| {re.escape(first_column)} \|.*\n\|[ |-]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert bodies, f"no table of {first_column!r}"
    lines = [line.strip("|").split("|") for body in bodies for line in body.splitlines()]
    return [[re.sub(r"^`([^`]*)`$", r"\1", cell.strip()) for cell in line] for line in lines]


def plain(text: str) -> str:
    """Return a text on one line."""
    return " ".join(text.split())


# -- operators.md --------------------------------------------------------------------------------------------


def arguments(constructor: Callable[..., None]) -> list[list[str]]:
    """Return the arguments of a signature with their defaults, as the tables write them."""
    parameters = list(inspect.signature(constructor).parameters.values())[1:]
    return [[each.name, default(each)] for each in parameters if each.kind is not each.VAR_KEYWORD]


def default(parameter: inspect.Parameter) -> str:
    """Return a default as the tables write it."""
    match parameter:
        case inspect.Parameter(default=inspect.Parameter.empty):
            return "required"
        case inspect.Parameter(name="deferrable"):  # False here, and what the reader's configuration says there
            return "Airflow's `default_deferrable`"
        case inspect.Parameter(name="retry_policy"):  # None if Airflow has no retry policies
            return "RetellRetryPolicy()"
        case inspect.Parameter(default=timedelta() as pause):
            return f"timedelta(minutes={pause.total_seconds() / 60:g})"
    return repr(parameter.default)


REGISTER_ARGUMENTS = {name for name, _ in arguments(RetellRegisterPhoneCallOperator.__init__)}
SHARED = REGISTER_ARGUMENTS - {*RetellRegisterPhoneCallOperator.request_fields}


@pytest.mark.parametrize(
    ("page", "heading", "documented"),
    [
        (OPERATORS, "RetellRegisterPhoneCallOperator", RetellRegisterPhoneCallOperator),
        (OPERATORS, "RetellCreatePhoneCallOperator", RetellCreatePhoneCallOperator),
        (SENSOR, "Arguments", RetellCallSensor),
        (PAGES["docs/recipes.md"], "Ring a phone when a task fails", RetellPhoneCallNotifier),
        (PAGES["docs/events.md"], "Arguments", RetellFinishedCallsTrigger),
        (PAGES["docs/placed-once.md"], "When the retry comes", RetellRetryPolicy),
    ],
    ids=lambda given: "" if "\n" in str(given) else None,
)
def test_every_argument_is_documented_with_its_default(page: str, heading: str, documented: type) -> None:
    """A table has the arguments of the signature, no others, in its order, each with its default."""
    shared = SHARED if issubclass(documented, PhoneCallOperator) else ()
    listed = [line[:2] for line in table(section(page, heading), "argument")]
    assert listed == [line for line in arguments(documented.__init__) if line[0] not in shared]  # type: ignore[misc]


def test_the_arguments_of_both_operators_are_documented_with_their_defaults() -> None:
    """The third table has what the signatures share."""
    listed = [line[:2] for line in table(section(OPERATORS, "Arguments of both operators"), "argument")]
    assert listed == [line for line in arguments(RetellCreatePhoneCallOperator.__init__) if line[0] in SHARED]


@pytest.mark.parametrize("task", offered_tasks())
def test_every_argument_is_in_a_docstring(task: Any) -> None:
    """Without the page at hand, the class or a base class of this package explains each argument."""
    classes = [each for each in task.__mro__ if each.__module__.startswith("airflow_provider_retell.")]
    explained = re.findall(r"^        (\w+): ", "\n".join(each.__doc__ or "" for each in classes), re.MULTILINE)
    assert {name for name, _ in arguments(task.__init__)} <= {*explained}


def test_every_argument_of_a_campaign_is_documented() -> None:
    """The table has the arguments of the signature, no others, in its order; some share a line."""
    lines = table(section(PAGES["docs/campaigns.md"], "Arguments"), "argument")
    listed = [name for line in lines for name in re.findall(r"\w+", line[0])]
    assert listed == [name for name, _ in arguments(RetellCampaignOperator.__init__)]


def test_every_field_that_a_row_leaves_out_is_documented() -> None:
    """The page on rows names all that include can put back."""
    assert set(re.findall(r"`(\w+)`", section(ROWS, "What a row leaves out"))) >= HEAVY_FIELDS | LATENCY_FIELDS


def test_every_method_of_the_hook_is_documented() -> None:
    """The table has all public methods of the hook, and no others."""
    offered = {name for name, value in vars(RetellHook).items() if inspect.isfunction(value) and name[0] != "_"}
    listed = " ".join(line[0] for line in table(HOOK, "method"))
    assert sorted(re.findall(r"\w+", listed)) == sorted(offered)


def test_the_row_that_is_shown_is_a_row(clock: SteppingClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the fields that a task returns, in their order, the values of those that are fixed, and a tag."""
    (block,) = blocks(section(ROWS, "A sample row"), "json")
    shown = json.loads(block)
    simulator = Simulator(clock=clock.time)
    with simulator.serve() as url:
        monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", simulator.connection(url))
        operator = create(wait_for="analyzed", retell_llm_dynamic_variables={"name": "Ada"})
        row = operator.execute(TaskInstance().context())
    assert list(shown) == list(row)
    same = {"call_status", "outcome", "disconnection_reason", "duration_ms", "call_analysis", "from_number"}
    assert {name: shown[name] for name in same} == {name: row[name] for name in same}
    tags = [metadata["airflow_call"] for metadata in (shown["metadata"], row["metadata"])]
    assert len({re.sub(r"[0-9a-f]", "0", tag) for tag in tags}) == 1


def test_every_filter_of_list_calls_is_documented() -> None:
    """The filters of ``**filters`` are named below the table."""
    assert set(re.findall(r"`(\w+)`", HOOK)) >= set(CallFilters.__annotations__)


@pytest.mark.parametrize(
    ("scenario", "rings", "sentence"),
    [
        ("agent_hangup", 12, "the poll at 10:04:30 succeeds."),
        ("never_analyzed", 12, "the poll at 10:14:00 succeeds with a row without it."),
        ("dial_no_answer", 45, "the poll at 10:01:00 succeeds."),
    ],
)
def test_the_worked_example_of_waiting_is_right(
    scenario: str, rings: float, sentence: str, clock: SteppingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call with the times of the example, placed at ten o'clock, ends the wait when the page says so."""
    simulator = Simulator(clock=clock.time, dial_delay=0, ring_seconds=rings, talk_seconds=208, analysis_delay=40)
    with simulator.serve() as url:
        monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", simulator.connection(url))
        create(scenario, wait_for="analyzed").execute(TaskInstance().context())
    minutes, seconds = divmod(int(sum(clock.slept)), 60)
    assert f" 10:{minutes:02}:{seconds:02} " in sentence
    assert sentence in plain(section(OPERATORS, "Waiting"))


# -- export.md -----------------------------------------------------------------------------------------------


def test_every_argument_of_the_export_is_documented_with_its_default() -> None:
    """The table has the arguments of the signature, no others, in its order, each with its default."""
    listed = [line[:2] for line in table(section(EXPORT, "Arguments"), "argument")]
    assert listed == arguments(RetellCallsToObjectStorageOperator.__init__)


def test_every_column_is_documented_with_its_type() -> None:
    """The list has the columns that a Parquet file has, in their order."""
    (columns,) = blocks(section(EXPORT, "Parquet"), "text")
    listed = [line.split()[:2] for line in columns.splitlines()]
    assert listed == [[column.name, column.kind.value] for column in COLUMNS]
    assert f"(today {SCHEMA_VERSION})" in section(EXPORT, "Parquet")


def test_every_key_of_the_summary_is_documented() -> None:
    """The table has what XCom gets."""
    listed = {word for line in table(section(EXPORT, "Result"), "key") for word in re.findall(r"\w+", line[0])}
    assert listed == {"paths", "cannot_contain", *Tally().summary()}


# -- policy.md -----------------------------------------------------------------------------------------------

POLICY = PAGES["docs/policy.md"]


@pytest.mark.parametrize("value", [CallingHours, Redial, AttemptLimit])
def test_every_argument_of_a_policy_is_documented_with_its_default(value: type) -> None:
    """The tables have the arguments of the signatures, no others, in their order, each with its default."""
    listed = [line[:2] for line in table(section(POLICY, value.__name__), "argument")]
    assert listed == arguments(value.__init__)  # type: ignore[misc]


def test_every_value_to_choose_can_be_made() -> None:
    """Each default on the page is code that makes the value, written like the value's own ``repr``."""
    for _, code in table(section(POLICY, "Defaults to choose from"), "practice"):
        assert repr(eval(code)) == code.replace('"', "'").replace("hours=24", "days=1")  # noqa: S307 (our own page)


def test_the_tests_of_a_policy_pass() -> None:
    """The tests on the page pass."""
    (code,) = blocks(section(POLICY, "Test a policy"), "python")
    written: dict[str, Any] = {}
    exec(code, written)  # noqa: S102 (our own documentation)
    tests = [value for name, value in written.items() if name.startswith("test_")]
    assert len(tests) == code.count("def test_")
    for test in tests:
        test()


# -- connection.md -------------------------------------------------------------------------------------------


def test_every_setting_is_documented_with_its_default() -> None:
    """The tables have the connection's settings, in the form's words, and the API's own address."""
    listed = [line[:4] for line in table(section(CONNECTION, "Fields"), "name")]
    assert listed == [
        [name, each.label, "false", ""]
        if isinstance(each, FlagInExtra)
        else [name, each.label, f"{each.default:g}", f"{each.minimum:g}"]
        for name, each in SETTINGS.items()
    ]
    fields = {line[0]: line[1:3] for line in table(section(CONNECTION, "Fields"), "field")}
    labels = FIELD_BEHAVIOUR["relabeling"]
    assert fields["password"] == [labels["password"], ""]
    assert fields["host"] == [labels["host"], connection.DEFAULT_BASE_URL]
    assert fields["port"] == [labels["port"], FIELD_BEHAVIOUR["placeholders"]["port"]]
    assert f"`{connection.DEFAULT_CONN_ID}`" in CONNECTION


@pytest.mark.parametrize("page", PAGES)
def test_every_connection_that_is_shown_can_be_used(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that a page exports is read without a remark, and has a key."""
    exported = re.findall(r"AIRFLOW_CONN_(RETELL_\w+)='(.*?)'", PAGES[page], re.DOTALL)
    for name, value in exported:
        if '"http"' in value:  # what one had before
            continue
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", value)
        assert RetellHook(name.lower()).get_conn().settings.api_key.startswith("key_")
    assert exported or page not in {"README.md", "docs/connection.md"}


REGISTER = endpoints.register_phone_call({"agent_id": "agent_1"})
CREATE = endpoints.create_phone_call({"from_number": FROM, "to_number": "+14155550100"})
KEYED = endpoints.create_phone_call({"from_number": FROM, "to_number": "+14155550100"}, idempotency_key="key")
READ = endpoints.get_call("call_0123abcd")
STOP = endpoints.stop_call("call_0123abcd")


def status(code: int) -> RetellStatusError:
    """Return the error of an answer with a status."""
    return RetellStatusError.kind(code)("", status_code=code, message="")


@pytest.mark.parametrize(
    ("happened", "failures"),
    [
        (
            "never arrived: refused, no such host, no connection in time",
            [RetellConnectionError("", may_have_arrived=False)],
        ),
        ("429", [status(429)]),
        ("no answer: time-out, connection lost", [RetellConnectionError("", may_have_arrived=True)]),
        (
            "an unreadable answer, a redirect, a gateway's page",
            [RetellResponseError("", status_code=code) for code in (200, 302, 403)],
        ),
        ("5xx, 408, 409, 425", [status(code) for code in (408, 409, 425, 500, 501, 502, 503, 504, 599)]),
        ("any other 4xx", [status(code) for code in (400, 401, 402, 403, 404, 410, 422)]),
    ],
)
def test_what_is_retried_within_a_task_is_documented(happened: str, failures: list[RetellError]) -> None:
    """Each line of the table is what the client decides, for each kind of request."""
    said = {line[0]: line[1:] for line in table(section(CONNECTION, RETRIED), "what happened")}
    harmless, risky = (cell.partition(":")[0] == "repeated" for cell in said[happened])
    for error in failures:
        assert {may_be_retried(error, request) for request in (READ, STOP, KEYED)} == {harmless}
        assert {may_be_retried(error, request) for request in (REGISTER, CREATE)} == {risky}


# -- outcomes.md ---------------------------------------------------------------------------------------------


def documented_reasons() -> list[tuple[str, str, str]]:
    """Return each reason that the table lists, with its mark and its outcome."""
    found = []
    for outcome, _, reasons in table(section(OUTCOMES, "Outcomes"), "`outcome`"):
        words = re.findall(r"`(\w+)`( \(older\))?", reasons) or re.findall(r"^(\w+)()$", reasons)
        found += [(reason, mark, outcome) for reason, mark in words]
    return found


def test_every_disconnection_reason_is_documented_with_its_outcome() -> None:
    """The table has every reason, once, beside the outcome that it makes."""
    listed = sorted((reason, outcome) for reason, _, outcome in documented_reasons())
    assert listed == sorted((each.value, str(outcome_of("ended", each))) for each in DisconnectionReason)


def test_reasons_that_retell_no_longer_gives_are_marked() -> None:
    """A reason is in use today if Retell's own SDK names it."""
    (literal,) = get_args(PhoneCallResponse.model_fields["disconnection_reason"].annotation)[:1]
    older = {reason for reason, mark, _ in documented_reasons() if mark}
    assert older == set(DisconnectionReason) - set(get_args(literal))


def test_every_status_is_documented() -> None:
    """The table says which statuses are the end of a call."""
    listed = [line[:2] for line in table(section(OUTCOMES, "Statuses"), "`call_status`")]
    assert listed == [[each.value, "yes" if each.is_terminal else "no"] for each in CallStatus]


def test_every_outcome_is_documented() -> None:
    """The table has the words that there are, in their order."""
    assert [line[0] for line in table(section(OUTCOMES, "Outcomes"), "`outcome`")] == list(Outcome)


# -- errors.md -----------------------------------------------------------------------------------------------


def documented_errors() -> dict[str, type[RetellError]]:
    """Return the public errors under the one that all of them are."""
    public = {name: each for name, each in vars(errors).items() if isinstance(each, type) and name[0] != "_"}
    return {
        name: each for name, each in public.items() if issubclass(each, RetellError) and each is not RetellError
    }


def test_every_error_is_documented_as_final_or_transient() -> None:
    """The table has every error; the final ones are those that Airflow does not retry."""
    listed = {re.findall(r"\w+", line[0])[0]: line[1] for line in table(ERRORS, "error")}
    final = {name: issubclass(each, AirflowFailException) for name, each in documented_errors().items()}
    assert listed == {name: "final" if it_is else "transient" for name, it_is in final.items()}


def explained_under(error: type[BaseException]) -> str:
    """Return the heading under which an error is explained: all error statuses of Retell share one."""
    return RetellStatusError.__name__ if issubclass(error, RetellStatusError) else error.__name__


def test_every_error_is_explained() -> None:
    """Each error has a heading, at the latest that of the error statuses, and something that raises it."""
    assert {explained_under(each) for each in documented_errors().values()} == WRONG.keys()


@pytest.mark.parametrize(("name", "error"), documented_errors().items())
def test_every_attribute_of_an_error_is_documented(name: str, error: type[RetellError]) -> None:
    """Each attribute of an error is in its section, or in that of its base class."""
    sections = [
        section(ERRORS, explained_under(each))
        for each in error.__mro__
        if each in set(documented_errors().values())
    ]
    for each in inspect.signature(error.__init__).parameters.values():
        if each.kind is each.KEYWORD_ONLY:
            assert any(f"`{each.name}`" in text for text in sections), (name, each.name)


class Unreachable(httpx.BaseTransport):
    """A network on which every request meets the same error."""

    def __init__(self, error: httpx.HTTPError) -> None:
        self.error = error

    def handle_request(self, _: httpx.Request) -> httpx.Response:
        raise self.error


def create(scenario: str = "agent_hangup", **given: Any) -> RetellCreatePhoneCallOperator:
    """Return an operator that has Retell dial the number of a scenario."""
    number = SCENARIOS[scenario].number
    return RetellCreatePhoneCallOperator(task_id="call", from_number=FROM, to_number=number, **given)


class World:
    """Provoke errors: each method does something that raises one of the documented errors."""

    def __init__(
        self, simulator: Simulator, clock: SteppingClock, monkeypatch: pytest.MonkeyPatch, run_id: str
    ) -> None:
        self.simulator, self.clock, self.monkeypatch, self.run_id = simulator, clock, monkeypatch, run_id
        self.store = Store()

    def send(self, request: endpoints.Request[Any], transport: httpx.BaseTransport) -> None:
        settings = ConnectionSettings(api_key="key_simulator", max_attempts=1)
        with RetellClient(settings, transport=transport) as client:
            client.send(request)

    def answered(self, request: endpoints.Request[Any], **fault: Any) -> None:
        self.simulator.fail(Fault(endpoint="*", **fault))
        self.send(request, self.simulator)

    def run(self, operator: RetellCreatePhoneCallOperator, **numbers: int) -> str:
        ti = TaskInstance(**numbers)
        ti.run_id = self.run_id
        return str(operator.execute(ti.context(task_state_store=self.store))["call_id"])

    def not_a_number(self) -> None:
        RetellRegisterPhoneCallOperator(task_id="call", agent_id="agent_1", to_number="415 555 0100").execute(
            TaskInstance().context()
        )

    def toll_free(self) -> None:
        CallingHours().is_open("+18005550100", datetime.now(UTC))

    def no_key(self) -> None:
        self.monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", '{"conn_type": "retell"}')
        RetellHook().get_conn()

    def refused(self) -> None:
        self.send(CREATE, Unreachable(httpx.ConnectError("[Errno 111] Connection refused")))

    def late(self) -> None:
        self.send(CREATE, Unreachable(httpx.ReadTimeout("The read operation timed out")))

    def busy(self) -> None:
        self.run(create("dial_busy", wait_for="ended", fail_on="busy"))

    def too_long(self) -> None:
        self.run(create("talks_forever", wait_for="ended", timeout=60))

    def busy_for_a_sensor(self) -> None:
        ids = [
            self.run(create(scenario, durable=False), max_tries=n)
            for n, scenario in enumerate(("dial_busy", "agent_hangup"))
        ]
        self.clock.sleep(60)
        sensor = RetellCallSensor(task_id="wait", call_id=ids, fail_on="busy")
        sensor.execute(TaskInstance().context())

    def deleted(self) -> None:
        self.run(create())
        self.clock.sleep(60)
        self.simulator.fail(Fault(endpoint="get-call", answer=422))
        self.run(create(), try_number=2)

    def lost(self) -> None:
        self.simulator.fail(Fault(endpoint="create-phone-call", answer="drop", times=4))
        with pytest.raises(RetellConnectionError):
            self.run(create())
        self.clock.sleep(7200)
        self.run(create(), try_number=2)

    def no_folder(self) -> None:
        Destination("/dev/null/calls", token="run", holds="calls").claim()

    def overtaken(self) -> None:
        self.monkeypatch.chdir(HOME)
        earlier = Destination("calls", token="earlier", holds="calls")
        for run in (earlier, Destination("calls", token="later", holds="calls")):
            run.claim()
        earlier.check()

    def of_another(self) -> None:
        self.run(create("dial_busy"))
        self.store = Store()
        self.run(create("agent_hangup"))

    def not_ours(self) -> None:
        self.store.set(STORE_KEY, "something else")
        self.run(create(), try_number=2)


WRONG: dict[str, list[Callable[[World], Any]]] = {
    "RetellInputError": [World.not_a_number, World.no_key],
    "RetellTimeZoneError": [World.toll_free],
    "RetellConnectionError": [World.refused, World.late],
    "RetellStatusError": [
        lambda world: world.answered(CREATE, answer=401),
        lambda world: world.answered(CREATE, answer=402),
        lambda world: world.answered(CREATE, answer=403),
        lambda world: world.send(READ, world.simulator),
        lambda world: world.answered(CREATE, answer=429),
    ],
    "RetellResponseError": [lambda world: world.answered(READ, answer=200, html=True)],
    "RetellCallError": [World.busy],
    "RetellCallTimeoutError": [World.too_long],
    "RetellCallFinalError": [World.busy_for_a_sensor],
    "RetellExportError": [World.no_folder],
    "RetellExportOvertakenError": [World.overtaken],
}


@pytest.mark.usefixtures("connect")
@pytest.mark.parametrize("name", WRONG)
def test_the_messages_are_the_documented_ones(
    name: str, simulator: Simulator, clock: SteppingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every message on the page is what the package says when that goes wrong, but for the call's id."""
    said = []
    for number, goes_wrong in enumerate(WRONG[name]):
        with pytest.raises(RetellError) as raised:
            goes_wrong(World(simulator, clock, monkeypatch, run_id=f"run {number}"))
        assert explained_under(type(raised.value)) == name
        said.append(re.sub(r"call_[0-9a-f]{16,}", "call_0123abcd", f"{raised.value}\n"))
    assert "".join(blocks(section(ERRORS, name), "text")) == "".join(said)


@pytest.mark.usefixtures("connect")
@pytest.mark.parametrize("goes_wrong", [World.deleted, World.lost, World.not_ours, World.of_another])
def test_what_to_do_about_a_call_that_is_not_placed_is_documented(
    goes_wrong: Callable[[World], Any],
    simulator: Simulator,
    clock: SteppingClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A message of an operator that does not call again has the words of one line on the page of troubles."""
    with pytest.raises(RetellCallFinalError, match=r"^Not called") as raised:
        goes_wrong(World(simulator, clock, monkeypatch, run_id="run"))
    listed = table(section(PAGES["docs/troubleshooting.md"], "Not called"), "the error says")
    words = [re.findall(r'"([^"]+)"', line[0])[0] for line in listed]
    assert sum(each in str(raised.value) for each in words) == 1


# -- every page ----------------------------------------------------------------------------------------------

EXAMPLES = [(page, number, code) for page in PAGES for number, code in enumerate(blocks(PAGES[page], "python"))]
DAG_FILES = [example for example in EXAMPLES if "@dag" in example[2] or "DAG(" in example[2]]


@pytest.mark.parametrize(("page", "number", "code"), EXAMPLES)
def test_python_compiles(page: str, number: int, code: str) -> None:
    """Every Python block is Python."""
    compile(code, f"{page}, block {number}", "exec")


@pytest.mark.parametrize(("page", "number", "code"), DAG_FILES)
def test_a_dag_is_one_for_airflow(page: str, number: int, code: str, tmp_path: Path) -> None:
    """Every block with a DAG, saved as a file, gives Airflow its DAGs, without an error or a warning."""
    path = tmp_path / f"{Path(page).stem}_{number}.py"
    path.write_text(code)
    bag = DagBag(tmp_path, collect_dags=False)
    dags = bag.process_file(str(path), safe_mode=True)
    written = len(re.findall(r"@dag|\bDAG\(", code))
    assert (len(dags), bag.import_errors, bag.captured_warnings) == (written, {}, {})


RUN_ELSEWHERE = {"docs/simulator.md": "test_simulator_docs.py", "docs/testing.md": "test_testing.py"}


@pytest.mark.parametrize("page", [page for page in PAGES if page not in RUN_ELSEWHERE])
def test_short_examples_run(page: str) -> None:
    """The other blocks of a page run, each copied alone: every argument they name is one there is."""
    for example in EXAMPLES:
        if example[0] == page and example not in DAG_FILES:
            exec(example[2], {})  # noqa: S102 (our own documentation)


@pytest.fixture(scope="module")
def folder_of_examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every DAG as a file, and the other blocks of each page as one."""
    folder = tmp_path_factory.mktemp("examples")
    for page, number, code in EXAMPLES:
        name = re.sub(r"\W", "_", page)
        is_dag = (page, number, code) in DAG_FILES
        with (folder / f"{name}_{number if is_dag else 'short'}.py").open("a") as file:
            file.write(f"{code}\n")
    # The DAG that the page on testing tests.
    (folder / "call_a_hundred.py").write_text(blocks(PAGES["docs/quickstart.md"], "python")[0])
    return folder


def checked(folder: Path, *command: str) -> None:
    """Run a tool on a folder, and expect no error."""
    done = subprocess.run(  # noqa: S603 (our own words)
        [sys.executable, "-m", *command, str(folder)], check=False, capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


def test_the_types_of_all_examples_are_right(folder_of_examples: Path) -> None:
    """A type checker accepts what the pages tell people to write."""
    # Airflow does not say that one may write `register.output["call_id"]`.
    options = ("--config-file=", "--check-untyped-defs", "--strict-equality", "--disable-error-code=index")
    checked(folder_of_examples, "mypy", *options, "--cache-dir", str(ROOT / ".mypy_cache" / "examples"))


def test_every_example_is_formatted(tmp_path: Path) -> None:
    """Blocks look as the project's own code does, so that a line is a line wherever lines are counted."""
    for page, number, code in EXAMPLES:
        (tmp_path / f"{Path(page).stem}_{number}.py").write_text(code)
    checked(tmp_path, "ruff", "format", "--diff", "--config", str(ROOT / "pyproject.toml"))


@pytest.fixture
def dag_of_the_readme(database: None) -> Iterator[Any]:
    """The DAG on the first screen, saved as a file where Airflow finds it again."""
    path = DAGS / "call_people.py"
    path.write_text(blocks(PAGES["README.md"], "python")[0])
    (dag,) = DagBag(DAGS, collect_dags=False).process_file(str(path))
    yield dag
    path.unlink()


def test_the_dag_of_the_readme_runs(dag_of_the_readme: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first code that a reader copies works: it places two calls, waits for both and loads both."""
    simulator = Simulator(clock=RealClock(speed=10_000))
    with simulator.serve() as url:
        monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", simulator.connection(url))
        run = dag_of_the_readme.test()
    assert run.state == "success"
    assert {ti.task_id for ti in run.get_task_instances()} == {"read_people", "call", "wait", "load"}
    assert len(simulator.calls) == 2


def anchors(page: str) -> set[str]:
    """Return what can follow the # in a link to a page."""
    headings = re.findall(
        r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE), re.MULTILINE
    )
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    """A relative link names a file that is there, and behind # a heading of it."""
    for link in re.findall(r"\]\(([^)]+)\)", PAGES[page]):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.exists(), link
        assert not anchor or anchor in anchors(path.read_text()), link


NAVIGATION = re.findall(r"^```{toctree}\n(.*?)^```", PAGES["docs/index.md"], re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", sorted(PAGES.keys() - {"README.md", "docs/index.md"}))
def test_every_page_is_in_the_navigation(page: str) -> None:
    """Once in the side bar of the site, and as a link on its first page."""
    name = os.path.relpath(page, "docs")
    lines = [line for tree in NAVIGATION for line in tree.splitlines()]
    assert lines.count(name.removesuffix(".md")) == 1
    (title,) = re.findall(r"\A# (.*)", PAGES[page])
    assert f"- [{title}]({name})" in PAGES["docs/index.md"]


def test_the_site_is_made_without_a_warning(tmp_path: Path) -> None:
    """Every link of every page leads somewhere on the site too, and every block is in its language."""
    options = ("--quiet", "--fail-on-warning", "--keep-going", "--conf-dir", str(ROOT / "docs"))
    checked(tmp_path, "sphinx", *options, str(ROOT))
    assert (tmp_path / "index.html").exists()
    assert (tmp_path / "docs" / "quickstart.html").exists()
    examples = (tmp_path / "example_dags" / "README.html").read_text()
    for path in (ROOT / "example_dags").glob("*.py"):
        anchor = f"{path.stem.replace('_', '-')}-py"
        assert f'href="#{anchor}"' in examples
        assert f'<section id="{anchor}"' in examples
    assert not list((tmp_path / "_downloads").rglob("*.py"))  # a link to code shows it
    reference = (tmp_path / "docs" / "api.html").read_text()
    for name in ("is_terminal", "analyzed", "connected", "outcome", "call_status", "json_dict"):
        assert f'id="airflow_provider_retell.api.models.Call.{name}"' in reference


COMMANDS = [
    (page, line)
    for page in PAGES
    for block in blocks(PAGES[page], "bash")
    for line in block.replace("\\\n", "").splitlines()
]


@pytest.mark.parametrize(("page", "command"), [it for it in COMMANDS if it[1].startswith("airflow ")])
def test_every_airflow_command_is_one(page: str, command: str) -> None:
    """Airflow's command line takes what a page tells people to type."""
    from airflow.cli.cli_parser import get_parser  # noqa: PLC0415 (Airflow's home is set in conftest)

    get_parser().parse_args(shlex.split(command)[1:])


@pytest.mark.parametrize(("page", "command"), [it for it in COMMANDS if "retell.simulator" in it[1]])
def test_every_simulator_command_is_one(page: str, command: str) -> None:
    """So does the simulator's."""
    parse(shlex.split(command.partition("retell.simulator")[2]))


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_exists(page: str) -> None:
    """Every target of make on the pages exists."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"(?:^|`)(?:\w+=\S* )*make ([a-z-]+)", PAGES[page], re.MULTILINE)) <= set(targets)


def test_the_changelog_begins_with_this_version() -> None:
    """The top section of the changelog is the one of the version in the package."""
    versions = re.findall(r"^## (\S+)", PAGES["CHANGELOG.md"], re.MULTILINE)
    assert versions[0] == airflow_provider_retell.__version__


# -- how it waits ----------------------------------------------------------------------------------------------

HOW_IT_WAITS = PAGES["docs/how-it-waits.md"]


def test_every_option_is_documented_with_its_default() -> None:
    """The table has what Airflow lists in [retell], in its words."""
    listed = [tuple(line) for line in table(section(HOW_IT_WAITS, "Options"), "option")]
    assert listed == [(name, str(each.default), each.help) for name, each in OPTIONS.items()]


def test_every_metric_is_documented() -> None:
    """The table has what is counted, in the same words."""
    listed = [tuple(line) for line in table(section(PAGES["docs/metrics.md"], "Metrics"), "metric")]
    assert listed == [(name, meaning) for name, meaning in METRICS.items()]
