"""Code as users write it: only type-checked, never run.

Where a line must be refused, it carries the error that refuses it; mypy reports an ignored error that is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, assert_type

from airflow.sdk import XComArg, dag, task

from airflow_provider_retell.api.models import Call, CallAnalysis
from airflow_provider_retell.api.requests import CreatePhoneCallRequest
from airflow_provider_retell.events import finished_calls
from airflow_provider_retell.hooks import RetellHook
from airflow_provider_retell.operators import (
    RetellCampaignOperator,
    RetellCreatePhoneCallOperator,
    RetellRegisterPhoneCallOperator,
)
from airflow_provider_retell.outcomes import Outcome
from airflow_provider_retell.policy import AttemptLimit, CallingHours, Redial
from airflow_provider_retell.retry_policy import RetellRetryPolicy
from airflow_provider_retell.rows import Analysis, CampaignResult, Cost, OutcomeWord, PersonRow, Row
from airflow_provider_retell.sensors import RetellCallSensor
from airflow_provider_retell.triggers import RetellFinishedCallsTrigger


def alert(context: Mapping[str, Any]) -> None:
    """Take what Airflow hands to a callback."""


# -- every argument is known ---------------------------------------------------------------------------------

register = RetellRegisterPhoneCallOperator(
    task_id="register",
    agent_id="agent_1",
    from_number="+14155550199",
    to_number="+14155550100",
    direction="outbound",
    metadata={"order": 7},
    retell_llm_dynamic_variables={"name": "Ada"},
    agent_version="prod",
    agent_override={"retell_llm": {"model": "gpt-4.1"}},
    retell_conn_id="retell_default",
    wait_for="analyzed",
    analysis_timeout=timedelta(minutes=5),
    fail_on=("error", "billing"),
    skip_on="do_not_call",
    include=["transcript"],
    deferrable=True,
    poll_interval=5,
    timeout=timedelta(hours=1),
    durable=False,
    limit_timeout=timedelta(minutes=5),
    dry_run=True,
    cancel_on_kill=False,
    validate_e164=False,
    calling_hours=CallingHours("09:00", "20:00", days="mon-fri"),
    outside_hours="skip",
    backfill=True,
    call_key="appointment-17",
    time_zone="Europe/Berlin",
    retry_policy=RetellRetryPolicy(first_delay=timedelta(seconds=30), longest_delay=timedelta(minutes=5)),
    pool="retell",  # and Airflow's own, such as these
    retries=2,
    on_failure_callback=alert,
    execution_timeout=timedelta(hours=2),
)
create = RetellCreatePhoneCallOperator(
    task_id="create",
    from_number="+14155550199",
    to_number="+14155550100",
    override_agent_id="agent_1",
    override_agent_version=3,
    agent_override={},
    metadata={},
    retell_llm_dynamic_variables={},
    custom_sip_headers={"X-Campaign": "spring"},
    ignore_e164_validation=False,
    honor_internal_dnc=True,
    retell_conn_id="retell_default",
    wait_for=None,
    analysis_timeout=0,
    fail_on=(),
    skip_on=(),
    include=(),
    deferrable=False,
    poll_interval=timedelta(seconds=5),
    timeout=3600,
    durable=True,
    limit_timeout=0,
    dry_run="{{ params.dry_run }}",
    cancel_on_kill=True,
    validate_e164=True,
    calling_hours=None,
    outside_hours="wait",
    backfill=False,
    call_key=None,
    redial=(),
    time_zone=None,
    retry_policy=None,
    priority_weight=2,
)
again = RetellCreatePhoneCallOperator(
    task_id="again",
    from_number="+14155550199",
    to_number="+14155550100",
    wait_for="ended",
    redial=[Redial("no_answer", after=timedelta(hours=2), times=2)],
)
assert_type(again.execute({})["attempts"], int)
wait = RetellCallSensor(
    task_id="wait",
    call_id="call_1",
    wait_for="ended",
    analysis_timeout=60,
    fail_on="technical",
    skip_on=["voicemail"],
    include=(),
    deferrable=True,
    retell_conn_id="retell_default",
    poke_interval=timedelta(seconds=30),
    timeout=3600,
    mode="reschedule",  # and Airflow's own
    soft_fail=True,
)

watch = RetellFinishedCallsTrigger(
    "retell://retell_default/calls",
    since=datetime(2026, 1, 31, tzinfo=UTC),
    retell_conn_id="retell_default",
    agent_id="agent_1",
    direction="inbound",
    metadata={"order": 7, "vip": True},
    wait_for="analyzed",
    poll_interval=5,
)
assert_type([call["call_id"] for call in finished_calls({})], list[str])
RetellFinishedCallsTrigger("retell://retell_default/calls", direction="in")  # type: ignore[arg-type]


def is_open(person: Mapping[str, Any]) -> bool | str:
    """Return whether an appointment is still open, or why not."""
    return True if person["attempts"] == 0 else "called before"


call_all = RetellCampaignOperator(
    task_id="call_all",
    people="s3://bucket/people.csv",
    path="s3://bucket/calls/{{ ds }}",
    from_number="+14155550199",
    override_agent_id="agent_1",
    override_agent_version=3,
    agent_override={},
    metadata={"campaign": "spring"},
    retell_llm_dynamic_variables={"clinic": "North"},
    custom_sip_headers={"X-Campaign": "spring"},
    ignore_e164_validation=False,
    honor_internal_dnc=True,
    region="US",
    calls_per_second=2,
    lines=15,
    reserved_lines=0,
    calling_hours=CallingHours("09:00", "20:00", days="mon-fri"),
    redial=[Redial("no_answer", "busy", after=timedelta(hours=2), times=2)],
    attempts=AttemptLimit(3, per=timedelta(days=7)),
    history="s3://bucket/calls/",
    do_not_call="s3://bucket/dnc.csv",
    eligible=is_open,
    until=timedelta(hours=11),
    limit=10,
    wait_for="analyzed",
    analysis_timeout=timedelta(minutes=5),
    include=("transcript",),
    file_format="parquet",
    poll_interval=timedelta(seconds=10),
    timeout=timedelta(hours=12),
    cancel_on_kill=True,
    dry_run="{{ params.dry_run }}",
    backfill=False,
    deferrable=True,
    retell_conn_id="retell_default",
    retry_policy=None,
    pool="retell",  # and Airflow's own
    retries=2,
)
called = call_all.execute({})
assert_type(called, CampaignResult)
assert_type(called["outcomes"].get("answered", 0), int)
assert_type(called["paths"], list[str])
assert_type(called.get("rows", []), list[PersonRow])
print(called["outcome"])  # type: ignore[typeddict-item]  # noqa: T201
RetellCampaignOperator(task_id="call_all", people=[{"to_number": "+14155550100"}], lines="15")  # type: ignore[arg-type]
RetellCampaignOperator(task_id="call_all", people=[], wait_for=None)  # type: ignore[arg-type]
RetellCampaignOperator(task_id="call_all", from_number="+14155550199")  # type: ignore[call-arg]

RetellCallSensor(task_id="wait", call_id="call_1", wait_for="analysed")  # type: ignore[arg-type]
RetellCallSensor(task_id="wait", call_id=7)  # type: ignore[arg-type]
RetellCreatePhoneCallOperator(task_id="call", to_number="+14155550100")  # type: ignore[call-arg]
RetellRegisterPhoneCallOperator(task_id="call", agent_id="agent_1", wait_for="end")  # type: ignore[arg-type]
RetellRegisterPhoneCallOperator(task_id="call", agent_id="agent_1", deferrable="False")  # type: ignore[arg-type]
RetellRegisterPhoneCallOperator(task_id="call", agent_id="agent_1", argument_of_tomorrows_airflow=1)
RetellRegisterPhoneCallOperator(
    task_id="call",
    agent_id="agent_1",
    retell_llm_dynamic_variables={"age": 42},  # type: ignore[dict-item]
)


# -- what comes from other tasks -----------------------------------------------------------------------------


@dag(schedule=None)
def campaign() -> None:
    """Hand on what other tasks return, whole or by key, mapped or not."""

    @task
    def read() -> list[dict[str, str]]:
        return [{"to_number": "+14155550100"}]

    read_first = read()
    one = RetellRegisterPhoneCallOperator(
        task_id="one",
        agent_id="agent_1",
        metadata=read_first,
        retell_llm_dynamic_variables={"name": read_first},
    )
    many = RetellRegisterPhoneCallOperator.partial(task_id="many", agent_id="agent_1").expand_kwargs(read_first)
    assert_type(many.output, XComArg)
    RetellCallSensor(task_id="wait_one", call_id=one.output)
    RetellCallSensor(task_id="wait_key", call_id=one.output["call_id"])  # type: ignore[index]  # Airflow's omission
    RetellCallSensor(task_id="wait_many", call_id=many.output)
    RetellCallSensor(task_id="wait_some", call_id=["call_1", one.output])
    RetellCampaignOperator(task_id="all_in_one", people=read_first)
    RetellCampaignOperator.partial(task_id="by_city", path="s3://bucket/calls").expand(people=[[], []])


class CallCustomer(RetellCreatePhoneCallOperator):
    """An operator of the user's own on top of ours."""

    def __init__(self, *, customer_id: str, **kwargs: Any) -> None:
        super().__init__(
            from_number="+14155550199", to_number="+14155550100", metadata={"id": customer_id}, **kwargs
        )


