from __future__ import annotations

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from airflow_provider_retell.simulator import SCENARIOS, ManualClock, RealClock, Simulator
from airflow_provider_retell.simulator.__main__ import CallReporter, parse

ANSWERED = SCENARIOS["agent_hangup"].number


def _client(simulator: Simulator) -> httpx.Client:
    key = {"Authorization": f"Bearer {simulator.api_key}"}
    return httpx.Client(transport=simulator, base_url="http://retell", headers=key)


def _create(simulator: Simulator, to_number: str = ANSWERED) -> httpx.Response:
    body = {"from_number": "+12025550199", "to_number": to_number}
    return _client(simulator).post("/v2/create-phone-call", json=body)


def _register(simulator: Simulator) -> Any:
    body = {"agent_id": "agent_1", "to_number": ANSWERED}
    call_id = _client(simulator).post("/v2/register-phone-call", json=body).json()["call_id"]
    return simulator.calls[call_id]


@contextmanager
def _program(*options: str) -> Iterator[Any]:
    command = [sys.executable, "-m", "airflow_provider_retell.simulator", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:  # noqa: S603 - ours
        try:
            yield program
        finally:
            program.kill()


def _connection(line: str) -> Any:
    (exported,) = shlex.split(line)[1:]
    name, _, value = exported.partition("=")
    assert name == "AIRFLOW_CONN_RETELL_DEFAULT"
    return json.loads(value)


def test_program_serves_until_it_is_terminated() -> None:
    """The program prints the connection and its calls without complete numbers, and ends on SIGTERM."""
    with _program("--port", "0", "--speed", "10000") as program:
        connection = _connection(program.stdout.readline())
        assert connection.keys() == {"conn_type", "host", "password"}
        assert connection["conn_type"] == "retell"
        answer = httpx.post(
            f"{connection['host']}/v2/create-phone-call",
            json={"from_number": "+12025550199", "to_number": ANSWERED},
            headers={"Authorization": f"Bearer {connection['password']}"},
        )
        call_id = answer.json()["call_id"]
        assert program.stdout.readline() == f"{call_id} to ...0100: created\n"
        assert program.stdout.readline() == f"{call_id} to ...0100: ended, agent_hangup\n"
        program.send_signal(signal.SIGTERM)
        assert program.wait(10) == 0
        assert program.stderr.read() == ""


def test_quiet_program_ends_on_interrupt_and_reports_a_taken_port() -> None:
    """With `--quiet` only the connection is printed; a port in use is an error that says what to do."""
    with _program("--port", "0", "--quiet") as program:
        line = program.stdout.readline()
        found = re.search(r"http://127.0.0.1:(\d+)", line)
        assert found
        headers = {"Authorization": "Bearer key_simulator"}
        httpx.post(f"{found[0]}/v2/register-phone-call", json={"agent_id": "a"}, headers=headers)
        with _program("--port", found[1]) as second:
            assert second.stderr.read() == (
                f"Cannot listen on 127.0.0.1, port {found[1]}: Address already in use. Choose another port with "
                "--port, or let --port 0 take a free one.\n"
            )
            assert second.wait(10) == 1
        program.send_signal(signal.SIGINT)
        assert program.stdout.read() == ""
        assert program.wait(10) == 0


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (["--host", "0.0.0.0"], socket.gethostname()),  # noqa: S104 - as users do
        (["--host", "0.0.0.0", "--advertise", "retell"], "retell"),  # noqa: S104
        (["--advertise", "host.docker.internal"], "host.docker.internal"),
    ],
)
def test_connection_for_another_machine(options: list[str], name: str) -> None:
    """Its host is a name that others know, and its extra says that a simulator is there."""
    with _program("--port", "0", *options) as program:
        connection = _connection(program.stdout.readline())
        url = urlsplit(connection["host"])
        assert (url.hostname, connection["extra"]) == (name, {"simulator": True})
        assert httpx.get(f"http://127.0.0.1:{url.port}/").json()["simulator"] == "airflow-provider-retell"


def _has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as tried:
        try:
            tried.bind(("::1", 0))
        except OSError:
            return False
        return True


@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")
def test_connection_for_this_machine_by_ipv6() -> None:
    """An IPv6 address is in brackets; the connection to a loopback address has no extra."""
    with _program("--port", "0", "--host", "::1") as program:
        connection = _connection(program.stdout.readline())
        assert connection["host"].startswith("http://[::1]:")
        assert "extra" not in connection
        assert httpx.get(connection["host"]).status_code == 200


def test_address_that_cannot_be_listened_on() -> None:
    """An address of another machine is an error in one line, without advice about ports."""
    with _program("--port", "0", "--host", "192.0.2.1") as program:
        assert program.stderr.read() == ("Cannot listen on 192.0.2.1, port 0: Cannot assign requested address.\n")
        assert program.wait(10) == 1


def test_defaults_are_those_of_the_simulator() -> None:
    """Without options, the program is the same as `Simulator()`."""
    chosen, simulator = parse([])
    here = replace(_register(simulator), call_id="", created_at=0, dialed_at=None)
    there = replace(_register(Simulator()), call_id="", created_at=0, dialed_at=None)
    assert here == there
    assert isinstance(simulator.clock, RealClock)
    assert (chosen.port, chosen.quiet) == (8787, False)


