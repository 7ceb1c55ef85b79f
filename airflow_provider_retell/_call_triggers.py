"""The triggers that tasks defer to, without the poller: a task that defers needs only their arguments."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, ClassVar, Final

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_retell._clock import CLOCK
from airflow_provider_retell.api.patience import Patience
from airflow_provider_retell.calls.stopping import astop_until_over
from airflow_provider_retell.calls.watch import Goal, WaitFor, Watch
from airflow_provider_retell.errors import RetellError
from airflow_provider_retell.hooks import RetellHook
from airflow_provider_retell.provider.deferral import Wake, WakeEvent
from airflow_provider_retell.provider.version_compat import TRIGGERS_LEARN_OF_KILLS, is_deferred

if TYPE_CHECKING:
    from airflow_provider_retell.api.call_states import CallState
    from airflow_provider_retell.polling.poller import Poller

PUBLIC_MODULE: Final = "airflow_provider_retell.triggers"
"""The module under which Airflow stores the triggers, and from which a triggerer loads them with the poller."""

_stopping: set[asyncio.Task[None]] = set()
"""Calls being stopped after kills: an event loop alone does not keep a task alive."""

_LONGEST_SLEEP: Final = 60.0  # seconds


class RetellTimeTrigger(BaseTrigger):
    """Fire when it is time to place a call. It sends no request.

    Args:
        deadline: When to fire, in seconds since the epoch.
        not_before: As in ``RetellCallTrigger``.
        memo: As in ``RetellCallTrigger``.
    """

    __module__ = PUBLIC_MODULE

    def __init__(self, *, deadline: float, not_before: float = 0.0, memo: Mapping[str, Any] | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow does not annotate it
        self.deadline = deadline
        self.not_before = not_before
        self.memo = dict(memo or {})

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that Airflow stores."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {"deadline": self.deadline, "not_before": self.not_before, "memo": self.memo},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then fire once."""
        while (left := max(self.deadline, self.not_before) - CLOCK.now()) > 0:
            # In short steps, because the clock may be set and the machine may be suspended.
            await CLOCK.asleep(min(left, _LONGEST_SLEEP))
        yield TriggerEvent(WakeEvent(wake=Wake.OVER, deadline=self.deadline, memo=self.memo).to_payload())


