"""The numbers that a campaign never calls, given as values or as a file that is read again when it changes."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from airflow_provider_retell._masking import shown
from airflow_provider_retell.campaign.people.files import SUFFIXES, RowFile, file_url
from airflow_provider_retell.errors import RetellError, RetellInputError
from airflow_provider_retell.files.storage import Version
from airflow_provider_retell.policy.numbers import e164

LOOKED_AT_EVERY: Final = 60.0
"""Seconds between two checks whether the file has changed."""


class DoNotCall:
    """The numbers that must not be called, in any notation that ``policy.numbers.e164`` reads.

    A number that cannot be read is an error, because a person who asked not to be called might be called.

    Args:
        given: Numbers; or a file (``.csv``, ``.jsonl``, ``.parquet``) with a column ``to_number``. Other columns
            and rows without a number are ignored.
        region: The country of numbers in a national form, such as ``"US"``.

    Raises:
        RetellInputError: A number, or the name of the file, cannot be read.
    """

    def __init__(self, given: object, *, region: str | None = None) -> None:
        self._region = region
        self._file: RowFile | None = None
        self._numbers: array[int] | None = None
        self._version: Version | None = None
        self._looked_at: float | None = None
        if (url := file_url(given)) is not None:
            self._file = RowFile(url, argument="do_not_call", any_columns=True)
        elif isinstance(given, str | Mapping) or not isinstance(given, Iterable):
            # A template or a task that returned nothing leaves an empty text or None.
            raise RetellInputError(
                f"do_not_call takes numbers, or a file that ends in {', '.join(SUFFIXES)}, not {shown(given)}. "
                "Leave it out, or give (), if there is no list. Nobody is called."
            )
        else:
            self._numbers = self._sorted((f"do_not_call[{at}]", each) for at, each in enumerate(given))

    def refresh(self, now: float) -> None:
        """Read the file unless it certainly has not changed, at most once a minute.

        Args:
            now: Seconds since the epoch.

        Raises:
            RetellInputError: The file is not there, or a number in it cannot be read: no call may be placed.
            RetellError: The storage fails.
        """
        if self._file is None:
            return
        if self._looked_at is not None and 0 <= now - self._looked_at < LOOKED_AT_EVERY:
            return
        version = self._file.version()
        if not version.is_certainly(self._version):
            self._numbers = self._sorted(_numbers(self._file))
            self._version = version
        self._looked_at = now

    def listed(self, to_number: str) -> bool:
        """Return whether a number, in E.164 form, must not be called."""
        if self._numbers is None:
            raise RetellError("The do_not_call file was not read yet.")
        number = int(to_number.removeprefix("+"))
        at = bisect_left(self._numbers, number)
        return at < len(self._numbers) and self._numbers[at] == number

    def _sorted(self, numbers: Iterable[tuple[str, Any]]) -> array[int]:
        # Eight bytes a number, because do-not-call lists have millions of them.
        found = array("Q", (int(self._read(place, number).removeprefix("+")) for place, number in numbers))
        return array("Q", sorted(found))

    def _read(self, place: str, number: Any) -> str:
        try:
            return e164(number, self._region)
        except RetellInputError as error:
            raise RetellInputError(f"{place}: {error} Nobody is called until it can be read.") from None


def _numbers(file: RowFile) -> Iterator[tuple[str, Any]]:
    """Yield the numbers in a file, each with its place."""
    line = found = 0
    for line, row in file.rows():
        if (number := row.get("to_number")) is not None:
            found += 1
            yield f"{file.name}, line {line}", number
    if line and not found:
        raise RetellInputError(f"{file.name}: no row has a to_number.")
    if not line and file.without_header:
        raise RetellInputError(
            f"{file.name} is empty: perhaps it is still being written. Nobody is called until it has a row. If "
            "there are no numbers, give a .csv or .parquet file with only a header."
        )
