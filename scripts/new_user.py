"""Do what a new user does, by the documentation alone: install, connect, run, look, follow the link.

The wheel goes into a clean environment with Airflow, the README's DAG into its folder of DAGs, and everything else
is done in a headless browser against the simulator. The screenshots go into docs/images.
"""

from __future__ import annotations

import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uv
from airflow_stack import AirflowStack
from browser import Browser
from processes import LOOPBACK, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
CONN_ID, KEY, PORT = "retell_default", "key_simulator", 8787
LINK = "Retell call"

# Nobody dials this number: the call waits for some seconds, and then fails its task.
NOBODY_DIALS = """
from airflow.sdk import DAG
from airflow_provider_retell.operators import RetellRegisterPhoneCallOperator

with DAG("nobody_dials"):
    RetellRegisterPhoneCallOperator(
        task_id="call",
        agent_id="agent_...",
        to_number="+14155550135",
        metadata={"campaign": "spring", "attempt": 1},
        retell_llm_dynamic_variables={"name": "Grace"},
        wait_for="ended",
        fail_on=["not_dialed"],
        poll_interval=2,
        deferrable=True,
    )
"""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The things that the new user has seen.

    Attributes:
        labels: The labels of the form's fields, in its order.
        placeholders: The placeholders of some of the fields.
        corrected: The values to which the form corrects numbers that are too small, and letters.
        answers: The answers of the Test button for each connection.
        run: The table of the tasks of the README's DAG.
        rows: The result of the sensor of that DAG.
        rendered: The rendered fields of a mapped task, of the sensor, and of a task that failed.
        log: The log of the sensor.
        links: Where the link of a task leads: while it waits, after it failed, and once it succeeded.
        call_ids: The calls they should lead to.
    """

    labels: list[str]
    placeholders: dict[str, str | None]
    corrected: dict[str, str]
    answers: dict[str, str]
    run: str
    rows: list[dict[str, Any]]
    rendered: dict[str, str]
    log: str
    links: dict[str, str]
    call_ids: dict[str, str]


def walk(images: Path) -> Seen:
    """Do all steps; raise if one fails."""
    with ExitStack() as undo:
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory()))
        say("installing the wheel in a clean environment")
        python = clean_environment(folder)
        (folder / "dags").mkdir()
        (folder / "dags" / "call_people.py").write_text(the_dag())
        (folder / "dags" / "nobody_dials.py").write_text(NOBODY_DIALS)
        say("starting the simulator and Airflow")
        port = undo.enter_context(simulator(python))
        env = {"AIRFLOW__CORE__TEST_CONNECTION": "Enabled"}
        airflow = undo.enter_context(AirflowStack(folder / "dags", env=env, python=python))
        for command in re.findall(r"^airflow (pools .*)$", README, re.MULTILINE):
            airflow.command(*shlex.split(command))
        browser = undo.enter_context(Browser.open(airflow.url, images))
        return Seen(**connect(browser, port), **call(browser, airflow))


def connect(browser: Browser, port: int) -> dict[str, Any]:
    """Add a connection and test it, and test wrong connections too."""
    say("adding the connection")
    labels = browser.open_connection_form(CONN_ID, "Retell AI")
    placeholders = {label: browser.placeholder_of(label) for label in ("Base URL", "Port", "API key")}
    browser.fill_in({"Base URL": f"http://{LOOPBACK}", "Port": str(port), "API key": KEY})
    browser.picture("connection-form")
    corrected = {}
    for label, rubbish in {"Time-out": "0", "Attempts": "-3", "Longest pause": "soon"}.items():
        before = browser.value_of(label)
        corrected[label] = browser.correction_of(label, rubbish)
        browser.fill_in({label: before})
    browser.picture("connection-settings")
    browser.save_connection()
    answers = {"accepted": browser.press_test(CONN_ID)}
    browser.picture("connection-test")
    with silence() as silent:
        closed, *_ = free_ports(1)
        for name, fields in {
            "refused": {"Port": str(port), "API key": "key_of_another"},
            "unreachable": {"Port": str(closed), "API key": KEY},
            "late": {"Port": str(silent), "API key": KEY, "Time-out": "1"},
        }.items():
            say(f"testing a connection that is {name}")
            browser.open_connection_form(name, "Retell AI")
            browser.fill_in({"Base URL": f"http://{LOOPBACK}", **fields})
            browser.save_connection()
            answers[name] = browser.press_test(name)
    return {"labels": labels, "placeholders": placeholders, "corrected": corrected, "answers": answers}


def call(browser: Browser, airflow: AirflowStack) -> dict[str, Any]:
    """Run the DAGs, look at their tasks, and follow the links."""
    say("running a call that nobody dials, and following its link while it waits")
    links, rendered = {}, {}
    nobody = ("nobody_dials", browser.trigger("nobody_dials"))
    for instances in airflow.watch(*nobody, timeout=60):
        if [it["state"] for it in instances] == ["deferred"]:
            break
    browser.open_task(*nobody, "call", "details")
    browser.picture("link-while-waiting")
    links["deferred"] = browser.follow(LINK)

    say("running the README's DAG")
    people = ("call_people", browser.trigger("call_people"))
    if airflow.wait_for_run(*people, timeout=180) != "success":
        raise RuntimeError("The README's DAG has failed.")
    run = browser.open_run(*people)
    browser.picture("run")
    rendered["person"] = browser.open_task(*people, "call/mapped/0", "rendered_templates")
    rendered["wait"] = browser.open_task(*people, "wait", "rendered_templates")
    log = browser.open_task(*people, "wait")
    browser.picture("log")
    links["success"] = browser.follow_in(*people, "call/mapped/0", LINK)

    say("following the link of the call that nobody dialed")
    links[airflow.wait_for_run(*nobody, timeout=120)] = browser.follow_in(*nobody, "call", LINK)
    rendered["call"] = browser.open_task(*nobody, "call", "rendered_templates")
    browser.picture("rendered-fields")
    call_id = airflow.xcom(*nobody, "call", key="call_id")
    return {
        "run": run,
        "rows": airflow.xcom(*people, "wait"),
        "rendered": rendered,
        "log": log,
        "links": links,
        "call_ids": {
            "deferred": call_id,
            "failed": call_id,
            "success": airflow.xcom(*people, "call", 0, key="call_id"),
        },
    }


# -- what the documentation says ---------------------------------------------------------------------------


def clean_environment(folder: Path) -> Path:
    """Build the wheel, install it with Airflow and nothing else; return the interpreter."""
    python = folder / "venv" / "bin" / "python"
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "dist", ROOT)
    (wheel,) = (folder / "dist").iterdir()
    run(uv.find_uv_bin(), "venv", "--quiet", "--python", sys.executable, folder / "venv")
    pinned = ("--constraint", ROOT / "constraints.txt")
    run(uv.find_uv_bin(), "pip", "install", "--quiet", "--python", python, *pinned, wheel)
    return python


def the_dag() -> str:
    """Return the DAG on the README's first screen."""
    found = re.search(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    if not found:
        raise RuntimeError("The README has no DAG.")
    return found[1]


@contextmanager
def simulator(python: Path) -> Iterator[int]:
    """Run the README's command for the simulator; yield its port."""
    (arguments,) = re.findall(r"^python (-m airflow_provider_retell\.simulator.*)$", README, re.MULTILINE)
    port = its_port()
    command = [str(python), *shlex.split(arguments), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - the README's words
        try:
            printed = process.stdout.readline() if process.stdout else ""
            if f":{port}" not in printed or KEY not in printed:
                raise RuntimeError(f"The simulator printed {printed!r} and no connection.")
            yield port
        finally:
            process.terminate()


def its_port() -> int:
    """Return the port that the documentation names, or a free one if that is taken."""
    try:
        with socket.create_server((LOOPBACK, PORT)):
            return PORT
    except OSError:
        (port,) = free_ports(1)
        return port


@contextmanager
def silence() -> Iterator[int]:
    """Listen on a port, and never answer."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        yield listener.getsockname()[1]


def run(*command: str | Path) -> None:
    """Run a command to its end, and show its output if it fails."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - our own words
    if done.returncode != 0:
        raise RuntimeError(f"{shlex.join(map(str, command))}\n{done.stdout}\n{done.stderr}")


STARTED = time.monotonic()


def say(line: str) -> None:
    """Print what is going on."""
    print(f"{time.monotonic() - STARTED:5.0f} s  {line}", flush=True)


if __name__ == "__main__":
    # The signal must end Airflow too, as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    walk(ROOT / "docs" / "images")
