"""The parts of which a campaign's decisions are made: identity, ledger, checks, pace, list, queue, trouble."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_retell.api.call_rows import CallRow
from airflow_provider_retell.calls.intent import tag_of
from airflow_provider_retell.campaign.people.identity import CampaignIdentity, PersonKey, TaggedAttempt
from airflow_provider_retell.campaign.people.person import Person, Refusal
from airflow_provider_retell.campaign.plan.calls_in_progress import READS_PER_ROUND, CallsInProgress
from airflow_provider_retell.campaign.plan.checks import (
    Checks,
    Dial,
    Later,
    NotCalled,
    NotEligible,
    Refuse,
    Verdict,
)
from airflow_provider_retell.campaign.plan.ledger import KnownCall, attempts_of, merge, read_call, redial_at
from airflow_provider_retell.campaign.plan.pacing import MARGIN, Pace, SteadyTime, free_lines
from airflow_provider_retell.campaign.plan.queue import Queue
from airflow_provider_retell.campaign.plan.roster import Lane, Slot, Turn
from airflow_provider_retell.outcomes import Outcome
from airflow_provider_retell.policy import Attempt, AttemptLimit, CallingHours, Redial

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A machine that is busy with something else breaks no rule."""

NOON = datetime(2026, 7, 6, 12, tzinfo=UTC).timestamp()
END_OF_TIME = datetime.max.replace(tzinfo=UTC).timestamp()
ADA = PersonKey(number=1, id=2)


def identity(**other: Any) -> CampaignIdentity:
    """Return the identity of a campaign."""
    return CampaignIdentity.of(**{"dag_id": "dag", "run_id": "run", "task_id": "call", "map_index": 0, **other})


def person(row: int = 0, **fields: Any) -> Person:
    """Return one of the people."""
    number = f"+1415555{100 + row:04d}"
    return Person(**{"row": row, "to_number": number, "person_id": number, **fields})


def call(**fields: Any) -> KnownCall:
    """Return a call."""
    return KnownCall(**{"call_id": "call_1", "person": ADA, "attempt": 1, "status": "registered", **fields})


def over(at: float, outcome: Outcome = Outcome.ANSWERED, **fields: Any) -> KnownCall:
    """Return a call that is over."""
    return call(**{"status": "ended", "outcome": outcome, "complete": True, **fields}).seen_over(at)


# -- identity ------------------------------------------------------------------------------------------------


def test_a_tag_names_person_and_attempt_and_a_key_the_number() -> None:
    """A new id for the same number has another tag and the same key: it is the same person."""
    campaign = identity()
    ada = campaign.person(to_number="+14155550100", person_id="ada")
    renamed = campaign.person(to_number="+14155550100", person_id="countess")
    assert campaign.read(campaign.tag(ada, 3)) == TaggedAttempt(ada, 3, same_map_index=True)
    assert campaign.key(ada, 3) == campaign.key(renamed, 3) != campaign.key(ada, 4)
    assert campaign.tag(ada, 3) != campaign.tag(renamed, 3)


def test_the_tags_of_siblings_begin_alike_and_their_keys_are_equal() -> None:
    """One request lists the calls of all map indexes; a person who is in two of their lists has one key."""
    first, second = identity(), identity(map_index=1)
    ada = first.person(to_number="+14155550100", person_id="ada")
    assert second.person(to_number="+14155550100", person_id="ada") == ada
    assert first.tag(ada, 1).startswith(second.beginning)
    assert second.read(first.tag(ada, 1)) == TaggedAttempt(ada, 1, same_map_index=False)
    assert first.key(ada, 1) == second.key(ada, 1)


@pytest.mark.parametrize("other", [{"dag_id": "x"}, {"run_id": "x"}, {"task_id": "x"}, {"namespace": "x"}])
def test_another_task_knows_nothing_of_a_tag(other: dict[str, str]) -> None:
    """Another task has other tags and other digests for the same person."""
    ours, theirs = identity(), identity(**other)
    ada = ours.person(to_number="+14155550100", person_id="ada")
    assert theirs.read(ours.tag(ada, 1)) is None
    assert theirs.person(to_number="+14155550100", person_id="ada") != ada
    assert theirs.key(ada, 1) != ours.key(ada, 1)


