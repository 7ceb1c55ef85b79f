"""Decide whether a task leaves its worker during a wait. Pure.

A task that leaves ends its process, and a new one begins after the wait. It knows what Retell's list and the
campaign's own files hold, so that the task stays if the new process would have to wait all over again:

=====================================================================  ==========================================
in this process                                                        the task
=====================================================================  ==========================================
the wait takes less than two minutes                                   stays
no call is live, and it is not known when the next one is due          stays
there is trouble with the account                                      stays, and fails soon
rows of calls that are over are not complete                           stays
a live call is not listed yet, or belongs to another map index         stays
it is not known when a live call was placed                            stays: it would never be given up
a person is to be called again, and a call of that person has no       stays: the new process would count from when
times but when this process saw it over (another map index placed it)  it sees the call over itself
the same without files, whatever the times, or a person was refused    stays
the ids of the calls to wait for do not fit into one trigger           stays, until enough of them are over
a person waits behind the others, turned away more than once           stays: how often is known here alone
there are no files, and Retell may forget the calls before the end     stays
none of these                                                          leaves
=====================================================================  ==========================================
"""

from __future__ import annotations

import math

from airflow_provider_retell.campaign.plan.actions import Wait
from airflow_provider_retell.campaign.plan.roster import Lane, Turn
from airflow_provider_retell.campaign.plan.state import CampaignState
from airflow_provider_retell.campaign.run.terms import LONGEST_LEAVE, WORTH_LEAVING, Leave, Terms
from airflow_provider_retell.provider.deferral import first_portion


def leave(
    state: CampaignState,
    wait: Wait,
    terms: Terms,
    *,
    now: float,
    placed_at: float,
    recorded: bool,
    has_files: bool,
) -> Leave | None:
    """Return how the task leaves its worker, None if it stays, by the table above.

    Args:
        state: The campaign.
        wait: The wait.
        terms: The limits of the task.
        now: Seconds since the epoch.
        placed_at: When the last call was placed, in seconds since the epoch; ``-inf`` if none was.
        recorded: Whether the rows of all calls that are over are complete.
        has_files: Whether the campaign has files.
    """
    lasts = math.inf if wait.next_call_in is None else wait.next_call_in
    watched = state.in_progress.calls()
    waits = lasts >= WORTH_LEAVING and (watched or math.isfinite(lasts)) and not state.trouble.found
    if not (waits and recorded and state.in_progress.may_be_left):
        return None
    times = [now + min(lasts, LONGEST_LEAVE), terms.ends_at, state.checks.stops_at]
    if state.queue:
        times.append(state.checks.ends_at)
    until = min(times)
    if until - now < WORTH_LEAVING or (not has_files and until > terms.known_until):
        return None
    if _known_here(state, has_files=has_files):
        return None
    call_ids = tuple(call.call_id for call in watched)
    if len(first_portion(call_ids)) < len(call_ids):
        return None
    return Leave(call_ids=call_ids, until=until, placed_at=placed_at)


def _known_here(state: CampaignState, *, has_files: bool) -> bool:
    """Return whether this process knows something that a new one would have to wait for again."""
    if any(call.live and call.placed_at is None for call in state.in_progress.calls()):
        return True
    if any(slot.lane is Lane.BEHIND and slot.turn is not None for slot in state.roster.callable):
        return True
    redials = state.queue.count(Turn.AGAIN)
    if not has_files:
        return bool(redials or state.roster.rejected)
    return bool(redials) and any(
        slot.turn is Turn.AGAIN and any(call.timed_here and not call.ours for call in slot.calls)
        for slot in state.roster.callable
    )
