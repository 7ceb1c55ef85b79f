"""Operators: place a call, and wait for it in the same task if wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator, Context, conf

from airflow_provider_retell import endpoints
from airflow_provider_retell.clock import SYSTEM_CLOCK, Clock
from airflow_provider_retell.connection import DEFAULT_CONN_ID, ConnectionSettings
from airflow_provider_retell.endpoints import Endpoint
from airflow_provider_retell.errors import RetellCallTimeoutError, RetellError
from airflow_provider_retell.flows import Flow, hang_up
from airflow_provider_retell.hooks import RetellHook
from airflow_provider_retell.links import CALL_ID_KEY, RetellCallLink
from airflow_provider_retell.models import Call, check_e164
from airflow_provider_retell.outcomes import CallStatus, check_endings
from airflow_provider_retell.placing import Intent, Placement
from airflow_provider_retell.rows import check_include
from airflow_provider_retell.tasks import CallWait, matches, seconds
from airflow_provider_retell.waiting import Goal, WaitFor, check_wait_for

_LAST_WORDS = 2.0
"""Seconds for one answer while the task is being killed: Airflow grants five for all."""


class _PhoneCallOperator(BaseOperator):
    """What both ways to place a call share: place it once, hand on its id, wait for it, report it.

    Args:
        retell_conn_id: A connection of type ``retell``.
        wait_for: None: return as soon as Retell has the call. ``ended``: when it is over, whatever the status.
            ``analyzed``: when it also has its ``call_analysis``.
        analysis_timeout: Seconds to wait for the analysis after the end; not at all if it never connected.
        fail_on: Statuses, outcomes and disconnection reasons that fail the task. Airflow's ``retries`` then
            place a new call.
        skip_on: The same, to skip it.
        include: Heavy fields to put into the row, such as ``transcript``.
        deferrable: Wait in the triggerer, without a worker.
        poll_interval: Seconds between two polls, or a timedelta.
        timeout: Seconds to wait for the end of the call, or a timedelta.
        durable: Make a retry go on with the call of an earlier try instead of placing a second one.
        cancel_on_kill: Hang up when the task is killed or times out while the call is live.
        validate_e164: Refuse numbers that are not in E.164 form.
    """

    request_fields: ClassVar[tuple[str, ...]]
    ui_color = "#e8f4ea"
    operator_extra_links = (RetellCallLink(),)

    def __init__(
        self,
        *,
        retell_conn_id: str = DEFAULT_CONN_ID,
        wait_for: WaitFor | None = None,
        analysis_timeout: float | timedelta = 600,
        fail_on: Sequence[str] = (),
        skip_on: Sequence[str] = (),
        include: Sequence[str] = (),
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | timedelta = 30,
        timeout: float | timedelta = 10800,
        durable: bool = True,
        cancel_on_kill: bool = True,
        validate_e164: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_wait_for(wait_for, required=False)
        self.retell_conn_id = retell_conn_id
        self.wait_for = wait_for
        self.analysis_timeout = seconds("analysis_timeout", analysis_timeout)
        self.fail_on = check_endings("fail_on", fail_on)
        self.skip_on = check_endings("skip_on", skip_on)
        self.include = check_include(include)
        self.deferrable = deferrable
        self.poll_interval = seconds("poll_interval", poll_interval)
        self.timeout = seconds("timeout", timeout)
        self.durable = durable
        self.cancel_on_kill = cancel_on_kill
        self.validate_e164 = validate_e164
        self._clock: Clock = SYSTEM_CLOCK
        self._live: tuple[str, ConnectionSettings] | None = None

    # -- what the two operators differ in ------------------------------------------------------------------

    def _endpoint(self, body: Mapping[str, Any], idempotency_key: str | None) -> Endpoint[Call]:
        """Return the request. Raises ``RetellInputError`` for a field that cannot be sent."""
        raise NotImplementedError

    _keyed: ClassVar[bool]

    def _numbers(self) -> Mapping[str, object]:
        """Return the fields that are checked to be phone numbers."""
        raise NotImplementedError

    # -- the task ------------------------------------------------------------------------------------------

    def execute(self, context: Context) -> dict[str, Any]:
        """Place the call, or adopt an earlier try's; hand on its id; wait for it if wanted; return its row."""
        body = self._body()
        with RetellHook(self.retell_conn_id) as hook:
            call = self._place(hook, body, context)
            self._live = (call.call_id, hook.get_conn().settings)
            for key, value in self._handed_on(call).items():
                context["ti"].xcom_push(key=key, value=value)
            wait = self._wait(hook, call.call_id, self._deadline())
            wait.watch.update({call.call_id: call}, now=self._clock.now())
            if self.wait_for is None or wait.watch.reached:
                return self._row(wait)
            return self._go_on(wait)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Go on where the trigger left off: read the call again, whatever the event says of it."""
        (call_id,) = event["calls"]
        with RetellHook(self.retell_conn_id) as hook:
            self._live = (call_id, hook.get_conn().settings)
            wait = self._wait(hook, call_id, event["deadline"])
            if wait.poll():
                return self._row(wait)
            wait.woken(event)
            return self._go_on(wait)

    def on_kill(self) -> None:
        """Hang up, if wanted: one look, one request, in the few seconds that Airflow grants.

        With a client of its own, because the task's may be in the middle of a request: this runs in a signal
        handler.
        """
        if self._live is None or not self.cancel_on_kill:
            return
        from airflow_provider_retell.client import RetellClient  # noqa: PLC0415 (see hooks.get_conn)

        call_id, settings = self._live
        try:
            with RetellClient(replace(settings, timeout=_LAST_WORDS, max_attempts=1)) as client:
                self.log.info("The task is killed: %s.", client.run(self._hang_up(call_id)))
        except RetellError as error:
            self.log.warning("The task is killed, and %s may go on: %s", call_id, error)

    # -- steps ---------------------------------------------------------------------------------------------

    def _body(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in self.request_fields}
        body = {name: value for name, value in given.items() if value is not None}
        self._endpoint(body, None)
        if self.validate_e164:
            for name, value in self._numbers().items():
                if value is not None:
                    check_e164(name, value)
        return body

    def _place(self, hook: RetellHook, body: Mapping[str, Any], context: Context) -> Call:
        intent = Intent.of(context)
        if not self.durable:
            return hook.send(self._endpoint(body, intent.key))
        placement = Placement(
            hook=hook,
            body=body,
            request=self._endpoint,
            keyed=self._keyed,
            failed=lambda call: call.call_status != CallStatus.ENDED or matches(call, self.fail_on),
            intent=intent,
            try_number=context["ti"].try_number,
            store=context.get("task_state_store"),
            clock=self._clock,
        )
        return placement.place()

    def _handed_on(self, call: Call) -> dict[str, str]:
        return {CALL_ID_KEY: call.call_id}

    def _deadline(self) -> float:
        # Airflow does not enforce execution_timeout once a task is deferred.
        limit = self.execution_timeout.total_seconds() if self.execution_timeout else self.timeout
        return self._clock.now() + min(self.timeout, limit)

    def _wait(self, hook: RetellHook, call_id: str, deadline: float) -> CallWait:
        return CallWait(
            hook,
            [call_id],
            goal=Goal(wait_for=self.wait_for or "ended", analysis_timeout=self.analysis_timeout),
            deadline=deadline,
            poll_interval=self.poll_interval,
            fail_on=self.fail_on,
            skip_on=self.skip_on,
            include=self.include,
            clock=self._clock,
        )

    def _go_on(self, wait: CallWait) -> dict[str, Any]:
        while not wait.timed_out:
            if self.deferrable:
                self.defer(trigger=wait.trigger(), method_name="execute_complete", timeout=wait.backstop())
            wait.sleep()
            if wait.poll():
                return self._row(wait)
        raise RetellCallTimeoutError(self._give_up(wait), call_ids=wait.watch.call_ids)

    def _give_up(self, wait: CallWait) -> str:
        (call_id,) = wait.watch.call_ids
        if not self.cancel_on_kill:
            return f"{wait.missed()} {call_id} goes on, since cancel_on_kill is off."
        try:
            became = wait.hook.run(self._hang_up(call_id))
        except RetellError as error:
            became = f"{call_id} may go on, since stopping it failed ({error})"
        return f"{wait.missed()} {became}."

    def _hang_up(self, call_id: str) -> Flow[str]:
        # Nobody's phone rings for a registered call until the user's own telephony dials it.
        return hang_up(call_id, leave_registered=not self._keyed)

    def _row(self, wait: CallWait) -> dict[str, Any]:
        self._live = None
        (row,) = wait.rows(final=False)
        return row


class RetellRegisterPhoneCallOperator(_PhoneCallOperator):
    """Register a call, which the user's own telephony then dials within five minutes.

    Result: the call as a row, also when it is only registered. Under XCom keys of their own: ``call_id``, and
    ``sip_uri``, where to dial.

    See https://docs.retellai.com/api-references/register-phone-call

    Args:
        agent_id: The agent that will speak.
        from_number: The calling number in E.164 form; for the record.
        to_number: The called number in E.164 form; for the record.
        direction: ``inbound`` or ``outbound``; for the record.
        metadata: A JSON object of at most 50 kB that comes back with the call.
        retell_llm_dynamic_variables: What the agent's prompt may quote: an object of strings.
        agent_version: A version number, ``latest``, ``latest_published`` or a tag such as ``prod``.
        agent_override: Settings of the agent for this call only.
        **kwargs: As below, and Airflow's own.
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
    template_fields = ("retell_conn_id", *request_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "metadata": "json",
        "retell_llm_dynamic_variables": "json",
        "agent_override": "json",
    }
    _keyed = False

    def __init__(
        self,
        *,
        agent_id: str,
        from_number: str | None = None,
        to_number: str | None = None,
        direction: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        retell_llm_dynamic_variables: Mapping[str, str] | None = None,
        agent_version: int | str | None = None,
        agent_override: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.agent_id = agent_id
        self.from_number = from_number
        self.to_number = to_number
        self.direction = direction
        self.metadata = metadata
        self.retell_llm_dynamic_variables = retell_llm_dynamic_variables
        self.agent_version = agent_version
        self.agent_override = agent_override

    def _endpoint(self, body: Mapping[str, Any], idempotency_key: str | None) -> Endpoint[Call]:  # noqa: ARG002
        return endpoints.register_phone_call(body)

    def _numbers(self) -> Mapping[str, object]:
        return {"from_number": self.from_number, "to_number": self.to_number}

    def _handed_on(self, call: Call) -> dict[str, str]:
        return {**super()._handed_on(call), "sip_uri": f"sip:{call.call_id}@sip.retellai.com"}


class RetellCreatePhoneCallOperator(_PhoneCallOperator):
    """Have Retell dial.

    Result: the call as a row, as soon as Retell has it or, with ``wait_for``, when it is over. Under an XCom key
    of its own: ``call_id``.

    See https://docs.retellai.com/api-references/create-phone-call

    Args:
        from_number: A number of the Retell account in E.164 form.
        to_number: The number to call in E.164 form.
        override_agent_id: The agent that speaks, instead of the one bound to ``from_number``.
        override_agent_version: A version number, ``latest``, ``latest_published`` or a tag such as ``prod``.
        agent_override: Settings of the agent for this call only.
        metadata: A JSON object of at most 50 kB that comes back with the call.
        retell_llm_dynamic_variables: What the agent's prompt may quote: an object of strings.
        custom_sip_headers: Headers of the SIP call: an object of strings, keys beginning with ``X-``.
        ignore_e164_validation: Let ``from_number`` be anything, for custom telephony.
        honor_internal_dnc: Refuse to call a contact that Retell keeps as do-not-call.
        **kwargs: As below, and Airflow's own.
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
    template_fields = ("retell_conn_id", *request_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "metadata": "json",
        "retell_llm_dynamic_variables": "json",
        "agent_override": "json",
        "custom_sip_headers": "json",
    }
    _keyed = True

    def __init__(
        self,
        *,
        from_number: str,
        to_number: str,
        override_agent_id: str | None = None,
        override_agent_version: int | str | None = None,
        agent_override: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        retell_llm_dynamic_variables: Mapping[str, str] | None = None,
        custom_sip_headers: Mapping[str, str] | None = None,
        ignore_e164_validation: bool | None = None,
        honor_internal_dnc: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
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

    def _endpoint(self, body: Mapping[str, Any], idempotency_key: str | None) -> Endpoint[Call]:
        return endpoints.create_phone_call(body, idempotency_key=idempotency_key)

    def _numbers(self) -> Mapping[str, object]:
        checked = {"to_number": self.to_number}
        return checked if self.ignore_e164_validation else {"from_number": self.from_number, **checked}
