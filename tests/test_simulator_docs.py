from __future__ import annotations

import inspect
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from airflow_provider_retell.hooks import RetellHook
from airflow_provider_retell.outcomes import DisconnectionReason
from airflow_provider_retell.simulator import SCENARIOS, Fault, Scenario, Simulator
from airflow_provider_retell.simulator.__main__ import parse
from airflow_provider_retell.simulator.endpoints import ENDPOINTS

DOCS = (Path(__file__).parents[1] / "docs" / "simulator.md").read_text()


REASONS = [scenario for scenario in SCENARIOS.values() if scenario.name in set(DisconnectionReason)]
"""The scenarios that are explained with the outcomes."""


def _line(scenario: Scenario) -> str:
    ends_as = f"`{scenario.status}`, " + (f"`{scenario.reason}`" if scenario.reason else "no reason")
    return f"| `{scenario.number}` | `{scenario.name}` | {ends_as} | {scenario.analysis} | {scenario.story} |"


def test_documentation_shows_the_table() -> None:
    """The second table in docs/simulator.md has exactly the lines that the other scenarios make."""
    lines = [line for line in DOCS.splitlines() if line.startswith("| `+1")]
    assert lines == [_line(scenario) for scenario in SCENARIOS.values() if scenario not in REASONS]


@pytest.mark.parametrize("status", ["ended", "not_connected", "error"])
def test_documentation_shows_the_digits_of_each_reason(status: str) -> None:
    """The first table has a line for each status, with the last two digits of its scenarios."""
    digits = [f"{each.number[-2:]} `{each.name}`" for each in REASONS if each.status == status]
    assert f"| `{status}` | {', '.join(digits)} |" in DOCS.splitlines()
    assert {each.reason for each in REASONS} == {each.name for each in REASONS}


def test_the_analysis_of_each_reason_is_as_documented() -> None:
    """The page says by the last two digits of the number which analysis there is."""
    said = "from 00 to 15, but basic, without it, from 10 to 12 and from 40 on; there is none from 20 to 36"
    assert said in " ".join(DOCS.split())
    for scenario in REASONS:
        last = int(scenario.number[-2:])
        basic = 10 <= last <= 12 or last >= 40
        assert scenario.analysis == ("basic" if basic else "full" if last <= 15 else "none"), scenario


def test_documentation_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    """Every argument of `Simulator` and `Fault` and every command line option is in docs/simulator.md."""
    for name in inspect.signature(Simulator).parameters:
        assert f"`{name}" in DOCS, name
    for name in inspect.signature(Fault).parameters:
        assert f"{name}=" in DOCS, name
    with pytest.raises(SystemExit):
        parse(["--help"])
    for option in set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}:
        assert f"`{option}" in DOCS, option


def test_documentation_names_every_endpoint() -> None:
    """The list of what a fault may name has all that the simulator answers, in its order."""
    (listed,) = re.findall(r"^ENDPOINT is (.*?), or a pattern", DOCS, flags=re.DOTALL | re.MULTILINE)
    assert re.findall(r"`([a-z-]+)`", listed) == [endpoint.name for endpoint in ENDPOINTS]


def test_documentation_names_all_that_a_simulator_can_do() -> None:
    """Every public method and attribute of `Simulator` is in docs/simulator.md."""
    of_httpx = set(dir(httpx.BaseTransport)) | set(dir(httpx.AsyncBaseTransport))
    for name in set(dir(Simulator)) - of_httpx:
        assert name[0] == "_" or re.search(rf"\b{name}\b", DOCS), name


def test_documented_faults_can_be_had() -> None:
    """Every fault in the table of docs/simulator.md is accepted by the command line."""
    faults = re.findall(r"^\| `([a-z*-]+:[^`]+)` \|", DOCS, flags=re.MULTILINE)
    assert len(faults) == 4
    parse([word for fault in faults for word in ("--fault", fault)])


def test_compose_file_fits_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compose file in docs/simulator.md starts the simulator, waits for it, and leads Airflow to it."""
    (block,) = re.findall(r"```yaml\n(.*?)```", DOCS, flags=re.DOTALL)
    services = yaml.safe_load(block)["services"]
    retell, airflow = services["retell"], services["airflow"]
    variable = airflow["environment"]["AIRFLOW_CONN_RETELL_DEFAULT"]
    python, *command = retell["command"].split()
    check, checker, *check_up = retell["healthcheck"]["test"]
    assert (python, check, checker) == ("python", "CMD", "python")
    with subprocess.Popen([sys.executable, *command, "--port", "0"], stdout=subprocess.PIPE, text=True) as program:  # noqa: S603 - ours
        try:
            assert program.stdout
            printed = program.stdout.readline()
            port = re.search(r":(\d+)\"", printed)
            assert port
            up = [word.replace("8787", port[1]) for word in check_up]
            subprocess.run([sys.executable, *up], check=True)  # noqa: S603
            # An address that is not a loopback address, and yet leads to this machine.
            here = variable.replace("retell:8787", f"0.0.0.0:{port[1]}")
            monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", here)
            assert RetellHook().get_concurrency()["concurrency_limit"] == 20
        finally:
            program.kill()
    (exported,) = shlex.split(printed)[1:]
    connection = json.loads(exported.partition("=")[2].replace(port[1], "8787"))
    assert json.loads(variable) == connection
    assert connection["host"] == "http://retell:8787"
    assert airflow["depends_on"]["retell"]["condition"] == "service_healthy"


def test_documented_connections_are_what_is_printed() -> None:
    """The lines that docs/simulator.md shows as printed are those that the simulator prints."""
    shown = re.findall(r"^export AIRFLOW_CONN_RETELL_DEFAULT='(.*)'$", DOCS, flags=re.MULTILINE)
    assert shown == [Simulator().connection(f"http://{host}:8787") for host in ("127.0.0.1", "retell")]


def test_documentation_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python in docs/simulator.md works as it stands."""
    monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", "")
    blocks = re.findall(r"```python\n(.*?)```", DOCS, flags=re.DOTALL)
    ran = 0
    for block in blocks:
        namespace: dict[str, Any] = {}
        exec(block, namespace)  # noqa: S102 - it is our own documentation
        for name, function in namespace.items():
            if name.startswith("test_"):
                function()
                ran += 1
    assert (len(blocks), ran) == (2, 1)
