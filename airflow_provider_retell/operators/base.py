"""What both operators share: place one call once, hand on its id, wait for it if wanted, report it."""

from __future__ import annotations

import inspect
import json
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final

from airflow.providers.common.compat.sdk import Context, XComArg, conf

from airflow_provider_retell._arguments import choice, flag, rendered_flag, seconds
from airflow_provider_retell._clock import SYSTEM_CLOCK, Clock
from airflow_provider_retell._masking import Masker
from airflow_provider_retell.api.endpoints import Request
from airflow_provider_retell.api.identifiers import check_e164
from airflow_provider_retell.calls.capacity import LineWait, found_no_line
from airflow_provider_retell.calls.gate import OUTSIDE_HOURS, Gate, Hours, OutsideHours, OutsideHoursAction
from airflow_provider_retell.calls.intent import Intent
from airflow_provider_retell.calls.pause import PauseSwitch
from airflow_provider_retell.calls.placing import Placement
from airflow_provider_retell.calls.task_wait import TaskWait
from airflow_provider_retell.calls.watch import Goal, WaitFor, check_wait_for
from airflow_provider_retell.errors import (
    RetellCallError,
    RetellCallTimeoutError,
    RetellInputError,
)
from airflow_provider_retell.hooks import RetellHook
from airflow_provider_retell.operators.policies import check_calling_hours
from airflow_provider_retell.operators.stop_on_kill import StopOnKill
from airflow_provider_retell.operators.this_try import ThisTry
from airflow_provider_retell.outcomes import check_endings, matches
from airflow_provider_retell.policy import CallingHours
from airflow_provider_retell.provider.backfills import check_run
from airflow_provider_retell.provider.deferral import DeferringOperator, Wake, WakeEvent
from airflow_provider_retell.provider.links import CALL_ID_KEY, RetellCallLink
from airflow_provider_retell.provider.options import read_options
from airflow_provider_retell.provider.outlets import announce_calls
from airflow_provider_retell.provider.templates import FieldKind, TemplatedOperator
from airflow_provider_retell.rows import Row, check_include, dry_row

if TYPE_CHECKING:
    from airflow_provider_retell.api.models import Call

_XCOM_TEMPLATE: Final = "task_instance.xcom_pull("
"""What an XComArg becomes inside a text."""

_LONGEST_MARGIN: Final = 60.0
_MARGIN: Final = 0.1
"""The end of ``execution_timeout``, as a fraction of it, in which no call is placed, and a live one is stopped."""

_LONGEST_SLEEP: Final = 60.0
"""Seconds after which a task that waits on its worker looks at the clock again, which may have been set."""


DEFAULT_DEFERRABLE: Final = conf.getboolean("operators", "default_deferrable", fallback=False)
"""Airflow's setting.

See https://airflow.apache.org/docs/apache-airflow/stable/configurations-ref.html#default-deferrable
"""


