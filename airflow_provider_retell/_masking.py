"""Replace phone numbers by their last four digits. Pure: no I/O.

==============================================  =========================================================
a number in                                     is masked by
==============================================  =========================================================
a log line or an error, as a part of a text     ``mask_numbers``; ``shown`` for a value that a user gave
a log line, an error or the grid, alone         ``last_digits``
a request that is logged, a response of Retell  ``Masker``, which knows the numbers in the request's body
                                                and guesses all others, such as those of a GET
the path of a request                           ``last_digits``, in ``api.contacts``
the page                                        ``last_digits`` and ``mask_numbers``, in ``page.entries``
Airflow's rendered fields, a task's log         Airflow, as ``***0100``; ``provider.templates`` has a rule
                                                of its own for the texts to hide
the rows of a sensor's ``call_id``              ``sensors``, which shows the ids of the calls
``people``, ``do_not_call`` of a campaign       ``operators.campaign``, which shows how many there are
the files of an export with ``mask_numbers``    ``Masker``, in ``files.contents``
an XCom, a campaign's files, other exports      nothing: whatever reads them needs the numbers
Airflow's task state store                      nothing, while the answer to a request is outstanding
==============================================  =========================================================

``_number_search`` holds the table of what counts as a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from functools import cached_property, lru_cache
from typing import Any, Final

from airflow_provider_retell._number_search import SHORTEST, mask_likely, mask_own, may_hold_a_number, spellings

NUMBER_FIELDS: Final = ("from_number", "to_number", "transfer_destination")
"""The fields of a call, or of a request, that hold its numbers."""
TIME_FIELDS: Final = frozenset({"start_timestamp", "end_timestamp", "transfer_end_timestamp", "duration_ms"})
"""The fields of a call that hold milliseconds: an integer in them is not a phone number."""

_LEAST: Final = 10 ** (SHORTEST - 1)
_FIGURES: Final = frozenset({int, float})
_SHOWN_CHARACTERS: Final = 120
_SHOWN_DIGITS: Final = 4


@dataclass(frozen=True)
class Masker:
    """Masks phone numbers.

    Attributes:
        numbers: The call's own numbers, of any type; those with fewer than seven digits are ignored.
        guess: Whether other digits are masked too if they look like a number.
    """

    numbers: tuple[object, ...] = ()
    _: KW_ONLY
    guess: bool = True

    @cached_property
    def _own(self) -> frozenset[str]:
        return frozenset[str]().union(*(spellings(_written(number)) for number in self.numbers))

    @classmethod
    def of(cls, fields: Mapping[str, Any] | None, *, guess: bool = True) -> Masker:
        """Return the masker for a call or a request: its numbers are in ``NUMBER_FIELDS``."""
        return cls(tuple((fields or {}).get(name) for name in NUMBER_FIELDS), guess=guess)

    def text(self, text: str) -> str:
        """Return a text without phone numbers.

        >>> Masker(("+14155550100",), guess=False).text("sip:14155550100@10.0.0.1, order 4155550199")
        'sip:…0100@10.0.0.1, order 4155550199'
        """
        return mask_likely(mask_own(text, self._own), guess=self.guess)

    def json(self, value: Any) -> Any:
        """Return JSON without phone numbers, in values and in keys; a number given as an integer becomes text.

        Keys that become equal are numbered, so that no value is lost.

        >>> Masker(("+14155550100",)).json({"14155550100": [14155550100, 1.5], "+14155550100": None})
        {'…0100': ['…0100', 1.5], '…0100 (2)': None}
        """
        match value:
            case str():
                return self.text(value) if len(value) >= SHORTEST else value
            case int() | float() if not -_LEAST < value < _LEAST:
                masked = self.text(written := _written(value))
                return value if masked == written else masked
            case Mapping():
                return self._object(value)
            case list() | tuple():
                return [self.json(item) for item in value]
        return value

    def _object(self, value: Mapping[Any, Any]) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for name, item in value.items():
            key = name
            if not _is_word(name):
                masked = key = self.json(name)
                count = 1
                while key != name and (key in result or key in value):
                    count += 1
                    key = f"{masked} ({count})"
            untouched = type(item) in _FIGURES and (-_LEAST < item < _LEAST or name in TIME_FIELDS)
            result[key] = item if untouched else self.json(item)
        return result


@lru_cache(maxsize=1024)
def _is_word(name: object) -> bool:
    """Return whether a key holds no number; cached, because every call has the same keys."""
    return isinstance(name, str) and not may_hold_a_number(name)


def mask_numbers(text: str) -> str:
    """Return a text in which everything that looks like a phone number is masked."""
    return Masker().text(text)


def shown(value: object, *, is_number: bool = False) -> str:
    """Return a value as a message shows it: its masked repr, cut to 120 characters.

    With ``is_number`` the value itself is masked in every notation, otherwise only what looks like a number.

    >>> shown(["+14155550100", 7]), shown(14155550100.0), shown(float("nan"))
    ("['…0100', 7]", '…0100', 'NaN')
    """
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    text = Masker((value,) if is_number else ()).text(repr(value))
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def last_digits(number: object) -> str:
    """Return a phone number as messages show it, empty if it is none.

    >>> last_digits("+1 (415) 555-0100"), last_digits("0100"), last_digits(None)
    ('…0100', '', '')
    """
    digits = re.sub(r"\D", "", str(number or ""))
    return f"…{digits[-_SHOWN_DIGITS:]}" if len(digits) > _SHOWN_DIGITS else ""


def _written(number: object) -> str:
    number = int(number) if isinstance(number, float) and number.is_integer() else number
    return "" if number is None or isinstance(number, bool) else str(number)
