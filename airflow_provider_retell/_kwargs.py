"""What is taken through ``**kwargs``, so that editors complete it and type checkers check it.

Nothing here is read at run time.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Required, TypeAlias, TypedDict

from airflow.providers.common.compat.sdk import XComArg

from airflow_provider_retell.calls.watch import WaitFor

Callback: TypeAlias = Callable[[Any], None]
"""A function of a task's context."""

Callbacks: TypeAlias = Callback | list[Callback] | None


class AirflowArguments(TypedDict, total=False):
    """What every operator and sensor of Airflow takes, but for ``retry_policy``."""

    task_id: Required[str]
    allow_nested_operators: bool
    dag: Any
    default_args: dict[str, Any] | None
    depends_on_past: bool
    do_xcom_push: bool
    doc: str | None
    doc_json: str | None
    doc_md: str | None
    doc_rst: str | None
    doc_yaml: str | None
    email: str | Sequence[str] | None
    email_on_failure: bool
    email_on_retry: bool
    end_date: datetime | None
    execution_timeout: timedelta | None
    executor: str | None
    executor_config: dict[str, Any] | None
    ignore_first_depends_on_past: bool
    inlets: Any
    logger_name: str | None
    map_index_template: str | None
    max_active_tis_per_dag: int | None
    max_active_tis_per_dagrun: int | None
    max_retry_delay: timedelta | float | None
    multiple_outputs: bool
    on_execute_callback: Callbacks
    on_failure_callback: Callbacks
    on_retry_callback: Callbacks
    on_skipped_callback: Callbacks
    on_success_callback: Callbacks
    outlets: Any
    owner: str
    params: MutableMapping[str, Any] | None
    pool: str | None
    pool_slots: int
    post_execute: Callable[[Any, Any], None] | None
    pre_execute: Callback | None
    priority_weight: int
    queue: str
    render_template_as_native_obj: bool | None
    resources: dict[str, Any] | None
    retries: int | None
    retry_delay: timedelta | float
    retry_exponential_backoff: float
    run_as_user: str | None
    sla: timedelta | None
    start_date: datetime | None
    task_display_name: str | None
    task_group: Any
    trigger_rule: str
    wait_for_downstream: bool
    wait_for_past_depends_before_skipping: bool
    weight_rule: Any


class PhoneCallArguments(AirflowArguments, total=False):
    """What both operators take besides the fields of their requests."""

    retell_conn_id: str
    wait_for: WaitFor | None
    analysis_timeout: float | timedelta
    limit_timeout: float | timedelta
    fail_on: Sequence[str]
    skip_on: Sequence[str]
    include: Sequence[str]
    deferrable: bool
    poll_interval: float | timedelta
    timeout: float | timedelta
    durable: bool
    cancel_on_kill: bool
    validate_e164: bool
    dry_run: bool | str | XComArg
    retry_policy: Any


class CallFilters(TypedDict, total=False):
    """What ``RetellHook.list_calls`` takes besides ``call_ids``, ``metadata`` and ``page_size``."""

    agent_id: str | None
    call_status: Sequence[str] | None
    direction: str | None
    batch_call_id: str | None
    started_from: int | None
    started_before: int | None
    sort_order: str | None


class SensorArguments(AirflowArguments, total=False):
    """What every sensor of Airflow takes besides ``poke_interval`` and ``timeout``."""

    exponential_backoff: bool
    max_wait: timedelta | float | None
    mode: Literal["poke", "reschedule"]
    never_fail: bool
    retry_policy: Any
    silent_fail: bool
    soft_fail: bool
