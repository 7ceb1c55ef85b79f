"""Stream people from a ``.csv``, ``.jsonl`` or ``.parquet`` file through Airflow's object storage.

=================================================  =============================================================
a file                                             is
=================================================  =============================================================
in UTF-8, with or without a byte order mark        read
in another encoding, such as Latin-1               refused, with the line: a guess would garble names
CSV separated by ``,``, ``;``, tabs or ``|``       read; the separator is found in the line of the columns
CSV that begins with ``sep=;``, as for Excel       read without that line
CSV with a quote that does not end                 refused, with the line: cells would be in wrong columns
CSV without a header, or an empty file             refused
empty JSON Lines, a header without rows            read: there are no people
with a line that cannot be read                    refused, with the line: the others may be shifted too
with a line of empty cells only                    read without that line
=================================================  =============================================================

Messages name the file, the line and the column; numbers are shown by their last four digits.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePath
from typing import IO, Any, Final

from airflow_provider_retell._masking import mask_numbers, shown
from airflow_provider_retell.campaign.people.columns import check_columns, from_csv, row, separator
from airflow_provider_retell.errors import RetellError, RetellInputError
from airflow_provider_retell.files.reading import json_rows, lines, open_parquet, parquet_rows
from airflow_provider_retell.files.storage import Storage, Version

SUFFIXES: Final = (".csv", ".jsonl", ".parquet")

_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
_UTF8_MARK: Final = "\ufeff"
_FOR_EXCEL: Final = re.compile(r'"?sep=.?"?', re.IGNORECASE)
"""The first line of a CSV file that names the separator to Excel."""


def read_people_file(url: str) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a file of people, without empty cells; ``read_person`` takes them, with ``from_file``.

    Args:
        url: As Airflow's ``ObjectStoragePath`` takes it, such as ``s3://aws_default@bucket/people.csv``:
            https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/objectstorage.html

    Raises:
        RetellInputError: The file does not exist, or cannot be read.
        RetellError: The storage fails.
    """
    for _, found in RowFile(url, argument="people").rows():
        yield found


def file_url(value: object) -> str | None:
    """Return the URL of a file of rows, given as text or as a path; None if the value is something else."""
    # Airflow's ObjectStoragePath is a PurePath in some versions only.
    is_path = isinstance(value, PurePath) or hasattr(value, "joinpath")
    url = str(value) if is_path or isinstance(value, str) else ""
    return url if is_path or url.lower().endswith(SUFFIXES) else None


class RowFile:
    """A file with a row for each person.

    Args:
        url: As for ``read_people_file``.
        argument: The task's argument that names it, for messages.
        any_columns: Whether columns that look like a typo of a person's field are accepted.

    Attributes:
        name: The argument with the URL, for messages.
        without_header: Whether a file without rows has no content at all.

    Raises:
        RetellInputError: The name does not end in one of ``SUFFIXES``.
    """

    def __init__(self, url: str, *, argument: str, any_columns: bool = False) -> None:
        self.name = f"{argument}={shown(url)}"
        self._any_columns = any_columns
        read: Mapping[str, Callable[[IO[bytes]], Iterator[tuple[int, dict[str, Any]]]]] = {
            ".csv": self._csv,
            ".jsonl": self._json_lines,
            ".parquet": self._parquet,
        }
        suffix = next((each for each in SUFFIXES if url.lower().endswith(each)), None)
        if suffix is None:
            raise RetellInputError(f"{self.name}: a file must end in {', '.join(SUFFIXES)}.")
        self._read = read[suffix]
        self.without_header = suffix == ".jsonl"
        folder, _, name = url.rpartition("/") if "/" in url else (".", "", url)
        with self._errors():
            self._storage = Storage(folder)
        self._path = f"{self._storage.root.rstrip('/')}/{name}"

    def version(self) -> Version:
        """Return the version of the file."""
        with self._errors():
            return self._storage.version(self._path)

    def rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the rows without empty cells, each with the number of its line."""
        with self._errors(), self._storage.reading(self._path) as file:
            for number, found in self._read(file):
                if found:
                    yield number, found

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn each error into one that names the argument and the file."""
        try:
            yield
        except (FileNotFoundError, IsADirectoryError):
            raise RetellInputError(f"{self.name}: there is no such file. Nobody was called.") from None
        except RetellInputError as error:
            raise RetellInputError(f"{self.name}: {error}") from None
        except (ValueError, csv.Error) as error:
            raise RetellInputError(f"{self.name} cannot be read: {mask_numbers(str(error))}.") from None
        except RetellError:
            raise
        except Exception as error:
            raise RetellError(
                f"{self.name} cannot be read ({type(error).__name__}: {mask_numbers(str(error))})."
            ) from error

    def _check(self, names: list[str], *, to_number: bool = True) -> None:
        if not self._any_columns:
            check_columns(names, to_number=to_number)
        elif to_number and "to_number" not in names:
            raise ValueError(f"it has no column to_number. Its columns: {', '.join(map(shown, names[:20]))}")

    # -- formats -----------------------------------------------------------------------------------------------

    def _csv(self, file: IO[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
        texts = _texts(file)
        header, first = next(texts, "").removeprefix(_UTF8_MARK), 2
        if _FOR_EXCEL.fullmatch(header.rstrip("\r\n")):
            header, first = next(texts, ""), 3
        if not header.strip():
            raise ValueError("its first line is empty, and must name the columns, such as to_number,name")
        delimiter = separator(header.rstrip("\r\n"))
        [names] = csv.reader([header], delimiter=delimiter, strict=True)
        names = [name.strip() for name in names]
        self._check(names)
        reader = csv.reader(texts, delimiter=delimiter, strict=True)
        line = first
        try:
            for cells in reader:
                if cells:
                    yield line, from_csv(names, cells, line=line)
                line = first + reader.line_num
        except csv.Error as error:
            raise ValueError(f"line {line} is not CSV ({error}); look for a quote that is not closed") from None

    def _json_lines(self, file: IO[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, found in json_rows(file):
            self._check(list(found), to_number=False)
            yield number, row(found)

    def _parquet(self, file: IO[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
        self._check(list(map(str, open_parquet(file).schema_arrow.names)))
        file.seek(0)
        for number, found in parquet_rows(file):
            yield number, row(found)


def _texts(file: IO[bytes]) -> Iterator[str]:
    """Yield the lines of a text in UTF-8, with their ends."""
    for number, line in enumerate(lines(file), start=1):
        if number == 1 and line.startswith(_UTF16):
            raise ValueError("it is in UTF-16: save it as CSV in UTF-8")
        try:
            yield f"{line.decode()}\n"
        except UnicodeDecodeError as error:
            raise ValueError(
                f"line {number} is not in UTF-8 (byte 0x{line[error.start]:02x}), but perhaps in Latin-1: "
                "save the file in UTF-8"
            ) from None
