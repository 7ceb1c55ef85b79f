"""Hide the differences between the versions of Airflow. All other modules are written for the newest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from typing import TYPE_CHECKING, Any, Final, cast

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, Connection, TaskInstanceState

try:
    # Not from common-compat, whose older releases do not have them.
    from airflow.sdk import RetryDecision, RetryPolicy
except ImportError:  # before 3.3
    if not TYPE_CHECKING:
        RetryDecision = RetryPolicy = object

__all__ = [
    "HAS_RETRY_POLICIES",
    "PROCESSES_END_AFTER_TASKS",
    "TASKS_ASK_A_SUPERVISOR",
    "TRIGGERS_LEARN_OF_KILLS",
    "RetryDecision",
    "RetryPolicy",
    "aget_connection",
    "first_look",
    "is_deferred",
    "is_resumed",
    "mask_secret",
    "read_variable",
    "task_state",
]

HAS_RETRY_POLICIES: Final = RetryPolicy is not object
"""True since 3.3. Before, only the classes of the errors decide about retries."""

TRIGGERS_LEARN_OF_KILLS: Final = HAS_RETRY_POLICIES
"""True since 3.3. Before, a trigger is cancelled in the same way for every reason."""

# Not from common-compat, which on 3.0 still exports Airflow 2's names.
TASKS_ASK_A_SUPERVISOR: Final = find_spec("airflow.sdk") is not None
"""True since 3.0. Before, a task can only ask the metadata database about itself."""

PROCESSES_END_AFTER_TASKS: Final = TASKS_ASK_A_SUPERVISOR
"""True since 3.0: callbacks run after their task has ended, and Airflow soon ends the process."""

_UNREADABLE: Final = "Airflow has the Variable, and cannot read its value."

_ANSWER_WITHIN: Final = 60.0 if TRIGGERS_LEARN_OF_KILLS else 5.0
"""Seconds. Before 3.3 a triggerer that ends asks too: it gets no answer, and is killed after ten."""


async def aget_connection(conn_id: str) -> Connection:
    """Look a connection up on an event loop."""
    # Imported here: it takes 10 ms in every process that parses a DAG, and only triggerers need it.
    from airflow.providers.common.compat.connection import get_async_connection  # noqa: PLC0415
    from asgiref.sync import sync_to_async  # noqa: PLC0415

    try:
        return await get_async_connection(conn_id)
    except AirflowNotFoundException:
        # In `dag.test()` the asynchronous look-up of Airflow 3.3 does not see the metadata database.
        return await sync_to_async(BaseHook.get_connection)(conn_id)


async def is_deferred(ti: Any) -> bool | None:
    """Return whether a trigger's task is still deferred; None if that cannot be known.

    Airflow 2 has the state only in its database, which triggers must not read; an ending triggerer gets no answer.
    """
    from asgiref.sync import sync_to_async  # noqa: PLC0415 (a slow import, and this is rare)

    asked = asyncio.ensure_future(sync_to_async(task_state)(ti))
    try:
        # Shielded: before 3.2 the answer to a cancelled question is mistaken for the answer to the next one.
        state = await asyncio.wait_for(asyncio.shield(asked), _ANSWER_WITHIN)
    except TimeoutError:
        return None
    return None if state is None else state == TaskInstanceState.DEFERRED


def task_state(ti: Any) -> str | None:
    """Return a task's state as Airflow knows it: "" if it has none (cleared), None if it cannot be asked."""
    try:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance  # noqa: PLC0415 (Airflow 3 only)

        states = RuntimeTaskInstance.get_task_states(
            dag_id=ti.dag_id, map_index=ti.map_index, task_ids=[ti.task_id], run_ids=[ti.run_id]
        )
    except Exception:  # noqa: BLE001 (whatever it is, nothing is known)
        return None
    return str(next(iter(states.get(ti.run_id, {}).values()), None) or "")


def is_resumed(context: Mapping[str, Any]) -> bool:
    """Return whether a task continues after a deferral; False on Airflow 2, which says so in another place."""
    server = getattr(context.get("ti"), "_ti_context_from_server", None)
    return getattr(server, "next_method", None) is not None


