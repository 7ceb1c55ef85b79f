"""Test that the paths that DAG files import and that Airflow has stored do not change."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from conftest import AIRFLOW_2

from airflow_provider_retell import errors
from airflow_provider_retell.policy import AttemptLimit, CallingHours, Redial
from airflow_provider_retell.provider.info import get_provider_info
from airflow_provider_retell.triggers import RetellCallTrigger

ROOT = Path(__file__).parent.parent
PACKAGE = "airflow_provider_retell"
SHOWING = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "tests/user_code.py")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "example_dags").glob("*.py")),
]
"""The pages and the code that show users what to import."""

PUBLIC = {
    "api.models": ["Call", "CallAnalysis", "CallCost"],
    "api.requests": ["CreatePhoneCallRequest", "RegisterPhoneCallRequest"],
    "errors": [
        "Concerns",
        "RetellAuthenticationError",
        "RetellCallError",
        "RetellCallFinalError",
        "RetellCallTimeoutError",
        "RetellConnectionError",
        "RetellError",
        "RetellExportError",
        "RetellExportOvertakenError",
        "RetellInputError",
        "RetellInvalidRequestError",
        "RetellNotFoundError",
        "RetellPaymentError",
        "RetellPermissionError",
        "RetellRateLimitError",
        "RetellResponseError",
        "RetellServerError",
        "RetellStatusError",
        "RetellTimeZoneError",
    ],
    "events": ["FinishedCall", "finished_calls"],
    "hooks": ["RetellHook"],
    "notifications": ["RetellPhoneCallNotifier"],
    "operators": ["RetellCampaignOperator", "RetellCreatePhoneCallOperator", "RetellRegisterPhoneCallOperator"],
    "outcomes": ["CallStatus", "DisconnectionReason", "ENDINGS", "Outcome", "outcome_of"],
    "policy": ["Attempt", "AttemptLimit", "CallingHours", "Redial", "next_redial"],
    "retry_policy": ["RetellRetryPolicy"],
    "rows": [
        "Analysis",
        "CampaignResult",
        "Cost",
        "HEAVY_FIELDS",
        "LATENCY_FIELDS",
        "OutcomeWord",
        "PersonRow",
        "Row",
        "row",
    ],
    "sensors": ["RetellCallSensor"],
    "simulator": [
        "Clock",
        "Fault",
        "ManualClock",
        "RealClock",
        "RecordedRequest",
        "Request",
        "Response",
        "SCENARIOS",
        "Scenario",
        "SimulatedCall",
        "Simulator",
    ],
    "testing": ["Clock", "SteppingClock", "clock_replaced_by", "retell_clock", "retell_simulator"],
    "transfers": ["RetellCallsToObjectStorageOperator"],
    "triggers": ["RetellCallTrigger", "RetellFinishedCallsTrigger", "RetellTimeTrigger"],
}
"""The names of the first version, by the module that DAG files, tests and stored triggers import them from."""


def shown(text: str) -> Iterator[tuple[str, str]]:
    """Yield each module and name that a text imports, names in full, or lists as members in the API reference."""
    for module, names in re.findall(rf"from {PACKAGE}\.([\w.]+) import (\([\w,\s]+\)|[\w, ]+)", text):
        yield from ((module, name) for name in re.findall(r"\w+", names))
    for module, names in re.findall(rf"automodule:: {PACKAGE}\.([\w.]+)\n +:members: ([\w, ]+)\n", text):
        yield from ((module, name) for name in re.findall(r"\w+", names))
    for full in re.findall(rf"\b{PACKAGE}\.(\w+(?:\.\w+)*)", text):
        if full not in PUBLIC:
            module, _, name = full.rpartition(".")
            yield module, name


def promised() -> set[tuple[str, str]]:
    """Return each module and name that users are shown, or that a public module exports."""
    found = {each for path in SHOWING for each in shown(path.read_text())}
    for module in PUBLIC:
        exported = getattr(import_module(f"{PACKAGE}.{module}"), "__all__", ())
        found |= {(module, name) for name in exported}
    classes = inspect.getmembers(errors, lambda it: inspect.isclass(it) and it.__module__ == errors.__name__)
    return found | {("errors", name) for name, _ in classes if not name.startswith("_")}


def test_each_name_that_users_are_shown_is_one_that_stays() -> None:
    """A page, an example, an error or an ``__all__`` that shows a new name promises it: it goes into the list."""
    assert {("hooks", "RetellHook"), ("api.models", "CallCost"), ("rows", "LATENCY_FIELDS")} <= promised()
    missing = {f"{module}.{name}" for module, name in promised() if name not in PUBLIC.get(module, ())}
    assert missing == set()


@pytest.mark.parametrize("module", PUBLIC)
def test_the_names_of_the_first_version_stay(module: str) -> None:
    """A DAG that was written for the first version still imports."""
    imported = import_module(f"{PACKAGE}.{module}")
    assert [name for name in PUBLIC[module] if not hasattr(imported, name)] == []


# -- what Airflow has stored ---------------------------------------------------------------------------------


def loaded(path: str) -> Any:
    """Return the class of a stored path, as Airflow imports it."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


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
    stored_again, kwargs = loaded(path)(**STORED[path]).serialize()
    assert (stored_again, {key: kwargs[key] for key in STORED[path]}) == (path, STORED[path])


