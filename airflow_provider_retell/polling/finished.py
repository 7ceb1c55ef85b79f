"""Decide which finished calls to announce, and what to remember. Pure: no I/O, no clock of its own.

A cursor only holds facts that never change: which calls were announced, or never will be. So with an older cursor,
or one that another process has written, calls may be announced twice, but none is missed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from airflow_provider_retell.api.models import Call
from airflow_provider_retell.api.pages import Fields
from airflow_provider_retell.polling.finished_list import (
    DIGEST_LENGTH,
    KNOWN_AT_LEAST,
    MINUTE_MS,
    OVERLAP_MS,
    Known,
    Listing,
    Newest,
    digest,
    matches,
)

VERSION: Final = 1

HELD_MS: Final = 3_600_000
"""The longest time that a call waits for its analysis after its end, in milliseconds."""

CALLS_IN_AN_EVENT: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """The position of a watcher.

    Attributes:
        ended_from: Milliseconds since the epoch; all calls that ended earlier have been dealt with.
        announced: Digests of the announced calls that ended later, by the minute of their end.
        known: The calls of each list of ``WITHOUT_AN_END`` that have been dealt with; empty before the first look.
    """

    ended_from: int
    announced: Mapping[int, frozenset[str]] = field(default_factory=dict)
    known: Mapping[str, Known] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the cursor as JSON that ``read`` reads."""
        known = {
            name: {
                "digests": "".join(it.digests),
                "complete": it.complete,
                "recent": {str(minute): number for minute, number in it.recent.items()},
            }
            for name, it in self.known.items()
        }
        announced = {str(minute): "".join(sorted(some)) for minute, some in sorted(self.announced.items())}
        return {"version": VERSION, "ended_from": self.ended_from, "announced": announced, "known": known}

    @classmethod
    def read(cls, stored: Any) -> Self:
        """Return the cursor that ``to_json`` wrote.

        If it is of another version, only ``ended_from`` is read, which every version has. The calls of the ten
        minutes around it are then announced twice.

        Raises:
            ValueError: It is not a cursor.
        """
        try:
            ended_from = int(stored["ended_from"])
            if stored["version"] != VERSION:
                return cls(ended_from=ended_from)
            announced = {int(minute): frozenset(_digests(text)) for minute, text in stored["announced"].items()}
            known = {
                name: Known(
                    digests=_digests(it["digests"]),
                    complete=bool(it["complete"]),
                    recent={int(minute): int(number) for minute, number in it.get("recent", {}).items()},
                )
                for name, it in stored["known"].items()
            }
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a cursor ({type(error).__name__}: {error})") from None
        return cls(ended_from=ended_from, announced=announced, known=known)

    def for_other_filters(self) -> Self:
        """Return the cursor from which a watcher with other filters continues."""
        return replace(self, announced={})


@dataclass(frozen=True, kw_only=True)
class Announcement:
    """The result of one look at the list.

    Attributes:
        calls: The calls to announce.
        cursor: The position once they are announced.
        behind: Whether the list goes on, so that the next look should follow at once.
        too_many: Whether there are more new calls without an end than are read; the others are left out.
    """

    calls: Sequence[Call]
    cursor: Cursor
    behind: bool = False
    too_many: bool = False


