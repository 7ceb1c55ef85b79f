"""The state of a campaign in one process, and what new information means for a person. Pure.

The driver reports here the results of the actions that ``plan`` asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from airflow_provider_retell.campaign.people.person import Refusal
from airflow_provider_retell.campaign.plan.actions import Place
from airflow_provider_retell.campaign.plan.call_list import CallList
from airflow_provider_retell.campaign.plan.calls_in_progress import CallsInProgress
from airflow_provider_retell.campaign.plan.checks import Checks
from airflow_provider_retell.campaign.plan.ledger import KnownCall, merge, redial_at, without_a_line
from airflow_provider_retell.campaign.plan.pacing import Moment, Pace
from airflow_provider_retell.campaign.plan.queue import Queue
from airflow_provider_retell.campaign.plan.roster import LOSSES, TURNED_AWAY, Fate, Roster, Slot, Turn
from airflow_provider_retell.campaign.plan.trouble import NOT_LISTED, NOT_REACHED, Rejection, Trouble
from airflow_provider_retell.campaign.plan.unanswered import GIVEN_UP, Unanswered, Verdict
from airflow_provider_retell.policy import Redial


class CampaignState:
    """The state of a campaign.

    Args:
        roster: The people.
        checks: Decides whether a person may be dialed now.
        pace: Decides how fast calls are placed.
        redial: The campaign's redial rules.
        poll_interval: Seconds between two rounds of reading the live calls.
        analysis_timeout: Seconds to wait for the analysis after the end of a call; 0 to wait for none.
        continued: Whether an earlier process may have placed calls that are not listed yet.

    Attributes:
        roster: The people and their fates.
        in_progress: The calls in progress.
        queue: The people to be called.
        outstanding: The people whose request is in progress, or whose response was lost, by row.
        call_list: When the list of this task's calls was read.
        trouble: The signs of trouble with the account.
        unanswered: The requests that were not answered.
    """

    def __init__(
        self,
        roster: Roster,
        *,
        checks: Checks,
        pace: Pace,
        redial: Sequence[Redial] = (),
        poll_interval: float = 10,
        analysis_timeout: float = 0,
        continued: bool = False,
    ) -> None:
        self.roster = roster
        self.checks = checks
        self.pace = pace
        self.redial = tuple(redial)
        self.in_progress = CallsInProgress(poll_interval=poll_interval, analysis_timeout=analysis_timeout)
        self.queue = Queue()
        self.outstanding: dict[int, Slot] = {}
        self.call_list = CallList(poll_interval=poll_interval, continued=continued)
        self.trouble = Trouble()
        self.unanswered = Unanswered()
        self._endless: set[str] = set()
        for slot in roster.callable:
            self.enqueue(slot, Turn.FIRST, slot.person.not_before or 0.0)

    @property
    def busy(self) -> int:
        """The number of lines that this campaign uses, as far as this process knows."""
        return self.in_progress.live + len(self.outstanding)

    @property
    def begun(self) -> int:
        """The number of people who were called, or may have been."""
        return self.roster.called + sum(not slot.calls for slot in self.outstanding.values())

    @property
    def at_rest(self) -> bool:
        """True if each person has a fate, and nothing is in progress."""
        return not (self.roster.open or self.outstanding or self.in_progress)

    def send(self, slot: Slot) -> None:
        """Note that a request is in progress from now on."""
        self.outstanding[slot.person.row] = slot
        slot.sending = True

    # -- results of the actions ----------------------------------------------------------------------------

    def read(self, calls: Iterable[KnownCall], *, began: Moment, now: Moment) -> None:
        """Take in the list of all calls of this task.

        Args:
            calls: Those listed, over all map indexes.
            began: When the first request for it was sent.
            now: When the last response arrived.
        """
        listed = list(calls)
        for call in listed:
            self.in_progress.found(call)
        found = self.load(listed, now)
        self.in_progress.left = ()
        if self.call_list.read(began=began.steady, now=now.steady, found=found):
            self.trouble.stop(NOT_LISTED)
        for slot in list(self.outstanding.values()):
            if slot.sent_at is not None and not slot.sending and self.call_list.shows(slot.asked_at):
                slot.sent_at = None  # the list would show the call, so it was not placed
                slot.turned_away = max(slot.turned_away + 1, TURNED_AWAY)
                self._resume(slot, now)

    def load(self, calls: Iterable[KnownCall], now: Moment) -> bool:
        """Take in the calls in the campaign's own files; return whether there were any."""
        number = 0
        for number, call in enumerate(calls, start=1):  # noqa: B007 (counted)
            self._take(call, now)
        return number > 0

    def placed(self, order: Place, call: KnownCall, now: Moment) -> None:
        """Take in the call that a request has placed."""
        slot = self.outstanding[order.person.row]
        slot.sending, slot.sent_at, slot.turned_away = False, None, 0
        self.unanswered.placed(order.person.row)
        self.trouble.placed()
        self.roster.confirm_refusals()
        self._take(call, now, is_answer=True)
        self._resume(slot, now)

    def lost(self, order: Place, now: Moment) -> None:
        """Note a request that may have arrived but whose response was lost: a time-out, a 5xx."""
        slot = self.outstanding[order.person.row]
        slot.sending, slot.asked_at = False, now.steady
        slot.sent_at = order.decided.steady if slot.sent_at is None else slot.sent_at
        self._not_answered(slot, now)

    def not_sent(self, order: Place, now: Moment) -> None:
        """Note an order whose request was not sent, because ``may_send`` said no."""
        slot = self.outstanding[order.person.row]
        slot.sending = False
        self._resume(slot, now)

    def turned_away(self, order: Place, now: Moment, *, asked: float | None = None) -> None:
        """Note a request that met a 429.

        Args:
            order: The order.
            now: The time.
            asked: Seconds to wait, if Retell asks for a time.
        """
        slot = self.outstanding[order.person.row]
        slot.sending = False
        self.unanswered.answered()
        self.pace.slow_down(now.steady, asked)
        slot.turn_away(slot.turned_away + 1, now.wall)
        self._resume(slot, now)

    def unreached(self, order: Place, now: Moment) -> None:
        """Note a request that placed no call, because Retell was not reached or the contact could not be read."""
        slot = self.outstanding[order.person.row]
        slot.sending = False
        slot.turn_away(slot.turned_away + 1, now.wall)
        self._not_answered(slot, now)

    def _not_answered(self, slot: Slot, now: Moment) -> None:
        self.pace.slow_down(now.steady)
        self.call_list.distrust()
        called = self.roster.called > bool(slot.calls)
        due = partial(self.queue.others_due, now.wall)
        verdict = self.unanswered.unanswered(slot.person.row, now.steady, others_called=called, others_due=due)
        slot.given_up = slot.given_up or verdict is Verdict.GIVE_UP
        slot.losses += slot.sent_at is not None
        slot.await_list = slot.await_list or slot.losses >= LOSSES or (slot.given_up and slot.losses > 0)
        if verdict is Verdict.STOP:
            self.trouble.stop(NOT_REACHED)
        self._resume(slot, now)

    def rejected(self, order: Place, rejection: Rejection, now: Moment) -> None:
        """Note that Retell refuses the request as it is, or that none can be made."""
        if rejection.status is not None:
            self.unanswered.answered()
        if rejection.of_account or order.person.row not in self.roster.rejected:
            self.trouble.rejected(rejection)
        if self.trouble.found:
            self.roster.withdraw_refusals()
            self.not_sent(order, now)
            return
        bad_number = rejection.field == "to_number" and not rejection.shared
        reason = Refusal.BAD_NUMBER if bad_number else Refusal.BAD_REQUEST
        self.refused(order, reason, rejection.message, now)

    def judge(self) -> None:
        """Decide at the end whether the last refusals are final."""
        of_account = self.trouble.at_end(placed=self.roster.called > 0)
        (self.roster.withdraw_refusals if of_account else self.roster.confirm_refusals)()

    def refused(self, order: Place, reason: Refusal, detail: str, now: Moment) -> None:
        """Refuse a person, because Retell refused the request for a reason that concerns this person."""
        slot = self.outstanding[order.person.row]
        slot.sending = False
        if slot.sent_at is not None:
            slot.await_list = True  # an earlier request may have arrived all the same
            return
        del self.outstanding[slot.person.row]
        # That a person asked not to be called is certain, whatever is wrong with the account.
        refuse = self.roster.refuse if reason is Refusal.DO_NOT_CALL else self.roster.refuse_provisionally
        refuse(slot, reason, detail, at=now.wall)

    def looked(self, asked: Iterable[str], found: Iterable[KnownCall], now: Moment) -> None:
        """Take in the result of listing calls by their ids."""
        calls = {call.call_id: call for call in found}
        for call_id in asked:
            if call_id in calls:
                self.in_progress.found(calls[call_id])
                self._take(calls[call_id], now)
            else:
                self.in_progress.missed(call_id, now)

    def got(self, call_id: str, call: KnownCall | None, now: Moment) -> KnownCall | None:
        """Take in the result of reading one call: None if Retell does not know its id.

        Returns:
            The call, if it is given up.
        """
        given_up = None
        if (known := self.in_progress.call(call_id)) is not None:
            seen = known if call is None else merge(known, call)
            if self.in_progress.overdue(seen, now):
                self._endless.add(call_id)
            if call is None or self.in_progress.overdue(seen, now):
                given_up = call = seen.vanished(now.wall)
        if call is not None:
            self._take(call, now)
        return given_up

    # -- consequences for the person -----------------------------------------------------------------------

    def _take(self, call: KnownCall, now: Moment, *, is_answer: bool = False) -> None:
        if call.live and call.call_id in self._endless:
            return
        changed, slot = self.roster.changed(call), self.roster.owner(call)
        if changed is not None:
            self.queue.discard(changed)
            self.roster.refuse(changed, Refusal.CHANGED, "this id was called at another number", at=now.wall)
        known, call = self.roster.record(slot, call)
        if call.ours and call.placed_at is not None:
            self.checks.began_at = min(self.checks.began_at, call.placed_at)
        if slot is not None or call.ours:
            self.in_progress.update(call, now)
        if not call.live and (is_answer if known is None else known.live):
            self.call_list.call_over(now.steady)
            self.trouble.ended(call.outcome)
            (self.pace.recover if call.dialed else self.pace.no_line)(now.steady)
        elif call.talking:
            self.pace.got_line(now.steady)
        if slot is not None and call != known:
            self._resume(slot, now)

    def _resume(self, slot: Slot, now: Moment) -> None:
        """Queue a person, close the person, or wait on, as the calls so far require."""
        if slot.sending:
            return
        found = any(call.attempt >= slot.attempt for call in slot.calls)
        if slot.sent_at is not None and not found:
            if not slot.await_list:
                self.enqueue(slot, Turn.RESEND, now.wall)
            return
        self.outstanding.pop(slot.person.row, None)
        slot.sent_at, slot.await_list, slot.losses = None, False, 0
        slot.given_up = slot.given_up and not found
        self.queue.discard(slot)
        if slot.live:
            self.roster.reopen(slot)
        elif slot.given_up:
            self.roster.close(slot, Fate.NOT_CALLED, GIVEN_UP)
        elif not slot.calls:
            self.enqueue(slot, Turn.FIRST, max(slot.person.not_before or 0.0, slot.again_at))
        else:
            self._go_on(slot, now)

    def _go_on(self, slot: Slot, now: Moment) -> None:
        """Queue or close a person whose calls are over."""
        last = max(slot.calls, key=lambda call: call.attempt)
        slot.attempt = last.attempt + 1
        if not last.dialed:
            slot.turn_away(without_a_line(slot.calls), now.wall)
        due = redial_at(slot.dialed, self.redial) if last.dialed else now.wall
        if due is None:
            self.roster.close(slot, Fate.DONE)
        elif due >= self.checks.end(slot.person):
            self.roster.close(slot, Fate.NOT_CALLED)
        else:
            self.enqueue(slot, Turn.AGAIN, max(due, slot.again_at))

    def enqueue(self, slot: Slot, turn: Turn, due: float) -> None:
        """Put a person in the queue, and take back an earlier fate."""
        self.roster.reopen(slot)
        self.queue.add(slot, turn, due)
