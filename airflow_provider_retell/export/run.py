"""Run one export: read pages, make rows, write files. Uses nothing of Airflow but its storage."""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_retell._clock import CLOCK, Clock
from airflow_provider_retell.api.concurrency import RequestRate, read_details
from airflow_provider_retell.api.endpoints import Request, get_agent
from airflow_provider_retell.api.pages import Fields, Page
from airflow_provider_retell.errors import RetellNotFoundError, RetellPermissionError
from airflow_provider_retell.export.listing import ListedPage, Selection, complete_call, is_undated, pages
from airflow_provider_retell.export.progress import Progress, Pulse, Section, chunk_name, page_name
from airflow_provider_retell.export.recordings import save_recording
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
        selection: The calls to export.
        destination: The folder, already claimed.
        file_format: The format of the files.
        contents: The fields of each call.
        undated: Whether to write calls without a start, which belong to no interval, to files of their own.
        max_file_bytes: A file ends after the page that makes it this large; None for one file.
        rate: When the next request may begin.
        progress: The progress of an earlier try.
        save: Called after each page with the progress of this try.
        clock: The time.
    """

    client: RetellClient
    selection: Selection
    destination: Destination
    file_format: Format
    _: KW_ONLY
    contents: Contents = field(default_factory=Contents)
    undated: bool = False
    max_file_bytes: int | None = None
    rate: RequestRate | None = None
    progress: Progress = field(default_factory=Progress)
    save: Callable[[Progress], None] = lambda _: None
    clock: Clock = CLOCK

    def run(self) -> dict[str, Any]:
        """List the calls, put their rows aside, publish the files; return a summary without personal data."""
        if not self.progress.done:
            with frozen_heap():
                self._list()
        names = [name for section, count in self.progress.chunks.items() for name in self._write(section, count)]
        self.destination.publish([*names, *self._recordings_of_all_pages()])
        self.destination.clean_up()
        paths = [self.destination.url(name) for name in names]
        summary = {"paths": paths, **self.progress.tally.summary(), "cannot_contain": self._cannot_contain()}
        log.info(
            "%d calls are in %d files, which cannot contain %s.",
            summary["calls"],
            len(names),
            " and ".join(summary["cannot_contain"]),
        )
        return summary

    def _cannot_contain(self) -> list[str]:
        unlisted = ["calls that are still registered"]
        return unlisted if self.undated else ["calls without a start", *unlisted]

    # -- read pages --------------------------------------------------------------------------------------------

    def _list(self) -> None:
        progress = self.progress
        progress.chunks.setdefault(Section.DATED, 0)
        if progress.section is Section.DATED:
            self._list_section(Section.DATED, self.selection.dated())
            progress.section, progress.cursor = Section.UNDATED, None
        first = self.selection.undated() if self.undated else None
        if first is not None:
            self._list_section(Section.UNDATED, first)
        if not progress.tally.calls:
            self._check_agent()
        progress.done = True
        self.save(progress)

    def _check_agent(self) -> None:
        """Raise ``RetellNotFoundError`` for an unknown agent, whose list of calls is empty without an error."""
        agent_id = self.selection.filters.get("agent_id")
        if agent_id is None:
            return
        try:
            self.client.send(get_agent(agent_id))
        except RetellPermissionError as error:
            log.warning(
                "No call of agent %r was found, and whether it exists cannot be checked: %s", agent_id, error
            )

    def _list_section(self, section: Section, first: Request[Page[Fields]]) -> None:
        progress = self.progress
        seen: Sequence[str] = ()
        if progress.cursor is not None:
            log.info("Continuing after %d calls that an earlier try has read.", progress.tally.calls)
            first = first.at(progress.cursor)
            seen = self._page(progress.pages - 1)["ids"]
        pulse = Pulse(self.clock, progress.tally, start=self.selection.start, end=self.selection.end)
        with closing(pages(self.client.send, first, rate=self.rate, seen=seen)) as stream:
            for page in stream:
                self._take(section, page)
                if line := pulse.line():
                    log.info("%s", line)

    def _take(self, section: Section, page: ListedPage) -> None:
        progress = self.progress
        progress.tally.unreadable += page.unreadable
        wanted = [call for call in page.calls if section is Section.DATED or is_undated(call)]
        calls = list(self._with_details(wanted))
        recordings = self._save_recordings(calls)
        rows = [self.contents.row(call, recordings.get(call["call_id"])) for call in calls]
        if rows:
            number = progress.chunks.get(section, 0)
            self.destination.keep(chunk_name(section, number), self.file_format.chunk(rows))
            progress.chunks[section] = number + 1
        about = {"ids": list(page.ids), "recordings": list(recordings.values())}
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

    def _recordings_of_all_pages(self) -> Iterator[str]:
        if self.contents.recordings:
            for number in range(self.progress.pages):
                yield from self._page(number)["recordings"]

    # -- read what the list leaves out -------------------------------------------------------------------------

    def _with_details(self, calls: Sequence[Fields]) -> Iterator[Fields]:
        if not self.contents.include:
            yield from calls
            return
        ids = [call["call_id"] for call in calls]
        for _, call in read_details(self._read, ids, rate=self.rate):
            if call is None:
                self.progress.tally.deleted += 1
            else:
                yield call

    def _read(self, call_id: str) -> Fields | None:
        try:
            return self.client.send(complete_call(call_id))
        except RetellNotFoundError:
            return None  # deleted since it was listed

    def _save_recordings(self, calls: Sequence[Fields]) -> dict[str, str]:
        """Save the recordings of some calls, and return the names of the files by call id."""
        if not self.contents.recordings:
            return {}
        by_id = {call["call_id"]: call for call in calls}

        def save(call_id: str) -> str | None:
            return save_recording(self.client, by_id[call_id], self.destination, link=self.contents.link)

        saved = {call_id: name for call_id, name in read_details(save, by_id) if name}
        self.progress.tally.recordings += len(saved)
        return saved

    # -- write files -------------------------------------------------------------------------------------------

    def _write(self, section: Section, count: int) -> Iterator[str]:
        """Write the chunks of a section to files, at least one, and yield their names."""
        number = part = 0

        def chunks_of_one(file: Any) -> Iterator[bytes]:
            nonlocal number
            while number < count:
                yield self.destination.kept(chunk_name(section, number))
                number += 1
                if self.max_file_bytes is not None and file.tell() >= self.max_file_bytes:
                    return

        while number < count or part == 0:
            name = file_name(section, part, self.file_format)
            with self.destination.writing(name) as file:
                self.file_format.write(chunks_of_one(file), file)
            yield name
            part += 1


@contextmanager
def frozen_heap() -> Iterator[None]:
    """Exclude everything already in memory from garbage collection.

    Pages have so many objects that the collector would scan all of Airflow every few pages, which takes a third of
    an export's time. If the process has already frozen its heap, nothing is changed.

    See https://docs.python.org/3/library/gc.html#gc.freeze
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def file_name(section: Section, part: int, file_format: Format) -> str:
    """Return the name of a file of an export."""
    return f"{section}-{part:05}{file_format.suffix}"
