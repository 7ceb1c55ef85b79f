"""Turn calls into rows: each is noted as soon as it is known, and added to the files once, when it is over.

==========================  =======================  ===============================================
a row                       ``outcome``              ``seen_over_at``
==========================  =======================  ===============================================
of a call in progress       None                     None
of a call that is over and  as it ended              None: a later process adds the complete row
lacks its other fields
of a call that is over      as it ended              when that was first seen
==========================  =======================  ===============================================
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from airflow_provider_retell.api.call_rows import CallRow, row_projection
from airflow_provider_retell.api.endpoints import get_call
from airflow_provider_retell.calls.intent import TAG
from airflow_provider_retell.campaign.people.identity import CampaignIdentity, TaggedAttempt
from airflow_provider_retell.campaign.people.person import Refusal
from airflow_provider_retell.campaign.plan.actions import Refused
from airflow_provider_retell.campaign.plan.calls_in_progress import CallsInProgress
from airflow_provider_retell.campaign.plan.ledger import GIVEN_UP, KnownCall, merge, read_call
from airflow_provider_retell.campaign.plan.roster import Roster
from airflow_provider_retell.campaign.run.background import Background
from airflow_provider_retell.errors import Concerns, RetellError
from airflow_provider_retell.outcomes import Outcome
from airflow_provider_retell.rows import HEAVY_FIELDS

if TYPE_CHECKING:
    from airflow_provider_retell.api.client import RetellClient

log = logging.getLogger(__name__)

_BY_RETELL: Final = frozenset({Refusal.BAD_NUMBER.value, Refusal.BAD_REQUEST.value})
_NOTED: Final = (
    "call_id",
    "call_status",
    "disconnection_reason",
    "outcome",
    "start_timestamp",
    "end_timestamp",
)
_READS_AT_ONCE: Final = 8
_ROWS_IN_A_PART: Final = 1000


class Files(Protocol):
    """The writing side of the campaign's files."""

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows of attempts and refusals."""

    def note(self, row: Mapping[str, Any]) -> None:
        """Note a call that has no row yet; this replaces an earlier note about it."""

    def write_placed(self) -> None:
        """Write the noted calls that have no row yet."""

    def write_part(self) -> int:
        """Write the rows added so far as one complete file."""


class Recorder:
    """Record the calls, for other campaigns and for later processes.

    Args:
        roster: The people.
        identity: The campaign's identity.
        client: Reads the fields that the list leaves out.
        include: Heavy fields for the rows.
        analysis_timeout: Seconds to wait for the analysis after the end of a call; 0 to wait for none.
        files: The files for the rows; None to keep none.
    """

    def __init__(
        self,
        roster: Roster,
        identity: CampaignIdentity,
        client: RetellClient,
        *,
        include: tuple[str, ...] = (),
        analysis_timeout: float = 0,
        files: Files | None = None,
    ) -> None:
        self._roster = roster
        self._identity = identity
        self._client = client
        self.projection = row_projection(include)
        self._reads_each = bool(HEAVY_FIELDS.intersection(include))
        self._analysis_timeout = analysis_timeout
        self._files = files
        self._awaited: dict[str, tuple[CallRow, KnownCall]] = {}
        self._to_read: dict[str, KnownCall] = {}
        self._reading = 0
        self._unwritten = 0
        self._recorded: set[str] = set()
        self._noted: dict[str, tuple[str | None, str | None]] = {}

    @property
    def complete(self) -> bool:
        """True if the rows of all calls that are over have their fields."""
        return not self._to_read and not self._reading

    # -- rows of earlier tries -------------------------------------------------------------------------------

    def known(self, rows: Iterable[Mapping[str, Any]], now: float) -> Iterator[KnownCall]:
        """Yield the calls in the rows of earlier tries, and note what need not be written or counted again."""
        return known_calls(self._read_before(rows), self._identity, now=now)

    def _read_before(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        for each in rows:
            if each.get("refused") in _BY_RETELL and each.get("refused_at"):
                self._roster.rejected_before(str(each["to_number"]), self._identity)
            if each.get("seen_over_at") and each.get("call_status"):  # a call that was given up may be over by now
                self._recorded.add(str(each["call_id"]))
            yield each

    # -- calls as they are read ------------------------------------------------------------------------------

    def saw(self, call: CallRow, known: KnownCall, now: float) -> None:
        """Note a call as it was read, and record it once it is complete."""
        if self._files is None or not known.ours or call.call_id in self._recorded:
            return
        self._note(call, known, now)
        if known.live:
            return
        if not known.complete and now < (known.ended_at or now) + self._analysis_timeout:
            self._awaited[call.call_id] = (call, known)
            return
        self._record(call, known)

    def _note(self, call: CallRow, known: KnownCall, now: float) -> None:
        state = (known.status, known.outcome)
        if self._files is None or self._noted.get(call.call_id) == state:
            return
        self._noted[call.call_id] = state
        noted = self._row({name: call.row.get(name) for name in _NOTED}, known)
        self._files.note({**noted, "placed_at": noted["placed_at"] or _text(now), "seen_over_at": None})

    def _record(self, call: CallRow, known: KnownCall) -> None:
        self._noted.pop(call.call_id, None)
        self._recorded.add(call.call_id)
        self._awaited.pop(call.call_id, None)
        if self._reads_each:
            self._to_read[call.call_id] = known
        else:
            self._write(call.row, known)

    def given_up(self, call: KnownCall, *, known: bool) -> None:
        """Record a call that is given up, and log what to do about it.

        Args:
            call: The call, as over.
            known: Whether Retell knows it.
        """
        if call.call_id in self._recorded:
            return
        self._recorded.add(call.call_id)
        log.warning(
            "%s %s: it counts as unknown, and the person is not called again because of it. Look at it in "
            "Retell's dashboard, and stop it there if it goes on; a clear reads it again.",
            call.call_id,
            "does not end" if known else "is not known to Retell",
        )
        self._write(_all_that_is_known(call), call)

    def refused(self, refusals: Iterable[Refused]) -> None:
        """Record refusals."""
        for each in refusals:
            self._add(
                {
                    "call_id": None,
                    "person_id": each.person.person_id,
                    "to_number": each.person.to_number,
                    "refused": each.reason.value,
                    "detail": each.detail,
                    "refused_at": _text(each.at),
                }
            )

    def settle(self, in_progress: CallsInProgress, background: Background) -> None:
        """Record the calls whose analysis has come or is overdue, and read the fields that the list left out."""
        for call, known in [each for call_id, each in self._awaited.items() if call_id not in in_progress]:
            self._record(call, known)
        while self._to_read and self._reading < _READS_AT_ONCE:
            call_id = next(iter(self._to_read))
            known = self._to_read.pop(call_id)
            self._reading += 1
            background.begin(partial(self._read, call_id), partial(self._was_read, known))

    def _read(self, call_id: str) -> CallRow | RetellError:
        try:
            return self._client.send(self.projection.one(get_call(call_id)))
        except RetellError as error:
            return error

    def _was_read(self, known: KnownCall, answer: CallRow | RetellError) -> None:
        self._reading -= 1
        if not isinstance(answer, RetellError):
            self._write(answer.row, known)
        elif answer.concerns is Concerns.NOTHING:
            self._to_read[known.call_id] = known
        else:
            log.warning("The row of a call lacks fields, because the call cannot be read: %s", answer)
            self._write(_all_that_is_known(known), known)

    def flush(self) -> None:
        """Record the calls that could not be read, with the fields that are known."""
        while self._to_read:
            _, known = self._to_read.popitem()
            self._write(_all_that_is_known(known), known)

    def _write(self, fields: Mapping[str, Any], known: KnownCall) -> None:
        self._add(self._row(fields, known))

    def _row(self, fields: Mapping[str, Any], known: KnownCall) -> dict[str, Any]:
        slot = self._roster.owner(known)
        calls = slot.calls if slot is not None else self._roster.unowned.values()
        merged = merge(next((each for each in calls if each.call_id == known.call_id), None), known)
        person: dict[str, Any]
        if slot is not None:
            person = {"person_id": slot.person.person_id, "to_number": slot.person.to_number}
        else:  # the number may not be known any more, and the tag identifies the person without it
            given = fields.get("metadata")
            tag = {TAG: self._identity.tag(known.person, known.attempt)}
            person = {"metadata": {**given, **tag} if isinstance(given, Mapping) else tag}
        times = {"placed_at": _text(merged.placed_at), "seen_over_at": _text(merged.seen_over_at)}
        return {**fields, "person_id": None, **person, "attempt": merged.attempt, **times}

    def _add(self, fields: Mapping[str, Any]) -> None:
        if self._files is None:
            return
        self._files.add([fields])
        self._unwritten += 1
        if self._unwritten >= _ROWS_IN_A_PART:
            self._unwritten = 0
            self._files.write_part()


def known_calls(
    rows: Iterable[Mapping[str, Any]], identity: CampaignIdentity, *, now: float
) -> Iterator[KnownCall]:
    """Yield the calls in the rows of ``attempts-*``; a row that identifies no person is left out."""
    for each in rows:
        if each.get("call_id") is None or (tagged := _tagged(each, identity)) is None:
            continue
        call = CallRow.read({name: value for name, value in each.items() if value is not None})
        placed_at, over_at = _seconds(each.get("placed_at")), _seconds(each.get("seen_over_at"))
        known = read_call(call, tagged, now=now, placed_at=placed_at, seen_over_at=over_at)
        given_up = known.live and each.get("outcome") is not None
        yield known.vanished(over_at or now) if given_up else known


def _tagged(fields: Mapping[str, Any], identity: CampaignIdentity) -> TaggedAttempt | None:
    """Return the person and the attempt of a row, by the number or by the tag."""
    if not (number := fields.get("to_number")):
        return identity.read((fields.get("metadata") or {}).get(TAG))
    person = identity.person(to_number=str(number), person_id=str(fields.get("person_id") or number))
    return TaggedAttempt(person=person, attempt=int(fields["attempt"]), same_map_index=True)


def _all_that_is_known(known: KnownCall) -> dict[str, Any]:
    outcome = Outcome.UNKNOWN if known.outcome is None else known.outcome
    fields = {"call_id": known.call_id, "call_status": known.status, "disconnection_reason": known.reason}
    return {**fields, "outcome": outcome.value, **({"detail": GIVEN_UP} if known.unreadable else {})}


def _text(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat()


def _seconds(text: object) -> float | None:
    return datetime.fromisoformat(text).timestamp() if isinstance(text, str) and text else None