@pytest.mark.parametrize("metadata", [None, [], ["x"], "x", 7, {}])
def test_metadata_that_is_no_object_holds_no_tag(metadata: object) -> None:
    """An answer may be odd; the campaign goes on."""
    call = CallRow.read({"call_id": "call_1", "metadata": metadata})
    assert identity().read(tag_of(call)) is None


@pytest.mark.parametrize("tag", [None, 7, "", "x", {"a": 1}])
def test_a_tag_of_another_task_is_not_read(tag: object) -> None:
    """Users have metadata of their own."""
    assert identity().read(tag) is None


def test_a_tag_of_a_call_without_a_person_is_none() -> None:
    """A tag that begins like one of ours but is shorter or longer is not read."""
    tag = identity().tag(ADA, 1)
    assert identity().read(tag[:-6]) is None
    assert identity().read(f"{tag}.1") is None


# -- the ledger ----------------------------------------------------------------------------------------------

LIVE, OVER = call(placed_at=NOON), over(NOON + 60)
VANISHED = LIVE.vanished(NOON + 500)
LATER = over(NOON + 90, cost_cents=7, talk_seconds=30)


@pytest.mark.parametrize(
    ("known", "seen", "becomes"),
    [
        (None, LIVE, LIVE),
        (LIVE, call(status="ongoing"), call(status="ongoing", placed_at=NOON)),
        (LIVE, OVER, over(NOON + 60, placed_at=NOON)),
        (OVER, LATER, over(NOON + 60, cost_cents=7, talk_seconds=30)),
        (LATER, OVER, over(NOON + 60, cost_cents=7, talk_seconds=30)),
        (OVER, LIVE, over(NOON + 60, placed_at=NOON)),
        (VANISHED, OVER, over(NOON + 60, placed_at=NOON)),
        (VANISHED, LIVE, LIVE),
        (LIVE, VANISHED, VANISHED),
        (OVER, VANISHED, over(NOON + 60, placed_at=NOON)),
    ],
)
def test_two_sources_about_one_call_become_one(
    known: KnownCall | None, seen: KnownCall, becomes: KnownCall
) -> None:
    """The table of the module."""
    assert merge(known, seen) == becomes


KNOWN = st.sampled_from([LIVE, OVER, LATER, over(NOON + 10, ended_at=NOON + 5), over(NOON + 99, placed_at=NOON)])


@patient
@given(st.lists(KNOWN, min_size=1), st.randoms())
def test_the_order_of_the_sources_changes_no_time_and_no_ending(calls: list[KnownCall], random: Any) -> None:
    """Files and list may be read in any order, and again."""

    def merged(order: list[KnownCall]) -> tuple[Any, ...]:
        known: KnownCall | None = None
        for each in order:
            known = merge(known, each)
        assert known is not None
        return known.outcome, known.placed_at, known.seen_over_at, known.ended_at, known.cost_cents

    shuffled = list(calls)
    random.shuffle(shuffled)
    assert merged(calls) == merged(shuffled) == merged(shuffled + calls)


TAGGED = TaggedAttempt(ADA, 2, same_map_index=True)


def test_a_call_is_read_with_its_times() -> None:
    """Retell's milliseconds become seconds; its word on the end counts unless it lies ahead."""
    fields = {
        "call_id": "call_1",
        "call_status": "ended",
        "disconnection_reason": "user_hangup",
        "start_timestamp": int(NOON * 1000),
        "end_timestamp": int(NOON * 1000) + 60_000,
        "duration_ms": 60_000,
        "call_cost": {"combined_cost": 12.5},
    }
    known = read_call(CallRow.read(fields), TAGGED, now=NOON + 90)
    assert (known.outcome, known.attempt, known.complete) == (Outcome.ANSWERED, 2, False)
    assert (known.placed_at, known.ended_at, known.seen_over_at) == (NOON, NOON + 60, NOON + 90)
    assert (known.talk_seconds, known.cost_cents) == (60, 12.5)
    ahead = read_call(CallRow.read(fields), TAGGED, now=NOON + 30)
    assert ahead.ended_at == NOON + 30