def calls_to_announce(
    cursor: Cursor,
    listing: Listing,
    *,
    filters: Mapping[str, Any],
    done: Callable[[Call, float], bool],
    now: float,
    known_at_least: int = KNOWN_AT_LEAST,
) -> Announcement:
    """Return the listed calls to announce, and the position of the watcher after them.

    =====================================================  =====================================================
    a call                                                 what follows
    =====================================================  =====================================================
    does not match the filters                             nothing
    ended before ``ended_from``, or was announced          nothing
    has an end, and its analysis if that is waited for     announced
    has an end, and not its analysis yet                   ``ended_from`` stays before its end, for an hour at most
    has no end, and is listed before one that is known     announced
    has no end, and is listed behind all that are known    nothing: it is older
    has no end, at the first look                          nothing: it is from before
    =====================================================  =====================================================

    ``ended_from`` follows the latest end in the list, ten minutes behind, and not the clock: while Retell's list
    does not change, it does not move. It never passes the end of what was read, and never goes back.

    Args:
        cursor: The position of the watcher.
        listing: The calls that a round listed for it.
        filters: The filters of the watcher.
        done: Returns whether a call needs no more waiting, at a time in seconds since the epoch.
        now: Seconds since the epoch.
        known_at_least: The calls to remember of each list; more while many are new.
    """
    now_ms = round(now * 1000)
    latest, held = 0, None
    calls: list[Call] = []
    announced: dict[int, set[str]] = defaultdict(set)
    for minute, some in cursor.announced.items():
        announced[minute] |= some
    for fields in listing.ended.calls:
        end = fields.get("end_timestamp")
        if not isinstance(end, int) or end < cursor.ended_from:
            continue
        latest = max(latest, min(end, now_ms))  # an end in the future must not hide earlier ones
        mark, minute = digest(fields["call_id"]), end // MINUTE_MS
        if mark in announced[minute] or not matches(fields, filters):
            continue
        call = _read(fields)
        if done(call, now) or now_ms >= end + HELD_MS:
            announced[minute].add(mark)
            calls.append(call)
        else:
            held = end if held is None else min(held, end)
    known, too_many = dict(cursor.known), False
    for name, listed in listing.newest.items():
        new, known[name], unread = _new_calls(cursor.known.get(name), listed, known_at_least, now_ms)
        too_many = too_many or unread
        calls += [_read(it) for it in new if it.get("end_timestamp") is None and matches(it, filters)]
    limits = [latest - OVERLAP_MS, held, listing.ended.up_to]
    ended_from = max(cursor.ended_from, min(limit for limit in limits if limit is not None))
    kept = {minute: frozenset(it) for minute, it in announced.items() if it and minute >= ended_from // MINUTE_MS}
    return Announcement(
        calls=calls,
        cursor=Cursor(ended_from=ended_from, announced=kept, known=known),
        behind=listing.ended.up_to is not None,
        too_many=too_many,
    )


def _new_calls(
    known: Known | None, listed: Newest, at_least: int, now_ms: int
) -> tuple[Sequence[Fields], Known, bool]:
    """Return the calls that are new, what is known from now on, and whether too many are new to find them all."""
    if known is not None and not listed.calls:
        return (), known, False  # an empty list says nothing: the calls may have been deleted
    before = Known(complete=True) if known is None else known
    digests = [digest(call["call_id"]) for call in listed.calls]
    remembered = set(before.digests)
    last = max((place for place, mark in enumerate(digests) if mark in remembered), default=None)
    lost = last is None and not listed.complete and not before.complete
    if before.complete or (last is None and listed.complete):
        last = len(digests)
    pairs = zip(listed.calls[:last], digests[:last], strict=True)
    new = [] if lost or known is None else [call for call, mark in pairs if mark not in remembered]
    counted = before.with_new(len(new), now_ms=now_ms)
    depth = counted.depth(at_least)
    few = before.complete and listed.complete and len(digests) <= depth
    newest = replace(counted, digests=tuple(digests[:depth]), complete=few)
    return new, newest, known is not None and not listed.complete and (lost or before.complete)


def _read(fields: Fields) -> Call:
    try:
        return Call.read(fields)
    except ValueError:
        # A status that is not text must not hide all other calls.
        return Call.read({**fields, "call_status": None})


def events(calls: Iterable[Call]) -> list[dict[str, Any]]:
    """Return the payloads that announce some calls, with a thousand calls in each."""
    rows = [
        {
            "call_id": call.call_id,
            "outcome": str(call.outcome or "unknown"),
            "direction": call.direction and str(call.direction),
            "agent_id": call.agent_id,
        }
        for call in calls
    ]
    return [{"calls": rows[first : first + CALLS_IN_AN_EVENT]} for first in range(0, len(rows), CALLS_IN_AN_EVENT)]


def _digests(text: str) -> tuple[str, ...]:
    return tuple(text[first : first + DIGEST_LENGTH] for first in range(0, len(text), DIGEST_LENGTH))
