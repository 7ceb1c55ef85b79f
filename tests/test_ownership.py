"""Test that a frozen worker does not hang up on the call that its successor has adopted."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import AIRFLOW_2, Store, TaskInstance

from airflow_provider_retell.provider.ownership import KillThread, owns_by_state, owns_replaced, owns_task


class Refusing:
    """A store that takes no value, as Airflow's when the request fails."""

    def __init__(self, detail: Any) -> None:
        self.detail = detail

    def set(self, key: str, value: Any) -> None:
        error = RuntimeError("API_SERVER_ERROR")
        error.error = SimpleNamespace(detail=self.detail)  # type: ignore[attr-defined] # as AirflowRuntimeError has it
        raise error


# -- whose task it is -----------------------------------------------------------------------------------------


def test_a_value_that_is_stored_proves_ownership() -> None:
    """Airflow 3.3 stores values for the current try only."""
    assert owns_task(TaskInstance(), Store()) is True


@pytest.mark.parametrize(
    ("detail", "owns"),
    [
        ({"status_code": 404}, False),
        ({"status_code": 500}, None),
        ({"status_code": None}, None),
        ("no details", None),
        (None, None),
    ],
)
def test_a_value_that_is_not_stored_proves_something_after_a_404_only(detail: Any, owns: bool | None) -> None:
    """A retry replaces the try, and Airflow no longer knows the old one; trouble of the network proves nothing."""
    assert owns_task(TaskInstance(), Refusing(detail)) is owns


@pytest.mark.parametrize(
    ("state", "owns"),
    [
        ("running", None),
        (None, None),
        ("scheduled", False),
        ("queued", False),
        ("up_for_retry", False),
        ("deferred", False),
        ("failed", True),
        ("success", True),
        ("restarting", True),
        ("", True),
    ],
)
def test_before_the_store_the_state_says_what_it_can(state: str | None, owns: bool | None) -> None:
    """A task with a successor is not ours; one that was marked or cleared has none, and its call is stopped."""
    assert owns_by_state(state) is owns


@pytest.mark.parametrize(
    ("state", "owns"),
    [
        ("restarting", True),
        ("", True),
        ("running", False),
        ("queued", False),
        ("up_for_retry", False),
        ("success", False),
        (None, False),
    ],
)
def test_a_try_that_a_clear_replaced_still_stops_its_call(state: str | None, owns: bool) -> None:
    """Airflow forgets a cleared try at once, so that try itself must stop its call."""
    assert owns_replaced(state) is owns


def test_without_anything_to_ask_nothing_is_known() -> None:
    """Outside of a task's process, and in Airflow 2, there is no answer."""
    assert owns_task(TaskInstance(), None) is None


@pytest.mark.skipif(AIRFLOW_2, reason="Airflow 2 has no such error")
def test_airflows_own_error_is_read() -> None:
    """The status code is found in the place in which Airflow 3 puts it."""
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType  # noqa: PLC0415 (Airflow 3 only)
    from airflow.sdk.execution_time.comms import ErrorResponse  # noqa: PLC0415

    class Unknown:
        def set(self, key: str, value: Any) -> None:
            detail = {"status_code": 404, "message": "not found"}
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail=detail))

    assert owns_task(TaskInstance(), Unknown()) is False


# -- the thread -----------------------------------------------------------------------------------------------


@contextmanager
def handled(handler: Any) -> Iterator[None]:
    """Call the handler for SIGUSR1, as Airflow calls ``on_kill`` for SIGTERM."""
    before = signal.signal(signal.SIGUSR1, lambda *_: handler())
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_kill_in_the_middle_of_a_question_does_not_wait_for_itself() -> None:
    """The interrupted task holds the plain lock of Airflow's channel; what the kill asks for waits for it."""
    channel = threading.Lock()
    done: list[bool] = []

    def ask() -> None:
        done.append(channel.acquire(timeout=30))

    thread = KillThread(ask)
    thread.start()
    with handled(thread.order):
        with channel:
            os.kill(os.getpid(), signal.SIGUSR1)
            assert not done, "the handler has returned, although the channel is taken"
        assert thread.wait(timeout=30)
    assert done == [True]


def test_a_kill_is_carried_out_once() -> None:
    """Airflow sends a second signal when the first takes too long: the call is stopped once."""
    done: list[str] = []
    thread = KillThread(lambda: done.append("hung up"))
    thread.start()
    with handled(thread.order):
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert thread.wait(timeout=30)
    assert done == ["hung up"]


def test_a_thread_that_is_dismissed_ends_without_work() -> None:
    """A process may run many tasks, as in `dag.test()`: none leaves a thread behind."""
    done: list[str] = []
    thread = KillThread(lambda: done.append("hung up"))
    thread.start()
    thread.dismiss()
    assert thread.wait(timeout=30)
    thread.order()
    assert done == []


def test_nothing_is_done_without_an_order() -> None:
    """The thread sleeps while the task goes on, and does not keep the process of a task alive."""
    done: list[str] = []
    thread = KillThread(lambda: done.append("hung up"))
    thread.start()
    mine = [it for it in threading.enumerate() if it.name == "retell-kill"][-1]
    assert not thread.wait(timeout=0)
    assert mine.daemon
    assert done == []
    thread.order()
    assert thread.wait(timeout=30)


def test_an_order_before_the_start_is_not_lost() -> None:
    """A signal may come before the task has begun to place its call."""
    done: list[str] = []
    thread = KillThread(lambda: done.append("hung up"))
    thread.order()
    assert not thread.wait(timeout=0)
    thread.start()
    thread.start()
    assert thread.wait(timeout=30)
    assert done == ["hung up"]


def test_work_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The last thing that a killed task does leaves a trace."""

    def fail() -> None:
        raise ValueError("no answer")

    thread = KillThread(fail)
    thread.start()
    thread.order()
    assert thread.wait(timeout=30)
    assert "no answer" in caplog.text
