"""Find out whether this process still runs its task's current try, before it hangs up on a call.

A frozen worker may wake up long after Airflow has given it up and a retry has adopted its call. The signal that
then ends the first process must not end the call of the second.

Questions to Airflow go through a channel with a plain lock, so a signal handler that asks while the task is in the
middle of a question would wait for itself. Therefore the handler only gives an order, and a ``KillThread`` asks
and acts.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from airflow.providers.common.compat.sdk import TaskInstanceState

from airflow_provider_retell.provider.version_compat import task_state

log = logging.getLogger(__name__)

_KEY: Final = "retell_owner"
_NOT_FOUND: Final = 404
_WITH_A_SUCCESSOR: Final = frozenset(
    {
        TaskInstanceState.SCHEDULED,
        TaskInstanceState.QUEUED,
        TaskInstanceState.UP_FOR_RETRY,
        TaskInstanceState.DEFERRED,
    }
)
"""States in which another process has or will have the task; this process's own would be ``running``."""

_WITHOUT_A_SUCCESSOR: Final = frozenset({TaskInstanceState.RESTARTING, ""})
"""States of a task that was cleared or deleted: no other process runs it yet."""


class StateStore(Protocol):
    """The part of Airflow's task state store that is needed here."""

    def set(self, key: str, value: Any) -> None:
        """Store a value."""


def owns_task(ti: Any, store: StateStore | None) -> bool | None:
    """Return whether this process's try is the current one of its task; None if that cannot be known.

    ===============  =======================================================  ========
    Airflow          what it says                                             result
    ===============  =======================================================  ========
    3.3 and later    it stores a value for this try                           True
    3.3 and later    it no longer knows this try (a retry replaced it)        False
    3.3 and later    the same, but the task was cleared, or its run deleted   True
    3.0 to 3.2       the task is scheduled, queued, up for retry or deferred  False
    3.0 to 3.2       the task runs: here, or in a later try                   None
    3.0 to 3.2       the task was marked or cleared                           True
    2.11             nothing                                                  None
    any              no answer                                                None
    ===============  =======================================================  ========

    Call it from a thread, never from a signal handler.

    Args:
        ti: The task instance.
        store: ``context["task_state_store"]``. Only writing proves anything, because reading does not distinguish
            between "no such try" and "no such value".
    """
    if store is None:
        return owns_by_state(task_state(ti))
    try:
        store.set(_KEY, True)
    except Exception as error:  # noqa: BLE001 (whatever it is, it is no answer)
        return owns_replaced(task_state(ti)) if _status_code(error) == _NOT_FOUND else None
    return True


def owns_replaced(state: str | None) -> bool:
    """Return whether this process owns the task, by the task's state, if Airflow no longer knows the try.

    A clear replaces the try at once, before Airflow ends the process, and means that the call should be stopped.
    """
    return state in _WITHOUT_A_SUCCESSOR


def owns_by_state(state: str | None) -> bool | None:
    """Return whether this process owns the task, by the task's state alone, as in the table of ``owns_task``."""
    if state is None or state == TaskInstanceState.RUNNING:
        return None
    return state not in _WITH_A_SUCCESSOR


def _status_code(error: Exception) -> object:
    # Airflow's AirflowRuntimeError, which is not importable in Airflow 2.
    detail = getattr(getattr(error, "error", None), "detail", None)
    return detail.get("status_code") if isinstance(detail, Mapping) else None


class KillThread:
    """Do the work after a kill outside the signal handler, which only orders it.

    >>> thread = KillThread(lambda: print("hung up"))
    >>> thread.start()
    >>> thread.order()
    >>> thread.wait(timeout=5)
    hung up
    True

    Args:
        work: Called once. It may block, and use locks that the interrupted task holds.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._orders: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread once. It sleeps until the order comes, and does not keep the process alive."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="retell-kill", daemon=True)
            self._thread.start()

    def order(self) -> None:
        """Order the work, which is done once, however often it is ordered. Safe in a signal handler."""
        # Only a SimpleQueue guarantees that a handler may interrupt a put with another one.
        self._orders.put(True)

    def dismiss(self) -> None:
        """End the thread, unless an order came before."""
        self._orders.put(False)

    def wait(self, timeout: float) -> bool:
        """Wait until the work is done; return whether it is.

        Args:
            timeout: Seconds. Not in a signal handler: the interrupted task may hold what the work waits for.
        """
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is not None and not self._thread.is_alive()

    def _run(self) -> None:
        if not self._orders.get():
            return
        try:
            self._work()
        except Exception:
            log.exception("The work after a kill could not be done.")
