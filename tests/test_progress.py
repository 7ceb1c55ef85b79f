from __future__ import annotations

import json

from conftest import SteppingClock

from airflow_provider_retell.export.progress import Progress, Pulse, Section
from airflow_provider_retell.export.tally import Tally

ROWS = [
    {"outcome": "answered", "start_timestamp": 2000, "duration_ms": 1500, "call_cost": {"combined_cost": 0.1}},
    {"outcome": "answered", "start_timestamp": 1000, "duration_ms": 500, "call_cost": {"combined_cost": 0.2}},
    {"outcome": "busy", "duration_ms": None, "call_cost": None},
    {"outcome": None, "start_timestamp": 3000, "duration_ms": "long", "call_cost": {"combined_cost": None}},
]


def tally(rows: list[dict[str, object]]) -> Tally:
    counted = Tally()
    for row in rows:
        counted.add(row)
    return counted


def test_a_summary_counts_what_there_is() -> None:
    """Cents are added exactly; what has no outcome is unfinished, what has no start is undated."""
    assert tally(ROWS).summary() == {
        "calls": 4,
        "outcomes": {"answered": 2, "busy": 1},
        "talk_seconds": 2.0,
        "cost_cents": 0.3,
        "first_start": "1970-01-01T00:00:01.000+00:00",
        "last_start": "1970-01-01T00:00:03.000+00:00",
        "unfinished": 1,
        "undated": 1,
        "deleted": 0,
        "unreadable": 0,
        "recordings": 0,
    }
    assert Tally().summary()["first_start"] is None


def test_progress_survives_being_written_down() -> None:
    """Through JSON and back, and on from there, it counts as if nothing had happened."""
    chunks = {Section.DATED: 3, Section.UNDATED: 1}
    before = Progress(section=Section.UNDATED, cursor="abc", chunks=chunks, pages=2, tally=tally(ROWS[:2]))
    after = Progress.from_json(json.loads(json.dumps(before.to_json())))
    assert after == before
    rows = {"calls-000000", "calls-000001", "calls-000002", "undated-000000"}
    assert after.names() == rows | {"page-000000", "page-000001"}
    for row in ROWS[2:]:
        after.tally.add(row)
    assert after.tally.summary() == tally(ROWS).summary()


def test_the_log_hears_every_half_minute_how_long_it_will_take(clock: SteppingClock) -> None:
    """Calls so far and a second, how much of the interval, and how long the rest takes at that speed."""
    counted = Tally()
    pulse = Pulse(clock, counted, start=0, end=4000)
    counted.add(ROWS[1])
    clock.time.advance(20)
    assert pulse.line() is None
    clock.time.advance(20)
    assert pulse.line() == "Calls so far: 1, 0 per second; 25% of the interval, about 120 s to go"
    assert pulse.line() is None


def test_a_resumed_export_estimates_by_its_own_speed(clock: SteppingClock) -> None:
    """Calls that an earlier try has read do not count for the speed of this one."""
    counted = tally([ROWS[0]])
    pulse = Pulse(clock, counted, start=0, end=4000)
    clock.time.advance(40)
    assert pulse.line() == "Calls so far: 1, 0 per second"
    counted.add(ROWS[3])
    clock.time.advance(40)
    assert pulse.line() == "Calls so far: 2, 0 per second; 75% of the interval, about 80 s to go"