def test_a_trigger_of_before_the_first_version_loads() -> None:
    """Arguments came one by one, each with a default."""
    needed = ("call_ids", "retell_conn_id", "deadline")
    stored = STORED["airflow_provider_retell.triggers.RetellCallTrigger"]
    trigger = RetellCallTrigger(**{name: stored[name] for name in needed})
    assert trigger.not_before == 0
    assert trigger.memo == {}


@pytest.mark.parametrize(
    "path",
    [
        "airflow_provider_retell.notifications.RetellPhoneCallNotifier",
        "airflow_provider_retell.policy.attempts.AttemptLimit",
        "airflow_provider_retell.policy.calling_hours.CallingHours",
        "airflow_provider_retell.policy.redial.Redial",
        "airflow_provider_retell.provider.links.RetellCallLink",
        "airflow_provider_retell.retry_policy.RetellRetryPolicy",  # Airflow 3.3 stores only that there is one
    ],
)
def test_the_path_that_airflow_stores_of_a_class_stays(path: str) -> None:
    """It is the path that the class gives of itself: deadlines, XComs and serialised DAGs name it for years."""
    assert f"{loaded(path).__module__}.{loaded(path).__qualname__}" == path


def test_a_notifier_that_the_first_version_stored_with_a_deadline_still_loads() -> None:
    """Airflow imports the class by its path, and calls it with the stored arguments."""
    stored = {
        "from_number": "+14155550199",
        "to_number": ["+14155550100", "+14155550101"],
        "message": "{{ dag_run.dag_id }} is late.",
        "override_agent_id": "agent_1",
        "retell_conn_id": "retell_default",
        "mode": "all",
        "timeout": 300,
        "time_zone": "Europe/Berlin",
        "backfill": True,
    }
    hours = {"start": "09:00", "end": "20:00", "days": "mon-fri", "time_zone": "callee", "closed": ["2026-12-25"]}
    path = "airflow_provider_retell.notifications.RetellPhoneCallNotifier"
    notifier = loaded(path)(**stored, calling_hours=hours)
    assert {name: vars(notifier)[name] for name in stored} == stored
    assert notifier.calling_hours == CallingHours("09:00", "20:00", days="mon-fri", closed=["2026-12-25"])


def test_the_link_of_a_stored_dag_still_loads() -> None:
    """Airflow 2 makes it of its registered path; Airflow 3 stores its name, and the key of the XCom behind it."""
    path = "airflow_provider_retell.provider.links.RetellCallLink"
    assert path in get_provider_info()["extra-links"]
    link = loaded(path)()
    assert link.name == "Retell call"
    if not AIRFLOW_2:
        assert link.xcom_key == "_link_RetellCallLink"


STORED_POLICIES = [
    {
        "__classname__": "airflow_provider_retell.policy.calling_hours.CallingHours",
        "__version__": 1,
        "__data__": {
            "start": "09:00",
            "end": "20:00",
            "days": "mon-fri",
            "time_zone": "Europe/Berlin",
            "exceptions": {"sat": ["10:00", "14:00"], "sun": None},
            "closed": ["2026-12-25"],
        },
    },
    {
        "__classname__": "airflow_provider_retell.policy.redial.Redial",
        "__version__": 1,
        "__data__": {"endings": ["no_answer", "busy"], "after": 7200.0, "times": 2},
    },
    {
        "__classname__": "airflow_provider_retell.policy.attempts.AttemptLimit",
        "__version__": 1,
        "__data__": {"most": 3, "per": 604800.0, "gap": 14400.0, "silence_after_conversation": None},
    },
]
"""The policies in an XCom of the first version."""
LOADS = """
import json, sys
try:
    from airflow.sdk.serde import deserialize
except ImportError:  # before 3.2
    from airflow.serialization.serde import deserialize
print(deserialize(json.loads(sys.argv[1])))
"""


def test_policies_that_the_first_version_stored_in_an_xcom_still_load() -> None:
    """Airflow imports the class by its path, and calls its ``deserialize`` with the stored version and data."""
    policies = [
        CallingHours(
            "09:00",
            "20:00",
            days="mon-fri",
            time_zone="Europe/Berlin",
            exceptions={"sat": ("10:00", "14:00"), "sun": None},
            closed=["2026-12-25"],
        ),
        Redial("no_answer", "busy", after=timedelta(hours=2), times=2),
        AttemptLimit(3, per=timedelta(days=7), gap=timedelta(hours=4)),
    ]
    # Airflow reads which classes it may load when the first one is asked for, so this takes a process of its own.
    allowed = {"AIRFLOW__CORE__ALLOWED_DESERIALIZATION_CLASSES": "airflow.* airflow_provider_retell.policy.*"}
    command = [sys.executable, "-c", LOADS, json.dumps(STORED_POLICIES)]
    run = subprocess.run(  # noqa: S603 (it stands above)
        command, check=True, env=os.environ | allowed, stdout=subprocess.PIPE, text=True
    )
    assert run.stdout.splitlines()[-1] == repr(policies)
