"""The results of a campaign as files: who was called, and each attempt.

While the campaign runs, rows are written part by part (``parts``). A call has a row without an ending as soon as
it is placed, in a file that is written again and again, so that other campaigns and later tries know of it. It
leaves this file one part after its row is in a part, so that a reader that lists the files, and then reads them,
finds it in one or the other. At the end all files are written: those already published are first copied to the
parts, and parts are removed last, so that at any moment every row is in a complete file. If a process is
interrupted, the next one repeats its work with the same result.

Two processes of one campaign may work at the same time, such as a frozen one and its successor:

=====================================================  ======================================================
while this process                                     the other one may
=====================================================  ======================================================
opens the folder                                       do anything: none of its files is touched
reads what is known                                    replace the files by new ones: they are read again
writes a part                                          remove the folder, or the part before it has its name:
                                                       it is written again
writes the results                                     begin to do so too: it goes first, and once it is done
                                                       they are written again, with the rows of both
=====================================================  ======================================================
"""

from __future__ import annotations

import json
import logging
import re
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice, pairwise
from typing import Any, Final

from airflow_provider_retell._clock import CLOCK, Clock
from airflow_provider_retell.campaign.results.parts import Parts
from airflow_provider_retell.campaign.results.tables import attempts_format, people_format
from airflow_provider_retell.errors import RetellError, RetellExportError, RetellExportOvertakenError
from airflow_provider_retell.files.columns import json_text
from airflow_provider_retell.files.destination import Destination
from airflow_provider_retell.files.formats import FileFormat, Format

log = logging.getLogger(__name__)

MAX_BYTES: Final = 64 * 2**20
"""Bytes of rows after which the next file begins: a size that readers can load at once."""

LONGEST_FINISH: Final = 600.0
"""Seconds after which a process that still writes the results counts as killed."""

_LOOK_EVERY: Final = 2.0
_TIMES: Final = 5
"""The most times that the files are read or written if another process interferes."""

_CHUNK: Final = 1000
_RESULT: Final = re.compile(r"(?:people|attempts)-\d{5}\.(?:jsonl|parquet)")


