"""One export: pages come in, rows are made of them, files go out. Needs no Airflow but its storage."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_retell._clock import SYSTEM_CLOCK, Clock
from airflow_provider_retell.api.concurrency import CONCURRENCY, RequestRate, read_details
from airflow_provider_retell.api.endpoints import Request, get_agent, page_at
from airflow_provider_retell.errors import RetellNotFoundError, RetellPermissionError
from airflow_provider_retell.export.listing import Fields, RawPage, Selection, is_undated, pages, whole_call
from airflow_provider_retell.export.progress import Progress, Pulse, chunk_name, page_name
from airflow_provider_retell.export.recordings import keep_recording
from airflow_provider_retell.files.contents import Contents
from airflow_provider_retell.files.destination import Destination
from airflow_provider_retell.files.formats import Format

if TYPE_CHECKING:
    from airflow_provider_retell.api.client import RetellClient

log = logging.getLogger(__name__)


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
    pace: RequestRate | None = None
    progress: Progress = field(default_factory=Progress)
    save: Callable[[Progress], None] = lambda _: None
    clock: Clock = SYSTEM_CLOCK

    def run(self) -> dict[str, Any]:
        """List the calls, put their rows aside, publish the files; return a summary without personal data."""
        if not self.progress.done:
            self._list()
        names = [name for section, count in self.progress.chunks.items() for name in self._write(section, count)]
        self.destination.publish([*names, *self._recorded()])
        self.destination.clean_up()
        summary = {"paths": [self.destination.url(name) for name in names], **self.progress.tally.summary()}
        log.info("Exported %d calls to %d files.", summary["calls"], len(names))
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

    def _list_section(self, section: str, first: Request[RawPage]) -> None:
        progress = self.progress
        last_ids: frozenset[str] = frozenset()
        if progress.cursor is not None:
            log.info("Going on after %d calls that an earlier try has read.", progress.tally.calls)
            first = page_at(first, progress.cursor)
            last_ids = frozenset(self._page(progress.pages - 1)["ids"])
        pulse = Pulse(self.clock, progress.tally, start=self.selection.start, end=self.selection.end)
        with closing(pages(self.client.send, first, pace=self.pace, last_ids=last_ids)) as stream:
            for page in stream:
                self._take(section, page)
                if line := pulse.line():
                    log.info("%s", line)

    def _take(self, section: str, page: RawPage) -> None:
        progress = self.progress
        progress.tally.unreadable += page.unreadable
        wanted = [call for call in page.calls if section == "calls" or is_undated(call)]
        found = list(self._detailed(wanted))
        recordings = self._recordings(found)
        rows = [self.contents.row(call, recordings.get(call["call_id"])) for call in found]
        if rows:
            number = progress.chunks.get(section, 0)
            self.destination.keep(chunk_name(section, number), self.file_format.chunk(rows))
            progress.chunks[section] = number + 1
        about = {"ids": [call["call_id"] for call in page.calls], "recordings": list(recordings.values())}
        self.destination.keep(page_name(progress.pages), json.dumps(about).encode())
        progress.pages += 1
        for row in rows:
            progress.tally.add(row)
        progress.cursor = page.cursor
        if page.cursor is not None:
            self.save(progress)

    def _page(self, number: int) -> dict[str, list[str]]:
        about: dict[str, list[str]] = json.loads(self.destination.kept(page_name(number)))
        return about

    def _recorded(self) -> Iterator[str]:
        if self.contents.recordings:
            for number in range(self.progress.pages):
                yield from self._page(number)["recordings"]

    # -- rows are made of them ---------------------------------------------------------------------------------

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

    def _write(self, section: str, count: int) -> Iterator[str]:
        """Write the chunks of a section to files, at least one, and yield their names."""
        number = part = 0

        def some(file: Any) -> Iterator[bytes]:
            nonlocal number
            while number < count:
                yield self.destination.kept(chunk_name(section, number))
                number += 1
                if self.max_file_bytes is not None and file.tell() >= self.max_file_bytes:
                    return

        while number < count or part == 0:
            name = file_name(section, part, self.file_format)
            with self.destination.writing(name) as file:
                self.file_format.write(some(file), file)
            yield name
            part += 1


def file_name(section: str, part: int, file_format: Format) -> str:
    """Return the name of a file of an export."""
    return f"{section}-{part:05}{file_format.suffix}"
