"""A number that a person writes into a form or a configuration file. Imports nothing of Airflow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Number:
    """What a number means, and which ones can be used.

    Attributes:
        help: What people are told about it.
        default: Its value if nothing is given.
        minimum: The least it may be.
        whole: Whether it must be a whole number.
    """

    help: str
    default: float
    minimum: float
    whole: bool = False

    def read(self, given: Any) -> float:
        """Return the number that was given, as a number or as text; the default for None and empty text.

        Raises:
            ValueError: It cannot be used; the message goes on after the name of the field.
        """
        if given is None or given == "":
            return self.default
        try:
            number = float("a truth value" if isinstance(given, bool) else given)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not (math.isfinite(number) and number >= self.minimum) or (self.whole and number % 1):
            kind = "whole number" if self.whole else "number"
            raise ValueError(f"must be a {kind} of at least {self.minimum:g}, not {given!r}")
        return number
