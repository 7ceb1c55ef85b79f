"""The faults in the rows of the fault matrix."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from typing import Any

from airflow_stack import AirflowStack

from airflow_provider_retell.simulator import Fault
from fault_matrix.cells import Cell
from fault_matrix.columns import Column
from fault_matrix.stage import wait_for


def nothing(_: Any) -> None:
    """Leave the run alone."""


def no_faults(_: Column) -> Sequence[Fault]:
    """Let Retell work."""
    return ()


# -- answers that go wrong ---------------------------------------------------------------------------------------


def answered(answer: Any, **more: Any) -> Callable[[Column], Sequence[Fault]]:
    """Spoil every answer of the first try to the request that places the call."""
    return lambda column: [Fault(endpoint=column.endpoint, answer=answer, times=column.posts(answer), **more)]


def polls_answered(answer: Any, times: int) -> Callable[[Column], Sequence[Fault]]:
    """Spoil the first reads of the call."""
    return lambda _: [Fault(endpoint="get-call", answer=answer, times=times)]


def slow(seconds: float) -> Callable[[Column], Sequence[Fault]]:
    """Let reading and stopping a call take a while."""
    return lambda _: [Fault(endpoint=name, delay=seconds, times=None) for name in ("get-call", "stop-call")]


def reads_of_two_tries(column: Column) -> Sequence[Fault]:
    """Fail the reads of the call as often as two tries of code that does not wait it out would make them."""
    return [Fault(endpoint="get-call", answer=500, times=2 * column.posts(500))]


def open_after_the_first_try(cell: Cell) -> None:
    """Let the port answer once the first try has failed."""
    assert cell.port is not None
    wait_for(lambda: cell.tries > 1 or "up_for_retry" in cell.states, "the first try does not fail")
    cell.port.open()


# -- workers that die --------------------------------------------------------------------------------------------


def killed_before_the_post(cell: Cell) -> None:
    """Kill the worker when its request is on its way."""
    wait_for(lambda: cell.line.count(cell.column.endpoint), "nothing is sent")
    cell.kill_worker()


def killed_after_the_post(cell: Cell) -> None:
    """Kill the worker when the call is there and its id is not."""
    wait_for(lambda: cell.line.calls, "no call is placed")
    cell.kill_worker()


def killed_where_held(cell: Cell) -> None:
    """Kill the worker where it stands still."""
    cell.wait_until_held()
    cell.kill_worker()
    cell.release(cell.held_at)


def killed_while_waiting(cell: Cell) -> None:
    """Kill the worker that waits; of a deferred task the one that wakes it."""
    cell.wait_until_waiting()
    if not cell.column.deferrable:
        cell.kill_worker()
        return
    cell.hold("starting")
    cell.line.end_calls()
    cell.wait_until_held()
    cell.kill_worker()
    cell.release("starting")


def killed_and_unanswered(cell: Cell) -> None:
    """Kill the worker that waits; the phone stops ringing before the next try."""
    killed_while_waiting(cell)
    if not cell.column.deferrable:
        cell.line.end_calls()


def woken_too_late(cell: Cell) -> None:
    """Freeze the worker that waits until a retry waits for its call, then wake it and ask it to end."""
    cell.wait_until_waiting()
    with cell.frozen_worker():
        wait_for(lambda: cell.tries > 1 and cell.line.polled, "no retry waits for the call")


def evicted_while_waiting(cell: Cell) -> None:
    """Evict the worker that waits."""
    cell.wait_until_waiting()
    cell.evict_worker()


# -- people ------------------------------------------------------------------------------------------------------


def cleared_while_live(cell: Cell) -> None:
    """Clear the run while its call is live."""
    cell.wait_until_waiting()
    cell.clear()
    cell.wait_for_requests(cell.column.endpoint, 2)


def cleared_when_dead(cell: Cell) -> None:
    """Clear the run when its worker is dead, and Airflow does not know it yet."""
    cell.wait_until_waiting()
    cell.kill_worker()
    cell.clear()


def cleared_while_ringing(cell: Cell) -> None:
    """Clear the run while a phone rings that cannot be stopped; after a while the call is answered."""
    cell.wait_until_waiting()
    cell.clear()
    # The task that is killed tries to stop the call, and so does the one that comes after it.
    cell.wait_for_requests("stop-call", 2)
    cell.line.end_calls()
    cell.wait_for_requests(cell.column.endpoint, 2)


def cleared_without_record(cell: Cell) -> None:
    """Clear the run while a phone rings that is neither listed nor on record; after a while it is answered."""
    cell.wait_until_waiting()
    cell.forget()
    cell.clear()
    cell.wait_for_requests("list-calls", 3)  # the id that was written down would be read, and never looked for
    cell.line.end_calls()
    cell.wait_for_requests(cell.column.endpoint, 2)


def cleared_after_the_end(cell: Cell) -> None:
    """Clear the run when all is over."""
    cell.let_it_end()
    cell.clear()


def marked_failed(cell: Cell) -> None:
    """Mark the task as failed while its call is live."""
    cell.wait_until_waiting()
    cell.mark_failed()


def answered_after_the_time_out(cell: Cell) -> None:
    """Let a phone ring, which cannot be stopped, until the time of its task is over; then the call is answered."""
    # Twice before Airflow interrupts the task, and twice after that.
    cell.wait_for_requests("stop-call", 4)
    cell.line.end_calls()


# -- Airflow itself ----------------------------------------------------------------------------------------------


def restart(name: str, sig: signal.Signals, airflow: AirflowStack) -> None:
    """End a component, and start it again."""
    airflow.kill(name, sig)
    airflow.start(name)