class Results:
    """The files of one campaign.

    ::

        results = Results("s3://aws_default@bucket/calls/1", holds="the campaign ...", token="1.0-a3f9", ...)
        results.open(began_at=clock.now())
        for row in results.known(): ...
        results.add([{"call_id": "call_1", ...}])
        results.write_part()
        paths = results.finish(lambda: people)

    Args:
        path: The folder, as Airflow's ``ObjectStoragePath`` takes it:
            https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/objectstorage.html
        holds: A sentence that identifies the campaign; a folder with the files of another one is refused.
        token: The try, the process in it and something random, for the names of this process's parts.
        file_format: The format of the files; parts are JSON Lines.
        max_bytes: Bytes of rows after which the next file begins.
        clock: The time.

    Raises:
        RetellInputError: The path is invalid.
        RetellExportError: The storage fails, or is not known. Every method may raise it.
    """

    def __init__(
        self,
        path: str,
        *,
        holds: str,
        token: str,
        file_format: FileFormat,
        max_bytes: int = MAX_BYTES,
        clock: Clock = CLOCK,
    ) -> None:
        self._destination = Destination(path, token=token, holds=holds)
        self._parts = Parts(path, holds=holds, token=token)
        self._file_format: FileFormat = file_format
        self._max_bytes = max_bytes
        self._clock = clock
        self._buffer: list[bytes] = []
        self._placed: dict[str, bytes] = {}
        self._placed_is_written = True
        self._added: list[str] = []
        self._in_last_part: list[str] = []

    def open(self, *, began_at: float | None = None) -> float | None:
        """Mark the folder as this campaign's before its first call; return when its first try began.

        Args:
            began_at: When this try began, in seconds since the epoch; None for one that calls nobody.

        Raises:
            RetellInputError: The folder holds another campaign's files, or the format needs a package.
            RetellExportError: The folder cannot be written.
        """
        attempts_format(self._file_format)
        names = [name for name in self._parts.beside() if _RESULT.fullmatch(name)]
        return self._destination.mark(began_at=began_at, names=names)

    def known(self) -> Iterator[dict[str, Any]]:
        """Yield the rows in the files of earlier tries, attempts and refusals; some come more than once.

        Raises:
            RetellInputError: A file is damaged.
        """
        error: RetellError | None = None
        for _ in range(_TIMES):
            try:
                placed = list(self._rows(self._parts.placed()))  # first: a call leaves it for a part
            except RetellError as caught:
                error = caught
                continue
            parts = self._parts.names()  # before the published: a part is removed only once its rows are published
            names = [*self._published(), *parts]
            before = self._parts.versions(names)
            try:
                yield from placed
                yield from self._rows(names)
                error = None
            except RetellError as caught:
                error = caught
            if before.keys() == set(names) and self._parts.versions(names) == before:
                if error is not None:
                    raise error
                return
        raise error or RetellExportError("The files of earlier tries change while they are read. Retry the task.")

    def _published(self) -> list[str]:
        """Return the names of the published files with attempts."""
        published = self._destination.published() & self._parts.beside()
        return sorted(name for name in published if name.startswith("attempts-"))

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows of attempts and refusals to the next part."""
        for row in rows:
            self._buffer.append(json_text(row).encode())
            self._added.append(str(row.get("call_id")))

    def note(self, row: Mapping[str, Any]) -> None:
        """Note a call that has no row yet; this replaces an earlier note about it."""
        self._placed[str(row["call_id"])] = json_text(row).encode()
        self._placed_is_written = False

    def write_placed(self) -> None:
        """Write the noted calls that were in no part before the last one, if they have changed."""
        if not self._placed_is_written:
            self._parts.write_placed(b"".join(b"%b\n" % row for row in self._placed.values()))
            self._placed_is_written = True

    def write_part(self) -> int:
        """Write the added rows as one complete file, and return their number.

        After an error the rows are kept for the next call.

        Raises:
            RetellInputError: The folder belongs to another campaign by now.
        """
        rows = len(self._buffer)
        if rows:
            self._destination.published()
            self._parts.write(b"\n".join([*self._buffer, b""]))
            self._buffer.clear()
            for call_id in self._in_last_part:
                self._placed_is_written &= self._placed.pop(call_id, None) is None
            self._in_last_part, self._added = self._added, []
        return rows

    def finish(self, people: Callable[[], Iterable[Mapping[str, Any]]]) -> list[str]:
        """Write all files, and return their URLs: those of the people, then those of the attempts.

        Args:
            people: Yields the row of each person, in the order given; called again if another process interferes.

        Raises:
            RetellExportOvertakenError: Other processes of this campaign interfere again and again.
        """
        self.write_part()
        for _ in range(_TIMES - 1):
            try:
                return self._finish(people())
            except RetellExportError as error:
                gone = isinstance(error.__cause__, FileNotFoundError)
                if not (gone or isinstance(error, RetellExportOvertakenError)):
                    raise
                log.info("Another process is writing the results; this one writes them again after it: %s", error)
            self._wait_for_the_other()
        return self._finish(people())

    def _wait_for_the_other(self) -> None:
        """Wait until no process has the folder, but no longer than it can take: that one may have been killed."""
        until = self._clock.monotonic() + LONGEST_FINISH
        while self._destination.is_claimed() and self._clock.monotonic() < until:
            self._clock.sleep(_LOOK_EVERY)

    def _finish(self, people: Iterable[Mapping[str, Any]]) -> list[str]:
        destination = self._destination
        destination.claim()
        try:
            self._parts.keep(self._published())
            placed = self._parts.placed()
            rows = list(self._rows(placed))
            parts = self._parts.names()
            names = self._write_people(people)
            names += self._write("attempts", attempts_format(self._file_format), self._attempts(rows, parts))
            destination.publish(names)
            self._parts.remove([*placed, *parts])
        except RetellExportError:
            destination.check()
            raise
        destination.clean_up()
        return [destination.url(name) for name in names]

    def _write_people(self, people: Iterable[Mapping[str, Any]]) -> list[str]:
        if self._file_format == "jsonl":
            return self._write("people", people_format(self._file_format, ()), people)
        # The columns of a Parquet file are known only after the last person.
        chunks: list[bytes] = []
        own: dict[str, None] = {}
        for rows in _groups(people):
            for row in rows:
                own.update(dict.fromkeys(row))
            chunks.append(zlib.compress(json.dumps(rows).encode(), 1))
        rows_again = (row for chunk in chunks for row in json.loads(zlib.decompress(chunk)))
        return self._write("people", people_format(self._file_format, own), rows_again)

    def _attempts(self, placed: list[dict[str, Any]], names: list[str]) -> Iterator[dict[str, Any]]:
        """Yield the newest row of each attempt, and each refusal once."""
        # Hashes in place of the ids: a dict of 100,000 ids takes 17 MB.
        hashes = array("q", (hash(_identity(row)) for row in chain(placed, self._rows(names))))
        repeated = {one for one, following in pairwise(sorted(hashes)) if one == following}
        newest = {found: number for number, found in enumerate(hashes) if found in repeated}
        for number, row in enumerate(chain(placed, self._rows(names))):
            if newest.get(hashes[number], number) == number:
                yield row

    def _rows(self, names: Iterable[str]) -> Iterator[dict[str, Any]]:
        for name in names:
            yield from self._parts.rows(name)

    def _write(self, kind: str, form: Format, rows: Iterable[Mapping[str, Any]]) -> list[str]:
        """Write rows to as many files as they need, at least one; return their names."""
        chunks = map(form.chunk, _groups(rows))
        following = next(chunks, None)

        def one_file() -> Iterator[bytes]:
            nonlocal following
            size = 0
            while following is not None and size < self._max_bytes:
                chunk, following = following, next(chunks, None)
                size += len(chunk)
                yield chunk

        names: list[str] = []
        while following is not None or not names:
            names.append(f"{kind}-{len(names):05}{form.suffix}")
            with self._destination.writing(names[-1]) as file:
                form.write(one_file(), file)
        return names


def _groups(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    # Holds no group while the next one is made.
    remaining = iter(rows)
    return iter(lambda: list(islice(remaining, _CHUNK)), [])


def _identity(row: Mapping[str, Any]) -> str:
    call_id = row.get("call_id")
    return json_text(row) if call_id is None else str(call_id)
