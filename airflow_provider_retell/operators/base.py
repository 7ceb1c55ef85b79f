"""What both operators share: place one call once, hand on its id, wait for it if wanted, report it."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import Context, conf

from airflow_provider_retell._arguments import flag, seconds
from airflow_provider_retell._clock import SYSTEM_CLOCK, Clock
from airflow_provider_retell._masking import Masker
from airflow_provider_retell.api.endpoints import Request
from airflow_provider_retell.api.flows import stop
from airflow_provider_retell.api.identifiers import check_e164
from airflow_provider_retell.api.settings import DEFAULT_CONN_ID, ConnectionSettings
from airflow_provider_retell.calls.capacity import LimitWait, found_no_line
from airflow_provider_retell.calls.intent import Intent
from airflow_provider_retell.calls.placing import Placement
from airflow_provider_retell.calls.stopping import stop_until_over
from airflow_provider_retell.calls.task_wait import TaskWait, longest_wait, matches
from airflow_provider_retell.calls.watch import Goal, WaitFor, check_wait_for
from airflow_provider_retell.errors import RetellCallError, RetellCallTimeoutError, RetellError
from airflow_provider_retell.hooks import RetellHook
from airflow_provider_retell.outcomes import check_endings
from airflow_provider_retell.provider.deferral import DeferringOperator, WakeEvent
from airflow_provider_retell.provider.links import CALL_ID_KEY, RetellCallLink
from airflow_provider_retell.provider.outlets import announce_calls
from airflow_provider_retell.retry_policy import DEFAULT_RETRY_POLICY
from airflow_provider_retell.rows import Row, check_include, dry_row

if TYPE_CHECKING:
    from airflow_provider_retell.api.models import Call

_LAST_WORDS = 2.0
"""Seconds for one answer while the task is being killed: Airflow grants five for all."""


class PhoneCallOperator(DeferringOperator):
    """Place a call; a subclass says which request that is.

    Args:
        retell_conn_id: A connection of type ``retell``.
        wait_for: None: return as soon as Retell has the call. ``ended``: when it is over, whatever the status.
            ``analyzed``: when it also has its ``call_analysis``.
        analysis_timeout: Seconds to wait for the analysis after the end; not at all if it never connected.
        limit_timeout: Seconds to wait in the task while the account is at its limit, before the try is spent:
            after a 429, and after a call that found no free line where ``fail_on`` names that ending. 0: not at
            all.
        fail_on: Statuses, outcomes and disconnection reasons that fail the task. Airflow's ``retries`` then
            place a new call.
        skip_on: The same, to skip it.
        include: Heavy fields to put into the row, such as ``transcript``.
        deferrable: Wait in the triggerer, without a worker.
        poll_interval: Seconds between two polls, or a timedelta.
        timeout: Seconds to wait for the end of the call, or a timedelta.
        retry_policy: Airflow's; ``RetellRetryPolicy`` unless given (Airflow 3.3 and later).
        durable: Make a retry go on with the call of an earlier try instead of placing a second one.
        cancel_on_kill: Hang up when the task is killed or times out while the call is live.
        validate_e164: Refuse numbers that are not in E.164 form.
        dry_run: Send nothing: render, check and log the request, and return a row with the outcome ``dry_run``.
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
        limit_timeout: float | timedelta = 600,
        fail_on: Sequence[str] = (),
        skip_on: Sequence[str] = (),
        include: Sequence[str] = (),
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | timedelta = 30,
        timeout: float | timedelta = 10800,
        durable: bool = True,
        cancel_on_kill: bool = True,
        validate_e164: bool = True,
        dry_run: bool = False,
        retry_policy: Any = DEFAULT_RETRY_POLICY,  # named here, so that one in the DAG's default_args is seen
        **kwargs: Any,
    ) -> None:
        # Airflow before 3.3 does not know the argument.
        super().__init__(**kwargs if retry_policy is None else {**kwargs, "retry_policy": retry_policy})
        check_wait_for(wait_for, required=False)
        self.retell_conn_id = retell_conn_id
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
        self._dry_run = dry_run  # Airflow's operators have a method of the name
        self._clock: Clock = SYSTEM_CLOCK
        self._live: tuple[str, ConnectionSettings] | None = None
        self._killed = False

    # -- what the two operators differ in ------------------------------------------------------------------

    @abstractmethod
    def _endpoint(self, body: Mapping[str, Any], idempotency_key: str | None) -> Request[Call]:
        """Return the request. Raises ``RetellInputError`` for a field that cannot be sent."""

    _retell_dials: ClassVar[bool]
    """Whether Retell dials, under an idempotency key; else no phone rings until the user's telephony dials."""

    def _checked_numbers(self, body: Mapping[str, Any]) -> tuple[str, ...]:  # noqa: ARG002 (a subclass looks)
        """Return the fields of the request that must be phone numbers."""
        return ("from_number", "to_number")

    # -- the task ------------------------------------------------------------------------------------------

    def execute(self, context: Context) -> Row:
        """Place the call, or adopt an earlier try's; hand on its id; wait for it if wanted; return its row."""
        body = self._body()
        if self._dry_run:
            return self._would_send(body)
        with RetellHook(self.retell_conn_id) as hook:
            return self._call(hook, body, context, deadline=self._clock.now() + longest_wait(self, self.timeout))

    def _resume(self, context: Context, event: WakeEvent) -> Row:
        """Continue where the wait ended: read the call again, whatever the event says about it."""
        (call_id,) = event.calls or (_handed_on_id(context),)
        with RetellHook(self.retell_conn_id) as hook, self._watching(hook, call_id):
            wait = self._wait(hook, call_id, event.deadline)
            over = wait.poll()
            self._check_alive()
            if over:
                return self._finish(wait, hook, context)
            return self._go_on(wait, hook, context)

    def on_kill(self) -> None:
        """Hang up, if wanted: one look, one request, in the few seconds that Airflow grants.

        With a client of its own, because the task's may be in the middle of a request: this runs in a signal
        handler.
        """
        self._killed = True
        if self._live is None or not self.cancel_on_kill:
            return
        from airflow_provider_retell.api.client import RetellClient  # noqa: PLC0415 (see hooks.get_conn)

        call_id, settings = self._live
        try:
            with RetellClient(replace(settings, timeout=_LAST_WORDS, max_attempts=1)) as client:
                became = client.run(stop(call_id, leave_registered=not self._retell_dials))
                self.log.info("The task is killed: %s.", became.told)
        except RetellError as error:
            self.log.warning("The task is killed, and %s may go on: %s", call_id, error)

    # -- steps ---------------------------------------------------------------------------------------------

    def _body(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in self.request_fields}
        body = {name: value for name, value in given.items() if value is not None}
        sent = self._endpoint(body, None).body or {}
        if self.validate_e164:
            for name in self._checked_numbers(sent):
                if name in sent:
                    check_e164(name, sent[name])
        return body

    def _would_send(self, body: Mapping[str, Any]) -> Row:
        request = self._endpoint(body, None)
        self.log.info(
            "Dry run, nothing is sent. It would be: %s %s",
            request,
            Masker.of(request.body).text(json.dumps(request.body, ensure_ascii=False)),
        )
        return dry_row(request.body or {})

    def _call(
        self,
        hook: RetellHook,
        body: Mapping[str, Any],
        context: Context,
        *,
        deadline: float,
        instead_of: Call | None = None,
    ) -> Row:
        """Place the call, in place of one that found no line if there was one, and see it through."""
        call = self._placement(hook, body, context, deadline).place(instead_of=instead_of)
        with self._watching(hook, call.call_id):
            if self._killed:
                self.on_kill()  # the signal came while the request was on its way, and found no call to hang up on
            self._check_alive()
            for key, value in self._handed_on(call).items():
                context["ti"].xcom_push(key=key, value=value)
            wait = self._wait(hook, call.call_id, deadline)
            wait.watch.update({call.call_id: call}, now=self._clock.now())
            if self.wait_for is None or wait.watch.reached:
                return self._finish(wait, hook, context)
            return self._go_on(wait, hook, context)

    @contextmanager
    def _watching(self, hook: RetellHook, call_id: str) -> Iterator[None]:
        """Let a kill hang up on the call until the task is done with it, or has failed: a retry adopts it then.

        Airflow's own time-out is not an ``Exception``, and is followed by ``on_kill``.
        """
        self._live = (call_id, hook.get_conn().settings)
        try:
            yield
        except Exception:
            self._live = None
            raise

    def _placement(
        self, hook: RetellHook, body: Mapping[str, Any], context: Context, deadline: float
    ) -> Placement:
        return Placement(
            hook=hook,
            body=body,
            request=self._endpoint,
            retell_dials=self._retell_dials,
            unwanted=lambda call: matches(call, self.fail_on),
            intent=Intent.of(context),
            try_number=context["ti"].try_number,
            store=context.get("task_state_store"),
            limit=self._limit(deadline),
            durable=self.durable,
            before_sending=self._check_alive,
            clock=self._clock,
        )

    def _check_alive(self) -> None:
        # Airflow goes on with a killed task for some seconds: long enough to place a call, or to see one end.
        if self._killed:
            raise RetellCallError("The task was killed.", call_ids=(self._live[0],) if self._live else ())

    def _limit(self, deadline: float) -> LimitWait:
        longest = longest_wait(self, self.timeout)
        # Half of the time is the call's: one that is placed late would be hung up on in the middle.
        patience = min(self.limit_timeout, longest / 2) if self.wait_for else self.limit_timeout
        return LimitWait(began=deadline - longest, longest=patience, clock=self._clock)

    def _handed_on(self, call: Call) -> dict[str, str]:
        return {CALL_ID_KEY: call.call_id}

    def _wait(self, hook: RetellHook, call_id: str, deadline: float) -> TaskWait:
        return TaskWait(
            hook.get_conn(),
            [call_id],
            goal=Goal(wait_for=self.wait_for or "ended", analysis_timeout=self.analysis_timeout),
            deadline=deadline,
            poll_interval=self.poll_interval,
            fail_on=self.fail_on,
            skip_on=self.skip_on,
            include=self.include,
            woken_by=self._woken_by,
            longest=longest_wait(self, self.timeout) if self.wait_for else None,
            clock=self._clock,
        )

    def _go_on(self, wait: TaskWait, hook: RetellHook, context: Context) -> Row:
        while not wait.timed_out:
            if self.deferrable:
                # Here, not above: Airflow's part of it takes 10 ms, in every process that parses a DAG.
                from airflow_provider_retell.triggers import RetellCallTrigger  # noqa: PLC0415

                self._live = None  # from here on it is the trigger that hangs up
                self._defer_to(
                    RetellCallTrigger(
                        retell_conn_id=self.retell_conn_id,
                        cancel_on_kill=self.cancel_on_kill,
                        leave_registered=not self._retell_dials,
                        **wait.trigger_arguments(),
                    )
                )
            wait.sleep()
            over = wait.poll()
            self._check_alive()
            if over:
                return self._finish(wait, hook, context)
        raise RetellCallTimeoutError(self._give_up(wait), call_ids=wait.watch.call_ids)

    def _give_up(self, wait: TaskWait) -> str:
        (call_id,) = wait.watch.call_ids
        if not self.cancel_on_kill:
            return f"{wait.missed()} {call_id} goes on, since cancel_on_kill is off."
        try:
            became = stop_until_over(
                wait.client, call_id, leave_registered=not self._retell_dials, clock=self._clock
            ).told
        except RetellError as error:
            became = f"{call_id} may go on, since stopping it failed ({error})"
        return f"{wait.missed()} {became}."

    def _finish(self, wait: TaskWait, hook: RetellHook, context: Context) -> Row:
        """Report the call; one that found no line, and would fail the task, is placed again if there is time."""
        (call,) = wait.watch.calls.values()
        self._live = None
        if found_no_line(call) and matches(call, self.fail_on) and self._limit(wait.deadline).pause():
            return self._call(hook, self._body(), context, deadline=wait.deadline, instead_of=call)
        rows = wait.rows(final=False)
        announce_calls(context, self.outlets, rows, retell_conn_id=self.retell_conn_id)
        return rows[0]


def _handed_on_id(context: Context) -> str:
    """Return the id that this try handed on: an event of Airflow's own names no call."""
    ti = context["ti"]
    return str(ti.xcom_pull(task_ids=ti.task_id, key=CALL_ID_KEY, map_indexes=ti.map_index))
