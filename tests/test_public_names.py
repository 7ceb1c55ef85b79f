"""Test that the paths that DAG files import and that Airflow has stored do not change."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from conftest import AIRFLOW_2

from airflow_provider_retell.retry_policy import RetellRetryPolicy
from airflow_provider_retell.triggers import RetellCallTrigger

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
PACKAGE = "airflow_provider_retell"

PUBLIC = {
    "errors": ["RetellCallError", "RetellConnectionError", "RetellError", "RetellResponseError"],
    "events": ["finished_calls"],
    "hooks": ["RetellHook"],
    "operators": ["RetellCampaignOperator", "RetellCreatePhoneCallOperator", "RetellRegisterPhoneCallOperator"],
    "outcomes": ["CallStatus", "Outcome"],
    "policy": ["Attempt", "AttemptLimit", "CallingHours", "Redial", "next_redial"],
    "retry_policy": ["RetellRetryPolicy"],
    "rows": ["Row", "row"],
    "sensors": ["RetellCallSensor"],
    "simulator": ["SCENARIOS", "Fault", "ManualClock", "RealClock", "Simulator"],
    "testing": ["Clock", "SteppingClock", "clock_replaced_by"],
    "transfers": ["RetellCallsToObjectStorageOperator"],
    "triggers": ["RetellCallTrigger", "RetellFinishedCallsTrigger", "RetellTimeTrigger"],
}
"""The names of the first version, by the module that DAG files, tests and stored triggers import them from."""


def promised() -> Iterator[tuple[str, str]]:
    """Yield each module and name that a page imports, or names in full."""
    for page in PAGES:
        text = page.read_text()
        for module, names in re.findall(rf"from ({PACKAGE}[\w.]*) import ([\w, ]+)", text):
            yield from ((module, name) for name in re.findall(r"\w+", names))
        for full in re.findall(rf"\b{PACKAGE}(?:\.\w+)+", text):
            module, _, name = full.rpartition(".")
            yield module, name


def is_there(module: str, name: str) -> bool:
    """Return whether a module holds a name, or a submodule of the name."""
    try:
        return hasattr(import_module(module), name) or bool(import_module(f"{module}.{name}"))
    except ImportError:
        return False


def test_each_name_is_imported_from_where_the_pages_say() -> None:
    """An import that a page shows works."""
    assert {"hooks", "sensors"} <= {module.rpartition(".")[2] for module, _ in promised()}
    assert {f"{module}.{name}" for module, name in promised() if not is_there(module, name)} == set()


@pytest.mark.parametrize("module", PUBLIC)
def test_the_names_of_the_first_version_stay(module: str) -> None:
    """A DAG that was written for the first version still imports."""
    assert [name for name in PUBLIC[module] if not is_there(f"{PACKAGE}.{module}", name)] == []


STORED: dict[str, dict[str, Any]] = {
    "airflow_provider_retell.triggers.RetellCallTrigger": {
        "call_ids": ["call_1", "call_2"],
        "retell_conn_id": "retell_default",
        "deadline": 1769817600.5,
        "poll_interval": 30.0,
        "wait_for": "analyzed",
        "analysis_timeout": 600.0,
        "cancel_on_kill": True,
        "leave_registered": False,
        "not_before": 1769814000.0,
        "memo": {"began": 1769813990.0, "calls": ["call_1"], "number": 1},
    },
    "airflow_provider_retell.triggers.RetellTimeTrigger": {
        "deadline": 1769817600.5,
        "not_before": 1769814000.0,
        "memo": {"began": 1769813990.0},
    },
    "airflow_provider_retell.triggers.RetellFinishedCallsTrigger": {
        "asset": "retell://retell_default/calls",
        "since": "2026-01-31T00:00:00+00:00",
        "retell_conn_id": "retell_default",
        "agent_id": "agent_1",
        "direction": "inbound",
        "metadata": {"team": "a"},
        "wait_for": "ended",
        "poll_interval": 30.0,
    },
}
"""The stored form of the first version's triggers, as JSON gives it back."""


@pytest.mark.parametrize("path", STORED)
def test_a_trigger_that_the_first_version_stored_still_loads(path: str) -> None:
    """A triggerer imports the class by its stored path, and calls it with the stored arguments: calls go on."""
    if AIRFLOW_2 and path.endswith("FinishedCallsTrigger"):
        pytest.skip("asset watchers came with Airflow 3.0")
    module, _, name = path.rpartition(".")
    stored_again, kwargs = getattr(import_module(module), name)(**STORED[path]).serialize()
    assert (stored_again, {key: kwargs[key] for key in STORED[path]}) == (path, STORED[path])


def test_the_stored_path_of_a_retry_policy_stays() -> None:
    """Airflow 3.3 stores the class path of a task's policy with its DAG."""
    assert RetellRetryPolicy.__module__ == "airflow_provider_retell.retry_policy"
    assert RetellRetryPolicy.__qualname__ == "RetellRetryPolicy"


def test_a_trigger_of_before_the_first_version_loads() -> None:
    """Arguments came one by one, each with a default."""
    needed = ("call_ids", "retell_conn_id", "deadline")
    stored = STORED["airflow_provider_retell.triggers.RetellCallTrigger"]
    trigger = RetellCallTrigger(**{name: stored[name] for name in needed})
    assert trigger.not_before == 0
    assert trigger.memo == {}
