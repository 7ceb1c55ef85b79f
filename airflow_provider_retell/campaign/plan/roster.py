"""The people of a campaign, their calls, and their fates. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Final

from airflow_provider_retell.campaign.people.identity import CampaignIdentity, PersonKey
from airflow_provider_retell.campaign.people.person import Person, Refusal
from airflow_provider_retell.campaign.plan.actions import Refused
from airflow_provider_retell.campaign.plan.ledger import KnownCall, dialed, merge
from airflow_provider_retell.campaign.plan.pacing import backoff

_ANOTHER_ROW: Final = "another row of this person says so"


class Fate(IntEnum):
    """The final state of a person."""

    DONE = 0
    """Called, and nothing is left to do."""
    REFUSED = 1
    NOT_CALLED = 2
    """A first or a further call was still to be placed when the campaign ended."""


class Turn(IntEnum):
    """The reason why a person is in the queue."""

    AGAIN = 0
    FIRST = 1
    RESEND = 2


class Lane(IntEnum):
    """The part of the queue in which a person waits."""

    REGULAR = 0
    RESEND = 1
    """The response to the last request was lost."""
    BEHIND = 2
    """The last requests were turned away, placed calls that found no line, or were lost without placing one."""


LOSSES: Final = 3
"""Lost responses in a row after which the request is not repeated: the list decides, and frees the line."""

TURNED_AWAY: Final = 2
"""Requests turned away in a row after which a person waits behind the others."""


class Slot:
    """A person with the calls so far.

    Attributes:
        person: The row.
        calls: All calls, in the order in which they became known.
        attempt: The number of the next attempt, or of the current one.
        sending: Whether a request is in progress.
        sent_at: When the attempt was first sent, if its response was lost, in steady time; else None.
        asked_at: When it was last sent.
        await_list: Whether it must not be sent again: only the list can show its result.
        losses: How many responses of the attempt were lost in a row.
        turned_away: How many requests in a row were turned away, or placed a call that found no line.
        again_at: When the next one may be sent because of that, in seconds since the epoch.
        given_up: Whether no more requests are sent, because Retell answers none.
        fate: None while something is left to do.
        refusal: The reason, if the fate is ``REFUSED``.
        detail: The reason in words.
        turn: The reason why the person is in the queue, None if not in it.
        ticket: Grows with each change; queue entries with an older ticket no longer count.
    """

    __slots__ = (
        "again_at",
        "asked_at",
        "attempt",
        "await_list",
        "calls",
        "detail",
        "fate",
        "given_up",
        "losses",
        "person",
        "refusal",
        "sending",
        "sent_at",
        "ticket",
        "turn",
        "turned_away",
    )

    def __init__(self, person: Person) -> None:
        self.person = person
        self.calls: tuple[KnownCall, ...] = ()
        self.attempt = 1
        self.sending = False
        self.sent_at: float | None = None
        self.asked_at = 0.0
        self.await_list = False
        self.losses = 0
        self.turned_away = 0
        self.again_at = 0.0
        self.given_up = False
        self.fate: Fate | None = None
        self.refusal: Refusal | None = None
        self.detail = ""
        self.turn: Turn | None = None
        self.ticket = 0

    def turn_away(self, times: int, now: float) -> None:
        """Note how often the person was turned away in a row: from the second time on, the others go first."""
        self.turned_away, self.again_at = times, now + backoff(times)

    @property
    def lane(self) -> Lane:
        """The part of the queue in which the person waits."""
        if self.turn is Turn.RESEND:
            return Lane.RESEND
        return Lane.REGULAR if self.turned_away < TURNED_AWAY else Lane.BEHIND

    @property
    def dialed(self) -> tuple[KnownCall, ...]:
        """The calls that count as attempts, by their number."""
        return dialed(self.calls)

    @property
    def live(self) -> bool:
        """True if a call may ring or be in progress."""
        return any(call.live for call in self.calls)


class Roster:
    """All people, by row, by number and by id.

    Args:
        people: All rows, in the order given. The later of two rows with one number, or one id, is a duplicate.
        identity: The campaign's identity.

    Attributes:
        slots: All rows.
        callable: The rows that can be called.
        open: How many people have no fate yet.
        called: How many people have a call.
        rejected: The rows of people who were refused in this process, or according to the files in an earlier one.
        unowned: Calls of this task to people who are no longer on the list, by their ids.
    """

    def __init__(self, people: Iterable[Person], identity: CampaignIdentity) -> None:
        self.slots: list[Slot] = []
        self.callable: list[Slot] = []
        self.open = self.called = 0
        self.rejected: set[int] = set()
        self.unowned: dict[str, KnownCall] = {}
        self._by_number: dict[int, Slot] = {}
        self._by_id: dict[int, Slot] = {}
        self._refused: list[Refused] = []
        self._provisional: list[tuple[Slot, Refused]] = []
        self._never: set[int] = set()
        for person in people:
            self._add(person, identity)

    def _add(self, person: Person, identity: CampaignIdentity) -> None:
        slot = Slot(person)
        self.slots.append(slot)
        self.open += 1
        key = identity.person(to_number=person.to_number, person_id=person.person_id)
        if person.refused is not None:
            self.refuse(slot, person.refused, person.detail, at=None)
            if person.refused is Refusal.DO_NOT_CALL:
                self._refuse_all(key)
            return
        if not self._never.isdisjoint((key.number, key.id)):
            self.refuse(slot, Refusal.DO_NOT_CALL, _ANOTHER_ROW, at=None)
            return
        if key.number in self._by_number or key.id in self._by_id:
            self.refuse(slot, Refusal.DUPLICATE, "an earlier row has this number or this id", at=None)
            return
        self._by_number[key.number] = self._by_id[key.id] = slot
        self.callable.append(slot)

    def _refuse_all(self, key: PersonKey) -> None:
        """Refuse a person in all rows, because one row says never to call again."""
        self._never |= {key.number, key.id}
        for slot in (self._by_number.get(key.number), self._by_id.get(key.id)):
            if slot is not None and slot.fate is None:
                self.callable.remove(slot)
                self.refuse(slot, Refusal.DO_NOT_CALL, _ANOTHER_ROW, at=None)

    # -- fates ---------------------------------------------------------------------------------------------

    def close(self, slot: Slot, fate: Fate, detail: str = "") -> None:
        """Give a person a fate; this replaces an earlier one."""
        self.open -= slot.fate is None
        slot.fate, slot.refusal, slot.detail = fate, None, detail

    def reopen(self, slot: Slot) -> None:
        """Take the fate back, because the person has something left to do."""
        self.open += slot.fate is not None
        slot.fate = slot.refusal = None
        slot.detail = ""

    def refuse(self, slot: Slot, reason: Refusal, detail: str, *, at: float | None) -> None:
        """Refuse to call a person."""
        self._refused.append(self._refusal(slot, reason, detail, at))

    def refuse_provisionally(self, slot: Slot, reason: Refusal, detail: str, *, at: float) -> None:
        """Refuse a person until it is clear whether the account is the reason."""
        self.rejected.add(slot.person.row)
        self._provisional.append((slot, self._refusal(slot, reason, detail, at)))

    def rejected_before(self, to_number: str, identity: CampaignIdentity) -> None:
        """Note that a person's number was refused in an earlier process, and the account was not the reason."""
        slot = self._by_number.get(identity.person(to_number=to_number, person_id="").number)
        if slot is not None:
            self.rejected.add(slot.person.row)

    def _refusal(self, slot: Slot, reason: Refusal, detail: str, at: float | None) -> Refused:
        self.close(slot, Fate.REFUSED)
        slot.refusal, slot.detail = reason, detail
        return Refused(person=slot.person, reason=reason, detail=detail, at=at)

    def confirm_refusals(self) -> None:
        """Make the provisional refusals final: the people's own rows are the reason."""
        self._refused += [refused for _, refused in self._provisional]
        self._provisional.clear()

    def withdraw_refusals(self) -> None:
        """Withdraw the provisional refusals, so that a clear calls these people: the account is the reason."""
        for slot, _ in self._provisional:
            self.close(slot, Fate.NOT_CALLED)
        self._provisional.clear()

    def take_refusals(self) -> list[Refused]:
        """Return the refusals since the last call of this method, for the audit trail."""
        taken, self._refused = self._refused, []
        return taken

    # -- calls ---------------------------------------------------------------------------------------------

    def owner(self, call: KnownCall) -> Slot | None:
        """Return the person to whom a call belongs, found by the number."""
        return self._by_number.get(call.person.number)

    def changed(self, call: KnownCall) -> Slot | None:
        """Return the person whose row has the id of a call but another number, and who was not called yet."""
        slot = self._by_id.get(call.person.id)
        if slot is None or slot is self.owner(call) or not call.dialed:
            return None
        untouched = slot.fate is None and not slot.calls and not slot.sending and slot.sent_at is None
        return slot if untouched else None

    def record(self, slot: Slot | None, call: KnownCall) -> tuple[KnownCall | None, KnownCall]:
        """Merge in a call as a source shows it; return the call as known before and after.

        Args:
            slot: The person called; None if that person is not on the list.
            call: The call as this source shows it.
        """
        if slot is None:
            known = self.unowned.get(call.call_id)
            self.unowned[call.call_id] = merge(known, call)
            return known, self.unowned[call.call_id]
        known = next((each for each in slot.calls if each.call_id == call.call_id), None)
        now = merge(known, call)
        if known is None:
            self.called += not slot.calls
            slot.calls += (now,)
        elif now != known:
            slot.calls = tuple(now if each is known else each for each in slot.calls)
        return known, now
