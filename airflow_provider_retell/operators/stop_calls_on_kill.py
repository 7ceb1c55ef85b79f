"""Stop all live calls of a task at the same time when the task is killed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from airflow_provider_retell.api.flows import stop
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.errors import RetellError
from airflow_provider_retell.operators.last_seconds import LAST_SECONDS, last_client
from airflow_provider_retell.provider.ownership import KillThread
from airflow_provider_retell.provider.version_compat import TASKS_ASK_A_SUPERVISOR

log = logging.getLogger(__name__)

_AT_ONCE: Final = 20


class StopCallsOnKill:
    """Note that a task is killed, and stop its calls if wanted.

    The signal handler only gives the order. A thread finds out whether this process still runs the task's current
    try, and stops the calls. On Airflow 2, which cannot say that, the handler itself stops them.

    Args:
        context: Airflow's context.
        settings: The connection.
        wanted: Whether to stop calls at all.

    Attributes:
        killed: Whether the task was killed.
        live: Returns the ids of the calls that are live.
    """

    def __init__(self, context: Mapping[str, Any], *, settings: ConnectionSettings, wanted: bool) -> None:
        self.killed = False
        self.live: Callable[[], Sequence[str]] = tuple
        self._settings = settings
        self._wanted = wanted
        self._context = context
        self._thread = KillThread(self.stop)

    def __enter__(self) -> None:
        if self._wanted and TASKS_ASK_A_SUPERVISOR:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        if self.killed and self._wanted:
            self._thread.wait(LAST_SECONDS)
        self._thread.dismiss()

    def order(self) -> None:
        """Note that the task is killed, and let its calls be stopped. Safe in a signal handler."""
        self.killed = True
        if self._wanted and TASKS_ASK_A_SUPERVISOR:
            self._thread.order()
        elif self._wanted:
            self.stop()

    def stop_if_wanted(self) -> None:
        """Stop the live calls if wanted, because the task has no time left."""
        if self._wanted:
            self.stop()

    def stop(self) -> None:
        """Stop the live calls, unless another process has the task by now."""
        if not (call_ids := self.live()):
            return
        if (client := last_client(self._context, self._settings)) is None:
            log.info("The task is killed, and another try runs it by now: its calls go on.")
            return
        with client, ThreadPoolExecutor(_AT_ONCE) as pool:
            for said in pool.map(lambda call_id: _stopped(client, call_id), call_ids):
                log.info("The task is over: %s.", said)


def _stopped(client: Any, call_id: str) -> str:
    try:
        return str(client.run(stop(call_id, leave_registered=False)).message)
    except RetellError as error:
        return f"{call_id} may go on ({error})"
