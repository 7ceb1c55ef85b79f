"""Read rows back from files: JSON Lines, and Parquet if pyarrow is installed (extra ``export``).

A file is read as a stream: a block of lines, or a row group in batches, is in memory at a time.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Iterator
from contextlib import closing
from typing import IO, TYPE_CHECKING, Any, Final

from airflow_provider_retell.errors import RetellInputError

if TYPE_CHECKING:
    import pyarrow.parquet as pq

SUFFIXES: Final = (".jsonl", ".jsonl.gz", ".parquet")
"""The ends of the names of readable files."""

_BLOCK: Final = 2**18
_BATCH: Final = 1000


def read_rows(
    file: IO[bytes], name: str, *, columns: Collection[str] | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of a file, each with the number of its line (or of its row), from 1 on.

    Args:
        file: Open for reading.
        name: Its name, whose end shows the format.
        columns: The wanted columns, if they exist; a format that cannot choose yields others too.

    Raises:
        ValueError: The file is damaged; the message says where.
        RetellInputError: It is a Parquet file, and pyarrow is not installed.
    """
    if name.endswith(".parquet"):
        return parquet_rows(file, columns)
    return json_rows(file, compressed=name.endswith(".gz"))


def lines(file: IO[bytes], *, compressed: bool = False) -> Iterator[bytes]:
    """Yield the lines of a file without their ends."""
    rest = b""
    for block in _blocks(file, compressed=compressed):
        *whole, rest = (rest + block).split(b"\n")
        yield from whole
    if rest:
        yield rest


def _blocks(file: IO[bytes], *, compressed: bool) -> Iterator[bytes]:
    unpacked = zlib.decompressobj(wbits=31) if compressed else None
    while block := file.read(_BLOCK):
        try:
            yield block if unpacked is None else unpacked.decompress(block)
        except zlib.error as error:
            raise ValueError(f"it is not a gzip file ({error})") from None
    if unpacked is not None and not unpacked.eof:
        raise ValueError("it is cut off")


def json_rows(file: IO[bytes], *, compressed: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a JSON Lines file, without blank lines."""
    for number, text in enumerate(lines(file, compressed=compressed), start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text.removeprefix(b"\xef\xbb\xbf") if number == 1 else text)
        except ValueError:
            raise ValueError(f"line {number} is not JSON") from None
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is not a JSON object")  # noqa: TRY004 (as for any damaged file)
        yield number, row


def parquet_rows(file: IO[bytes], columns: Collection[str] | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of a Parquet file, one row group after the other, of all columns or of those named."""
    import pyarrow as pa  # noqa: PLC0415 (an extra; open_parquet says so)

    number = 0
    with closing(open_parquet(file)) as parquet:
        there = None if columns is None else [name for name in parquet.schema_arrow.names if name in columns]
        try:
            for batch in parquet.iter_batches(batch_size=_BATCH, columns=there, use_threads=False):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"it cannot be read after row {number} ({type(error).__name__})") from None


def open_parquet(file: IO[bytes]) -> pq.ParquetFile:
    """Return a Parquet file, as pyarrow reads it."""
    try:
        import pyarrow as pa  # noqa: PLC0415 (an extra, and too large to import when a DAG is parsed)
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise RetellInputError(
            f"A Parquet file needs pyarrow ({error}): pip install 'airflow-provider-retell[export]'."
        ) from error
    try:
        return pq.ParquetFile(file)
    except pa.ArrowException as error:
        raise ValueError(f"it is not a Parquet file ({type(error).__name__})") from None
