"""The base of both call operators: their shared arguments, and how they become a call."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from airflow.providers.common.compat.sdk import Context

from airflow_provider_retell._argument_checks import choice, flag, rendered_flag, seconds
from airflow_provider_retell._clock import CLOCK
from airflow_provider_retell._masking import Masker
from airflow_provider_retell.api.endpoints import Request
from airflow_provider_retell.api.identifiers import check_e164
from airflow_provider_retell.calls.gate import OUTSIDE_HOURS, Gate, Hours
from airflow_provider_retell.calls.watch import check_wait_for
from airflow_provider_retell.errors import RetellInputError
from airflow_provider_retell.hooks import RetellHook
from airflow_provider_retell.operators.calling import CallingTask
from airflow_provider_retell.operators.policies import check_call_key, check_calling_hours, rendered_call_key
from airflow_provider_retell.operators.this_try import ThisTry
from airflow_provider_retell.outcomes import check_endings
from airflow_provider_retell.provider.backfills import check_run
from airflow_provider_retell.provider.map_labels import NOT_CALLED, label
from airflow_provider_retell.provider.options import read_options
from airflow_provider_retell.provider.templates import FieldKind, TemplatedOperator
from airflow_provider_retell.rows import Row, check_include, dry_row

if TYPE_CHECKING:
    # Imported when a task runs: every process that parses a DAG imports this module, and places no call.
    from airflow_provider_retell.api.models import Call
    from airflow_provider_retell.calls.placing import Placement

_XCOM_TEMPLATE: Final = "task_instance.xcom_pull("
"""The beginning of the template that an XComArg becomes inside a text."""


class PhoneCallOperator(TemplatedOperator, CallingTask):
    """Place a call; the subclass chooses the request.

    Args:
        retell_conn_id: A connection of type ``retell``.
        wait_for: None: return as soon as Retell has accepted the call. ``ended``: when it is over, whatever the
            status. ``analyzed``: when it also has its ``call_analysis``.
        analysis_timeout: Seconds to wait for the analysis after the end; not at all if the call never connected.
        limit_timeout: Seconds to wait in the task while the account is at its limit, before the try fails.
        fail_on: Statuses, outcomes and disconnection reasons that fail the task.
        skip_on: The same, but the task is skipped.
        include: Heavy fields to add to the row, such as ``transcript``.
        deferrable: Wait in the triggerer, without a worker.
        poll_interval: Seconds between two polls, or a timedelta.
        timeout: Seconds to wait for the call, analysis included, or a timedelta; 366 days at most, like all
            durations.
        durable: A retry continues with the call of an earlier try instead of placing a second one.
        cancel_on_kill: Hang up when the task is killed or times out.
        validate_e164: Refuse numbers that are not in E.164 form before anything is sent.
        dry_run: Send nothing: render, check and log the request, and return a row with the outcome ``dry_run``.
            May be a template.
        calling_hours: ``CallingHours`` in which the person may be called.
        outside_hours: What to do while they are shut: ``wait`` until they open, ``skip``, or ``fail``.
        time_zone: The person's own, such as ``Europe/Berlin``; else all zones of the number count.
        backfill: Whether to call in a backfill too; else the task is skipped there.
        call_key: A name for the intended call, unique in the Retell account, such as ``appointment-17``: there is
            one call of that name, whichever DAG, run or task asks for it.
        retry_policy: Airflow's argument (3.3 and later); ``RetellRetryPolicy`` by default.
        **kwargs: Airflow's own arguments, such as ``retries`` and ``pool``.
    """

    request_fields: ClassVar[tuple[str, ...]]
    field_kinds = {  # noqa: RUF012 (a ClassVar of the base class)
        **dict.fromkeys(("retell_conn_id", "time_zone", "call_key"), FieldKind.TEXT),
        **dict.fromkeys(("agent_id", "override_agent_id", "from_number", "to_number"), FieldKind.TEXT),
        **dict.fromkeys(("retell_llm_dynamic_variables", "custom_sip_headers"), FieldKind.STRINGS),
        "metadata": FieldKind.OBJECT,
        "agent_override": FieldKind.VERBATIM,
    }
    template_fields_renderers: ClassVar[dict[str, str]] = {
        name: "json" for name, kind in field_kinds.items() if kind is not FieldKind.TEXT
    }
    hidden_fields = ("custom_sip_headers",)
    ui_color = "#e8f4ea"
    _built: Request[Call] | None = None

    def _set_shared_arguments(self, given: Mapping[str, Any]) -> None:
        """Check the arguments that both operators take, and keep them as attributes.

        Args:
            given: The ``locals()`` of the operator's constructor: to hand on twenty arguments by name would list
                them three times more.

        Raises:
            RetellInputError: One of them is invalid.
        """
        check_wait_for(given["wait_for"], required=False)
        self.retell_conn_id = given["retell_conn_id"]
        self.wait_for = given["wait_for"]
        self.analysis_timeout = seconds("analysis_timeout", given["analysis_timeout"])
        self.limit_timeout = seconds("limit_timeout", given["limit_timeout"])
        self.fail_on = check_endings("fail_on", given["fail_on"])
        self.skip_on = check_endings("skip_on", given["skip_on"])
        self.include = check_include(given["include"])
        self.deferrable = flag("deferrable", given["deferrable"])
        self.poll_interval = seconds("poll_interval", given["poll_interval"])
        self.timeout = seconds("timeout", given["timeout"])
        self.durable = flag("durable", given["durable"])
        self.cancel_on_kill = flag("cancel_on_kill", given["cancel_on_kill"])
        self.validate_e164 = flag("validate_e164", given["validate_e164"])
        self.is_dry_run = given["dry_run"]  # Airflow's operators have a method dry_run
        self.calling_hours = check_calling_hours(given["calling_hours"])
        self.outside_hours = choice("outside_hours", given["outside_hours"], OUTSIDE_HOURS)
        self.time_zone = given["time_zone"]
        self.backfill = flag("backfill", given["backfill"])
        self.call_key = given["call_key"]
        check_call_key(self.call_key, durable=self.durable)

    # -- differences between the two operators -------------------------------------------------------------

    @abstractmethod
    def _request_with(self, body: Mapping[str, Any]) -> Request[Call]:
        """Return the request with a body. Raises ``RetellInputError`` for a field that cannot be sent."""

    def _checked_numbers(self, body: Mapping[str, Any]) -> tuple[str, ...]:  # noqa: ARG002 (a subclass looks)
        """Return the fields of the request that must be phone numbers."""
        return ("from_number", "to_number")

    # -- the task ------------------------------------------------------------------------------------------

    def execute(self, context: Context) -> Row:
        """Place the call, or adopt an earlier try's; push its id; wait for it if wanted; return its row."""
        label(context, NOT_CALLED)
        check_run(context, backfill=self.backfill, now=CLOCK.now())
        self._begin(context, ThisTry(began=CLOCK.now()))
        request = self._request()
        rendered_call_key(self.call_key)
        opens_at = self._hours().opens_at(CLOCK.now())  # raises before anything is sent
        if self._dry_run:
            label(context, "dry_run")
            return self._would_send(request, opens_at)
        with RetellHook(self.retell_conn_id) as self._hook:
            return self._run(context)

    @property
    def _dry_run(self) -> bool:
        return rendered_flag("dry_run", self.is_dry_run)

    def _begin(self, context: Context, this_try: ThisTry) -> None:
        self._built = None  # `dag.test()` may resume the same object, whose fields are rendered again
        super()._begin(context, this_try)

    # -- what places the call ------------------------------------------------------------------------------

    def _placement(self, context: Context) -> Placement:
        from airflow_provider_retell.calls.intent import Intent, run_began  # noqa: PLC0415 (see above)
        from airflow_provider_retell.calls.placing import Placement  # noqa: PLC0415
        from airflow_provider_retell.calls.sending import RecordedSender  # noqa: PLC0415

        sender = RecordedSender(
            self._hook.get_conn(),
            self._request(),
            Intent.of(
                context,
                retries=self.retries or 0,
                namespace=read_options().namespace,
                call_key=rendered_call_key(self.call_key),
            ),
            try_number=context["ti"].try_number,
            store=context.get("task_state_store"),
            retell_dials=self._retell_dials,
            durable=self.durable,
            include=self.include,
            calls=self._try.calls,
            gate=Gate(
                kill=self._kill,
                ends_at=self._ends_at(),
                pause=self._hook.pause,
                limit_timeout=self.limit_timeout,
                hours=self._hours(),
            ),
        )
        return Placement(
            sender,
            first_try=context["ti"].try_number <= 1 and not self._try.sent,
            fail_on=self.fail_on if self.wait_for else (),
            line=self._line_wait(),
            redial=self.redial,
            run_began=run_began(context),
            waits_for_hours=self.outside_hours == "wait",
        )

    def _hours(self) -> Hours:
        number = (self._request().body or {}).get("to_number")
        return Hours(hours=self.calling_hours, number=number, time_zone=self.time_zone)

    def _request(self) -> Request[Call]:
        """Return the request that places the call; each process of the task builds and validates it once."""
        self._built = self._built or self._build_request()
        return self._built

    def _build_request(self) -> Request[Call]:
        given = {name: getattr(self, name) for name in self.request_fields}
        if _XCOM_TEMPLATE in str(given["agent_override"]):
            raise RetellInputError(
                "agent_override holds the output of a task inside a text, where nothing is a template: the agent "
                "would speak the braces. Put it into retell_llm_dynamic_variables, and its name into the text, "
                "as {{name}}. Nothing was sent."
            )
        request = self._request_with({name: value for name, value in given.items() if value is not None})
        body = request.body or {}
        if self.validate_e164:
            for name in self._checked_numbers(body):
                if name in body:
                    check_e164(name, body[name])
        return request

    def _would_send(self, request: Request[Call], opens_at: float) -> Row:
        if opens_at > CLOCK.now():
            self.log.info("Dry run. %s", self._hours().describe(opens_at))
        self.log.info(
            "Dry run, nothing is sent. It would be: %s %s",
            request,
            Masker.of(request.body).text(json.dumps(request.body, ensure_ascii=False)),
        )
        return dry_row(request.body or {})
