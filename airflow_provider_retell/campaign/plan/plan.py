"""Decide what a campaign does next. Pure, except for the user's ``eligible``; the time is an argument.

A driver calls ``next_action`` in a loop, carries out the action, and reports the result to ``state``. A new
process begins with a new plan, because Retell's list and the campaign's own files hold everything it needs.

====================================================  ========================================================
a person                                              what happens
====================================================  ========================================================
was never called                                      is called, in the order given, if the checks allow it
is called, and the answer comes                       is watched until the call is over
is called, and the answer is lost                     is called again with the same key: Retell places it once
has lost three answers, or may not be called any more  waits for a list read 330 s after the last request: if the
                                                      call is in it, it was placed, else it was not
is never answered, while others are called            not called (see ``unanswered`` for when it is Retell)
meets a 429, or an unreachable Retell                 is called again later, as the same attempt; the pace slows
is turned away again                                  is called after the others (see ``queue``)
is refused by Retell, for a field of its own          refused (see ``trouble`` for when it is the account)
has a call that is not listed, younger than 330 s     it rings
has a call that is not listed, and is older           it is read by itself; unknown there, it is over, for good
has a call that does not end                          it is given up after 15 minutes of ringing, or three hours
has a call seen over that found no line               is called again later, as the next attempt; the pace slows
has a call seen over that a rule of redial names      is called again ``after`` its end, as the next attempt
has a call seen over otherwise                        done
has a call that another process placed                goes on as if this process had placed it
was called under another id                           counts as called: the number is the person
whose id was called at another number                 refused as ``changed``
whose number or id an earlier row has                 refused as ``duplicate``
is due, and the checks do not let it be called        waits, is not called, or is refused
is still to be called at ``until``, at ``limit``, on  not called
trouble of the account
====================================================  ========================================================

Each attempt has one call, no matter which process dies, for this reason: a call is listed at most 330 s after it
was placed, its key is trusted for 55 minutes, and no call is placed if the list is older than half an hour. So a
call that the list does not show was placed within the lifetime of its key, and a request with the same key
returns it.
"""

from __future__ import annotations

import math
from typing import Final, assert_never

from airflow_provider_retell.campaign.people.person import Refusal
from airflow_provider_retell.campaign.plan.actions import Action, Finish, Get, Look, Place, ReadList, Wait
from airflow_provider_retell.campaign.plan.call_list import LONGEST_GAP
from airflow_provider_retell.campaign.plan.checks import Dial, Later, NotCalled, Refuse
from airflow_provider_retell.campaign.plan.pacing import LONGEST_BACKOFF, Moment
from airflow_provider_retell.campaign.plan.roster import Fate, Slot, Turn
from airflow_provider_retell.campaign.plan.state import CampaignState
from airflow_provider_retell.campaign.plan.trouble import NO_LINE

CHECKS_PER_ACTION: Final = 500
"""The most people to pass over in one go, so that live calls are still looked after in time."""

IDLE_WAIT: Final = 30.0
"""The longest wait in seconds."""

NO_LINE_FOR: Final = 6 * 3600.0
"""Seconds for which people may wait without any call getting a line, before the campaign stops."""

PAUSED_WAIT: Final = 4.0
"""The longest wait in seconds while no call may be placed: the campaign goes on soon after its pause."""


