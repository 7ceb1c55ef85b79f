"""The notifier: phone people when a task or a run fails, or misses a deadline."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import tenacity
from airflow.providers.common.compat.sdk import BaseNotifier, Context, conf

from airflow_provider_retell._argument_checks import choice, flag, seconds
from airflow_provider_retell._clock import CLOCK
from airflow_provider_retell._masking import mask_numbers
from airflow_provider_retell.api.endpoints import Request, create_phone_call, get_call
from airflow_provider_retell.api.identifiers import check_e164
from airflow_provider_retell.api.settings import DEFAULT_CONN_ID, ConnectionSettings
from airflow_provider_retell.calls.connection_pause import ConnectionPause
from airflow_provider_retell.calls.gate import Hours
from airflow_provider_retell.calls.intent import TAG
from airflow_provider_retell.calls.notifying import CallRound, Occasion, OneCall
from airflow_provider_retell.errors import Concerns, RetellCallError, RetellError
from airflow_provider_retell.hooks import RetellHook, async_client
from airflow_provider_retell.operators.policies import check_calling_hours
from airflow_provider_retell.policy import CallingHours
from airflow_provider_retell.policy.attempts import CONVERSATIONS
from airflow_provider_retell.policy.zones import check_zone
from airflow_provider_retell.provider.options import read_options
from airflow_provider_retell.provider.version_compat import PROCESSES_END_AFTER_TASKS

if TYPE_CHECKING:
    from airflow_provider_retell.api.client import AsyncRetellClient, RetellClient
    from airflow_provider_retell.api.models import Call

log = logging.getLogger(__name__)

ANSWER_WITHIN: Final = 4.0
"""Seconds to wait for each response of Retell, because Airflow gives a callback little time."""

OVERTIME: Final = 20
"""Seconds for which Airflow 3 lets a task run on after its end, by default (``[core] task_success_overtime``)."""

_ATTEMPTS, _PAUSE, _TRYING_FOR = 3, 1.0, 6.0
"""Attempts to place a call, seconds between two of them, and seconds after which no further one is made."""

_POLL_INTERVAL, _MARGIN = 2.0, 5.0


class RetellPhoneCallNotifier(BaseNotifier):
    """Ring a phone when a task or a run fails, or a deadline is missed.

    Each number is rung once for each failed try of a task, failed run or missed deadline. The notifier's own
    errors are logged, and change nothing in Airflow. In a backfill, and while the connection is paused, no phone
    rings.

    If only a task's process is killed, Airflow 3 runs no callback of the task; the DAG's callback rings then.

    Use it as ``on_failure_callback``, ``on_retry_callback`` and so on, of tasks and of DAGs, and for
    ``DeadlineAlert`` with ``AsyncCallback`` (Airflow 3.1 and later) or ``SyncCallback`` (3.2 and later).

    See https://airflow.apache.org/docs/apache-airflow/stable/howto/notifications.html and
    https://docs.retellai.com/api-references/create-phone-call

    Args:
        from_number: The calling number in E.164 form; a template, like the fields below.
        to_number: One number to call, or several.
        message: The text that the agent's prompt may quote as ``{{message}}``.
        override_agent_id: The agent that speaks; None for the agent bound to ``from_number``.
        retell_conn_id: A connection of type ``retell``.
        mode: ``all`` calls all numbers; ``until_answered`` calls one after the other until a person answers. Only
            callbacks of failed tasks have the time to wait; elsewhere all numbers are called.
        timeout: Seconds to wait for answers in all; then the remaining numbers are called.
        calling_hours: When to ring; None for any hour. Outside of them no phone rings, not even later: each number
            is checked before it is rung. For a deadline, give the arguments of ``CallingHours`` as a mapping,
            because Airflow stores JSON there.
        time_zone: The time zone of all numbers; None to derive it from each number.
        backfill: Whether to ring in backfills too.
        **kwargs: Airflow's own argument ``context``.

    Raises:
        RetellInputError: An argument that is not a template is invalid.
    """

    template_fields: Sequence[str] = ("from_number", "to_number", "message", "override_agent_id", "retell_conn_id")

    def __init__(
        self,
        from_number: str,
        to_number: str | Sequence[str],
        message: str,
        *,
        override_agent_id: str | None = None,
        retell_conn_id: str = DEFAULT_CONN_ID,
        mode: Literal["all", "until_answered"] = "all",
        timeout: float | timedelta = 300,
        calling_hours: CallingHours | Mapping[str, Any] | None = None,
        time_zone: str | None = None,
        backfill: bool = False,
        **kwargs: Any,
    ) -> None:
        self.from_number = from_number
        self.to_number = to_number
        self.message = message
        self.override_agent_id = override_agent_id
        self.retell_conn_id = retell_conn_id
        self.mode = choice("mode", mode, ("all", "until_answered"))
        self.timeout = seconds("timeout", timeout)
        hours = CallingHours(**calling_hours) if isinstance(calling_hours, Mapping) else calling_hours
        self.calling_hours = check_calling_hours(hours)
        self.time_zone = None if time_zone is None else check_zone(time_zone)
        self.backfill = flag("backfill", backfill)
        super().__init__(**kwargs)

    # -- called by Airflow -----------------------------------------------------------------------------------

    def __call__(self, *args: Any) -> None:
        """Render the templates, and ring."""
        context: Any = args[0] if len(args) == 1 else {"dag": args[0]}
        with _no_error():
            self._rendered(context).notify(context)

    def __await__(self) -> Generator[Any, Any, None]:
        """Render the templates, and ring, on the triggerer's event loop."""

        async def ring() -> None:
            with _no_error():
                await self._rendered(self.context).async_notify(self.context)

        return ring().__await__()

    def _rendered(self, context: Any) -> Self:
        # A copy, because Airflow renders in place: the next failure would get the message of this one.
        notifier = copy.copy(self)
        # Only a worker's context has the exception, and a deadline's has no DAG. A template that uses them must
        # not keep the phone from ringing.
        known = {"dag": None, "exception": context.get("reason") or "no error is known"}
        if missing := {name: value for name, value in known.items() if name not in context}:
            context = {**context, **missing}
        notifier.render_template_fields(context)
        return notifier

    def notify(self, context: Context) -> None:
        """Ring, and raise nothing, because the failure has already happened."""
        with _no_error():
            calls = self._calls(context)
            with RetellHook(self.retell_conn_id) as hook:
                settings = _quick(hook.get_conn().settings)
            from airflow_provider_retell.api.client import RetellClient  # noqa: PLC0415 (see the hook)

            with RetellClient(settings) as client:
                self._ring(calls, client, hook.pause)
            calls.report()

    async def async_notify(self, context: Context) -> None:
        """Ring, without blocking an event loop, and raise nothing."""
        with _no_error():
            # In threads: the data of phone numbers takes half a second to import.
            calls = await asyncio.to_thread(self._calls, context)
            hook = RetellHook(self.retell_conn_id)
            settings = _quick(await hook.aget_settings())
            # In a thread: a client reads certificates from disk.
            async with await asyncio.to_thread(async_client, settings) as client:
                for number, one in calls.each():
                    repeat = tenacity.AsyncRetrying(sleep=CLOCK.asleep, **_attempts())
                    try:
                        paused = (await hook.aget_settings()).paused
                        await asyncio.to_thread(self._check, number, paused=paused)
                        call: Call = await repeat(_aplace, client, one)
                    except RetellError as error:
                        calls.failed(number, error)
                    else:
                        calls.rang(number, call, placed=one.placed(call))
            calls.report()

    # -- calls -----------------------------------------------------------------------------------------------

    def _calls(self, context: Any) -> CallRound:
        """Return the calls to place now; raise the reason if none may be placed."""
        occasion = Occasion.of(context)
        if occasion.in_backfill and not self.backfill:
            raise RetellCallError(
                f"No phone rings about {occasion}: it belongs to a backfill. To ring then too, set backfill=True."
            )
        if self.mode == "until_answered" and not occasion.may_wait:
            log.warning("There is no time to wait for answers here, so all numbers are called about %s.", occasion)
        given = [self.to_number] if isinstance(self.to_number, str) else self.to_number
        calls, namespace = CallRound(occasion=occasion), read_options().namespace
        for number in dict.fromkeys(given):
            try:
                request = self._request(number, occasion.tag(number, namespace=namespace))
                calls.pending[number] = OneCall(request=request)
            except RetellError as error:
                calls.problems[number] = str(error)
        return calls

    def _request(self, number: str, tag: str) -> Request[Call]:
        check_e164("to_number", number)
        check_e164("from_number", self.from_number)
        body = {
            "from_number": self.from_number,
            "to_number": number,
            "override_agent_id": self.override_agent_id,
            "retell_llm_dynamic_variables": {"message": self.message},
            "metadata": {TAG: tag},
        }
        given = {name: value for name, value in body.items() if value is not None}
        return create_phone_call(given, idempotency_key=f"airflow.{tag}")

    def _check(self, number: str, *, paused: bool) -> None:
        """Raise if a number must not be rung now: the calls before it may have taken long."""
        if paused:
            raise _paused(self.retell_conn_id)
        Hours(hours=self.calling_hours, number=number, time_zone=self.time_zone).check(CLOCK.now())

    def _ring(self, calls: CallRound, client: RetellClient, pause: ConnectionPause) -> None:
        waits_until = CLOCK.monotonic() + self._patience(calls.occasion)
        for number, one in calls.each():
            repeat = tenacity.Retrying(sleep=CLOCK.sleep, **_attempts())
            try:
                self._check(number, paused=pause.is_on())
                call = repeat(_place, client, one)
            except RetellError as error:
                calls.failed(number, error)
                continue
            calls.rang(number, call, placed=one.placed(call))
            if calls.pending and self._is_answered(call, client, waits_until):
                calls.pending.clear()

    def _patience(self, occasion: Occasion) -> float:
        """Return the seconds available to wait for answers."""
        if self.mode == "all" or not occasion.may_wait:
            return 0.0
        if not PROCESSES_END_AFTER_TASKS:
            return self.timeout
        left = float(conf.getfloat("core", "task_success_overtime", fallback=OVERTIME)) - _MARGIN
        if left < self.timeout:
            log.warning(
                "Airflow ends a task's process soon after the task: waiting for answers for %.0f s, not %.0f s, "
                "then calling all numbers. For longer waits set [core] task_success_overtime to %.0f.",
                left,
                self.timeout,
                self.timeout + _MARGIN,
            )
        return min(self.timeout, left)

    def _is_answered(self, call: Call, client: RetellClient, until: float) -> bool:
        """Wait for the end of a call, at most until ``until``; return whether a person spoke in it."""
        while not call.is_terminal and CLOCK.monotonic() + _POLL_INTERVAL <= until:
            CLOCK.sleep(_POLL_INTERVAL)
            with suppress(RetellError):
                call = client.send(get_call(call.call_id))
        return call.outcome in CONVERSATIONS


