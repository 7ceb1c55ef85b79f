"""Find out whom a campaign would call and when, without a request. Pure: it simulates the time.

The campaign's own plan decides, and every call is assumed to be answered and to take two minutes including the
ringing. So there are no redials, every call gets a line, and calls that only Retell's list shows are not known. A
real campaign meets longer calls, redials and busy lines, and takes longer.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, assert_never

from airflow_provider_retell.campaign.people.columns import DRY_RUN_COLUMN
from airflow_provider_retell.campaign.plan.actions import Finish, Get, Look, Place, ReadList, Wait
from airflow_provider_retell.campaign.plan.ledger import KnownCall
from airflow_provider_retell.campaign.plan.pacing import Moment
from airflow_provider_retell.campaign.plan.plan import Plan
from airflow_provider_retell.campaign.plan.trouble import Rejection
from airflow_provider_retell.campaign.results.summary import people_rows, summarize
from airflow_provider_retell.campaign.run.requests import CallRequests, unsendable
from airflow_provider_retell.errors import RetellInputError
from airflow_provider_retell.outcomes import CallStatus, Outcome
from airflow_provider_retell.rows import DRY_RUN

CALL_SECONDS: Final = 120.0
"""The assumed duration of each call in seconds, from the request to the end."""

ACCOUNT_LINES: Final = 20
"""The assumed lines of the account, because no request is sent: those of Retell's pay-as-you-go plan.

See https://docs.retellai.com/deploy/concurrency
"""


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """The results of a dry run.

    Attributes:
        placed_at: When each person would be called, by row, in seconds since the epoch.
        ends_at: When the last call would be over.
        failure: Why the task would fail; None if it would not.
    """

    placed_at: Mapping[int, float]
    ends_at: float
    failure: str | None


def rehearse(plan: Plan, requests: CallRequests, *, now: float) -> DryRun:
    """Carry out the actions of a plan without a request, until it has finished.

    Args:
        plan: The plan, with the calls in the campaign's own files; afterwards each person has a fate.
        requests: Makes the requests, so that those that cannot be made are found; nothing is sent.
        now: When it begins, in seconds since the epoch.
    """
    state, at, identity = plan.state, Moment(now, 0.0), requests.identity
    calls: dict[str, KnownCall] = {}
    ends: dict[str, float] = {}
    placed_at: dict[int, float] = {}

    def seen(call_id: str) -> KnownCall:
        if calls[call_id].live and ends[call_id] <= at.wall:
            calls[call_id] = _answered(calls[call_id], ends[call_id])
        return calls[call_id]

    for call in [each for each in state.in_progress.calls() if each.live]:  # not read: their ends stay unknown
        state.got(call.call_id, None, at)
    while True:
        match plan.next_action(at):
            case Place() as order if (refused := _unsendable(requests, order)) is not None:
                state.rejected(order, refused, at)
            case Place() as order if plan.may_send(order, at):
                call_id = f"{DRY_RUN}_{len(calls)}"
                key = identity.person(to_number=order.person.to_number, person_id=order.person.person_id)
                calls[call_id] = KnownCall(
                    call_id=call_id,
                    person=key,
                    attempt=order.attempt,
                    status=CallStatus.REGISTERED,
                    placed_at=at.wall,
                )
                ends[call_id] = at.wall + CALL_SECONDS
                placed_at[order.person.row] = at.wall
                state.placed(order, calls[call_id], at)
            case Place() as order:
                state.not_sent(order, at)
            case ReadList():
                state.read(map(seen, calls), began=at, now=at)
            case Look(call_ids) | Get(call_ids):
                state.looked(call_ids, [seen(each) for each in call_ids if each in calls], at)
            case Wait() as wait:
                seconds = max(wait.seconds, _pause(plan, wait, at))
                at = Moment(at.wall + seconds, at.steady + seconds)
            case Finish(failure):
                _forget(plan, calls)
                return DryRun(placed_at=placed_at, ends_at=max(ends.values(), default=now), failure=failure)
            case never:
                assert_never(never)


def _unsendable(requests: CallRequests, order: Place) -> Rejection | None:
    """Return why no request can be made for an order, None if one can be."""
    try:
        requests.of(order.person, order.attempt)
    except RetellInputError as error:
        return unsendable(error)
    return None


def _answered(call: KnownCall, at: float) -> KnownCall:
    return KnownCall(
        call_id=call.call_id,
        person=call.person,
        attempt=call.attempt,
        status=CallStatus.ENDED,
        outcome=Outcome.ANSWERED,
        placed_at=call.placed_at,
        ended_at=at,
        complete=True,
    ).seen_over(at)


def _pause(plan: Plan, wait: Wait, at: Moment) -> float:
    """Return the seconds in which certainly nothing happens, so that closed hours are skipped in one step."""
    state = plan.state
    if state.in_progress or wait.next_call_in is None:
        return 0.0
    return min(wait.next_call_in, max(state.checks.ends_at - at.wall, 0.0))


def _forget(plan: Plan, calls: Mapping[str, KnownCall]) -> None:
    """Keep only the calls that were really placed."""
    for slot in plan.state.roster.slots:
        slot.calls = tuple(call for call in slot.calls if call.call_id not in calls)


def dry_result(plan: Plan, dry_run: DryRun, *, now: float) -> dict[str, Any]:
    """Return the result of a campaign plus ``duration_seconds``, the time that it would take from now on."""
    result = summarize(plan.state.roster)
    outcomes = Counter(result["outcomes"]) + Counter({DRY_RUN: len(dry_run.placed_at)})
    return result | {"outcomes": dict(outcomes), "duration_seconds": math.ceil(dry_run.ends_at - now)}


def dry_rows(plan: Plan, dry_run: DryRun, *, for_xcom: bool = False) -> list[dict[str, Any]]:
    """Return the row of each person as in a campaign, plus ``earliest_call_at`` in ISO 8601 and UTC.

    That time is None for a person who would not be called.
    """
    rows = []
    for row, slot in zip(people_rows(plan.state.roster, for_xcom=for_xcom), plan.state.roster.slots, strict=True):
        at = dry_run.placed_at.get(slot.person.row)
        called = {} if at is None else {"outcome": DRY_RUN, "call_id": None}
        text = None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
        rows.append({**row, **called, DRY_RUN_COLUMN: text})
    return rows