def first_look(context: Mapping[str, Any]) -> float | None:
    """Return when a rescheduled sensor poked first, in seconds since the epoch, None if that is not known."""
    ti = context["ti"]
    if first_date := getattr(ti, "get_first_reschedule_date", None):
        first = first_date(context)
    else:
        # Airflow 2 keeps the start of the first poke as the start of a rescheduled task.
        first = getattr(ti, "start_date", None)
    return first.timestamp() if first else None


def read_variable(key: str) -> str | None:
    """Return an Airflow Variable as text, None if there is none; in tasks and triggers, through the task SDK.

    ``Variable.get`` reports an error of Airflow as "there is none", and so does Airflow's API with an error of its
    database. So a Variable without a value is read again, in a way that raises such errors. On Airflow 3.0 to 3.2
    no way shows an error of the database behind the API.

    Outside of tasks and triggers of Airflow 3 only the environment and the secrets backends can be asked.

    Raises:
        PermissionError: Airflow does not let this process read it.
        Exception: Airflow does not answer, or cannot read the value.

    See https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/variables.html
    """
    # Imported here: it takes 10 ms in every process that parses a DAG, and only tasks need it.
    from airflow.providers.common.compat.sdk import Variable  # noqa: PLC0415

    get = cast("Any", Variable.get)
    name = "default" if "default" in signature(get).parameters else "default_var"  # on Airflow 2
    try:
        value = get(key, **{name: None})
    except ImportError:  # Airflow 3.0 outside of a task: there is no supervisor to ask
        return None
    if value is None:
        value = _ask_supervisor(key) if TASKS_ASK_A_SUPERVISOR else _ask_database(key)
    return None if value is None else str(value)


def _ask_database(key: str) -> str | None:
    # Imported here: Airflow 2 only.
    from airflow.models.variable import Variable  # noqa: PLC0415
    from airflow.utils.session import create_session  # noqa: PLC0415
    from sqlalchemy import select  # noqa: PLC0415

    with create_session() as session:
        found = session.scalar(select(Variable).where(Variable.key == key))
        value: str | None = None if found is None else found.val
    if found is not None and value is None:
        raise LookupError(_UNREADABLE)
    return value


def _ask_supervisor(key: str) -> str | None:
    if find_spec("airflow.sdk.execution_time.secrets") is None:
        return None  # before 3.1.8 ``Variable.get`` raises the errors
    # Imported here: Airflow 3 only.
    from airflow.sdk.execution_time import comms, task_runner  # noqa: PLC0415

    supervisor = getattr(task_runner, "SUPERVISOR_COMMS", None)
    if supervisor is None:  # outside of tasks and triggers
        return None
    answer = _answer(supervisor.send(comms.GetVariable(key=key)))
    if answer is None and hasattr(comms, "GetVariableKeys"):  # since 3.3
        keys = _answer(supervisor.send(comms.GetVariableKeys(prefix=key, limit=1)))
        if keys is not None and key in keys.keys:
            raise LookupError(_UNREADABLE)
    return None if answer is None else str(answer.value)


def _answer(answer: Any) -> Any:
    """Return an answer of the supervisor, None if there is no such Variable; raise its error."""
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType  # noqa: PLC0415 (Airflow 3 only)
    from airflow.sdk.execution_time.comms import ErrorResponse  # noqa: PLC0415 (as above)

    if not isinstance(answer, ErrorResponse):
        return answer
    if answer.error == ErrorType.VARIABLE_NOT_FOUND:
        return None
    if answer.error == getattr(ErrorType, "PERMISSION_DENIED", None):
        raise PermissionError(f"{answer.error.value}: {answer.detail}")
    raise AirflowRuntimeError(answer)


def mask_secret(secret: str) -> None:
    """Let Airflow replace a text by ``***`` in this task's log and rendered fields.

    See https://airflow.apache.org/docs/apache-airflow/stable/security/secrets/mask-sensitive-values.html
    """
    _find_mask_secret()(secret)


@cache
def _find_mask_secret() -> Callable[[str], None]:
    # Imported here: it takes 10 ms in every process that parses a DAG, and only tasks need it.
    for module in (
        "airflow.sdk.log",
        "airflow.sdk.execution_time.secrets_masker",
        "airflow.utils.log.secrets_masker",
    ):
        with suppress(ImportError):  # since 3.1, in 3.0, in 2.11
            if found := getattr(import_module(module), "mask_secret", None):
                return cast("Callable[[str], None]", found)
    raise ImportError("This Airflow has no mask_secret.")
