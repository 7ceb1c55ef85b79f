"""Test what the page keeps of an account: one reading for all viewers, for which they never wait long."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from conftest import SteppingClock

from airflow_provider_retell.api.settings import ConnectionSettings, SettingsError
from airflow_provider_retell.page.accounts import LINES_KEPT, MOST_BOOKS, Account, Lines


class Held(Executor):
    """An executor whose threads are all busy, until the test runs what waits for them."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = Future[Any]()
        self.waiting.append((future, lambda: function(*args, **kwargs)))
        return future

    def run(self) -> int:
        """Run what waits and is not cancelled; return how many that was."""
        waiting, self.waiting = self.waiting, []
        chosen = [(future, function) for future, function in waiting if future.set_running_or_notify_cancel()]
        for future, function in chosen:
            future.set_result(function())
        return len(chosen)


def test_viewers_share_one_reading_of_the_lines_however_long_it_takes(clock: SteppingClock) -> None:
    """They see what is known meanwhile, and a reading counts as new when it ends."""

    def slow() -> ConnectionSettings:
        clock.sleep(3 * LINES_KEPT)
        raise SettingsError("it took too long")

    executor = Held()
    account = Account(slow, executor, clock=clock)
    assert [account.lines(longest=0) for _ in range(6)] == [Lines()] * 6
    assert executor.run() == 1
    for _ in range(6):
        problem = account.lines(longest=0).problem
        assert problem is not None
        assert "it took too long" in problem
    assert executor.run() == 0
    clock.sleep(LINES_KEPT)
    account.lines(longest=0)
    assert executor.run() == 1


def test_only_the_books_that_are_kept_wait_to_be_read(clock: SteppingClock) -> None:
    """However many runs are looked at while Retell hangs; a book that was dropped is no longer read."""
    executor = Held()

    def missing() -> ConnectionSettings:
        raise SettingsError("there is none")

    account = Account(missing, executor, clock=clock)
    for number in range(3 * MOST_BOOKS):
        account.calls_tagged(f"run {number}.").look(wait=0)
    assert executor.run() == MOST_BOOKS