@contextmanager
def _no_error() -> Iterator[None]:
    """Log an error in one line and go on, so that the notifier does not change Airflow's state."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 (any error)
        log.error("Ringing failed: %s", mask_numbers(f"{type(error).__name__}: {error}"))  # noqa: TRY400 (one line)


def _quick(settings: ConnectionSettings) -> ConnectionSettings:
    """Return settings with short time-outs; raise if the connection is paused."""
    if settings.paused:
        raise _paused(settings.conn_id)
    return replace(settings, timeout=min(settings.timeout, ANSWER_WITHIN), max_attempts=1)


def _paused(conn_id: str) -> RetellCallError:
    return RetellCallError(f"The connection {conn_id!r} is paused (paused: true in its extra).")


def _place(client: RetellClient, one: OneCall) -> Call:
    return client.run(one.ring())


async def _aplace(client: AsyncRetellClient, one: OneCall) -> Call:
    return await client.run(one.ring())


def _attempts() -> dict[str, Any]:
    """Return the options with which tenacity retries placing a call; the idempotency key makes that harmless."""
    return {
        "retry": tenacity.retry_if_exception(
            lambda error: isinstance(error, RetellError) and error.concerns is Concerns.NOTHING
        ),
        "stop": tenacity.stop_after_attempt(_ATTEMPTS) | tenacity.stop_after_delay(_TRYING_FOR),
        "wait": tenacity.wait_fixed(_PAUSE),
        "reraise": True,
    }
