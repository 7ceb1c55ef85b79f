from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_retell.operators import RetellCreatePhoneCallOperator, RetellRegisterPhoneCallOperator
from airflow_provider_retell.provider.links import RetellCallLink, call_url
from airflow_provider_retell.sensors import RetellCallSensor


@pytest.mark.parametrize(
    "task", [RetellCreatePhoneCallOperator, RetellRegisterPhoneCallOperator, RetellCallSensor]
)
def test_every_task_of_a_call_has_the_button(task: Any) -> None:
    """The name that Airflow shows is an attribute of the class; end-to-end tests follow the link to the call."""
    assert [type(link) for link in task.operator_extra_links] == [RetellCallLink]


@pytest.mark.parametrize("call_id", [["call_1", "call_2"], (), "call_1", None])
def test_a_link_that_cannot_be_made_is_empty(call_id: Any) -> None:
    """Many calls have no button, and where there are no XComs there is none either: it never raises."""
    assert RetellCallLink().get_link(SimpleNamespace(call_id=call_id), ti_key=None) == ""


def test_the_address_holds_the_whole_id() -> None:
    """An id with odd characters stays one parameter."""
    assert call_url("call_1&a=b/c").endswith("?history=call_1%26a%3Db%2Fc")