class RetellCallTrigger(BaseTrigger):
    """Fire once every call has reached the goal, or at the deadline.

    Failures that say nothing about the calls (no response, 429, 5xx) are waited out. The event is a ``WakeEvent``:
    why the task continues, and the status of each call by its id; no phone numbers, no transcripts. The task reads
    the calls itself when it continues.

    See https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/deferring.html

    Args:
        call_ids: The calls.
        retell_conn_id: A connection of type ``retell``; its key is read where the trigger runs.
        deadline: When to give up, in seconds since the epoch. The calls are read at least once, even if the
            deadline has passed: they may have ended while no triggerer ran.
        poll_interval: Seconds between two polls.
        wait_for: ``ended``: until every call is over; ``analyzed``: until it has its ``call_analysis`` too.
        analysis_timeout: Seconds to wait for the analysis after the end of each call.
        cancel_on_kill: Whether to stop the calls if the task is killed while it waits.
        leave_registered: Whether a kill spares calls that have not been dialed yet.
        not_before: The earliest time to fire, in seconds since the epoch: Airflow must first notice that the
            deferring process has ended. Each deferral sets it.
        memo: Times, counts and ids that the task gets back with the event.
    """

    __module__ = PUBLIC_MODULE

    learns_of_kills: ClassVar[bool] = TRIGGERS_LEARN_OF_KILLS
    """True if Airflow calls ``on_kill``; before 3.3 it only cancels ``run``."""

    def __init__(
        self,
        *,
        call_ids: Sequence[str],
        retell_conn_id: str,
        deadline: float,
        poll_interval: float = 30,
        wait_for: WaitFor = "ended",
        analysis_timeout: float = 600,
        cancel_on_kill: bool = False,
        leave_registered: bool = False,
        not_before: float = 0.0,
        memo: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow does not annotate it
        self.call_ids = list(call_ids)
        self.retell_conn_id = retell_conn_id
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.wait_for = wait_for
        self.analysis_timeout = analysis_timeout
        self.cancel_on_kill = cancel_on_kill
        self.leave_registered = leave_registered
        self.not_before = not_before
        self.memo = dict(memo or {})
        self._fired = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that Airflow stores."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "call_ids": self.call_ids,
                "retell_conn_id": self.retell_conn_id,
                "deadline": self.deadline,
                "poll_interval": self.poll_interval,
                "wait_for": self.wait_for,
                "analysis_timeout": self.analysis_timeout,
                "cancel_on_kill": self.cancel_on_kill,
                "leave_registered": self.leave_registered,
                "not_before": self.not_before,
                "memo": self.memo,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until the wait has ended, then fire once."""
        watch: Watch[CallState] = Watch(
            self.call_ids, Goal(wait_for=self.wait_for, analysis_timeout=self.analysis_timeout)
        )
        wake, message = Wake.FAILED, ""
        try:
            try:
                wake = await self._wait(watch)
            except Exception as error:  # noqa: BLE001 (whatever it is, the task must continue and report it)
                self.log.warning("Resuming the task, because waiting for its calls failed: %s", error)
                message = f"{type(error).__name__}: {error}"
            if (left := self.not_before - CLOCK.now()) > 0:
                await CLOCK.asleep(left)
        except asyncio.CancelledError:
            if not self.learns_of_kills and self._is_for_a_task():
                await self.on_kill()
            raise
        self._fired = True
        yield TriggerEvent(self._payload(watch, wake, message))

    def _payload(self, watch: Watch[CallState], wake: Wake, message: str) -> dict[str, Any]:
        known = ((call_id, watch.calls.get(call_id)) for call_id in watch.call_ids)
        statuses = {call_id: str(call.call_status) if call else None for call_id, call in known}
        event = WakeEvent(
            wake=wake,
            deadline=self.deadline,
            calls=statuses,
            message=message,
            memo=self.memo,
            unanalyzed=watch.unanalyzed,
        )
        return event.to_payload()

    async def _wait(self, watch: Watch[CallState]) -> Wake:
        trouble, patience = "", Patience()
        due = CLOCK.monotonic() + max(0.0, self.not_before - CLOCK.now())
        async with self._poller() as poller:
            while True:
                try:
                    # The reading gets no name, which would keep it in memory until the next one.
                    progress = watch.update(await poller.read(watch.waiting, due=due), now=CLOCK.now())
                    if progress:
                        self.log.info("%s", progress)
                    watch.check()
                    patience.succeeded()
                    trouble = ""
                except RetellError as error:
                    if not patience.bears(error, now=CLOCK.monotonic()):
                        raise
                    if str(error) != trouble:
                        trouble = str(error)
                        self.log.warning("Reading the calls failed; trying again: %s", error)
                if watch.reached:
                    return Wake.OVER
                now = CLOCK.now()
                if now >= self.deadline:
                    return Wake.TIMEOUT
                due = CLOCK.monotonic() + min(self.poll_interval, self.deadline - now)

    def _poller(self) -> AbstractAsyncContextManager[Poller]:
        from airflow_provider_retell.polling.shared import shared_poller  # noqa: PLC0415 (a triggerer has loaded it)

        look_up = RetellHook(self.retell_conn_id).aget_settings
        return shared_poller(self.retell_conn_id, look_up)

    async def on_kill(self) -> None:
        """Stop the calls, if wanted, because the deferred task was marked, cleared or timed out.

        Calls of a task that is still deferred are left alone: its triggerer restarts, or hands its triggers over.
        Airflow up to 3.3.2 calls this in that case too (apache/airflow 73454); before 3.3 ``run`` calls it.
        """
        if not self.cancel_on_kill or self._fired:
            return
        # In a separate, shielded task, because the triggerer may cancel the trigger again meanwhile.
        stopping = asyncio.create_task(self._stop_calls())
        _stopping.add(stopping)
        stopping.add_done_callback(_stopping.discard)
        await asyncio.shield(stopping)

    async def _stop_calls(self) -> None:
        still_deferred = await self.still_deferred()
        if still_deferred is None:
            self.log.info(
                "The task was killed, or the triggerer is ending; Airflow does not say which. Not stopped: %s.",
                ", ".join(self.call_ids),
            )
        if still_deferred is not False:
            return
        async with self._poller() as poller:
            # All at the same time: a phone may ring for minutes before its call can be stopped.
            await asyncio.gather(*(self._stop_call(poller, call_id) for call_id in self.call_ids))

    async def _stop_call(self, poller: Poller, call_id: str) -> None:
        try:
            result = await astop_until_over(poller, call_id, leave_registered=self.leave_registered)
        except RetellError as error:
            self.log.warning("The task was killed, but %s may go on: %s", call_id, error)
        else:
            self.log.info("The task was killed: %s.", result.message)

    async def still_deferred(self) -> bool | None:
        """Return whether the task is deferred at present; None if Airflow does not say."""
        return await is_deferred(self.task_instance) if self.task_instance is not None else False

    def _is_for_a_task(self) -> bool:
        # `dag.test()` names no task; and once the deadline has passed, the task stops the calls by itself.
        return self.task_instance is not None and CLOCK.now() < self.deadline
