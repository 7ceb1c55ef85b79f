"""The formats of files: JSON Lines, and Parquet if pyarrow is installed (extra ``export``).

A page of rows becomes a chunk of bytes, and chunks become a file, even in another process.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from typing import IO, TYPE_CHECKING, Any, Final, Literal, Protocol

from airflow_provider_retell import __version__
from airflow_provider_retell.errors import RetellInputError
from airflow_provider_retell.files.columns import (
    COLUMNS,
    SCHEMA_VERSION,
    VERSION_KEY,
    Column,
    Kind,
    json_lines,
    table,
)

if TYPE_CHECKING:
    import pyarrow as pa

FileFormat = Literal["jsonl", "parquet"]

COMPRESSIONS: Final[Mapping[str, tuple[str | None, ...]]] = {
    "jsonl": (None, "gzip"),
    "parquet": (None, "snappy", "gzip", "zstd"),
}
"""The compressions of each format."""


class Format(Protocol):
    """One way to write rows.

    Attributes:
        suffix: The end of a file's name.
    """

    suffix: str

    def chunk(self, rows: Sequence[Mapping[str, Any]]) -> bytes:
        """Return some rows as bytes that ``write`` takes."""

    def write(self, chunks: Iterable[bytes], file: IO[bytes]) -> None:
        """Write chunks to one file, with one at a time in memory."""


class JsonLines:
    """One row per line, as JSON."""

    def __init__(self, compression: str | None = None) -> None:
        self._compressed = compression == "gzip"
        self.suffix = ".jsonl.gz" if self._compressed else ".jsonl"

    def chunk(self, rows: Sequence[Mapping[str, Any]]) -> bytes:
        """Return the rows as lines."""
        return json_lines(rows)

    def write(self, chunks: Iterable[bytes], file: IO[bytes]) -> None:
        """Write the lines, compressed if wanted. The same rows give the same bytes."""
        if not self._compressed:
            file.writelines(chunks)
            return
        with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as compressed:
            compressed.writelines(chunks)


class Parquet:
    """A table with one row group per chunk.

    Args:
        compression: One of ``COMPRESSIONS``.
        columns: Its columns; those of calls if none are given.
        table: Yields the columns of some rows; those without a value may be missing.
    """

    def __init__(
        self,
        compression: str | None = None,
        *,
        columns: Sequence[Column] = COLUMNS,
        table: Callable[[Sequence[Mapping[str, Any]]], Iterable[tuple[str, Sequence[Any]]]] = table,
    ) -> None:
        self._compression = compression or "none"
        self._schema = arrow_schema(columns)
        self._table = table
        self.suffix = ".parquet"

    def chunk(self, rows: Sequence[Mapping[str, Any]]) -> bytes:
        """Return the rows as an Arrow stream."""
        import pyarrow as pa  # noqa: PLC0415 (an extra, and too large to import when a DAG is parsed)

        types = {field.name: field.type for field in self._schema}
        arrays = {name: pa.nulls(len(rows), type_) for name, type_ in types.items()}
        # One at a time, so that the values of all columns are not in memory together.
        arrays |= {name: pa.array(values, types[name]) for name, values in self._table(rows)}
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self._schema) as stream:
            stream.write_batch(pa.record_batch(list(arrays.values()), schema=self._schema))
        return bytes(sink.getvalue())

    def write(self, chunks: Iterable[bytes], file: IO[bytes]) -> None:
        """Write the chunks as a Parquet file."""
        import pyarrow as pa  # noqa: PLC0415 (as above)
        import pyarrow.parquet as pq  # noqa: PLC0415

        with closing(pq.ParquetWriter(file, self._schema, compression=self._compression)) as writer:
            for chunk in chunks:
                writer.write_table(pa.ipc.open_stream(chunk).read_all())


def arrow_schema(columns: Sequence[Column] = COLUMNS) -> pa.Schema:
    """Return columns as a pyarrow schema, with the version in the metadata."""
    import pyarrow as pa  # noqa: PLC0415 (as above)

    types = {
        Kind.TEXT: pa.string(),
        Kind.INTEGER: pa.int64(),
        Kind.BOOLEAN: pa.bool_(),
        Kind.TIMESTAMP: pa.timestamp("ms", tz="UTC"),
        Kind.JSON: pa.string(),
    }
    fields = [pa.field(each.name, types[each.kind], nullable=not each.required) for each in columns]
    return pa.schema(
        fields, {VERSION_KEY: str(SCHEMA_VERSION), "written_by": f"airflow-provider-retell {__version__}"}
    )


def check_format(file_format: Any, compression: Any) -> None:
    """Raise ``RetellInputError`` unless the format exists and can be compressed in this way."""
    if file_format not in COMPRESSIONS:
        raise RetellInputError(f"file_format takes {', '.join(map(repr, COMPRESSIONS))}, not {file_format!r}.")
    if compression not in COMPRESSIONS[file_format]:
        raise RetellInputError(
            f"compression of {file_format!r} takes {', '.join(map(repr, COMPRESSIONS[file_format]))}, "
            f"not {compression!r}."
        )


def open_format(file_format: FileFormat, compression: str | None) -> Format:
    """Return a format.

    Raises:
        RetellInputError: It needs a package that is not installed.
    """
    if file_format == "jsonl":
        return JsonLines(compression)
    try:
        return Parquet(compression)
    except ImportError as error:
        raise RetellInputError(
            f"file_format='parquet' needs pyarrow ({error}): pip install 'airflow-provider-retell[export]'. "
            "Nothing was sent."
        ) from error