def test_a_call_that_never_connected_has_the_times_of_a_file_or_of_now() -> None:
    """Retell gives no times for such a call, so those of a file, or the present, count."""
    fields = {"call_id": "call_1", "call_status": "not_connected", "disconnection_reason": "dial_busy"}
    fresh = read_call(CallRow.read(fields), TAGGED, now=NOON)
    assert (fresh.happened_at, fresh.ended_at, fresh.complete) == (NOON, NOON, True)
    written = read_call(CallRow.read(fields), TAGGED, now=NOON, placed_at=NOON - 90, seen_over_at=NOON - 60)
    assert (written.happened_at, written.ended_at) == (NOON - 90, NOON - 60)


@pytest.mark.parametrize("odd", [-1, 0, 10**17, 1e300, float("inf")])
def test_an_odd_time_of_retell_counts_as_not_known(odd: float) -> None:
    """A call that began in 1970 would be given up at once, and one that ends in a million years never be over."""
    fields = {"call_id": "call_1", "call_status": "ongoing", "start_timestamp": odd, "end_timestamp": odd}
    live = read_call(CallRow.read(fields), TAGGED, now=NOON)
    assert (live.placed_at, live.ended_at) == (None, None)
    ended = read_call(CallRow.read({**fields, "call_status": "ended"}), TAGGED, now=NOON)
    assert (ended.placed_at, ended.ended_at) == (None, NOON)


@pytest.mark.parametrize("status", ["registered", "ongoing", None, "paused"])
def test_a_call_in_any_other_status_is_live(status: str | None) -> None:
    """A status that is not known is not over."""
    known = read_call(CallRow.read({"call_id": "call_1", "call_status": status}), TAGGED, now=NOON)
    assert known.live
    assert known.seen_over_at is None


HOURLY = [
    Redial("no_answer", after=timedelta(hours=1), times=1),
    Redial("busy", after=timedelta(hours=2), times=2),
]


@pytest.mark.parametrize(
    ("outcomes", "hours"),
    [
        (["no_answer"], 1),
        (["no_answer", "no_answer"], None),
        (["no_answer", "busy"], 2),
        (["no_answer", "busy", "busy"], 2),
        (["no_answer", "busy", "busy", "busy"], None),
        (["answered"], None),
        (["do_not_call"], None),
    ],
)
def test_each_rule_counts_for_itself(outcomes: list[str], hours: int | None) -> None:
    """``times`` is per rule, ``after`` runs from the end of the last call."""
    calls = [over(NOON, Outcome(word), attempt=n, call_id=f"call_{n}") for n, word in enumerate(outcomes, start=1)]
    assert redial_at(calls, HOURLY) == (None if hours is None else NOON + hours * 3600)


def test_nothing_is_known_of_a_call_that_retell_forgot() -> None:
    """No rule names its ending, not even one that names ``unknown``."""
    rules = [Redial("unknown", after=timedelta(hours=1), times=1)]
    assert redial_at([over(NOON, Outcome.UNKNOWN)], rules) == NOON + 3600
    assert redial_at([LIVE.vanished(NOON)], rules) is None


def test_attempts_are_in_the_order_of_their_numbers() -> None:
    """An earlier attempt that is known without times must not pass for the last one."""
    first = over(NOON + 600, Outcome.BUSY)  # first seen over by a new process
    second = over(NOON, Outcome.ANSWERED, attempt=2, placed_at=NOON - 60)
    assert [each.outcome for each in attempts_of([first, second])] == ["busy", "answered"]
    assert redial_at([first, second], HOURLY) is None


# -- the checks ----------------------------------------------------------------------------------------------

SHUT = CallingHours("13:00", "14:00", time_zone="UTC")
NEVER_IN_TIME = CallingHours("18:00", "19:00", time_zone="UTC")
OPEN_BEFORE = CallingHours("08:00", "11:00", time_zone="UTC")
TOLL_FREE = "+18005550100"
ONE_A_DAY = AttemptLimit(1, per=timedelta(days=1))
ONE_A_WEEK = AttemptLimit(1, per=timedelta(days=7))
UNTIL = NOON + 4 * 3600


def history(hours_ago: float, outcome: str | None = "no_answer") -> Callable[[Person], Mapping[str, Attempt]]:
    placed_at = datetime.fromtimestamp(NOON, UTC) - timedelta(hours=hours_ago)
    return lambda _person: {"call_9": Attempt(placed_at=placed_at, ended_at=placed_at, outcome=outcome)}


