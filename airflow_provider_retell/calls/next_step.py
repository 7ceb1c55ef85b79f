"""Decide what a try does about the call that an earlier try may have placed. Pure: no I/O, no clock, no Airflow.

Before a request that rings a phone, a try records what it is about to send, and right after it the call's id. A
later try reads that record. Without one (Airflow before 3.3 has no task state store, a clear may empty it, and
the response to a registration may be lost), Retell's list of calls takes its place, and the same rules apply. A
call that is found by its tag counts as known from then on.

Retell dials a *created* call, and under the same key it returns the same one for an hour. A *registered* call has
no key, and does not ring by itself. In each table the first row that fits counts.

After a clear: a user cleared the task after the record was written or the newest call placed; or, if there is
neither, at any time.

===========================  =============================================  ====================================
record                       the call                                       the next step
===========================  =============================================  ====================================
none, not durable            has no tag                                     PlaceNew
none, or answer lost         not looked for                                 LookForTag
call known                   not read                                       Read
any                          lives, unless it was registered and never      StopFirst, then PlaceNew
                             dialed
none, created                found by its tag and over, but another may      LookForTag again
                             ring beside it: 330 s
none or lost, created        cannot be listed                               Refuse: it may be going on
none or lost, created        not listed, but it may ring: 330 s             LookForTag again
any                          otherwise                                      PlaceNew
===========================  =============================================  ====================================

Otherwise, if the record is not under a ``call_key`` that the task no longer has, which is refused:

===========================  =============================================  ====================================
record                       the call                                       the next step
===========================  =============================================  ====================================
none, first try              -                                              PlaceNew
none, not durable            has no tag                                     PlaceNew, with the same key
none                         not looked for                                 LookForTag
none, created                cannot be listed, and the key may have         Refuse
                             expired or the calling hours are shut
none, created                not listed, the calling hours are shut, but    LookForTag again
                             it may ring: 330 s
none                         otherwise                                      PlaceNew, with the same key
refused                      was certainly not placed                       PlaceNew, under the same ordinal
of another connection        by another API key: maybe another account's    Refuse
call known                   not read                                       Read
call known                   to another number, or by another agent         Refuse
call known                   lives                                          Adopt
call known                   over, the person asked for no more calls       Adopt
call known                   over, ``redial`` asks for more, and no         Adopt: the task calls again when it
                             earlier one is unknown to Retell               is due
call known                   over as ``fail_on`` names it; stopped only     PlaceNew, under the next ordinal
                             if it names that, not a status
call known                   over, stopped                                  Refuse: people decide
call known                   over otherwise                                 Adopt
call known                   unknown to Retell                              Refuse
answer lost                  asked for to another number, or by another     Refuse
                             agent
answer lost, created         within the key's hour, by the same API key,    SendAgain, with the same key
                             and the calling hours are not known as shut
answer lost                  not looked for                                 LookForTag
answer lost, created         not listed, asked for by another API key or    LookForTag again
                             the calling hours are shut, but it may ring:
                             330 s
answer lost, created         not listed, the first two conditions for       SendAgain: the hours decide
                             SendAgain hold
answer lost                  found, ``redial`` counts earlier ones that     Read them too
                             are not read
answer lost, created         otherwise                                      Refuse
answer lost, registered      otherwise                                      PlaceNew: nothing rings by itself
===========================  =============================================  ====================================

A call with its own name (``call_key``) may be another task's, so every try asks Retell for the list:

===========================  =============================================  ====================================
record                       the call                                       the next step
===========================  =============================================  ====================================
under another ``call_key``   any                                            Refuse; after a clear, as if none
of another connection        by another API key; not after a clear          Refuse
any                          not looked for                                 LookForTag
any                          cannot be listed                               Refuse
call known                   not listed                                     Read
call known, cleared          unknown to Retell                              PlaceNew
answer lost, cleared         not listed, and no key is trusted any more     PlaceNew
none                         not listed                                     PlaceNew
any                          as asked for, over, at the first try or at     Adopt
                             that after a clear
any                          otherwise                                      as in the table before: a clear
                                                                            stops nothing
===========================  =============================================  ====================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_provider_retell.api.patience import LONGEST_RINGING
from airflow_provider_retell.calls import refusals
from airflow_provider_retell.calls.intent import TAG, Intent, Record, counts
from airflow_provider_retell.calls.recognition import differs, request_of
from airflow_provider_retell.calls.redialing import next_call_at
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
    Step,
    StopFirst,
    Wanted,
)
from airflow_provider_retell.outcomes import CallStatus, Outcome, allow_another

if TYPE_CHECKING:
    from airflow_provider_retell.api.call_rows import CallRow


def next_step(wanted: Wanted, record: Record | None, seen: Seen, *, now: float) -> Step:
    """Return the next step of a try.

    Args:
        wanted: What this try wants.
        record: The task's last record, None if there is none.
        seen: The calls as Retell shows them.
        now: Seconds since the epoch.
    """
    first = PlaceNew(wanted.intent.generation, 0)
    if record is not None and (refusal := _elsewhere(wanted, record)):
        if not wanted.intent.is_before_clear(record):
            return refusal
        record = None if record.prefix not in {"", wanted.intent.prefix} else record
    if wanted.intent.named and (step := _named(wanted, record, seen, first, now)):
        return step
    if isinstance(seen, tuple) and seen:
        return _unread(wanted, record, seen) or _known(wanted, seen, record, now)
    if record is None:
        return _without_record(wanted, seen, first, now)
    cleared = record.generation != wanted.intent.generation
    if record.refused:
        return first if cleared else PlaceNew(record.generation, record.ordinal)
    if record.call_id is not None:
        if seen is None:
            return Read((*record.earlier, record.call_id) if wanted.redial else (record.call_id,))
        return first if cleared else refusals.no_longer_known(record.call_id)
    return _lost(wanted, record, seen, first, now)


def _unread(wanted: Wanted, record: Record | None, calls: Sequence[CallRow]) -> Read | None:
    """Return what is still to be read of a call that was found by its tag: ``redial`` counts the earlier ones."""
    if record is None or record.call_id is not None or not wanted.redial or wanted.intent.named:
        return None
    if record.generation != wanted.intent.generation or {call.call_id for call in calls}.issuperset(
        record.earlier
    ):
        return None
    return Read((*record.earlier, max(calls, key=counts).call_id))


def _elsewhere(wanted: Wanted, record: Record) -> Refuse | None:
    """Return a refusal if this try cannot find the call on record, under its ``call_key`` or in its account."""
    if record.prefix not in {"", wanted.intent.prefix}:
        return Refuse(
            f"Not called: try {record.try_number} asked for a call under another call_key. A call_key must be "
            f"the same at each try. {refusals.CLEAR}"
        )
    if record.refused or record.conn_id in {"", wanted.conn_id} or record.key_digest == wanted.key_digest != "":
        return None
    return Refuse(
        f"Not called again: try {record.try_number} asked for this call through the connection "
        f"{record.conn_id!r}, and this try uses {wanted.conn_id!r}, which does not know that call if it is "
        f"another account. Let the task use {record.conn_id!r} again. {refusals.CLEAR}"
    )


def _named(wanted: Wanted, record: Record | None, seen: Seen, first: PlaceNew, now: float) -> Step | None:
    """Return the step that is special to a call with a ``call_key``, None if the general rules apply."""
    if seen is None:
        return LookForTag(wanted.intent.prefix)
    if seen is Missing.UNLISTABLE:
        return Refuse(
            "Not called: with call_key, calls are looked up before one is placed, and this API key may not list "
            "calls. Give it that permission in Retell's dashboard, or leave call_key out."
        )
    if record is None or record.refused:
        return None
    listed = seen if isinstance(seen, tuple) else ()
    if record.call_id is not None and seen is not Missing.UNKNOWN:
        return None if record.call_id in {call.call_id for call in listed} else Read((record.call_id,))
    if listed or not wanted.intent.is_before_clear(record):
        return None
    lost_just_now = record.call_id is None and wanted.retell_dials and now - record.sent_at < KEY_LIFETIME
    return None if lost_just_now else first


def _without_record(wanted: Wanted, seen: Seen, first: PlaceNew, now: float) -> Step:
    if wanted.first_try or wanted.intent.named or not wanted.durable:
        return first
    if seen is None:
        return LookForTag(wanted.intent.prefix)
    goes_on = not (wanted.intent.cleared or wanted.hours_shut)  # the call of an earlier try is continued with
    if seen is Missing.UNLISTABLE and wanted.retell_dials and not (goes_on and wanted.key_is_alive(now)):
        return Refuse(refusals.HIDDEN)
    if not goes_on and _may_ring(wanted, wanted.began, now):
        return LookForTag(wanted.intent.prefix)
    return first


def _lost(wanted: Wanted, record: Record, seen: Seen, first: PlaceNew, now: float) -> Step:
    """Decide on a request whose response was lost."""
    sent = Intent(prefix=wanted.intent.prefix, generation=record.generation, ordinal=record.ordinal)
    if record.generation != wanted.intent.generation:
        if seen is Missing.UNLISTABLE and wanted.retell_dials:
            return Refuse(refusals.HIDDEN)
        if seen is None or _may_ring(wanted, record.last_sent_at, now):
            return LookForTag(sent.tag)
        return first
    if difference := differs(record.body or {}, wanted.body):
        return Refuse(f"Not called again: try {record.try_number} asked for a call {difference}. {refusals.CLEAR}")
    same_key = record.key_digest in {"", wanted.key_digest}
    hidden = (not same_key or wanted.hours_shut) and _may_ring(wanted, record.last_sent_at, now)
    known_key = wanted.retell_dials and now - record.sent_at < KEY_LIFETIME and same_key
    if known_key and (not wanted.hours_shut or (seen is Missing.UNLISTED and not hidden)):
        return SendAgain(record)
    if seen is None or (seen is Missing.UNLISTED and hidden):
        return LookForTag(sent.tag)
    if not wanted.retell_dials:
        return PlaceNew(record.generation, record.ordinal)
    listed = "calls cannot be listed" if seen is Missing.UNLISTABLE else "no call with its tag is listed"
    return Refuse(
        f"Not called again: {(now - record.sent_at) / 60:.0f} minutes ago try {record.try_number} asked Retell "
        f"for this call and lost the response, and {listed}. {'' if same_key else refusals.OTHER_API_KEY}"
        f"Look for the call in Retell's dashboard (metadata {TAG} = {sent.tag}). {refusals.CLEAR}"
    )


def _may_ring(wanted: Wanted, since: float, now: float) -> bool:
    # A ringing call may not be listed; a registered one rings only if the user's own telephony dials it.
    return wanted.retell_dials and now < since + LONGEST_RINGING


def _known(wanted: Wanted, calls: Sequence[CallRow], record: Record | None, now: float) -> Step:
    """Decide by the newest of the calls that Retell shows."""
    intent = wanted.intent
    own = None if intent.named else record
    ordered = sorted(calls, key=lambda call: counts(call, own))
    newest = ordered[-1]
    generation, ordinal = (own.generation, own.ordinal) if own is not None else counts(newest)
    if generation != intent.generation and not intent.named:
        return _cleared(wanted, calls, generation, record, now)
    if difference := differs(request_of(newest), wanted.body):
        return Refuse(
            f"Not called: {newest.call_id}, which was placed before under the same tag or key, is a call "
            f"{difference}. {refusals.OTHER_KEY if intent.named else refusals.CLEAR}",
            call_ids=(newest.call_id,),
        )
    if not newest.is_terminal or newest.outcome == Outcome.DO_NOT_CALL:
        return Adopt(newest)
    shown = {call.call_id for call in calls}
    deleted = [None for call_id in (own.earlier if own is not None else ()) if call_id not in shown]
    plan = [*deleted, *(call for call in ordered if counts(call, own)[0] == counts(newest, own)[0])]
    if next_call_at(wanted.redial, plan, over_at=now) is not None or (intent.named and wanted.first_try):
        return Adopt(newest)
    if allow_another(newest, wanted.fail_on):
        return PlaceNew(generation, ordinal + 1)
    if newest.outcome == Outcome.STOPPED:
        return refusals.was_stopped(newest)
    return Adopt(newest)


def _cleared(wanted: Wanted, calls: Sequence[CallRow], generation: int, record: Record | None, now: float) -> Step:
    """Decide on calls from before a clear."""
    first = PlaceNew(wanted.intent.generation, 0)
    # A registered call that has not been dialed yet times out by itself.
    left_alone = None if wanted.retell_dials else CallStatus.REGISTERED
    live = tuple(call for call in calls if not call.is_terminal and call.call_status != left_alone)
    if live:
        return StopFirst(live, first)
    # After one try, which places one call, no other call can ring beside the one that is shown. After several
    # tries, or if a try may place several calls, a later one may ring without being listed.
    one_try = wanted.intent.generation - generation == 1 and not (wanted.fail_on or wanted.redial)
    if record is None and not one_try and _may_ring(wanted, wanted.began, now):
        return LookForTag(wanted.intent.prefix)
    return first
