"""An Airflow plugin that notes for the fault matrix what cannot be seen from outside, and holds tasks as it asks.

It notes which process runs a task, and which call ids a task hands on.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin
from airflow.sdk import BaseXCom

FOLDER = Path(os.environ["FAULT_MATRIX_WITNESS"])
PATIENCE = 120.0  # seconds


class WitnessXCom(BaseXCom):
    """XComs as ever; ids of calls are noted."""

    @staticmethod
    def serialize_value(value: Any, **where: Any) -> str:
        """Note the id of a call just before it is handed on."""
        if isinstance(value, str) and value.startswith("call_"):
            hold(where["run_id"], "handing-on")
            note("handed-on", run_id=where["run_id"], call_id=value)
        return BaseXCom.serialize_value(value, **where)


@hookimpl
def on_task_instance_running(previous_state: Any, task_instance: Any) -> None:
    """Note the process that runs a task, at each start and each resumption."""
    note("started", run_id=task_instance.run_id, pid=os.getpid())
    hold(task_instance.run_id, "starting")


class WitnessPlugin(AirflowPlugin):
    """Makes this module a listener."""

    name = "witness"
    listeners = [sys.modules[__name__]]  # noqa: RUF012 (as Airflow declares it)


def hold(run_id: str, point: str) -> None:
    """Stand still as long as the fault matrix wants this run to, at this point."""
    wanted = FOLDER / f"{run_id}.{point}"
    if wanted.exists():
        note("held", run_id=run_id, pid=os.getpid())
        deadline = time.monotonic() + PATIENCE
        while wanted.exists() and time.monotonic() < deadline:
            time.sleep(0.1)


def note(kind: str, **fields: Any) -> None:
    """Add a line, in one write."""
    with (FOLDER / "notes").open("a") as notes:
        notes.write(json.dumps({"kind": kind, **fields}) + "\n")