@pytest.mark.parametrize(
    ("checks", "fields", "verdict"),
    [
        ({}, {}, Dial()),
        ({"until": NOON}, {}, NotCalled()),
        ({"until": NOON, "hours": OPEN_BEFORE}, {}, NotCalled()),
        ({"until": NOON, "hours": SHUT}, {}, Refusal.OUTSIDE_HOURS),
        ({}, {"not_after": NOON}, NotCalled()),
        ({}, {"not_before": NOON + 1}, Later(NOON + 1)),
        ({"until": UNTIL}, {"not_before": UNTIL}, NotCalled()),
        ({"hours": CallingHours()}, {"to_number": TOLL_FREE}, Refusal.NO_TIME_ZONE),
        (
            {"hours": CallingHours()},
            {"to_number": TOLL_FREE, "time_zone": "America/Atlantis"},
            Refusal.NO_TIME_ZONE,
        ),
        ({"hours": CallingHours()}, {"to_number": TOLL_FREE, "time_zone": "Europe/Berlin"}, Dial()),
        ({"hours": SHUT}, {}, Later(NOON + 3600)),
        ({"hours": CallingHours("12:01", "13:00", time_zone="UTC")}, {}, Later(NOON + 60)),
        ({"hours": SHUT}, {"not_after": NOON + 3600}, Refusal.OUTSIDE_HOURS),
        ({"hours": NEVER_IN_TIME, "until": UNTIL}, {}, Refusal.OUTSIDE_HOURS),
        ({"hours": OPEN_BEFORE, "until": UNTIL}, {}, NotCalled()),
        ({"hours": OPEN_BEFORE, "until": UNTIL}, {"not_before": NOON - 60}, Refusal.OUTSIDE_HOURS),
        ({"hours": SHUT, "until": NOON}, {"not_before": END_OF_TIME}, NotCalled()),
        ({"listed": lambda number: number == "+14155550100"}, {}, Refusal.DO_NOT_CALL),
        ({"listed": lambda number: number == "+14155550101"}, {}, Dial()),
        ({"history": history(999, "do_not_call")}, {}, Refusal.DO_NOT_CALL),
        ({"limit": ONE_A_DAY, "history": history(25)}, {}, Dial()),
        ({"limit": ONE_A_DAY, "history": history(23)}, {}, Later(NOON + 3600)),
        ({"limit": ONE_A_DAY, "history": history(20), "until": UNTIL}, {}, Refusal.ATTEMPT_LIMIT),
        ({"limit": ONE_A_WEEK, "history": history(1)}, {}, Refusal.ATTEMPT_LIMIT),
        ({"limit": ONE_A_WEEK, "history": history(1, "capacity")}, {}, Dial()),
        ({"eligible": lambda _person, _calls: NotEligible("paid")}, {}, Refuse(Refusal.NOT_ELIGIBLE, "paid")),
        (
            {"eligible": lambda _person, _calls: NotEligible("broken", failed=True)},
            {},
            Refuse(Refusal.NOT_ELIGIBLE, "broken", failed=True),
        ),
    ],
)
def test_a_person_is_dialed_unless_a_check_speaks_against_it(
    checks: dict[str, Any], fields: dict[str, Any], verdict: Verdict | Refusal
) -> None:
    """The table of the module."""
    found = Checks(**{"began_at": NOON - 3 * 3600, **checks}).verdict(person(**fields), (), NOON)
    assert found == verdict if not isinstance(verdict, Refusal) else isinstance(found, Refuse)
    if isinstance(verdict, Refusal) and isinstance(found, Refuse):
        assert found.reason == verdict


@patient
@given(now=st.floats(NOON, NOON + 3600))
def test_a_person_who_may_be_called_is_dialed_at_any_fraction_of_a_second(now: float) -> None:
    """Hours and attempts are datetimes, whose microseconds may lie just ahead of the clock: that is no wait."""
    hours = CallingHours("12:00", "14:00", time_zone="UTC")
    checks = Checks(began_at=NOON, hours=hours, limit=ONE_A_DAY, history=history(25))
    assert checks.verdict(person(), (), now) == Dial()
    assert checks.time_verdict(person(), now) == Dial()


