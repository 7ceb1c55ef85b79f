"""Stop the live call of a task that is killed or out of time, in the few seconds that Airflow gives it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowTaskTimeout

from airflow_provider_retell.api.flows import stop
from airflow_provider_retell.calls.stopping import stop_until_over
from airflow_provider_retell.errors import RetellCallError, RetellError
from airflow_provider_retell.operators.last_seconds import LAST_SECONDS, last_client
from airflow_provider_retell.provider.ownership import KillThread
from airflow_provider_retell.provider.version_compat import TASKS_ASK_A_SUPERVISOR

if TYPE_CHECKING:
    from airflow_provider_retell.api.client import RetellClient

log = logging.getLogger(__name__)


class StopOnKill:
    """Stop the live call if its task is killed.

    The signal handler only gives the order. A thread finds out whether this process still runs the task's current
    try, and stops the call. On Airflow 2, which cannot say that, the handler itself stops it.

    Args:
        context: Airflow's context. A process that lost its task to a retry must not stop the retry's call.
        wanted: Whether to stop calls at all.
        leave_registered: Do not stop a call that has not been dialed yet: it times out by itself.

    Attributes:
        killed: Whether the task was killed.
    """

    def __init__(self, context: Mapping[str, Any], *, wanted: bool, leave_registered: bool) -> None:
        self.killed = False
        self._wanted = wanted
        self._leave_registered = leave_registered

        self._live: tuple[str, RetellClient] | None = None
        self._context = context
        self._thread = KillThread(self._stop)

    @contextmanager
    def watching(self, call_id: str, client: RetellClient) -> Iterator[None]:
        """Stop the call if the task is killed or runs out of time inside the block.

        After the block the call goes on, and after an error too, because a retry adopts it.
        """
        self._live = (call_id, client)
        if self._wanted and TASKS_ASK_A_SUPERVISOR:
            self._thread = KillThread(self._stop)
            self._thread.start()
        try:
            if self.killed:
                self.order()  # the signal came while the request was on its way, and there was no call to stop
            yield
            self.release()
        except AirflowTaskTimeout:
            # Airflow interrupts once, and then lets the task finish.
            if self._live is not None:
                log.warning("execution_timeout is over. %s", self.give_up(call_id, client))
            self.release()
            raise
        except Exception:
            self.release()
            raise

    def give_up(self, call_id: str, client: RetellClient) -> str:
        """Stop a call that takes too long, if wanted, and return the result in a sentence."""
        if not self._wanted:
            return f"{call_id} goes on, since cancel_on_kill is off."
        try:
            result = stop_until_over(client, call_id, leave_registered=self._leave_registered)
        except RetellError as error:
            return f"{call_id} may go on, since stopping it failed ({error})."
        return f"{result.message}."

    def release(self) -> None:
        """Leave the call alone from now on."""
        self._live = None
        self._thread.dismiss()

    def order(self) -> None:
        """Note that the task is killed, and let its call be stopped. Safe in a signal handler."""
        self.killed = True
        if self._live is None or not self._wanted:
            return
        if TASKS_ASK_A_SUPERVISOR:
            self._thread.order()
        else:
            self._stop()

    def check(self) -> None:
        """Raise if the task was killed, after its call was stopped.

        Airflow lets a killed task run for some seconds: long enough to place a call, or to see one end.
        """
        if self.killed:
            call_ids = () if self._live is None else (self._live[0],)
            if call_ids and self._wanted:
                self._thread.wait(LAST_SECONDS)
            raise RetellCallError("The task was killed.", call_ids=call_ids)

    def _stop(self) -> None:
        if (live := self._live) is None:
            return
        call_id, client = live
        if (last := last_client(self._context, client.settings)) is None:
            log.info("The task is killed, and another try runs it by now: %s goes on.", call_id)
            return
        try:
            with last:
                result = last.run(stop(call_id, leave_registered=self._leave_registered))
                log.info("The task is killed: %s.", result.message)
        except RetellError as error:
            log.warning("The task is killed, and %s may go on: %s", call_id, error)
