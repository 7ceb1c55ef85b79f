"""The operators: register a call, or have Retell dial it.

Both signatures repeat the shared arguments, because that is all that type checkers and editors read: Python cannot
yet express "these, typed, plus all that Airflow takes" (PEP 728). A test compares the two.

How ``to_number`` gets from the DAG file to Retell:

1. ``RetellCreatePhoneCallOperator.__init__`` keeps it as it is: it may be a template, or another task's output.
2. ``TemplatedOperator._do_render_template_fields`` renders it; ``_mask`` hides it in Airflow's rendered fields.
3. ``PhoneCallOperator._build_request`` puts the fields together for the next step, then checks for E.164 form.
4. ``endpoints.create_phone_call`` validates them as a ``CreatePhoneCallRequest``, which becomes a ``Request``.
5. ``PhoneCallOperator._placement`` adds the ``Intent``, which names the call, and a ``Gate`` with calling hours.
6. ``Placement.place`` asks ``next_step`` whether a call is placed at all: here ``PlaceNew``.
7. ``RecordedSender.send_new`` has ``Gate.check`` decide whether that may be now, and adds the tag.
8. ``RecordedSender.send_recorded`` adds the key, and writes the request into Airflow's task state store.
9. ``RecordedSender._send`` asks the gate again before each attempt, which ``RetellClient.send_once`` makes.
10. ``wire.sent`` writes the body as JSON into the request that httpx sends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import XComArg

from airflow_provider_retell.api import endpoints
from airflow_provider_retell.api.endpoints import Request
from airflow_provider_retell.api.settings import DEFAULT_CONN_ID
from airflow_provider_retell.calls.gate import OutsideHoursAction
from airflow_provider_retell.calls.watch import WaitFor
from airflow_provider_retell.operators.phone_call_operator import PhoneCallOperator
from airflow_provider_retell.operators.policies import check_redial
from airflow_provider_retell.provider.deferral import DEFAULT_DEFERRABLE
from airflow_provider_retell.retry_policy import DEFAULT_RETRY_POLICY, with_retry_policy

if TYPE_CHECKING:
    from airflow_provider_retell.api.call_rows import CallRow
    from airflow_provider_retell.api.models import Call
    from airflow_provider_retell.policy import CallingHours, Redial


class RetellRegisterPhoneCallOperator(PhoneCallOperator):
    """Register a call, which your own telephony must then dial within five minutes.

    Result: the call as a row, even if it is only registered. Two more XComs have their own keys: ``call_id``, and
    ``sip_uri``, the address to dial. A dry run pushes neither.

    The other arguments, such as ``wait_for`` and ``fail_on``, are those of ``PhoneCallOperator``.

    See https://docs.retellai.com/api-references/register-phone-call

    Args:
        agent_id: The agent that will speak.
        from_number: The calling number as text in E.164 form; for the record.
        to_number: The called number as text in E.164 form; for the record.
        direction: ``inbound`` or ``outbound``; for the record.
        metadata: A JSON object of at most 50 kB that comes back with the call.
        retell_llm_dynamic_variables: What the agent's prompt may quote: an object of strings.
        agent_version: A version number, ``latest``, ``latest_published`` or a tag such as ``prod``.
        agent_override: Settings of the agent for this call only. Texts inside are not Airflow templates.
    """

    request_fields = (
        "agent_id",
        "from_number",
        "to_number",
        "direction",
        "metadata",
        "retell_llm_dynamic_variables",
        "agent_version",
        "agent_override",
    )
    template_fields = ("retell_conn_id", "is_dry_run", "time_zone", "call_key", *request_fields)
    _retell_dials = False

    def __init__(
        self,
        *,
        agent_id: str | XComArg,
        from_number: str | XComArg | None = None,
        to_number: str | XComArg | None = None,
        direction: str | XComArg | None = None,
        metadata: Mapping[str, Any] | XComArg | None = None,
        retell_llm_dynamic_variables: Mapping[str, str | XComArg] | XComArg | None = None,
        agent_version: int | str | XComArg | None = None,
        agent_override: Mapping[str, Any] | XComArg | None = None,
        retell_conn_id: str | XComArg = DEFAULT_CONN_ID,
        wait_for: WaitFor | None = None,
        analysis_timeout: float | timedelta = 600,
        limit_timeout: float | timedelta = 600,
        fail_on: str | Sequence[str] = (),
        skip_on: str | Sequence[str] = (),
        include: str | Sequence[str] = (),
        deferrable: bool = DEFAULT_DEFERRABLE,
        poll_interval: float | timedelta = 30,
        timeout: float | timedelta = 10800,
        durable: bool = True,
        cancel_on_kill: bool = True,
        validate_e164: bool = True,
        dry_run: bool | str | XComArg = False,
        calling_hours: CallingHours | None = None,
        outside_hours: OutsideHoursAction = "wait",
        time_zone: str | XComArg | None = None,
        backfill: bool = False,
        call_key: str | XComArg | None = None,
        retry_policy: Any = DEFAULT_RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(**with_retry_policy(kwargs, retry_policy))
        self._set_shared_arguments(locals())
        self.agent_id = agent_id
        self.from_number = from_number
        self.to_number = to_number
        self.direction = direction
        self.metadata = metadata
        self.retell_llm_dynamic_variables = retell_llm_dynamic_variables
        self.agent_version = agent_version
        self.agent_override = agent_override

    def _request_with(self, body: Mapping[str, Any]) -> Request[Call]:
        return endpoints.register_phone_call(body)

    def _handed_on(self, call: CallRow) -> dict[str, str]:
        return {**super()._handed_on(call), "sip_uri": f"sip:{call.call_id}@sip.retellai.com"}


class RetellCreatePhoneCallOperator(PhoneCallOperator):
    """Have Retell dial.

    Result: the call as a row, as soon as Retell has accepted it or, with ``wait_for``, when it is over; also
    ``call_id`` as an XCom with its own key (not in a dry run).

    The other arguments, such as ``wait_for`` and ``fail_on``, are those of ``PhoneCallOperator``.

    See https://docs.retellai.com/api-references/create-phone-call

    Args:
        from_number: A number of the Retell account as text in E.164 form.
        to_number: The number to call as text in E.164 form.
        override_agent_id: The agent that speaks, instead of the one bound to ``from_number``.
        override_agent_version: A version number, ``latest``, ``latest_published`` or a tag such as ``prod``.
        agent_override: Settings of the agent for this call only. Texts inside are not Airflow templates.
        metadata: A JSON object of at most 50 kB that comes back with the call.
        retell_llm_dynamic_variables: What the agent's prompt may quote: an object of strings.
        custom_sip_headers: Headers of the SIP call: an object of strings, keys beginning with ``X-``.
        ignore_e164_validation: Let ``from_number`` be anything, for custom telephony.
        honor_internal_dnc: Refuse to call a contact that Retell keeps as do-not-call.
        redial: Rules by which the task calls again after a call that ended as they name; needs ``wait_for``.
    """

    request_fields = (
        "from_number",
        "to_number",
        "override_agent_id",
        "override_agent_version",
        "agent_override",
        "metadata",
        "retell_llm_dynamic_variables",
        "custom_sip_headers",
        "ignore_e164_validation",
        "honor_internal_dnc",
    )
    template_fields = ("retell_conn_id", "is_dry_run", "time_zone", "call_key", *request_fields)
    _retell_dials = True

    def __init__(
        self,
        *,
        from_number: str | XComArg,
        to_number: str | XComArg,
        override_agent_id: str | XComArg | None = None,
        override_agent_version: int | str | XComArg | None = None,
        agent_override: Mapping[str, Any] | XComArg | None = None,
        metadata: Mapping[str, Any] | XComArg | None = None,
        retell_llm_dynamic_variables: Mapping[str, str | XComArg] | XComArg | None = None,
        custom_sip_headers: Mapping[str, str | XComArg] | XComArg | None = None,
        ignore_e164_validation: bool | XComArg | None = None,
        honor_internal_dnc: bool | XComArg | None = None,
        retell_conn_id: str | XComArg = DEFAULT_CONN_ID,
        wait_for: WaitFor | None = None,
        analysis_timeout: float | timedelta = 600,
        limit_timeout: float | timedelta = 600,
        fail_on: str | Sequence[str] = (),
        skip_on: str | Sequence[str] = (),
        include: str | Sequence[str] = (),
        deferrable: bool = DEFAULT_DEFERRABLE,
        poll_interval: float | timedelta = 30,
        timeout: float | timedelta = 10800,
        durable: bool = True,
        cancel_on_kill: bool = True,
        validate_e164: bool = True,
        dry_run: bool | str | XComArg = False,
        calling_hours: CallingHours | None = None,
        outside_hours: OutsideHoursAction = "wait",
        time_zone: str | XComArg | None = None,
        backfill: bool = False,
        call_key: str | XComArg | None = None,
        redial: Redial | Sequence[Redial] = (),
        retry_policy: Any = DEFAULT_RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(**with_retry_policy(kwargs, retry_policy))
        self._set_shared_arguments(locals())
        self.redial = check_redial(redial, wait_for=wait_for, durable=durable)
        self.from_number = from_number
        self.to_number = to_number
        self.override_agent_id = override_agent_id
        self.override_agent_version = override_agent_version
        self.agent_override = agent_override
        self.metadata = metadata
        self.retell_llm_dynamic_variables = retell_llm_dynamic_variables
        self.custom_sip_headers = custom_sip_headers
        self.ignore_e164_validation = ignore_e164_validation
        self.honor_internal_dnc = honor_internal_dnc

    def _request_with(self, body: Mapping[str, Any]) -> Request[Call]:
        return endpoints.create_phone_call(body)

    def _checked_numbers(self, body: Mapping[str, Any]) -> tuple[str, ...]:
        # As it is sent: a template may have rendered the flag as text.
        return ("to_number",) if body.get("ignore_e164_validation") else super()._checked_numbers(body)