def test_the_checks_come_in_their_order() -> None:
    """The first that speaks against it is the reason; ``eligible`` may be slow and is asked last."""
    asked: list[str] = []

    def note(name: str, answer: Any) -> Callable[..., Any]:
        return lambda *_: (asked.append(name), answer)[1]

    checks = Checks(
        listed=note("do_not_call", False),
        history=note("history", {}),
        eligible=note("eligible", None),
        limit=ONE_A_DAY,
    )
    assert checks.verdict(person(), (), NOON) == Dial()
    assert asked == ["do_not_call", "history", "eligible"]
    asked.clear()
    Checks(hours=SHUT, listed=note("do_not_call", True)).verdict(person(), (), NOON)
    assert asked == []
    checks = Checks(listed=note("do_not_call", True), history=note("history", {}), eligible=note("eligible", None))
    checks.verdict(person(), (), NOON)
    assert asked == ["do_not_call"]


def test_attempts_of_this_run_count_once_though_the_history_has_them_too() -> None:
    """A campaign's own files may lie under its history."""
    made = over(NOON - 7200, Outcome.NO_ANSWER, call_id="call_9", placed_at=NOON - 7200)
    two_a_day = AttemptLimit(2, per=timedelta(days=1))
    checks = Checks(limit=two_a_day, history=history(2))
    assert checks.verdict(person(), (made,), NOON) == Dial()
    other = over(NOON - 3600, Outcome.NO_ANSWER, placed_at=NOON - 3600)
    assert checks.verdict(person(), (other,), NOON) == Later(NOON + 22 * 3600)


def test_a_call_that_found_no_line_counts_nowhere_though_the_history_has_its_placing() -> None:
    """The history may have the row without an ending, and this run knows better."""
    made = over(NOON - 7200, Outcome.CAPACITY, call_id="call_9", placed_at=NOON - 7200)
    checks = Checks(limit=ONE_A_DAY, history=history(2, None))
    assert isinstance(checks.verdict(person(), (), NOON), Later)
    assert checks.verdict(person(), (made,), NOON) == Dial()


def test_who_asked_never_to_be_called_again_in_this_run_is_not() -> None:
    """Whatever ``redial`` says."""
    said = over(NOON, Outcome.DO_NOT_CALL)
    found = Checks().verdict(person(), (said,), NOON)
    assert isinstance(found, Refuse)
    assert found.reason == Refusal.DO_NOT_CALL


# -- the pace ------------------------------------------------------------------------------------------------


@patient
@given(
    rate=st.sampled_from([0.5, 1, 1.5, 2, 2.5, 3.9, 5, 16]),
    gaps=st.lists(st.floats(0, 3, allow_nan=False), min_size=1, max_size=60),
)
def test_in_no_second_more_than_the_rate(rate: float, gaps: list[float]) -> None:
    """However quiet it was before; and no call waits for longer than that. A fraction spaces the calls evenly."""
    pace, now, taken = Pace(rate), 0.0, list[float]()
    size = int(rate) if rate % 1 == 0 else 1
    for gap in gaps:
        now += gap
        if pace.wait(now) == 0:
            pace.take(now)
            taken.append(now)
        else:
            assert pace.wait(now) == pytest.approx(taken[-size] + (1 + MARGIN) * size / rate - now)
    assert max((sum(at <= other < at + 1 for other in taken) for at in taken), default=0) <= math.ceil(rate)
    assert all(later - earlier >= size / rate for earlier, later in zip(taken, taken[size:], strict=False))


def test_a_request_that_was_held_up_counts_when_it_is_sent() -> None:
    """Otherwise it could arrive together with the requests that came after it."""
    pace = Pace(1)
    pace.take(0)
    assert pace.move(0, 0.5)
    assert pace.wait(1.1) == pytest.approx(0.42)
    late = Pace(1)
    late.take(0)
    late.take(1.1)
    assert not late.move(0, 1.2)


def test_pauses_double_and_are_forgotten_after_a_success() -> None:
    """Requests that fail at the same time count once; Retell's Retry-After is followed."""
    pace = Pace(100)
    now, waits = 0.0, []
    for _ in range(7):
        pace.slow_down(now)
        pace.slow_down(now)
        waits.append(pace.wait(now))
        pace.recover(now)  # during the pause: a call from before it
        now += waits[-1]
    assert waits == [5, 10, 20, 40, 80, 120, 120]
    pace.recover(now)
    pace.slow_down(now)
    assert pace.wait(now) == 5
    pace.slow_down(now, asked=60)
    assert pace.wait(now) == 60