class Plan:
    """Decide what a campaign does next in one process.

    Args:
        state: The state of the campaign, to which the results of the actions are reported.
        lines: The most live calls.
        limit: The most people to call, over all tries; None for all.

    Attributes:
        state: The state.
        lines: The most live calls; the driver may change it at any time.
        paused: Whether the connection or the campaign is paused, or this is not known; the driver sets it.
        pause_known_until: The steady time until which the pauses are known; the driver sets it too.
    """

    def __init__(self, state: CampaignState, *, lines: int, limit: int | None = None) -> None:
        self.state = state
        self.lines = lines
        self.paused = False
        self.pause_known_until = math.inf
        self._limit = math.inf if limit is None else limit
        self._eligible_failed = self._eligible_answered = 0

    def next_action(self, now: Moment) -> Action:
        """Return the next action."""
        state = self.state
        state.call_list.notice(now.steady)
        if state.pace.no_line_for(now.steady, waiting=self._waits_for_a_line(now)) >= NO_LINE_FOR:
            state.trouble.stop(NO_LINE)
        self._leave_the_rest(now)
        if state.roster.callable and self._list_due_in(now) == 0:
            return ReadList()
        if action := self._next_call(now):
            return action
        if call_ids := state.in_progress.due(now):
            return Look(call_ids)
        if call_ids := state.in_progress.unlisted():
            return Get(call_ids)
        if state.at_rest and self._settled:
            state.judge()
            return Finish(self._failure())
        return self._wait(now)

    def _waits_for_a_line(self, now: Moment) -> bool:
        """Return whether a person may be called now or soon, or has a call that may get a line."""
        queue = self.state.queue
        may_be = any(not self._beyond_limit(slot) for slot in queue.heads(now.wall))
        soon = (queue.next_due() or math.inf) <= now.wall + LONGEST_BACKOFF
        return not self._must_not_place and bool(may_be or soon or self.state.busy)

    def may_send(self, order: Place, now: Moment) -> bool:
        """Return whether a call may still be placed; ask right before the request, with its connection open.

        After False, report ``not_sent``: since the decision the process may have been frozen, the hours may have
        closed, or the request may have been delayed until others were sent. After True, the call counts as sent.
        """
        if (
            self._must_not_place
            or now.steady > self.pause_known_until
            or not self.state.call_list.fresh(now.steady)
        ):
            return False
        in_time = now.steady - order.decided.steady <= LONGEST_GAP
        may_dial = in_time and isinstance(self.state.checks.time_verdict(order.person, now.wall), Dial)
        return may_dial and self.state.pace.move(order.decided.steady, now.steady)

    # -- calls ---------------------------------------------------------------------------------------------

    @property
    def _must_not_place(self) -> bool:
        return self.paused or self.state.trouble.found is not None

    def _next_call(self, now: Moment) -> Place | ReadList | None:
        state = self.state
        if self._must_not_place:
            return None
        for _ in range(CHECKS_PER_ACTION):
            slot = self._head(now)
            if slot is None or state.pace.wait(now.steady) > 0:
                return None
            if not state.call_list.fresh(now.steady):
                return ReadList()
            lane = slot.lane
            state.queue.discard(slot)
            verdict = state.checks.verdict(slot.person, slot.calls, now.wall)
            if isinstance(verdict, Dial):
                self._eligible_answered += 1
                state.pace.take(now.steady)
                state.queue.sent(lane)
                state.send(slot)
                return Place(person=slot.person, attempt=slot.attempt, decided=now)
            self._pass_over(slot, verdict, now)
            if state.checks.is_slow():
                return None
        return None

    def _head(self, now: Moment) -> Slot | None:
        """Return the next person who is due, and who has or can have a line."""
        return next(filter(self._has_room, self.state.queue.heads(now.wall)), None)

    def _has_room(self, slot: Slot) -> bool:
        if slot.turn is Turn.RESEND:
            return True  # its line is taken
        return self.state.busy < self.lines and not self._beyond_limit(slot)

    def _beyond_limit(self, slot: Slot) -> bool:
        return slot.turn is Turn.FIRST and self.state.begun >= self._limit

    def _pass_over(self, slot: Slot, verdict: Later | NotCalled | Refuse, now: Moment) -> None:
        if slot.sent_at is not None:
            slot.await_list = True
            return
        match verdict:
            case Later():
                self.state.enqueue(slot, Turn.AGAIN if slot.calls else Turn.FIRST, verdict.at)
            case NotCalled():
                self.state.roster.close(slot, Fate.NOT_CALLED)
            case Refuse():
                self._eligible_failed += verdict.failed
                self._eligible_answered += verdict.reason is Refusal.NOT_ELIGIBLE and not verdict.failed
                self.state.roster.refuse(slot, verdict.reason, verdict.detail, at=now.wall)
            case _:
                assert_never(verdict)

    # -- the end -------------------------------------------------------------------------------------------

    def _leave_the_rest(self, now: Moment) -> None:
        """Give a fate to all people who cannot be called any more."""
        state = self.state
        if now.wall < state.checks.ends_at and not state.trouble.found:
            only_firsts = state.roster.open == state.queue.count(Turn.FIRST)
            if not only_firsts or state.begun < self._limit:
                return
        for slot in state.queue.drain():
            verdict = NotCalled() if state.trouble.found or slot.calls else state.checks.too_late(slot.person)
            self._pass_over(slot, verdict, now)

    @property
    def _settled(self) -> bool:
        """True if no call of another process can still turn up and change a fate."""
        all_done = all(slot.fate is Fate.DONE for slot in self.state.roster.callable)
        return self.state.call_list.settled() or all_done

    def _failure(self) -> str | None:
        slots = self.state.roster.slots
        if self.state.trouble.found:
            return self.state.trouble.found
        if slots and all(slot.refusal in {Refusal.BAD_NUMBER, Refusal.BAD_REQUEST} for slot in slots):
            if any(slot.refusal is Refusal.BAD_REQUEST for slot in slots):
                return f"No call was placed: each request was invalid or refused ({slots[-1].detail})."
            return "No call was placed: none of the people has a number that can be called (bad_number)."
        if self._eligible_failed and not self._eligible_answered and not self.state.begun:
            return "No call was placed: eligible failed for each person it was asked about."
        return None

    # -- waiting -------------------------------------------------------------------------------------------

    def _list_due_in(self, now: Moment) -> float:
        state = self.state
        awaited = [slot.asked_at for slot in state.outstanding.values() if slot.await_list]
        at_rest = state.at_rest and not self._settled
        return state.call_list.due_in(now.steady, awaited, at_rest=at_rest)

    def _wait(self, now: Moment) -> Wait:
        state = self.state
        can_place, due = self._head(now) is not None and not self._must_not_place, state.queue.next_due()
        until_due = math.inf if due is None else due - now.wall
        seconds = min(
            PAUSED_WAIT if self.paused else IDLE_WAIT,
            until_due,
            self._list_due_in(now),
            state.pace.wait(now.steady) if can_place else math.inf,
            state.in_progress.next_round_in(now.steady) if state.in_progress else math.inf,
            state.checks.ends_at - now.wall if state.queue else math.inf,
        )
        due_now = state.outstanding or not all(map(self._beyond_limit, state.queue.heads(now.wall)))
        next_call_in = 0.0 if due_now else until_due
        return Wait(seconds=seconds, next_call_in=None if math.isinf(next_call_in) else next_call_in)