def test_options_reach_the_simulator() -> None:
    """Each option of the command line has the effect of its counterpart in Python."""

    def with_options(*words: str) -> Simulator:
        return parse(words)[1]

    assert with_options("--api-key", "k").api_key == "k"
    clock = with_options("--speed", "1e9").clock
    assert clock() < clock()
    assert _register(with_options("--no-auto-dial")).dialed_at is None
    call = _register(with_options("--dial-delay", "10"))
    assert call.dialed_at == call.created_at + 10
    seconds = ("--ring-seconds", "11", "--talk-seconds", "12", "--analysis-delay", "13")
    call = _register(with_options(*seconds))
    assert (call.ring_seconds, call.talk_seconds, call.analysis_delay) == (11, 12, 13)
    mapped = with_options(
        "--scenario", "dial_busy", "--number", f"{ANSWERED}=inactivity", "--number", "+49=dial_failed"
    )
    for number, reason in (("+4930", "dial_busy"), (ANSWERED, "inactivity"), ("+49", "dial_failed")):
        call_id = _create(mapped, number).json()["call_id"]
        assert mapped.calls[call_id].scenario.reason == reason
    in_turn = with_options("--number", "+49=dial_no_answer,dial_busy,agent_hangup")
    for _ in range(4):
        _create(in_turn, "+49")
    reasons = [call.scenario.reason for call in in_turn.calls.values()]
    assert reasons == ["dial_no_answer", "dial_busy", "agent_hangup", "agent_hangup"]
    full = with_options("--concurrency-limit", "1")
    assert [_create(full).status_code for _ in range(2)] == [201, 429]
    full = with_options("--concurrency-limit", "1", "--over-limit", "call")
    assert [_create(full).status_code for _ in range(2)] == [201, 201]
    paced = with_options("--calls-per-second", "2")
    assert [_create(paced).status_code for _ in range(3)] == [201, 201, 429]
    lagging = with_options("--list-lag", "60", "--list-registered")
    _register(lagging)
    assert not _client(lagging).post("/v3/list-calls").json()["items"]
    known = with_options("--do-not-call", ANSWERED, "--do-not-call", "+49")
    contacts = _client(known).post("/list-contacts").json()["items"]
    assert {each["phone_number"] for each in contacts if each["do_not_call"]} == {ANSWERED, "+49"}
    listing = with_options("--list-registered")
    _register(listing)
    assert len(_client(listing).post("/v3/list-calls").json()["items"]) == 1
    failing = with_options("--fault", "create-phone-call:503", "--fault", "create-phone-call:402")
    assert [_create(failing).status_code for _ in range(3)] == [503, 402, 201]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--number", "+49"), "--number is of the form +NUMBER=NAME, as in +12025550177=dial_busy"),
        (("--number", "+49=busy"), "No scenario is called 'busy'. Did you mean dial_busy?"),
        (("--number", "+49=dial_busy,busy"), "No scenario is called 'busy'. Did you mean dial_busy?"),
        (("--number", "+49="), "No scenario is called ''. There are agent_hangup, "),
        (("--number", "12025550177=dial_busy"), "'*******0177' is not a phone number in E.164 form. Write a plus"),
        (("--number", "+1=dial_busy"), "'+1' is not a phone number"),
        (
            ("--number", "+12025550177=dial_busy", "--number", "+12025550177=agent_hangup"),
            "--number names the number that ends in 0177 twice. Its calls play scenarios in turn as",
        ),
        (("--do-not-call", "2025550177"), "'******0177' is not a phone number"),
        (("--calls-per-second", "0"), "calls_per_second is 0: it cannot be less than 1"),
        (("--list-lag", "-1"), "list_lag is -1.0: it cannot be less than 0"),
        (("--scenario", "busy"), "No scenario is called 'busy'"),
        (("--talk-seconds", "-1"), "talk_seconds is -1.0: it cannot be less than 0"),
        (("--ring-seconds", "nan"), "ring_seconds is nan: it cannot be less than 0"),
        (("--concurrency-limit", "-1"), "concurrency_limit is -1: it cannot be less than 0"),
        (("--api-key", ""), "api_key is empty"),
        (("--seed", "-1"), "The number of past calls is -1: it cannot be less than 0"),
        (("--seed", "1", "--seed-days", "0.08"), "2 hours old or older, so they cannot go back 0.08 days"),
        (("--seed", "1", "--seed-days", "inf"), "cannot go back inf days"),
        (("--speed", "nan"), "greater than 0"),
        (("--speed", "inf"), "greater than 0"),
        (("--port", "99999"), "99999 is not a port: ports are 0 to 65535"),
        (("--port", "-1"), "-1 is not a port"),
        (("--port", "web"), "invalid _port value: 'web'"),
        (("--fault", "get-call:explode"), "'explode' is not part of a fault"),
        (("--speed", "0"), "greater than 0"),
    ],
)
def test_wrong_option_is_explained(
    words: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong option ends the program with a sentence that says what is wrong."""
    with pytest.raises(SystemExit) as ended:
        parse(words)
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_each_change_is_reported_once() -> None:
    """A call is reported when it is new and when it is over, and never again."""
    clock = ManualClock()
    simulator = Simulator(clock=clock)
    reporter = CallReporter(simulator)
    busy = _create(simulator, SCENARIOS["dial_busy"].number).json()["call_id"]
    registered = _register(simulator).call_id
    assert list(reporter.lines()) == [f"{busy} to ...0121: created", f"{registered} to ...0100: registered"]
    clock.advance(10)
    assert list(reporter.lines()) == [f"{busy} to ...0121: not_connected, dial_busy"]
    clock.advance(100)
    assert list(reporter.lines()) == [f"{registered} to ...0100: ended, agent_hangup"]
    assert list(reporter.lines()) == []
    _create(simulator, SCENARIOS["error_without_reason"].number)
    clock.advance(100)
    assert [line.partition(": ")[2] for line in reporter.lines()] == ["created", "error"]
