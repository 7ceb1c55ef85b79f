"""The results of a campaign as files: who was called, and each attempt.

While the campaign runs, rows are written part by part (``parts``). At its end all files are written: those already
published are first copied to the parts, and parts are removed last, so that at any moment every row is in a
complete file. If a process is interrupted, the next one repeats its work with the same result.
"""

from __future__ import annotations

import json
import re
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, pairwise
from typing import Any, Final

from airflow_provider_retell.campaign.parts import Parts
from airflow_provider_retell.campaign.tables import attempts_format, people_format
from airflow_provider_retell.errors import RetellExportError
from airflow_provider_retell.files.columns import json_text
from airflow_provider_retell.files.destination import Destination
from airflow_provider_retell.files.formats import FileFormat, Format

MAX_BYTES: Final = 64 * 2**20
"""Bytes of rows after which the next file begins: a size that readers can load at once."""

_CHUNK: Final = 1000
_RESULT: Final = re.compile(r"(?:people|attempts)-\d{5}\.(?:jsonl|parquet)")


class Results:
    """The files of one campaign.

    ::

        results = Results("s3://aws_default@bucket/calls/1", holds="the campaign ...", token="1-a3f9", ...)
        results.open(began_at=clock.now())
        for row in results.known(): ...
        results.add([{"call_id": "call_1", ...}])
        results.write_part()
        paths = results.finish(people)

    Args:
        path: The folder, as Airflow's ``ObjectStoragePath`` takes it:
            https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/objectstorage.html
        holds: A sentence that identifies the campaign; a folder with the files of another one is refused.
        token: The try and something random, for the names of this process's parts.
        file_format: The format of the files; parts are JSON Lines.
        max_bytes: Bytes of rows after which the next file begins.

    Raises:
        RetellInputError: The path is invalid.
        RetellExportError: The storage fails, or is not known. Every method may raise it.
    """

    def __init__(
        self, path: str, *, holds: str, token: str, file_format: FileFormat, max_bytes: int = MAX_BYTES
    ) -> None:
        self._destination = Destination(path, token=token, holds=holds)
        self._parts = Parts(path, holds=holds, token=token)
        self._file_format: FileFormat = file_format
        self._max_bytes = max_bytes
        self._buffer: list[bytes] = []

    def open(self, *, began_at: float | None = None) -> float | None:
        """Make the folder this campaign's, before its first call; return when its first try began.

        Args:
            began_at: When this try began, in seconds since the epoch; None for one that calls nobody.

        Raises:
            RetellInputError: It holds another campaign's files, or the format needs a package.
            RetellExportError: It cannot be written.
        """
        attempts_format(self._file_format)
        self._destination.published()  # refuses another campaign's folder, before the claim writes to it
        self._destination.claim(names=[name for name in self._parts.beside() if _RESULT.fullmatch(name)])
        first_began_at = self._destination.mark(began_at=began_at)
        self._destination.clean_up()
        return first_began_at

    def known(self) -> Iterator[dict[str, Any]]:
        """Yield the rows in the files of earlier tries, attempts and refusals; some come more than once.

        Raises:
            RetellInputError: A file is damaged.
        """
        for name in self._sources():
            yield from self._parts.rows(name)

    def _sources(self) -> list[str]:
        """Return the names of all files with attempts, oldest first."""
        published = self._destination.published() & self._parts.beside()
        return sorted(name for name in published if name.startswith("attempts-")) + self._parts.names()

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows of attempts and refusals to the next part."""
        self._buffer += [json_text(row).encode() for row in rows]

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
        return rows

    def finish(self, people: Iterable[Mapping[str, Any]]) -> list[str]:
        """Write all files, and return their URLs: those of the people, then those of the attempts.

        Args:
            people: The row of each person, in the order given.

        Raises:
            RetellExportOvertakenError: Another process of this campaign, begun later, writes them.
        """
        self.write_part()
        self._destination.claim()
        try:
            return self._finish(people)
        except RetellExportError:
            self._destination.check()
            raise

    def _finish(self, people: Iterable[Mapping[str, Any]]) -> list[str]:
        destination = self._destination
        for name in sorted(destination.published() & self._parts.beside()):
            if name.startswith("attempts-"):
                self._parts.keep(name)
        parts = self._parts.names()
        names = self._write_people(people)
        names += self._write("attempts", attempts_format(self._file_format), self._attempts(parts))
        destination.publish(names)
        self._parts.remove(parts)
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

    def _attempts(self, names: list[str]) -> Iterator[dict[str, Any]]:
        """Yield the newest row of each attempt, and each refusal once."""
        # Hashes in place of the ids: a dict of 100,000 ids takes 17 MB.
        hashes = array("q", (hash(_identity(row)) for row in self._rows(names)))
        repeated = {one for one, following in pairwise(sorted(hashes)) if one == following}
        newest = {found: number for number, found in enumerate(hashes) if found in repeated}
        for number, row in enumerate(self._rows(names)):
            if newest.get(hashes[number], number) == number:
                yield row

    def _rows(self, names: list[str]) -> Iterator[dict[str, Any]]:
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