def test_steady_time_moves_by_the_larger_step() -> None:
    """Neither a suspended machine nor a wall clock that is set back makes anything look younger."""
    time = SteadyTime(wall=NOON, boot=100)
    assert time.read(wall=NOON + 1, boot=101) == (NOON + 1, 1)
    assert time.read(wall=NOON + 3600, boot=102).steady == 3600  # the wall clock was set, or boot stood still
    assert time.read(wall=NOON, boot=103).steady == 3601
    assert time.read(wall=NOON, boot=103).steady == 3601


def test_lines_of_others_and_reserved_ones_are_left_alone() -> None:
    """The account's lines, minus the reserved ones, minus those that others use now."""
    assert free_lines(limit=20, reserved=5, in_use=9, own=6) == 12
    assert free_lines(limit=20, reserved=5, in_use=30, own=0) == 0
    assert free_lines(limit=20, reserved=0, in_use=3, own=5) == 20  # theirs is older than ours


# -- queue and calls in progress ---------------------------------------------------------------------------


@patient
@given(st.data())
def test_the_queue_gives_who_is_due_in_turn(data: st.DataObject) -> None:
    """The queue returns people in the same order as a list that is sorted each time."""
    slots = [Slot(person(row)) for row in range(6)]
    queue, entries = Queue(), dict[int, tuple[Lane, Turn, float]]()
    now, others = 0.0, 0

    def expected() -> list[int]:
        """Return the first one of each lane; the regular one is the last after five of its requests."""
        due_now = [(*entry, row) for row, entry in entries.items() if entry[2] <= now]
        heads = []
        for lane in Lane:
            regular = lane is Lane.REGULAR
            waiting = [
                ((turn, 0 if turn is Turn.FIRST else due, row) if regular else (due, row))
                for each, turn, due, row in due_now
                if each is lane
            ]
            heads += [(regular is (others >= 5), lane, min(waiting)[-1])] if waiting else []
        return [int(row) for _, _, row in sorted(heads)]

    for _ in range(data.draw(st.integers(1, 40))):
        slot = data.draw(st.sampled_from(slots))
        match data.draw(st.sampled_from(["add", "add", "discard", "pass", "pop", "pop"])):
            case "add":
                turn, due = data.draw(st.sampled_from(Turn)), data.draw(st.sampled_from([0.0, 1.0, 2.0, 5.0, 9.0]))
                slot.turned_away = data.draw(st.sampled_from([0, 0, 1, 2, 7]))
                queue.add(slot, turn, due)
                entries[slot.person.row] = (slot.lane, turn, due)
            case "discard":
                queue.discard(slot)
                entries.pop(slot.person.row, None)
            case "pass":
                now += 2
            case "pop" if (head := next(queue.heads(now), None)) is not None:
                others = others + 1 if head.lane is Lane.REGULAR else 0
                queue.sent(head.lane)
                queue.discard(head)
                del entries[head.person.row]
        assert [head.person.row for head in queue.heads(now)] == expected()
        later = [due for _, _, due in entries.values() if due > now]
        assert queue.next_due() == min(later, default=None)
        assert len(queue) == len(entries)
        assert [queue.count(turn) for turn in Turn] == [
            sum(t is turn for _, t, _ in entries.values()) for turn in Turn
        ]
    assert sorted(slot.person.row for slot in queue.drain()) == sorted(entries)
    assert len(queue) == 0


def test_missing_calls_are_read_a_few_at_a_time_in_turn() -> None:
    """None of them is forgotten, however many there are."""
    identity_of = [call(call_id=f"call_{n}") for n in range(READS_PER_ROUND + 5)]
    in_progress = CallsInProgress(poll_interval=10, analysis_timeout=0)
    campaign_time = SteadyTime(wall=NOON, boot=0)
    now = campaign_time.read(wall=NOON, boot=0)
    for each in identity_of:
        in_progress.update(each, now)
    read: list[str] = []
    for n in range(2):
        now = campaign_time.read(wall=NOON + 400 + 10 * n, boot=400 + 10 * n)
        for call_id in in_progress.due(now):
            in_progress.missed(call_id, now)
        ids = in_progress.unlisted()
        assert len(ids) == READS_PER_ROUND
        for call_id in ids:
            in_progress.update(call(call_id=call_id), now)
        read += ids
    assert set(read) == {each.call_id for each in identity_of}
    assert not math.isinf(in_progress.next_round_in(now.steady))