# -- the row -------------------------------------------------------------------------------------------------

row = register.execute({})
assert_type(row, Row)
assert_type(row["call_id"], str)
assert_type(row["outcome"], OutcomeWord | Literal["dry_run"] | None)
assert_type(row.get("duration_ms"), int | None)
assert_type(row.get("call_analysis", {}).get("call_summary"), str | None)
assert_type(row["call_analysis"], Analysis)
assert_type(row["call_cost"], Cost)
assert_type(wait.execute({}), Row | list[Row])

misspelt = row["outcome"] == "no_anwser"  # type: ignore[comparison-overlap]
well_spelt = row["outcome"] == "no_answer"
print(row["sumary"])  # type: ignore[typeddict-item]  # noqa: T201
RetellCallSensor(task_id="wait", call_id=row)
RetellCallSensor(task_id="wait", call_id=[row, "call_2"])


# -- the hook ------------------------------------------------------------------------------------------------

with RetellHook("retell_default") as hook:
    call = hook.create_phone_call({"from_number": "+14155550199", "to_number": "+14155550100"})
    assert_type(call, Call)
    assert_type(call.outcome, Outcome | None)
    assert_type(call.call_analysis, CallAnalysis | None)
    hook.create_phone_call(
        CreatePhoneCallRequest(from_number="+14155550199", to_number="+14155550100"), idempotency_key="order-7"
    )
    assert_type(
        list(
            hook.list_calls(
                call_ids=None,
                metadata={"campaign": "spring"},
                page_size=100,
                agent_id="agent_1",
                call_status=("ended", "error"),
                direction="outbound",
                batch_call_id="batch_1",
                started_from=1,
                started_before=2,
                filter_criteria={"duration_ms": {"type": "number", "op": "gt", "value": 1}},
                sort_order="ascending",
            )
        ),
        list[Call],
    )
    contacts = hook.list_contacts(do_not_call=True, search_query="Ada", sort_order="asc", page_size=100)
    assert_type(list(contacts), list[dict[str, Any]])
    assert_type(hook.update_call("call_1", metadata={"seen": True}), Call)
    hook.list_calls(agent="agent_1")  # type: ignore[call-arg]
    accepted, message = hook.test_connection()
    assert_type((accepted, message), tuple[bool, str])
