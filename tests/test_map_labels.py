"""``map_index_template`` may name how the call went, and that fails no task whose call was placed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException, TaskDeferred
from conftest import CREATE, FROM, SteppingClock, TaskInstance, place, run_task
from jinja2 import Environment, StrictUndefined
from jinja2.nativetypes import NativeEnvironment

from airflow_provider_retell.errors import RetellCallError, RetellCallTimeoutError, RetellInputError
from airflow_provider_retell.operators import RetellCampaignOperator
from airflow_provider_retell.provider.map_labels import label
from airflow_provider_retell.sensors import RetellCallSensor
from airflow_provider_retell.simulator import SCENARIOS, ManualClock, Simulator
from airflow_provider_retell.testing import clock_replaced_by

pytestmark = pytest.mark.usefixtures("connect")

TEMPLATES = ("{{ outcome }} {{ last_digits }}", "{{ outcome }}", "{{ last_digits }}")


def shown(context: dict[str, Any]) -> str:
    """Return the label, after Airflow could have rendered it in either way."""
    for template in TEMPLATES:
        for environment in (Environment, NativeEnvironment):
            text = environment(undefined=StrictUndefined).from_string(template).render(context)
            assert isinstance(text, str), template
    return f"{context['outcome']} {context['last_digits']}"


def run(make: Callable[[], Any], clock: SteppingClock, raises: type[BaseException] | None = None) -> str:
    """Run a task to a return, a skip or a failure; return the label."""
    context = TaskInstance().context()
    with clock_replaced_by(clock):
        if raises is None:
            make().execute(context)
        else:
            with pytest.raises(raises):
                make().execute(context)
    return shown(context)


@pytest.mark.parametrize(
    ("arguments", "raises", "expected"),
    [
        ({}, None, "live"),
        ({"wait_for": "ended"}, None, "busy"),
        ({"wait_for": "ended", "fail_on": "busy"}, RetellCallError, "busy"),
        ({"wait_for": "ended", "skip_on": "busy"}, AirflowSkipException, "busy"),
        ({"wait_for": "ended", "timeout": 1, "poll_interval": 1}, RetellCallTimeoutError, "live"),
        ({"dry_run": True}, None, "dry_run"),
        ({"from_number": "12"}, RetellInputError, "not called"),
        ({"wait_for": "ended", "deferrable": True}, TaskDeferred, "live"),
        ({"retell_conn_id": "unknown"}, Exception, "not called"),
    ],
)
def test_each_way_out_has_a_label(
    clock: SteppingClock, arguments: dict[str, Any], raises: type[BaseException] | None, expected: str
) -> None:
    """A return, a skip, a failure before and after the call was placed, a deferral."""
    digits = SCENARIOS["dial_busy"].number[-4:]
    assert run(lambda: place(CREATE, "dial_busy", **arguments), clock, raises) == f"{expected} …{digits}"


class Remembering(TaskInstance):
    """A task instance that remembers its last context: each process of the task has another one."""

    last: dict[str, Any]

    def context(self, **more: Any) -> dict[str, Any]:
        self.last = super().context(**more)
        return self.last


def test_a_resumed_task_has_a_label(clock: SteppingClock) -> None:
    """After the wait the task is another process, with a context of its own."""
    ti = Remembering()
    run_task(lambda: place(CREATE, "dial_busy", wait_for="ended", deferrable=True), ti, clock)
    assert shown(ti.last).startswith("busy …")


def test_a_sensor_has_a_label(register: Callable[..., str], clock: SteppingClock, time: ManualClock) -> None:
    """One call by its outcome, several by the counts."""
    one, other = register("user_hangup"), register("dial_busy")
    time.advance(120)
    assert run(lambda: RetellCallSensor(task_id="w", call_id=one), clock).startswith("answered …")
    both = run(lambda: RetellCallSensor(task_id="w", call_id=[one, other]), clock)
    assert both == "1 answered, 1 busy "
    failed = run(lambda: RetellCallSensor(task_id="w", call_id=other, fail_on="busy"), clock, RetellCallError)
    assert failed.startswith("busy …")


def test_a_campaign_has_a_label(clock: SteppingClock, simulator: Simulator) -> None:
    """A campaign's label counts the people who were reached."""
    people = [{"to_number": f"+120655501{n:02d}"} for n in range(2)]
    for person, scenario in zip(people, ("agent_hangup", "dial_busy"), strict=True):
        simulator.play(person["to_number"], scenario)
    campaign = {"task_id": "c", "from_number": FROM, "people": people, "lines": 2}
    assert run(lambda: RetellCampaignOperator(**campaign), clock) == "1 of 2 reached "


@pytest.mark.parametrize(
    ("number", "digits"), [("+14155550100", "…0100"), (None, ""), ("0100", ""), (14155550100, "…0100")]
)
def test_digits_begin_with_an_ellipsis(number: Any, digits: str) -> None:
    """Alone they would be a number under native rendering; a short number is not shown at all."""
    context: dict[str, Any] = {}
    label(context, "live", number=number)
    assert context["last_digits"] == digits
