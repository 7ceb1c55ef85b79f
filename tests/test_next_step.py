"""Test the decision about an earlier try's call: its table, and its promises over random faults and clears."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise
from math import inf
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from conftest import FROM, Store
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tenacity import Retrying, stop_after_attempt

from airflow_provider_retell.api import endpoints
from airflow_provider_retell.api.models import Call
from airflow_provider_retell.api.pages import Page
from airflow_provider_retell.api.patience import LONGEST_RINGING
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.calls.capacity import LineWait
from airflow_provider_retell.calls.connection_pause import ConnectionPause
from airflow_provider_retell.calls.gate import Gate, Hours
from airflow_provider_retell.calls.intent import TAG, Intent, Record
from airflow_provider_retell.calls.next_step import next_step
from airflow_provider_retell.calls.placing import Placement
from airflow_provider_retell.calls.redialing import end_of, next_call_at
from airflow_provider_retell.calls.sending import RecordedSender
from airflow_provider_retell.calls.steps import (
    KEY_LIFETIME,
    Adopt,
    LookForTag,
    Missing,
    PlaceNew,
    Read,
    Refuse,
    Seen,
    SendAgain,
    StopFirst,
    Wanted,
)
from airflow_provider_retell.errors import (
    RetellConnectionError,
    RetellError,
    RetellPermissionError,
    RetellRateLimitError,
)
from airflow_provider_retell.policy import Redial

NOW = 1_800_000_000.0
OTHER = "+14155550177"
ASKED = {"from_number": FROM, "to_number": "+14155550100"}
INTENT = Intent(prefix="aaaa.bb.000000.0000.", generation=2)
CLEARED = replace(INTENT, generation=3, cleared=True)
NAMED = replace(INTENT, named=True)
NEW, NEXT = PlaceNew(2, 0), PlaceNew(2, 1)
AFTER_CLEAR = PlaceNew(3, 0)


def wanted(**more: Any) -> Wanted:
    """Return what a second try wants that has Retell dial."""
    given: dict[str, Any] = {
        "intent": INTENT,
        "body": ASKED,
        "retell_dials": True,
        "fail_on": (),
        "first_try": False,
        "began": NOW,
        "run_began": NOW - 60,
    }
    return Wanted(**given | more)


def call(status: str, reason: str | None = None, *, generation: int = 2, ordinal: int = 0, **more: Any) -> Call:
    """Return a call of this task as Retell shows it."""
    tag = replace(INTENT, generation=generation, ordinal=ordinal).tag
    fields = {
        "call_id": f"call_{generation}_{ordinal}",
        "call_status": status,
        "disconnection_reason": reason,
        "metadata": {TAG: tag},
        **ASKED,
    }
    return Call.model_validate(fields | more)


def record(**more: Any) -> Record:
    """Return the record of a request whose response was lost a minute ago."""
    given: dict[str, Any] = {"generation": 2, "ordinal": 0, "sent_at": NOW - 60, "try_number": 1, "body": ASKED}
    return Record(**given | more)


KNOWN = record(call_id="call_2_0", body=None)
REFUSED = record(refused=True, body=None)
LIVE, OVER = call("ongoing"), call("ended", "user_hangup")
BUSY = call("not_connected", "dial_busy")
LONG_AGO = NOW - KEY_LIFETIME
NO_RINGING = NOW - LONGEST_RINGING
ELSEWHERE = replace(KNOWN, conn_id="a")
SECOND = replace(KNOWN, ordinal=1, call_id="call_2_1", earlier=("call_2_0",))
SECOND_LOST = record(ordinal=1, sent_at=LONG_AGO, earlier=("call_2_0",))
SECOND_TAG = replace(INTENT, ordinal=1).tag
BUSY_AGAIN = call("not_connected", "dial_busy", ordinal=1)
REDIAL = (Redial("busy", after=timedelta(hours=1), times=5),)
SHUT = wanted(hours_shut=True)
NAMED_CLEARED = replace(NAMED, cleared=True, tries_before=1)


@pytest.mark.parametrize(
    ("want", "written", "seen", "step"),
    [
        # -- after a clear
        (wanted(intent=CLEARED, durable=False), None, None, AFTER_CLEAR),
        (wanted(intent=CLEARED), None, None, LookForTag(INTENT.prefix)),
        (wanted(intent=CLEARED), record(), None, LookForTag(INTENT.tag)),
        (wanted(intent=CLEARED), KNOWN, None, Read(("call_2_0",))),
        (wanted(intent=replace(CLEARED, tries_before=1), conn_id="b"), ELSEWHERE, None, Read(("call_2_0",))),
        (wanted(intent=CLEARED), None, (LIVE,), StopFirst((LIVE,), AFTER_CLEAR)),
        (wanted(intent=CLEARED), record(), (LIVE,), StopFirst((LIVE,), AFTER_CLEAR)),
        (wanted(intent=CLEARED), KNOWN, (LIVE,), StopFirst((LIVE,), AFTER_CLEAR)),
        (wanted(intent=CLEARED), KNOWN, (call("registered"),), StopFirst),
        (wanted(intent=CLEARED), KNOWN, (call("ongoing", to_number=OTHER),), StopFirst),
        (wanted(intent=CLEARED, retell_dials=False), KNOWN, (LIVE,), StopFirst((LIVE,), AFTER_CLEAR)),
        (wanted(intent=CLEARED, retell_dials=False), KNOWN, (call("registered"),), AFTER_CLEAR),
        (wanted(intent=CLEARED, fail_on=("busy",)), None, (BUSY,), LookForTag(INTENT.prefix)),
        (wanted(intent=CLEARED, redial=REDIAL), None, (BUSY,), LookForTag(INTENT.prefix)),
        (wanted(intent=replace(CLEARED, generation=4)), None, (OVER,), LookForTag(INTENT.prefix)),
        (wanted(intent=replace(CLEARED, generation=4), began=NO_RINGING), None, (OVER,), PlaceNew(4, 0)),
        (wanted(intent=replace(CLEARED, generation=4), retell_dials=False), None, (OVER,), PlaceNew(4, 0)),
        (wanted(intent=CLEARED), None, Missing.UNLISTABLE, Refuse),
        (wanted(intent=CLEARED), record(), Missing.UNLISTABLE, Refuse),
        (wanted(intent=CLEARED), None, Missing.UNLISTED, LookForTag(INTENT.prefix)),
        (wanted(intent=CLEARED), record(), Missing.UNLISTED, LookForTag(INTENT.tag)),
        (
            wanted(intent=CLEARED),
            record(sent_at=NO_RINGING, sent_again_at=NOW - 60),
            Missing.UNLISTED,
            LookForTag(INTENT.tag),
        ),
        (wanted(intent=CLEARED), None, (OVER,), AFTER_CLEAR),
        (wanted(intent=CLEARED), KNOWN, (OVER,), AFTER_CLEAR),
        (wanted(intent=CLEARED), KNOWN, Missing.UNKNOWN, AFTER_CLEAR),
        (wanted(intent=CLEARED), REFUSED, None, AFTER_CLEAR),
        (wanted(intent=CLEARED, began=NO_RINGING), None, Missing.UNLISTED, AFTER_CLEAR),
        (wanted(intent=CLEARED), record(sent_at=NO_RINGING), Missing.UNLISTED, AFTER_CLEAR),
        (wanted(intent=CLEARED, retell_dials=False), None, Missing.UNLISTED, AFTER_CLEAR),
        (wanted(intent=CLEARED, retell_dials=False), None, Missing.UNLISTABLE, AFTER_CLEAR),
        (wanted(intent=CLEARED, retell_dials=False), record(), Missing.UNLISTABLE, AFTER_CLEAR),
        # -- otherwise: none
        (wanted(first_try=True), None, None, NEW),
        (wanted(durable=False), None, None, NEW),
        (wanted(), None, None, LookForTag(INTENT.prefix)),
        (wanted(run_began=LONG_AGO), None, Missing.UNLISTABLE, Refuse),
        (wanted(run_began=None), None, Missing.UNLISTABLE, Refuse),
        (wanted(), None, Missing.UNLISTABLE, NEW),
        (wanted(), None, Missing.UNLISTED, NEW),
        (wanted(run_began=LONG_AGO), None, Missing.UNLISTED, NEW),
        (wanted(run_began=None, retell_dials=False), None, Missing.UNLISTABLE, NEW),
        (SHUT, None, Missing.UNLISTABLE, Refuse),
        (SHUT, None, Missing.UNLISTED, LookForTag(INTENT.prefix)),
        (replace(SHUT, began=NO_RINGING), None, Missing.UNLISTED, NEW),
        (SHUT, None, (LIVE,), Adopt(LIVE)),
        (wanted(), None, (LIVE,), Adopt(LIVE)),
        (wanted(fail_on=("busy",)), None, (BUSY,), NEXT),
        # refused
        (wanted(), REFUSED, None, NEW),
        (wanted(), replace(REFUSED, ordinal=1), None, NEXT),
        (wanted(conn_id="b"), record(conn_id="a", refused=True), None, NEW),
        (wanted(key_digest="2"), record(key_digest="1", refused=True), None, NEW),
        # of another connection and another API key
        (wanted(conn_id="b"), record(conn_id="a"), None, Refuse),
        (wanted(conn_id="b", retell_dials=False), record(conn_id="a"), None, Refuse),
        (wanted(conn_id="b"), ELSEWHERE, None, Refuse),
        (wanted(conn_id="b", key_digest="2"), record(conn_id="a", key_digest="1"), None, Refuse),
        # of the same connection, or the same API key
        (wanted(conn_id="a"), record(conn_id="a"), None, SendAgain(record(conn_id="a"))),
        (wanted(conn_id="b"), record(), None, SendAgain(record())),
        (
            wanted(conn_id="b", key_digest="1"),
            record(conn_id="a", key_digest="1"),
            None,
            SendAgain(record(conn_id="a", key_digest="1")),
        ),
        # call known
        (wanted(), KNOWN, None, Read(("call_2_0",))),
        (wanted(key_digest="2"), replace(KNOWN, key_digest="1"), None, Read(("call_2_0",))),
        (wanted(redial=REDIAL), SECOND, None, Read(("call_2_0", "call_2_1"))),
        (wanted(), KNOWN, (call("ongoing", to_number=OTHER),), Refuse),
        (
            wanted(fail_on=("busy",)),
            KNOWN,
            (call("not_connected", "dial_busy", to_number=OTHER),),
            Refuse,
        ),
        (
            wanted(body=ASKED | {"override_agent_id": "agent_1"}),
            KNOWN,
            (call("ended", agent_id="agent_2"),),
            Refuse,
        ),
        (wanted(), KNOWN, (LIVE,), Adopt(LIVE)),
        (wanted(fail_on=("dial_busy",)), KNOWN, (LIVE,), Adopt(LIVE)),
        (wanted(fail_on=("do_not_call",)), KNOWN, (call("ended", "user_requested_dnc"),), Adopt),
        (wanted(fail_on=("busy",), redial=REDIAL), KNOWN, (BUSY,), Adopt(BUSY)),
        (wanted(fail_on=("busy",), redial=REDIAL), SECOND, (BUSY, BUSY_AGAIN), Adopt(BUSY_AGAIN)),
        (wanted(fail_on=("busy",), redial=REDIAL), SECOND, (BUSY_AGAIN,), PlaceNew(2, 2)),
        (wanted(fail_on=("not_connected",)), KNOWN, (BUSY,), NEXT),
        (wanted(fail_on=("capacity",)), KNOWN, (call("error", "concurrency_limit_reached"),), NEXT),
        (wanted(fail_on=("stopped",)), KNOWN, (call("ended", "manual_stopped"),), NEXT),
        (wanted(), KNOWN, (call("ended", "manual_stopped"),), Refuse),
        (wanted(fail_on=("ended", "busy")), KNOWN, (call("ended", "manual_stopped"),), Refuse),
        (wanted(), KNOWN, (OVER,), Adopt(OVER)),
        (wanted(), KNOWN, (BUSY,), Adopt(BUSY)),
        (wanted(), KNOWN, (call("error", "error_retell"),), Adopt),
        (wanted(), KNOWN, (call("error", "concurrency_limit_reached"),), Adopt),
        (wanted(), KNOWN, Missing.UNKNOWN, Refuse),
        # answer lost
        (wanted(), record(body=ASKED | {"to_number": OTHER}), None, Refuse),
        (wanted(retell_dials=False), record(body=ASKED | {"to_number": OTHER}), None, Refuse),
        (wanted(), record(), None, SendAgain(record())),
        (wanted(key_digest="2"), record(), None, SendAgain(record())),
        (wanted(), record(sent_at=LONG_AGO), None, LookForTag(INTENT.tag)),
        (wanted(key_digest="2"), record(key_digest="1"), None, LookForTag(INTENT.tag)),
        (wanted(retell_dials=False), record(), None, LookForTag(INTENT.tag)),
        (wanted(), record(sent_at=LONG_AGO), (OVER,), Adopt(OVER)),
        (wanted(fail_on=("busy",)), record(sent_at=LONG_AGO), (BUSY,), NEXT),
        (wanted(key_digest="2"), record(key_digest="1"), (LIVE,), Adopt(LIVE)),
        (wanted(key_digest="2"), record(key_digest="1"), Missing.UNLISTED, LookForTag(INTENT.tag)),
        (wanted(key_digest="2"), record(key_digest="1", sent_at=NO_RINGING), Missing.UNLISTED, Refuse),
        (wanted(key_digest="2"), record(key_digest="1"), Missing.UNLISTABLE, Refuse),
        (SHUT, record(), None, LookForTag(INTENT.tag)),
        (SHUT, record(), (LIVE,), Adopt(LIVE)),
        (SHUT, record(), Missing.UNLISTED, LookForTag(INTENT.tag)),
        (SHUT, record(sent_at=NO_RINGING), Missing.UNLISTED, SendAgain(record(sent_at=NO_RINGING))),
        (SHUT, record(), Missing.UNLISTABLE, Refuse),
        (SHUT, record(sent_at=LONG_AGO), Missing.UNLISTED, Refuse),
        (wanted(redial=REDIAL), SECOND_LOST, None, LookForTag(SECOND_TAG)),
        (wanted(redial=REDIAL), SECOND_LOST, (BUSY_AGAIN,), Read(("call_2_0", "call_2_1"))),
        (wanted(fail_on=("busy",), redial=REDIAL), SECOND_LOST, (BUSY, BUSY_AGAIN), Adopt(BUSY_AGAIN)),
        (wanted(fail_on=("busy",)), SECOND_LOST, (BUSY_AGAIN,), PlaceNew(2, 2)),
        (wanted(), record(sent_at=LONG_AGO), Missing.UNLISTED, Refuse),
        (wanted(), record(sent_at=LONG_AGO), Missing.UNLISTABLE, Refuse),
        (wanted(retell_dials=False), record(), Missing.UNLISTED, NEW),
        (wanted(retell_dials=False), record(), Missing.UNLISTABLE, NEW),
        (wanted(key_digest="2", retell_dials=False), record(key_digest="1"), Missing.UNLISTED, NEW),
        # -- a call with a name of its own
        (wanted(intent=NAMED), replace(KNOWN, prefix="another"), None, Refuse),
        (wanted(intent=NAMED_CLEARED), replace(KNOWN, prefix="another"), Missing.UNLISTED, NEW),
        (wanted(intent=NAMED, conn_id="b"), ELSEWHERE, None, Refuse),
        (wanted(intent=NAMED_CLEARED, conn_id="b"), ELSEWHERE, None, LookForTag(INTENT.prefix)),
        (wanted(intent=NAMED, first_try=True), None, None, LookForTag(INTENT.prefix)),
        (wanted(intent=NAMED), KNOWN, None, LookForTag(INTENT.prefix)),
        (wanted(intent=NAMED), None, Missing.UNLISTABLE, Refuse),
        (wanted(intent=NAMED), KNOWN, Missing.UNLISTABLE, Refuse),
        (wanted(intent=NAMED), KNOWN, Missing.UNLISTED, Read(("call_2_0",))),
        (wanted(intent=NAMED), KNOWN, (BUSY_AGAIN,), Read(("call_2_0",))),
        (wanted(intent=NAMED_CLEARED), KNOWN, Missing.UNKNOWN, NEW),
        (wanted(intent=NAMED_CLEARED), record(sent_at=LONG_AGO), Missing.UNLISTED, NEW),
        (wanted(intent=NAMED_CLEARED, retell_dials=False), record(ordinal=1), Missing.UNLISTED, NEW),
        (wanted(intent=NAMED, first_try=True), None, Missing.UNLISTED, NEW),
        (wanted(intent=NAMED, first_try=True, fail_on=("busy",)), None, (BUSY,), Adopt(BUSY)),
        (wanted(intent=NAMED, first_try=True), None, (call("ended", to_number=OTHER),), Refuse),
        (wanted(intent=NAMED_CLEARED), KNOWN, (OVER,), Adopt(OVER)),
        (wanted(intent=NAMED_CLEARED), KNOWN, (LIVE,), Adopt(LIVE)),
        (wanted(intent=NAMED), KNOWN, Missing.UNKNOWN, Refuse),
        (wanted(intent=NAMED, fail_on=("busy",)), KNOWN, (BUSY,), NEXT),
        (wanted(intent=NAMED_CLEARED), record(), Missing.UNLISTED, SendAgain(record())),
    ],
)
def test_the_table(want: Wanted, written: Record | None, seen: Seen, step: Any) -> None:
    """Each row of the tables, in their order."""
    found = next_step(want, written, seen, now=NOW)
    assert isinstance(found, step) if isinstance(step, type) else found == step


def test_a_refusal_names_both_numbers_by_their_last_digits() -> None:
    """A person who reads the log can tell which call is meant, and learns no number."""
    step = next_step(wanted(), KNOWN, (call("ongoing", to_number=OTHER),), now=NOW)
    assert isinstance(step, Refuse)
    assert "…0177" in step.message
    assert "…0100" in step.message
    assert "+1415" not in step.message


# -- the promises --------------------------------------------------------------------------------------------


class Crash(BaseException):
    """The worker is gone."""


@dataclass
class Clock:
    """A clock that moves when the task sleeps."""

    time: float = NOW

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    async def asleep(self, seconds: float) -> None:
        self.time += seconds


@dataclass
class Phone:
    """One simulated call: it rings for a while, is answered or not, and then is over."""

    call_id: str
    key: str
    tag: str
    placed_at: float
    rings: float
    talks: float
    reason: str
    stopped_at: float | None = None

    def over_at(self) -> float:
        end = self.placed_at + self.rings + self.talks
        return end if self.stopped_at is None else min(end, self.stopped_at)

    def show(self, now: float) -> Call:
        if now >= self.over_at():
            stopped = self.stopped_at is not None and self.stopped_at < self.placed_at + self.rings + self.talks
            reason = "manual_stopped" if stopped else self.reason
            status = "not_connected" if reason == "dial_busy" else "ended"
        else:
            reason, status = None, "registered" if now < self.placed_at + self.rings else "ongoing"
        fields = {"call_id": self.call_id, "call_status": status, "disconnection_reason": reason}
        return Call.model_validate({**fields, "metadata": {TAG: self.tag}, **ASKED})


def open_gate(clock: Clock) -> Gate:
    """Return a gate that lets every request through."""
    pause = ConnectionPause(conn_id="retell_default", look_up=lambda: False)
    hours = Hours(hours=None, number=None, time_zone=None)
    kill = SimpleNamespace(check=lambda: None)
    return Gate(kill=kill, ends_at=inf, pause=pause, limit_timeout=0, hours=hours, clock=clock)


@dataclass
class Retell:
    """A Retell that loses responses, kills workers, and shows ringing calls to get-call only."""

    clock: Clock
    lists: bool
    shape: tuple[float, float, str]
    calls: list[Phone] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    settings: ClassVar[Any] = ConnectionSettings(api_key="key_1")

    def live(self) -> list[Phone]:
        return [phone for phone in self.calls if self.clock.now() < phone.over_at()]

    def send(self, request: Any) -> Any:
        now = self.clock.now()
        if request.path.startswith("/v2/get-call/"):
            (found,) = [p for p in self.calls if request.path.endswith(f"/{p.call_id}")]
            return found.show(now)
        if request.path.startswith("/v2/stop-call/"):
            (found,) = [p for p in self.calls if request.path.endswith(f"/{p.call_id}")]
            if found.show(now).call_status == "ongoing":
                found.stopped_at = now
                return None
            raise RetellError("The call rings.")
        if not self.lists:
            raise RetellPermissionError("403", status_code=403, message="no")
        prefix = request.body["filter_criteria"]["metadata"][0]["value"]
        shown = [p.show(now) for p in self.calls if p.tag.startswith(prefix)]
        return Page(items={call.call_id: call for call in shown if call.call_status != "registered"})

    def send_once(self, request: Any, *, check: Any) -> Call:
        fault = self.faults.pop() if self.faults else ""
        if fault == "frozen":
            self.clock.sleep(5000)
        check()
        if fault == "429":
            raise RetellRateLimitError("429", status_code=429, message="slow down")
        if fault == "never arrived":
            raise RetellConnectionError("refused", may_have_arrived=False)
        if fault == "lost before":
            raise RetellConnectionError("reset", may_have_arrived=True)
        if fault == "crash before":
            raise Crash
        phone = self._dial(request.body)
        if fault == "lost after":
            raise RetellConnectionError("reset", may_have_arrived=True)
        if fault == "crash after":
            raise Crash
        return phone.show(self.clock.now())

    def _dial(self, body: Any) -> Phone:
        now, key = self.clock.now(), body["idempotency_key"]
        for phone in self.calls:
            if phone.key == key and now < phone.placed_at + 3600:
                return phone
        assert not self.live(), "two phones ring for one task"
        rings, talks, reason = self.shape
        talks = 0.0 if reason == "dial_busy" else talks
        phone = Phone(f"call_{len(self.calls)}", key, body["metadata"][TAG], now, rings, talks, reason)
        self.calls.append(phone)
        return phone

    def attempts(self, _: Any, *, retry_rate_limits: bool) -> Retrying:
        assert not retry_rate_limits
        return Retrying(stop=stop_after_attempt(1), reraise=True)

    def run(self, flow: Any) -> Any:
        answer = None
        try:
            request = next(flow)
            while True:
                try:
                    answer = self.send(request)
                except RetellError as error:
                    request = flow.throw(error)
                else:
                    request = flow.send(answer)
        except StopIteration as end:
            return end.value


FAULT = st.sampled_from(
    ["429", "never arrived", "lost before", "lost after", "crash before", "crash after", "frozen"]
)
TRY = st.tuples(st.just("try"), st.one_of(st.just([]), st.tuples(FAULT).map(list), st.lists(FAULT, max_size=3)))
CLEAR = st.just(("clear", []))
PAUSE = st.tuples(st.sampled_from([1.0, 60.0, 400.0, 3700.0]), st.just([]))
ACTIONS = st.one_of(TRY, TRY, CLEAR, PAUSE)


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(
    actions=[("try", ["lost before"]), (400.0, []), ("try", ["lost after"]), ("clear", []), ("try", [])],
    shape=(1.0, 0.0, "dial_busy"),
    lists=True,
    stored=True,
    fail_on=(),
)
@example(
    actions=[("try", ["lost after"]), ("try", ["frozen"])],
    shape=(1.0, 0.0, "dial_busy"),
    lists=True,
    stored=True,
    fail_on=(),
)
@given(
    actions=st.lists(ACTIONS, min_size=2, max_size=8),
    shape=st.tuples(
        st.sampled_from([1.0, 45.0, 300.0]),
        st.sampled_from([0.0, 30.0, 4000.0]),
        st.sampled_from(["dial_busy", "user_hangup", "manual_stopped"]),
    ),
    lists=st.booleans(),
    stored=st.booleans(),
    fail_on=st.sampled_from([(), ("busy",), ("busy", "answered")]),
)
def test_no_order_of_faults_rings_twice(
    actions: list[tuple[Any, list[str]]],
    shape: tuple[float, float, str],
    lists: bool,
    stored: bool,
    fail_on: tuple[str, ...],
) -> None:
    """No call is placed while another one lives, and without ``fail_on`` a generation has one call at most.

    Over any order of tries, clears, lost responses, crashes, frozen processes and pauses; with a state store and
    without one; with and without the permission to list calls.
    """
    clock = Clock()
    retell = Retell(clock=clock, lists=lists, shape=shape)
    store = Store() if stored else None
    tries, retries, generation = 0, 3, 3
    for action, faults in actions:
        if action == "clear":
            generation = tries + retries
            continue
        if action != "try":
            clock.time += action
            continue
        tries += 1
        retell.faults = list(faults)
        before = len(retell.calls)
        sender = RecordedSender(
            retell,  # type: ignore[arg-type]
            endpoints.create_phone_call(ASKED),
            Intent(prefix="aaaa.bb.000000.0000.", generation=generation, cleared=generation != retries),
            try_number=tries,
            store=store,
            retell_dials=True,
            gate=open_gate(clock),
            clock=clock,
        )
        line = LineWait(limit=20, clock=clock)
        placement = Placement(sender, first_try=tries == 1, fail_on=fail_on, line=line, run_began=NOW)
        try:
            placed = placement.place()
        except (RetellError, Crash):
            pass
        else:
            assert placed.call_id in {phone.call_id for phone in retell.calls}
        assert len(retell.calls) <= before + 1
    if not fail_on:
        generations = [phone.tag.split(".")[-2] for phone in retell.calls]
        assert len(set(generations)) == len(generations)


RULES = (Redial("busy", after=timedelta(hours=2), times=2), Redial("stopped", after=timedelta(0), times=1))


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    actions=st.lists(st.one_of(TRY, TRY, PAUSE), min_size=1, max_size=6),
    shape=st.tuples(
        st.sampled_from([1.0, 45.0, 300.0]),
        st.sampled_from([0.0, 30.0, 4000.0]),
        st.sampled_from(["dial_busy", "user_hangup", "manual_stopped", "user_requested_dnc"]),
    ),
    dies=st.lists(st.sampled_from(["", "", "", "while it is live", "before the next"]), max_size=8),
    lists=st.booleans(),
    stored=st.booleans(),
)
def test_no_order_of_faults_breaks_a_plan(
    actions: list[tuple[Any, list[str]]],
    shape: tuple[float, float, str],
    dies: list[str],
    lists: bool,
    stored: bool,
) -> None:
    """Each call of a plan is placed once, whichever process dies, and never earlier than its rule says.

    Over any order of tries, lost responses, crashes and pauses, between two calls too; with a state store and
    without one; with and without the permission to list calls.
    """
    clock = Clock()
    retell = Retell(clock=clock, lists=lists, shape=shape)
    store = Store() if stored else None
    for number, (action, faults) in enumerate(actions, start=1):
        if action != "try":
            clock.time += action
            continue
        retell.faults = list(faults)
        with suppress(RetellError, Crash):
            follow_plan(retell, store, try_number=number, dies=dies)
    asked_for = {"dial_busy": 3, "manual_stopped": 2}.get(shape[2], 1)
    assert len(retell.calls) <= asked_for
    assert len({phone.tag for phone in retell.calls}) == len(retell.calls)
    pause = 2 * 3600 if shape[2] == "dial_busy" else 0
    assert all(after.placed_at + 0.001 >= before.over_at() + pause for before, after in pairwise(retell.calls))


def follow_plan(retell: Retell, store: Store | None, *, try_number: int, dies: list[str]) -> None:
    """Do what an operator with ``redial`` does in one try."""
    sender, after = None, None
    while True:
        first_try = try_number == 1 and sender is None
        sender = RecordedSender(
            retell,  # type: ignore[arg-type]
            endpoints.create_phone_call(ASKED),
            Intent(prefix="aaaa.bb.000000.0000.", generation=3),
            try_number=try_number,
            store=store,
            retell_dials=True,
            calls=() if sender is None else sender.calls,
            gate=open_gate(retell.clock),
            clock=retell.clock,
        )
        line = LineWait(limit=20, clock=retell.clock)
        placement = Placement(sender, first_try=first_try, fail_on=(), line=line, redial=RULES, run_began=NOW)
        call_id = placement.place(after=after).call_id
        assert sender.calls[-1] == call_id
        fate = dies.pop() if dies else ""
        if fate == "while it is live":
            raise Crash
        (phone,) = [each for each in retell.calls if each.call_id == call_id]
        retell.clock.time = max(retell.clock.now(), phone.over_at())
        calls = [retell.send(endpoints.get_call(each)) for each in sender.calls]
        over_at = end_of(calls[-1], placed_at=sender.placed_at, now=retell.clock.now())
        due = next_call_at(RULES, calls, over_at=over_at)
        if due is None:
            return
        if fate:
            raise Crash
        retell.clock.time = max(retell.clock.now(), due)
        after = sender.ordinal
