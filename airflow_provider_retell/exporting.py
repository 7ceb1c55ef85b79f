"""One export: pages come in, rows are made of them, files go out. Needs no Airflow but its storage."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from airflow_provider_retell.clock import SYSTEM_CLOCK, Clock
from airflow_provider_retell.details import CONCURRENCY, Pace, read_details
from airflow_provider_retell.endpoints import get_agent
from airflow_provider_retell.errors import RetellNotFoundError, RetellPermissionError
from airflow_provider_retell.files import Destination
from airflow_provider_retell.formats import Format
from airflow_provider_retell.listing import Fields, RawPage, Selection, after, is_undated, pages, whole_call
from airflow_provider_retell.outcomes import outcome_of
from airflow_provider_retell.privacy import mask, scrub
from airflow_provider_retell.recordings import keep_recording
from airflow_provider_retell.rows import TRANSCRIPT_FIELDS
from airflow_provider_retell.tally import Tally

if TYPE_CHECKING:
    from airflow_provider_retell.client import RetellClient

log = logging.getLogger(__name__)

_BETWEEN_LINES: Final = 30.0
"""Seconds between two lines of progress in the log."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What an export says of each call.

    Attributes:
        include: Fields that list-calls leaves out.
        scrubbed: Whether Retell's scrubbed transcripts and recordings stand for the others.
        mask_numbers: Whether phone numbers are their last four digits.
        recordings: Whether recordings are kept as files.
    """

    include: tuple[str, ...] = ()
    scrubbed: bool = False
    mask_numbers: bool = False
    recordings: bool = False

    def row(self, call: Mapping[str, Any], recording: str | None) -> Fields:
        """Return what is written of a call."""
        left_out = TRANSCRIPT_FIELDS.difference(self.include)
        fields = scrub(call) if self.scrubbed else dict(call)
        fields = {name: value for name, value in fields.items() if name not in left_out}
        fields["outcome"] = _outcome(call)
        if recording is not None:
            fields["recording_path"] = recording
        return mask(fields) if self.mask_numbers else fields

    def link(self, call: Mapping[str, Any]) -> Any:
        """Return the link to the recording that may be kept."""
        return call.get("scrubbed_recording_url" if self.scrubbed else "recording_url")


def _outcome(call: Mapping[str, Any]) -> str | None:
    status, reason = call.get("call_status"), call.get("disconnection_reason")
    known = outcome_of(*(word if isinstance(word, str) else None for word in (status, reason)))
    return None if known is None else known.value


@dataclass
class Progress:
    """How far an export is: all that a retry needs to go on.

    Attributes:
        section: What is being listed: ``calls`` or ``undated``.
        cursor: Where its next page begins, None at its beginning.
        chunks: How many chunks are put aside of each section.
        tally: What was counted.
        done: Whether nothing is left to be listed.
    """

    section: str = "calls"
    cursor: str | None = None
    chunks: dict[str, int] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    done: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it so that ``from_json`` can go on from it."""
        return {**vars(self), "chunks": dict(self.chunks), "tally": self.tally.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return what ``to_json`` wrote."""
        return cls(**{**value, "chunks": dict(value["chunks"]), "tally": Tally.from_json(value["tally"])})

    def names(self) -> set[str]:
        """Return the names of all chunks."""
        return {_chunk(section, number) for section, count in self.chunks.items() for number in range(count)}


def _chunk(section: str, number: int) -> str:
    return f"{section}-{number:06}"


class _Pulse:
    """Says now and then how far the list is; it goes from the oldest call to the newest."""

    def __init__(self, clock: Clock, tally: Tally, selection: Selection) -> None:
        self._clock, self._tally, self._selection = clock, tally, selection
        self._began = self._told = clock.now()
        self._calls, self._part = tally.calls, self._reached()

    def _reached(self) -> float:
        """Return which part of the interval is listed."""
        start, end = self._selection.start, self._selection.end
        last = self._tally.last
        return 0.0 if last is None else min(1.0, (last - start) / (end - start))

    def line(self) -> str | None:
        """Return a line for the log, None as long as the last one is not old."""
        now = self._clock.now()
        if now < self._told + _BETWEEN_LINES:
            return None
        self._told = now
        seconds, part = now - self._began, self._reached()
        line = f"{self._tally.calls} calls so far, {(self._tally.calls - self._calls) / seconds:.0f} a second"
        if part <= self._part:
            return line
        left = seconds * (1 - part) / (part - self._part)
        return f"{line}; {part:.0%} of the interval, about {left:.0f} s to go"


@dataclass
class Export:
    """Write the calls of a selection to a destination.

    Attributes:
        client: Sends the requests.
        selection: Which calls.
        destination: Where to; claimed.
        file_format: How.
        contents: What of each call.
        undated: Whether calls without a start, which belong to no interval, are written too, to files of their
            own.
        max_file_bytes: A file ends with the page that makes it this large, None for one file.
        concurrency: How many calls are read at the same time.
        pace: When the next request may begin.
        progress: How far an earlier try came.
        save: Is told how far this one came, after each page.
        clock: What time it is.
    """

    client: RetellClient
    selection: Selection
    destination: Destination
    file_format: Format
    _: KW_ONLY
    contents: Contents = field(default_factory=Contents)
    undated: bool = False
    max_file_bytes: int | None = None
    concurrency: int = CONCURRENCY
    pace: Pace | None = None
    progress: Progress = field(default_factory=Progress)
    save: Callable[[Progress], None] = lambda _: None
    clock: Clock = SYSTEM_CLOCK

    def run(self) -> dict[str, Any]:
        """List, put aside, and make the files appear; return a summary without a person's data."""
        if not self.progress.done:
            self._list()
        for section, count in self.progress.chunks.items():
            self._write(section, count)
        paths = self.destination.publish()
        summary = {"paths": paths, **self.progress.tally.summary()}
        log.info("Exported %d calls to %d files.", summary["calls"], len(paths))
        return summary

    # -- pages come in -----------------------------------------------------------------------------------------

    def _list(self) -> None:
        progress = self.progress
        progress.chunks.setdefault("calls", 0)
        if progress.section == "calls":
            self._list_section("calls", self.selection.dated())
            progress.section, progress.cursor = "undated", None
        first = self.selection.undated() if self.undated else None
        if first is not None:
            self._list_section("undated", first)
        if not progress.tally.calls:
            self._know_the_agent()
        progress.done = True
        self.save(progress)

    def _know_the_agent(self) -> None:
        """Raise ``RetellNotFoundError`` for an agent nobody knows: its list of calls is empty, and no error."""
        agent_id = self.selection.filters.get("agent_id")
        if agent_id is None:
            return
        try:
            self.client.send(get_agent(agent_id))
        except RetellPermissionError as error:
            log.warning("No call of agent %r was found, and whether there is such an agent: %s", agent_id, error)

    def _list_section(self, section: str, first: Any) -> None:
        progress = self.progress
        if progress.cursor is not None:
            log.info("Going on after %d calls that an earlier try has read.", progress.tally.calls)
            first = after(first, progress.cursor)
        pulse = _Pulse(self.clock, progress.tally, self.selection)
        with closing(pages(self.client.send, first, pace=self.pace)) as stream:  # type: ignore[type-var]
            for page in stream:
                self._take(section, page)
                if line := pulse.line():
                    log.info("%s", line)

    def _take(self, section: str, page: RawPage) -> None:
        progress = self.progress
        progress.tally.unreadable += page.unreadable
        wanted = [call for call in page.calls if section == "calls" or is_undated(call)]
        rows = list(self._rows(wanted))
        if rows:
            number = progress.chunks.get(section, 0)
            self.destination.keep(_chunk(section, number), self.file_format.chunk(rows))
            progress.chunks[section] = number + 1
        for row in rows:
            progress.tally.add(row)
        progress.cursor = page.cursor
        if page.cursor is not None:
            self.save(progress)

    # -- rows are made of them ---------------------------------------------------------------------------------

    def _rows(self, calls: Sequence[Fields]) -> Iterator[Fields]:
        found = list(self._detailed(calls))
        kept = self._recordings(found)
        for call in found:
            yield self.contents.row(call, kept.get(call["call_id"]))

    def _detailed(self, calls: Sequence[Fields]) -> Iterator[Fields]:
        if not self.contents.include:
            yield from calls
            return
        ids = [call["call_id"] for call in calls]
        for _, call in read_details(self._read, ids, concurrency=self.concurrency, pace=self.pace):
            if call is None:
                self.progress.tally.deleted += 1
            else:
                yield call

    def _read(self, call_id: str) -> Fields | None:
        try:
            return self.client.send(whole_call(call_id))
        except RetellNotFoundError:
            return None  # listed, and deleted since: whoever deletes a call wants it nowhere

    def _recordings(self, calls: Sequence[Fields]) -> dict[str, str]:
        if not self.contents.recordings:
            return {}
        by_id = {call["call_id"]: call for call in calls}

        def keep(call_id: str) -> str | None:
            return keep_recording(self.client, by_id[call_id], self.destination, link=self.contents.link)

        kept = {i: name for i, name in read_details(keep, by_id, concurrency=self.concurrency) if name}
        self.progress.tally.recordings += len(kept)
        return kept

    # -- files go out ------------------------------------------------------------------------------------------

    def _write(self, section: str, count: int) -> None:
        """Make files of the chunks put aside, at least one: nobody shall look for it in vain."""
        number = part = 0

        def some(file: Any) -> Iterator[bytes]:
            nonlocal number
            while number < count:
                yield self.destination.kept(_chunk(section, number))
                number += 1
                if self.max_file_bytes is not None and file.tell() >= self.max_file_bytes:
                    return

        while number < count or part == 0:
            with self.destination.writing(f"{section}-{part:05}{self.file_format.suffix}") as file:
                self.file_format.write(some(file), file)
            part += 1
