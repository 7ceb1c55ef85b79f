from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Barrier, Event, Lock

import pytest
from conftest import SteppingClock

from airflow_provider_retell.api.concurrency import RequestRate, read_details
from airflow_provider_retell.hooks import RetellHook
from airflow_provider_retell.simulator import ManualClock, Simulator

IDS = [f"call_{number}" for number in range(40)]


class Counter:
    """Reads calls, and remembers how many were being read at the same time."""

    def __init__(self, wait: Callable[[], object] = lambda: None) -> None:
        self.now, self.most, self.read = 0, 0, 0
        self._wait = wait
        self._lock = Lock()

    def __call__(self, call_id: str) -> str:
        with self._lock:
            self.now += 1
            self.read += 1
            self.most = max(self.most, self.now)
        self._wait()
        with self._lock:
            self.now -= 1
        return call_id.upper()


def test_answers_come_in_the_order_given() -> None:
    """Each id comes with its own answer, in the order given, although a later one is read sooner."""
    later = Event()

    def read(call_id: str) -> str:
        if call_id == IDS[0]:
            assert later.wait(60)
        if call_id == IDS[1]:
            later.set()
        return call_id.upper()

    assert list(read_details(read, IDS, concurrency=2)) == [(call_id, call_id.upper()) for call_id in IDS]


def test_several_are_read_at_once_and_no_more() -> None:
    """As many as wanted are under way at the same time, and never one more."""
    together = Barrier(4)
    count = Counter(lambda: together.wait(60))  # only four at the same time get beyond this
    assert len(list(read_details(count, IDS, concurrency=4))) == len(IDS)
    assert count.most == 4


def test_nothing_is_read_before_the_first_result_is_asked_for() -> None:
    """Reading keeps a few calls ahead of who takes them, however many calls there are."""
    count = Counter()
    answers = read_details(count, iter(IDS), concurrency=2)
    assert count.read == 0
    next(answers)
    answers.close()
    assert count.read <= 4


def test_the_first_error_ends_it() -> None:
    """Results before the error are returned, the error is raised, and no further read begins."""
    count = Counter()

    def read(call_id: str) -> str:
        if call_id == IDS[5]:
            raise ValueError(call_id)
        return count(call_id)

    got: list[str] = []
    with pytest.raises(ValueError, match=IDS[5]):  # noqa: PT012 (what came before the error counts)
        for call_id, _ in read_details(read, IDS, concurrency=2):
            got.append(call_id)
    assert got == IDS[:5]
    assert count.read <= 5 + 4


def test_requests_begin_at_an_even_pace(clock: SteppingClock) -> None:
    """Four a second is one each quarter of a second; time that went by otherwise is not slept again."""
    rate, begun = RequestRate(4, clock=clock), []
    for busy in (0, 0, 0.1, 5, 0):
        clock.time.advance(busy)
        rate.wait()
        begun.append(clock.now())
    first = begun[0]
    assert [round(time - first, 6) for time in begun] == [0, 0.25, 0.5, 5.5, 5.75]


def test_a_rate_holds_for_all_threads() -> None:
    """No two requests are given the same moment to begin: a thread that asks amid another's turn has the next."""

    class Interrupted(SteppingClock):
        """A clock that stands still, and at whose first reading another thread asks for its turn."""

        def monotonic(self) -> float:
            if not others:
                others.append(pool.submit(rate.wait))
                wait(others, timeout=0.1)  # without a lock it has its turn meanwhile
            return super().monotonic()

        def sleep(self, seconds: float) -> None:
            self.slept.append(seconds)

    others: list[Future[None]] = []
    clock = Interrupted(ManualClock(0))
    rate = RequestRate(1, clock=clock)
    with ThreadPoolExecutor(1) as pool:
        rate.wait()
    assert clock.slept == [1]


def test_a_hook_reads_in_threads(connect: object, simulator: Simulator) -> None:
    """The hook's blocking client serves all threads; one request a call."""
    with RetellHook() as hook:
        ids = [
            hook.register_phone_call({"agent_id": "agent_1", "to_number": "+14155550100"}).call_id
            for _ in range(12)
        ]
        read = dict(read_details(hook.get_call, ids, concurrency=4))
    assert [call.call_id for call in read.values()] == ids
    assert [request.endpoint for request in simulator.requests].count("get-call") == len(ids)
