"""Test the speed of a campaign: lines stay busy while people are left, and the pace is reached and kept."""

from __future__ import annotations

import heapq
import random
from datetime import UTC, datetime
from itertools import pairwise
from threading import Barrier, Lock
from typing import Any

import httpx
import pytest
from test_campaign_run import Campaign, Make, campaign

from airflow_provider_retell.campaign.people.identity import CampaignIdentity
from airflow_provider_retell.campaign.people.person import Person
from airflow_provider_retell.campaign.plan.actions import Finish, Get, Look, Place, ReadList, Wait
from airflow_provider_retell.campaign.plan.checks import Checks
from airflow_provider_retell.campaign.plan.ledger import KnownCall
from airflow_provider_retell.campaign.plan.pacing import Moment, Pace
from airflow_provider_retell.campaign.plan.plan import Plan
from airflow_provider_retell.campaign.plan.roster import Roster
from airflow_provider_retell.campaign.plan.state import CampaignState
from airflow_provider_retell.outcomes import Outcome

__all__ = ["campaign"]

BEGIN = datetime(2026, 7, 6, 12, tzinfo=UTC).timestamp()
IDENTITY = CampaignIdentity.of(dag_id="dag", run_id="run", task_id="call", map_index=-1)


class Day:
    """A campaign in a time of its own, with calls of random lengths; a call is over when it is looked at."""

    def __init__(self, *, people: int, lines: int, calls_per_second: float, lengths: Any) -> None:
        given = [
            Person(row=row, to_number=f"+1206{5550000 + row}", person_id=f"person-{row}") for row in range(people)
        ]
        self.state = CampaignState(
            Roster(given, IDENTITY), checks=Checks(began_at=BEGIN), pace=Pace(calls_per_second)
        )
        self.plan = Plan(self.state, lines=lines)
        self.lengths = lengths
        self.seconds = 0.0
        self.spans: list[tuple[float, float]] = []
        self.calls: dict[str, KnownCall] = {}

    def known(self, call_id: str) -> KnownCall:
        call, (_, end) = self.calls[call_id], self.spans[int(call_id)]
        if self.seconds < end:
            return call
        fields = {"call_id": call_id, "person": call.person, "attempt": 1, "status": "ended"}
        return KnownCall(**fields, outcome=Outcome.ANSWERED, complete=True).seen_over(BEGIN + end)

    def run(self) -> None:
        while True:
            now = Moment(BEGIN + self.seconds, self.seconds)
            match self.plan.next_action(now):
                case Place() as order:
                    assert self.plan.may_send(order, now)
                    call_id = str(len(self.spans))
                    self.spans.append((self.seconds, self.seconds + self.lengths()))
                    key = IDENTITY.person(to_number=order.person.to_number, person_id=order.person.person_id)
                    self.calls[call_id] = KnownCall(call_id=call_id, person=key, attempt=1, status="ongoing")
                    self.state.placed(order, self.calls[call_id], now)
                case ReadList():
                    self.state.read(map(self.known, self.calls), began=now, now=now)
                case Look(call_ids) | Get(call_ids):
                    self.state.looked(call_ids, [self.known(each) for each in call_ids], now)
                case Wait(seconds=seconds):
                    self.seconds += seconds
                case Finish():
                    return

    def live_at_most(self) -> int:
        """Return how many calls were live at once."""
        ends: list[float] = []
        most = 0
        for begin, end in self.spans:
            while ends and ends[0] <= begin:
                heapq.heappop(ends)
            heapq.heappush(ends, end)
            most = max(most, len(ends))
        return most


@pytest.mark.parametrize(
    ("lines", "calls_per_second", "shortest", "longest"), [(20, 1, 20, 220), (100, 5, 30, 210), (5, 1, 60, 180)]
)
@pytest.mark.parametrize("seed", range(3))
def test_lines_are_busy_while_people_are_left_to_call(
    lines: int, calls_per_second: float, shortest: float, longest: float, seed: int
) -> None:
    """At least 0.95 of the time, from when all lines are taken, with calls of two minutes on average."""
    rng = random.Random(seed)  # noqa: S311 (no secret)
    day = Day(
        people=60 * lines,
        lines=lines,
        calls_per_second=calls_per_second,
        lengths=lambda: rng.uniform(shortest, longest),
    )
    day.run()
    full, last = day.spans[lines - 1][0], day.spans[-1][0]
    busy = sum(max(min(end, last) - max(begin, full), 0.0) for begin, end in day.spans)
    assert busy / (lines * (last - full)) >= 0.95
    assert day.live_at_most() == lines
    size = int(calls_per_second)
    begins = [begin for begin, _ in day.spans]
    assert all(later - earlier >= 1 for earlier, later in zip(begins, begins[size:], strict=False))


def test_with_lines_to_spare_the_pace_is_reached() -> None:
    """The pace is the only limit then: a thousand people at five a second take little more than 200 seconds."""
    day = Day(people=1000, lines=1000, calls_per_second=5, lengths=lambda: 120.0)
    day.run()
    assert 199 < day.spans[-1][0] < 210
    assert max(later[0] - earlier[0] for earlier, later in pairwise(day.spans)) <= 1.1


class SlowWire(httpx.BaseTransport):
    """A Retell that answers no request that places a call until four of them are under way."""

    def __init__(self) -> None:
        self._inner = httpx.HTTPTransport()
        self._barrier = Barrier(4, timeout=60)
        self._lock = Lock()
        self.under_way = self.most = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("create-phone-call"):
            return self._inner.handle_request(request)
        with self._lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        self._barrier.wait()
        response = self._inner.handle_request(request)
        response.read()
        with self._lock:
            self.under_way -= 1
        return response

    def close(self) -> None:
        self._inner.close()


def test_requests_run_side_by_side_if_one_at_a_time_would_be_too_slow(campaign: Make) -> None:
    """Each answer takes long, and the pace is reached all the same: several requests are under way."""
    made: Campaign = campaign(count=8, lines=8, calls_per_second=4)
    wire: Any = SlowWire()
    made.run(wire)
    assert wire.most >= 4
    made.assert_each_called_once()