class PhoneCallOperator(TemplatedOperator, DeferringOperator):
    """Place a call; a subclass says which request that is."""

    request_fields: ClassVar[tuple[str, ...]]
    field_kinds = {  # noqa: RUF012 (a ClassVar of the base class)
        **dict.fromkeys(
            ("retell_conn_id", "agent_id", "override_agent_id", "from_number", "to_number", "time_zone"),
            FieldKind.TEXT,
        ),
        **dict.fromkeys(("retell_llm_dynamic_variables", "custom_sip_headers"), FieldKind.STRINGS),
        "metadata": FieldKind.OBJECT,
        "agent_override": FieldKind.VERBATIM,
    }
    hidden_fields = ("custom_sip_headers",)
    _kill: StopOnKill
    ui_color = "#e8f4ea"
    operator_extra_links = (RetellCallLink(),)

    def __init__(
        self,
        *,
        retell_conn_id: str | XComArg,
        wait_for: WaitFor | None,
        analysis_timeout: float | timedelta,
        limit_timeout: float | timedelta,
        fail_on: str | Sequence[str],
        skip_on: str | Sequence[str],
        include: str | Sequence[str],
        deferrable: bool,
        poll_interval: float | timedelta,
        timeout: float | timedelta,
        durable: bool,
        cancel_on_kill: bool,
        validate_e164: bool,
        dry_run: bool | str | XComArg,
        calling_hours: CallingHours | None,
        outside_hours: OutsideHoursAction,
        time_zone: str | XComArg | None,
        backfill: bool,
        retry_policy: Any,
        **kwargs: Any,
    ) -> None:
        # Airflow before 3.3 does not know the argument.
        super().__init__(**kwargs if retry_policy is None else {**kwargs, "retry_policy": retry_policy})
        check_wait_for(wait_for, required=False)
        self.retell_conn_id: Any = retell_conn_id
        self.wait_for = wait_for
        self.analysis_timeout = seconds("analysis_timeout", analysis_timeout)
        self.limit_timeout = seconds("limit_timeout", limit_timeout)
        self.fail_on = check_endings("fail_on", fail_on)
        self.skip_on = check_endings("skip_on", skip_on)
        self.include = check_include(include)
        self.deferrable = flag("deferrable", deferrable)
        self.poll_interval = seconds("poll_interval", poll_interval)
        self.timeout = seconds("timeout", timeout)
        self.durable = flag("durable", durable)
        self.cancel_on_kill = flag("cancel_on_kill", cancel_on_kill)
        self.validate_e164 = flag("validate_e164", validate_e164)
        self.is_dry_run = dry_run  # Airflow's operators have a method dry_run
        self.calling_hours = check_calling_hours(calling_hours)
        self.outside_hours = choice("outside_hours", outside_hours, OUTSIDE_HOURS)
        self.time_zone = time_zone
        self.backfill = flag("backfill", backfill)
        self._clock: Clock = SYSTEM_CLOCK
        self._try = ThisTry(began=0.0)

    # -- what the two operators differ in ------------------------------------------------------------------

    @abstractmethod
    def _endpoint(self, body: Mapping[str, Any]) -> Request[Call]:
        """Return the request. Raises ``RetellInputError`` for a field that cannot be sent."""

    _retell_dials: ClassVar[bool]
    """Whether Retell dials, under an idempotency key; else no phone rings until the user's telephony dials."""

    def _checked_numbers(self, body: Mapping[str, Any]) -> tuple[str, ...]:  # noqa: ARG002 (a subclass looks)
        """Return the fields of the request that must be phone numbers."""
        return ("from_number", "to_number")

    # -- the task ------------------------------------------------------------------------------------------

    def execute(self, context: Context) -> Row:
        """Place the call, or adopt an earlier try's; hand on its id; wait for it if wanted; return its row."""
        check_run(context, backfill=self.backfill, now=self._clock.now())
        request = self._request()
        opens_at = self._hours(request).opens_at(self._clock.now())  # raises before anything is sent
        if self._dry_run:
            return self._would_send(request, opens_at)
        self._begin(context, ThisTry(began=self._clock.now()))
        with RetellHook(self.retell_conn_id) as hook:
            return self._run(hook, context)

    def _resume(self, context: Context, event: WakeEvent) -> Row:
        """Continue where the wait ended: read the call again, whatever the event says about it."""
        self._begin(context, ThisTry.read(event.memo, now=self._clock.now()))
        call_id = next(iter(event.calls), None if event.memo else _handed_on_id(context))
        with RetellHook(self.retell_conn_id) as hook:
            if call_id is None:  # there was no call to wait for
                if event.wake is Wake.FAILED:
                    raise RetellCallError(f"Not called: the task could not wait ({event.message}).")
                self._woken_by = None
                return self._run(hook, context)
            with self._kill.watching(call_id, hook.get_conn()):
                wait = self._wait(hook, call_id, event.deadline)
                over = wait.poll()
                self._kill.check()
                if not over:
                    self._wait_on(wait, hook)
            return self._run(hook, context, wait)

    def on_kill(self) -> None:
        """Stop the call, if wanted. This runs in a signal handler."""
        if kill := vars(self).get("_kill"):  # not before the task runs
            kill.order()

    def _begin(self, context: Context, this_try: ThisTry) -> None:
        self._try = this_try
        # Not in the constructor: Airflow copies operators, and this holds a thread.
        self._kill = StopOnKill(
            context, wanted=self.cancel_on_kill, leave_registered=not self._retell_dials, clock=self._clock
        )

    # -- the request ---------------------------------------------------------------------------------------

    @property
    def _dry_run(self) -> bool:
        return rendered_flag("dry_run", self.is_dry_run)

    def _request(self) -> Request[Call]:
        given = {name: getattr(self, name) for name in self.request_fields}
        if _XCOM_TEMPLATE in str(given["agent_override"]):
            raise RetellInputError(
                "agent_override holds the output of a task inside a text, where nothing is a template: the agent "
                "would speak the braces. Put it into retell_llm_dynamic_variables, and its name into the text, "
                "as {{name}}. Nothing was sent."
            )
        request = self._endpoint({name: value for name, value in given.items() if value is not None})
        body = request.body or {}
        if self.validate_e164:
            for name in self._checked_numbers(body):
                if name in body:
                    check_e164(name, body[name])
        return request

    def _would_send(self, request: Request[Call], opens_at: float) -> Row:
        if opens_at > self._clock.now():
            self.log.info("Dry run. %s", self._hours(request).describe(opens_at))
        self.log.info(
            "Dry run, nothing is sent. It would be: %s %s",
            request,
            Masker.of(request.body).text(json.dumps(request.body, ensure_ascii=False)),
        )
        return dry_row(request.body or {})

    # -- placing -------------------------------------------------------------------------------------------

    def _run(self, hook: RetellHook, context: Context, wait: TaskWait | None = None) -> Row:
        """Place calls, and wait for them if wanted, until no other one follows; return the row of the last one."""
        while wait is None or self._calls_again(wait):
            wait = self._call(hook, context)
        rows = wait.rows(final=False)
        announce_calls(context, self.outlets, rows, retell_conn_id=self.retell_conn_id)
        return rows[0]

    def _call(self, hook: RetellHook, context: Context) -> TaskWait:
        """Place the call, or one after this try's call that found no line, and wait for it if wanted."""
        call = self._place(hook, context)
        with self._kill.watching(call.call_id, hook.get_conn()):
            self._kill.check()
            for key, value in self._handed_on(call).items():
                context["ti"].xcom_push(key=key, value=value)
            wait = self._wait(hook, call.call_id, min(self._try.placed_at + self.timeout, self._ends_at()))
            wait.watch.update({call.call_id: call}, now=self._clock.now())
            if self.wait_for is not None and not wait.watch.reached:
                self._wait_on(wait, hook)
        return wait

    def _calls_again(self, wait: TaskWait) -> bool:
        """Return whether another call follows: after one that found no line, and would fail the task."""
        (call,) = wait.watch.calls.values()
        self._kill.release()
        if not (self.wait_for and found_no_line(call) and matches(call, self.fail_on)):
            return False
        line = self._line_wait()
        again = line.pause()
        self._try = replace(self._try, waited=line.waited, follows=again)
        return again

    def _place(self, hook: RetellHook, context: Context) -> Call:
        """Return the call, placed in the calling hours."""
        request = self._request()
        while True:
            placement = self._placement(hook, request, context)
            try:
                call = placement.place(after=self._try.number if self._try.follows else None)
            except OutsideHours as shut:
                self._try = replace(self._try, waited=placement.line.waited, sent=placement.sent)
                self._wait_until(shut.act(self.outside_hours, ends_at=self._ends_at()), str(shut))
            else:
                break
        self._try = replace(
            self._try,
            sent=True,
            follows=False,
            placed_at=placement.placed_at,
            number=placement.number,
            waited=placement.line.waited,
        )
        self._woken_by = None  # which was about the call before
        return call

    def _wait_until(self, moment: float, why: str) -> None:
        """Wait in the triggerer if the task may, else here."""
        if self.deferrable:
            from airflow_provider_retell.triggers import RetellTimeTrigger  # noqa: PLC0415 (see _wait_on)

            self.log.info("%s Waiting until then.", why)
            self._defer_to(RetellTimeTrigger(deadline=moment, memo=self._try.to_memo()))
        self.log.warning("%s Waiting until then on the worker; with deferrable=True it would be free.", why)
        while (left := moment - self._clock.now()) > 0:
            self._clock.sleep(min(left, _LONGEST_SLEEP))
            self._kill.check()

    def _placement(self, hook: RetellHook, request: Request[Call], context: Context) -> Placement:
        gate = self._gate(hook, request)
        return Placement(
            hook.get_conn(),
            request,
            Intent.of(context, retries=self.retries or 0, namespace=read_options().namespace),
            first_try=context["ti"].try_number <= 1 and not self._try.sent,
            try_number=context["ti"].try_number,
            store=context.get("task_state_store"),
            retell_dials=self._retell_dials,
            fail_on=self.fail_on if self.wait_for else (),
            line=self._line_wait(),
            durable=self.durable,
            run_began=_run_began(context),
            before_looking=gate.check_task,
            before_sending=gate.check,
            clock=self._clock,
        )

    def _line_wait(self) -> LineWait:
        left = self._ends_at() - self._clock.now()
        return LineWait(limit=min(self.limit_timeout, left), waited=self._try.waited, clock=self._clock)

    def _gate(self, hook: RetellHook, request: Request[Call]) -> Gate:
        return Gate(
            check_alive=self._kill.check,
            ends_at=self._ends_at(),
            pause=PauseSwitch(conn_id=self.retell_conn_id, look_up=hook.is_paused, clock=self._clock),
            limit_timeout=self.limit_timeout,
            hours=self._hours(request),
            clock=self._clock,
        )

    def _hours(self, request: Request[Call]) -> Hours:
        zone: Any = self.time_zone
        return Hours(hours=self.calling_hours, number=(request.body or {}).get("to_number"), time_zone=zone)

    def _ends_at(self) -> float:
        """Return until when a call may be placed and may go on: shortly before ``execution_timeout`` ends.

        In the margin a live call is read once more, and stopped. Airflow would end the task in the middle of that,
        and does not enforce ``execution_timeout`` at all while a task is deferred.
        """
        if self.execution_timeout is None:
            return math.inf
        limit = self.execution_timeout.total_seconds()
        return self._try.began + limit - min(_MARGIN * limit, _LONGEST_MARGIN)

    def _handed_on(self, call: Call) -> dict[str, str]:
        return {CALL_ID_KEY: call.call_id}

    # -- waiting -------------------------------------------------------------------------------------------

    def _wait(self, hook: RetellHook, call_id: str, deadline: float) -> TaskWait:
        return TaskWait(
            hook.get_conn(),
            [call_id],
            goal=Goal(wait_for=self.wait_for or "ended", analysis_timeout=self.analysis_timeout),
            deadline=deadline,
            poll_interval=self.poll_interval,
            fail_on=self.fail_on if self.wait_for else (),
            skip_on=self.skip_on,
            include=self.include,
            woken_by=self._woken_by,
            longest=deadline - self._try.placed_at if self.wait_for else None,
            clock=self._clock,
        )

    def _wait_on(self, wait: TaskWait, hook: RetellHook) -> None:
        """Wait until the call is over."""
        while not wait.timed_out:
            if self.deferrable:
                # Here, not above: Airflow's part of it takes 10 ms, in every process that parses a DAG.
                from airflow_provider_retell.triggers import RetellCallTrigger  # noqa: PLC0415

                self._kill.release()  # from here on it is the trigger that stops the call
                self._defer_to(
                    RetellCallTrigger(
                        retell_conn_id=self.retell_conn_id,
                        cancel_on_kill=self.cancel_on_kill,
                        leave_registered=not self._retell_dials,
                        memo=self._try.to_memo(),
                        **wait.trigger_arguments(),
                    )
                )
            wait.sleep()
            over = wait.poll()
            self._kill.check()
            if over:
                return
        (call_id,) = wait.watch.call_ids
        raise RetellCallTimeoutError(
            f"{wait.missed()} {self._kill.give_up(call_id, hook.get_conn())}", call_ids=(call_id,)
        )


def _run_began(context: Context) -> float | None:
    start = getattr(context.get("dag_run"), "start_date", None)
    return start.timestamp() if start else None


def _handed_on_id(context: Context) -> str | None:
    """Return the id that this try handed on: an event of Airflow's own names no call."""
    ti = context["ti"]
    call_id = ti.xcom_pull(task_ids=ti.task_id, key=CALL_ID_KEY, map_indexes=ti.map_index)
    return None if call_id is None else str(call_id)


_SHARED: Final = frozenset(
    name
    for name, parameter in inspect.signature(PhoneCallOperator.__init__).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
)


def shared_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the base class takes of the arguments of an operator: the shared ones, and Airflow's.

    Args:
        given: The operator's ``locals()``, at the beginning of its constructor.
    """
    return {name: value for name, value in given.items() if name in _SHARED} | dict(given["kwargs"])
