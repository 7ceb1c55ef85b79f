"""Test policies in Airflow: default arguments, mapped tasks, copies of operators, serialised DAGs."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator
from conftest import twins

from airflow_provider_retell.policy import AttemptLimit, CallingHours, Redial

try:
    from airflow.serialization.serialized_objects import DagSerialization
except ImportError:  # before 3.2
    from airflow.serialization.serialized_objects import SerializedDAG as DagSerialization

HOURS = CallingHours(
    "09:00", "20:00", days="mon-fri", exceptions={"sat": ("10:00", "14:00"), "sun": None}, closed=["2026-12-25"]
)
NIGHT = CallingHours("22:00", "02:00", time_zone="Europe/Berlin")
REDIAL = [Redial("no_answer", "busy", after=timedelta(hours=2), times=2)]
LIMIT = AttemptLimit(3, per=timedelta(days=7), gap=timedelta(hours=4))


class Caller(BaseOperator):
    """An operator that takes policies, one of them in a templated field."""

    template_fields: Sequence[str] = ("redial",)

    def __init__(
        self,
        *,
        calling_hours: CallingHours | None = None,
        redial: Sequence[Redial] = (),
        attempts: AttemptLimit | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.calling_hours, self.redial, self.attempts = calling_hours, redial, attempts

    def policies(self) -> tuple[Any, ...]:
        return self.calling_hours, self.redial, self.attempts


def parsed() -> DAG:
    """Return a DAG as a file makes it."""
    with DAG(
        "policies",
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        default_args={"calling_hours": HOURS, "attempts": LIMIT},
    ) as made:
        Caller(task_id="one", redial=REDIAL)
        Caller.partial(task_id="mapped", redial=REDIAL).expand(calling_hours=[HOURS, NIGHT])
        Caller.partial(task_id="mapped_kwargs", calling_hours=NIGHT).expand_kwargs([{"redial": REDIAL}])
    return made


@pytest.fixture
def dag() -> DAG:
    return parsed()


def test_tasks_get_the_values_themselves(dag: DAG) -> None:
    """From default arguments, from partial, from what is mapped."""
    one, mapped, mapped_kwargs = (dag.get_task(name) for name in ("one", "mapped", "mapped_kwargs"))
    assert one.policies() == (HOURS, REDIAL, LIMIT)
    assert mapped.unmap({"calling_hours": NIGHT}).policies() == (NIGHT, REDIAL, LIMIT)
    assert mapped_kwargs.unmap({"redial": REDIAL}).policies() == (NIGHT, REDIAL, LIMIT)


def test_copies_of_a_dag_have_equal_values(dag: DAG) -> None:
    """Airflow copies operators before it renders them."""
    assert copy.deepcopy(dag).get_task("one").policies() == (HOURS, REDIAL, LIMIT)
    assert copy.copy(dag.get_task("one")).policies() == (HOURS, REDIAL, LIMIT)


def test_rendering_leaves_a_value_as_it_is(dag: DAG) -> None:
    """A policy is no template, not even in a templated field."""
    task = copy.copy(dag.get_task("one"))
    task.render_template_fields({})
    assert task.policies() == (HOURS, REDIAL, LIMIT)


def test_a_dag_with_policies_is_serialised_as_people_read_it(dag: DAG) -> None:
    """As code, the same at every parsing: else each one would make a new version of the DAG."""
    data = DagSerialization.to_dict(dag)
    text = json.dumps(data)
    assert text == json.dumps(DagSerialization.to_dict(parsed()))
    for value in (HOURS, NIGHT, LIMIT):
        assert json.dumps(repr(value)) in text
    assert set(DagSerialization.from_dict(data).task_dict) == {"one", "mapped", "mapped_kwargs"}


WRITTEN = [
    "AttemptLimit(3, per=timedelta(days=7))",
    "AttemptLimit(1, per=timedelta(hours=1, minutes=30), gap=timedelta(seconds=1))",
    "AttemptLimit(7, per=timedelta(days=7), silence_after_conversation=timedelta(days=7, microseconds=5))",
    "Redial('no_answer', 'busy', after=timedelta(hours=2), times=2)",
    "Redial('dial_busy', after=timedelta(0), times=1)",
    "Redial('error', after=timedelta(days=1, minutes=5), times=9)",
]


@pytest.mark.parametrize("code", WRITTEN)
def test_a_value_reads_as_it_was_written_and_can_be_copied(code: str) -> None:
    """A log shows code; copies are equal, and values that are written otherwise are not."""
    value = eval(code)  # noqa: S307 (it stands above)
    for twin in twins(value):
        assert (twin, hash(twin), repr(twin)) == (value, hash(value), code)
    assert [other for other in WRITTEN if eval(other) == value] == [code]  # noqa: S307 (as above)


XCOM = """
import json
from datetime import timedelta
from airflow_provider_retell.policy import AttemptLimit, CallingHours, Redial
try:
    from airflow.sdk.serde import deserialize, serialize
except ImportError:
    from airflow.serialization.serde import deserialize, serialize
values = [{values}]
assert deserialize(json.loads(json.dumps(serialize(values)))) == values
"""


def test_a_policy_goes_through_xcom_if_its_class_is_allowed() -> None:
    """With the setting that the page names, what one task returns another one gets."""
    code = XCOM.format(values=", ".join(map(repr, [HOURS, NIGHT, *REDIAL, LIMIT])))
    allowed = {"AIRFLOW__CORE__ALLOWED_DESERIALIZATION_CLASSES": "airflow.* airflow_provider_retell.policy.*"}
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | allowed)  # noqa: S603 (it stands above)
