from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from conftest import CREATE, REGISTER, SteppingClock, TaskInstance, fire, place

from airflow_provider_retell.operators import RetellCreatePhoneCallOperator, RetellRegisterPhoneCallOperator
from airflow_provider_retell.provider.links import RetellCallLink, call_url
from airflow_provider_retell.sensors import RetellCallSensor


@pytest.mark.parametrize(
    "task", [RetellCreatePhoneCallOperator, RetellRegisterPhoneCallOperator, RetellCallSensor]
)
def test_every_task_of_a_call_has_the_button(task: Any) -> None:
    """The name that Airflow shows is an attribute of the class; end-to-end tests follow the link to the call."""
    assert [type(link) for link in task.operator_extra_links] == [RetellCallLink]


@pytest.mark.parametrize(
    ("task", "arguments"),
    [
        (RetellCreatePhoneCallOperator, {"from_number": "+14155550199", "to_number": "+14155550100"}),
        (RetellRegisterPhoneCallOperator, {"agent_id": "agent_1"}),
        (RetellCallSensor, {"call_id": "call_1"}),
    ],
)
def test_a_mapped_task_with_the_button_keeps_airflows_defaults(task: Any, arguments: dict[str, Any]) -> None:
    """Airflow collects them from operators alone: a mixin that is none would leave tasks without ``inlets``."""
    mapped = task.partial(task_id="call", **dict(list(arguments.items())[1:])).expand(
        **{next(iter(arguments)): [next(iter(arguments.values()))]}
    )
    assert (mapped.inlets, mapped.outlets) == ([], [])


@pytest.mark.parametrize("call_id", [["call_1", "call_2"], (), "call_1", None])
def test_a_link_that_cannot_be_made_is_empty(call_id: Any) -> None:
    """Many calls have no button, and without XComs there is none either: it never raises."""
    assert RetellCallLink().get_link(SimpleNamespace(call_id=call_id), ti_key=None) == ""


def test_the_address_holds_the_whole_id() -> None:
    """An id with odd characters stays one parameter."""
    assert call_url("call_1&a=b/c").endswith("?history=call_1%26a%3Db%2Fc")


def button(task: Any) -> list[str]:
    """Return the links that Airflow stores when a process of a task ends; it has no XCom to read."""
    return [link.get_link(task, ti_key=None) for link in task.operator_extra_links]


@pytest.mark.usefixtures("connect")
@pytest.mark.parametrize("endpoint", [REGISTER, CREATE])
def test_the_link_costs_no_question_and_is_stored_once(endpoint: str, clock: SteppingClock) -> None:
    """The process that defers knows the call without an XCom; Airflow would store the link again at the end."""
    first, second, instance = place(endpoint, wait_for="ended"), place(endpoint, wait_for="ended"), TaskInstance()
    first.deferrable = True
    assert button(first) == [""]
    with pytest.raises(TaskDeferred) as deferral:
        first.execute(instance.context())
    assert button(first) == [call_url(instance.xcoms["call_id"])]
    row = second.execute_complete(instance.context(), fire(deferral.value.trigger, clock))
    assert row["call_id"] == instance.xcoms["call_id"]
    assert button(second) == []


@pytest.mark.usefixtures("connect")
def test_a_sensor_hands_its_call_on_once(register: Any) -> None:
    """A sensor of one call has the button and the XCom after its first process; the second repeats neither."""
    call_id, instance = register("rings_forever"), TaskInstance()
    sensor = RetellCallSensor(task_id="wait", call_id=call_id, deferrable=True, timeout=1)
    with pytest.raises(TaskDeferred):
        sensor.execute(instance.context())
    assert (button(sensor), instance.xcoms.pop("call_id")) == ([call_url(call_id)], call_id)
    again = RetellCallSensor(task_id="wait", call_id=call_id, deferrable=True)
    with pytest.raises(TaskDeferred):
        again.execute_complete(instance.context(), {"wake": "over", "deadline": 1e12, "calls": {call_id: "ended"}})
    assert (button(again), instance.xcoms) == ([], {})
