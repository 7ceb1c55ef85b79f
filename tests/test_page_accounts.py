"""Test what the page keeps of an account: one reading for all viewers, for which they never wait long."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import Event
from typing import Any

import pytest
from airflow.secrets import BaseSecretsBackend
from conftest import SteppingClock

from airflow_provider_retell.api.settings import ConnectionSettings, SettingsError
from airflow_provider_retell.page.accounts import LINES_KEPT, MOST_CACHES, Account, Accounts, Lines
from airflow_provider_retell.page.threads import InTurn, within


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


class Denying(BaseSecretsBackend):
    """A secrets backend that denies access, which Airflow passes on."""

    def get_connection(self, conn_id: str, **_: Any) -> Any:
        from airflow.sdk.exceptions import AirflowSecretsBackendAccessDenied  # noqa: PLC0415 (not in each version)

        message = f"{conn_id}: a secret"
        raise AirflowSecretsBackendAccessDenied(message)


def forget_backends() -> None:
    """Make Airflow read its configuration of secrets backends again."""
    with suppress(ImportError):  # before Airflow 3.3 it always does
        from airflow.sdk.configuration import clear_secrets_backends_cache  # noqa: PLC0415

        clear_secrets_backends_cache()


def test_an_error_of_a_secrets_backend_is_a_problem_of_one_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a problem with the connection, and only the type of the error is shown."""
    pytest.importorskip("airflow.api_fastapi.app", reason="Airflow before 3.1 has no such pages")
    exceptions = pytest.importorskip("airflow.sdk.exceptions")
    if not hasattr(exceptions, "AirflowSecretsBackendAccessDenied"):
        pytest.skip("this Airflow passes on no error of a backend")
    from airflow_provider_retell.page.connections import read_settings  # noqa: PLC0415 (not before Airflow 3.1)

    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", f"{__name__}.{Denying.__name__}")
    forget_backends()
    try:
        with pytest.raises(SettingsError, match=r"^Airflow cannot read it \(AirflowSecretsBackendAccessDenied\)$"):
            read_settings("denied")
    finally:
        monkeypatch.undo()
        forget_backends()


def test_only_the_books_that_are_kept_wait_to_be_read(clock: SteppingClock) -> None:
    """However many runs are looked at while Retell hangs; a cache that was dropped is no longer read."""
    executor = Held()

    def missing() -> ConnectionSettings:
        raise SettingsError("there is none")

    account = Account(missing, executor, clock=clock)
    for number in range(3 * MOST_CACHES):
        account.calls_tagged(f"run {number}.").look(wait=0)
    assert executor.run() == MOST_CACHES


def test_all_looks_begin_at_once_and_share_one_wait(clock: SteppingClock) -> None:
    """Those after one that takes all the time see what is known by then, without a wait of their own."""
    asked: list[tuple[str, float]] = []

    def look(name: str, wait: float) -> str:
        asked.append((name, wait))
        clock.sleep(wait if name == "slow" else wait / 3)
        return name

    names = ["quick", "slow", "quick", "quick"]
    assert within(1.5, [partial(look, name) for name in names]) == names
    assert [wait for _, wait in asked[:4]] == [0.0] * 4
    assert [wait for _, wait in asked[4:]] == [1.5, pytest.approx(1.0), 0.0, 0.0]


def test_an_account_that_hangs_holds_two_threads_and_no_viewer() -> None:
    """Three that hang, and one that answers: a viewer sees it, and waits once for all."""
    released, answers = Event(), [Event() for _ in range(4)]

    def look_up(conn_id: str, _team: str | None) -> ConnectionSettings:
        if conn_id != "3":
            released.wait(60)
        answers[int(conn_id)].set()
        raise SettingsError(f"there is no {conn_id}")

    store = Accounts(look_up, ThreadPoolExecutor(7))
    try:
        accounts = [store.of(f"{number}") for number in range(4)]
        for account in accounts:
            for number in range(3):
                account.calls_tagged(f"run {number}.").look(wait=0)
            account.lines(longest=0)
        assert answers[3].wait(60)
        assert "there is no 3" in str(accounts[3].lines(longest=60).problem)
        assert [each.is_set() for each in answers[:3]] == [False] * 3
    finally:
        released.set()
        store.close()


def test_work_of_one_account_ends_although_some_of_it_fails() -> None:
    """An error belongs to its future, work that is cancelled is left out, and the rest has its turn."""
    threads = Held()
    in_turn = InTurn(threads, at_once=1)
    bad, cancelled, good = (in_turn.submit(function) for function in (lambda: 1 / 0, list, dict))
    cancelled.cancel()
    while threads.waiting:
        threads.run()
    assert isinstance(bad.exception(0), ZeroDivisionError)
    assert good.result(0) == {}
