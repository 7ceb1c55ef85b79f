"""Read from Airflow's database the tasks of runs, their connections, and the campaigns in progress."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from airflow.models.dagrun import DagRun
from airflow.models.renderedtifields import RenderedTaskInstanceFields as Rendered
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from airflow.utils.state import State
from sqlalchemy import JSON, and_, select, type_coerce

from airflow_provider_retell.page.entries import task_digest

CONNECTION: Final = "retell_conn_id"
"""The field of operators and sensors that names their connection."""
CAMPAIGN: Final = "RetellCampaignOperator"
PROGRESS: Final = "progress"
"""The XCom with the progress of a campaign."""
MOST_CAMPAIGNS: Final = 100
"""The most campaigns to show."""

_COUNTS: Final = (
    "people",
    "done",
    "reached",
    "lines_busy",
    "lines_allowed",
    "redials_due",
    "seconds_left",
    "calls_per_second",
)


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """A campaign's task instance.

    Attributes:
        dag_id: Its DAG.
        run_id: Its run.
        task_id: Its task.
        map_index: -1 if it is not mapped.
        state: The task's state; None before it is scheduled.
        under_way: Whether it may still place calls.
        progress: The counts that the campaign last reported; empty before its first report.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    state: str | None
    under_way: bool
    progress: Mapping[str, float] = field(default_factory=dict)


def exists(dag_id: str, run_id: str) -> bool:
    """Return whether a DAG has a run."""
    query = select(DagRun.id).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
    with create_session(scoped=False) as session:
        return session.scalar(query) is not None


def task_ids(dag_id: str, run_id: str) -> dict[str, str]:
    """Return the ids of a run's tasks by their digests in tags."""
    query = select(TaskInstance.task_id).distinct()
    with create_session(scoped=False) as session:
        found = session.scalars(query.where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)).all()
    return {task_digest(task_id): task_id for task_id in found}


def connections_of(dag_id: str, run_id: str) -> list[str]:
    """Return the ids of the connections that a run's tasks use.

    They are in the rendered fields of tasks that have begun, and in the DAG unless they are templates.
    """
    # Airflow 3.1 has its own type for this column, which cannot look up keys.
    value = type_coerce(Rendered.rendered_fields, JSON)[CONNECTION].as_string()
    query = select(value).distinct().where(Rendered.dag_id == dag_id, Rendered.run_id == run_id)
    with create_session(scoped=False) as session:
        found = {conn_id for conn_id in session.scalars(query).all() if conn_id}
        row = SerializedDagModel.get(dag_id, session=session)
        found |= set(_connections(row.data if row else None))
    return sorted(found)


def _connections(value: Any) -> Iterator[str]:
    """Yield the connections that a serialized DAG names, at any depth."""
    match value:
        case Mapping():
            for name, item in value.items():
                if name == CONNECTION and isinstance(item, str):
                    if "{" not in item:
                        yield item
                else:
                    yield from _connections(item)
        case list():
            for item in value:
                yield from _connections(item)


def campaigns(*, dag_ids: Iterable[str], run_id: str | None = None) -> list[Campaign]:
    """Return the campaigns of a run, or all campaigns in progress if no run is given, newest first.

    Args:
        dag_ids: Only of these DAGs.
        run_id: The run.
    """
    query = (
        select(TaskInstance, XComModel.value)
        .outerjoin(
            XComModel,
            and_(
                XComModel.dag_id == TaskInstance.dag_id,
                XComModel.run_id == TaskInstance.run_id,
                XComModel.task_id == TaskInstance.task_id,
                XComModel.map_index == TaskInstance.map_index,
                XComModel.key == PROGRESS,
            ),
        )
        .where(TaskInstance.operator == CAMPAIGN, TaskInstance.dag_id.in_(list(dag_ids)))
        .order_by(TaskInstance.start_date.desc(), TaskInstance.task_id, TaskInstance.map_index)
        .limit(MOST_CAMPAIGNS)
    )
    if run_id is None:
        query = query.where(TaskInstance.state.in_([state for state in State.unfinished if state]))
    else:
        query = query.where(TaskInstance.run_id == run_id)
    with create_session(scoped=False) as session:
        return [_campaign(ti, progress) for ti, progress in session.execute(query).all()]


def _campaign(ti: Any, progress: Any) -> Campaign:
    names = {name: getattr(ti, name) for name in ("dag_id", "run_id", "task_id", "map_index", "state")}
    return Campaign(**names, under_way=ti.state not in State.finished, progress=_counts(progress))


def _counts(value: Any) -> dict[str, float]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    given = value if isinstance(value, Mapping) else {}
    return {
        name: given[name]
        for name in _COUNTS
        if isinstance(given.get(name), int | float) and given[name] is not True
    }


def find_campaign(dag_id: str, run_id: str, task_id: str, map_index: int) -> Campaign | None:
    """Return one campaign, None if there is no such task instance."""
    found = campaigns(dag_ids=[dag_id], run_id=run_id)
    return next((each for each in found if (each.task_id, each.map_index) == (task_id, map_index)), None)
