"""Ask the user's function whether a person may be called."""

from __future__ import annotations

import importlib
import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from airflow_provider_retell._clock import CLOCK, Clock
from airflow_provider_retell._masking import mask_numbers, shown
from airflow_provider_retell.campaign.people.person import Person, own_columns
from airflow_provider_retell.campaign.plan.checks import NotEligible
from airflow_provider_retell.campaign.plan.ledger import KnownCall
from airflow_provider_retell.errors import RetellInputError

log = logging.getLogger(__name__)

TIMEOUT: Final = 10.0
"""Seconds to wait for an answer."""

SLOW: Final = 1.0
"""Seconds after which an answer counts as slow: the campaign then reads its live calls before it asks again."""

Eligible: TypeAlias = Callable[[Mapping[str, Any]], bool | str]
"""Takes a person: the row as given, ``person_id``, ``to_number`` in E.164 form, ``attempts`` and ``last_outcome``.

Returns True, False, or the reason why the person may not be called.
"""


def find(eligible: Eligible | str | None) -> Eligible | None:
    """Return the function that was given, or that a dotted path names.

    Raises:
        RetellInputError: There is no such function.
    """
    if not isinstance(eligible, str):
        return eligible
    module, _, name = eligible.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RetellInputError(
            f"eligible: {eligible!r} cannot be imported ({error}). Nothing was sent."
        ) from error
    if not callable(found):
        raise RetellInputError(f"eligible: {eligible!r} is not a function. Nothing was sent.")
    return found  # type: ignore[no-any-return]  # wrong arguments show only when it is called


class Eligibility:
    """Ask the function; refuse a person if it fails, is too slow, or returns something unexpected.

    Args:
        eligible: The function.
        timeout: Seconds to wait for an answer.
        clock: The time.
    """

    def __init__(self, eligible: Eligible, *, timeout: float = TIMEOUT, clock: Clock = CLOCK) -> None:
        self._eligible = eligible
        self._timeout = timeout
        self._clock = clock
        self._took = 0.0

    def is_slow(self) -> bool:
        """Return whether the last answer took long."""
        return self._took >= SLOW

    def __call__(self, person: Person, calls: Sequence[KnownCall]) -> NotEligible | None:
        """Return None for a person who may be called."""
        last = calls[-1].outcome if calls else None
        given = {
            **own_columns(person),
            "person_id": person.person_id,
            "to_number": person.to_number,
            "attempts": len(calls),
            "last_outcome": None if last is None else last.value,
        }
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def ask() -> None:
            try:
                answers.put(self._eligible(given))
            except Exception as error:  # noqa: BLE001 (the user's own function: any error refuses the person)
                answers.put(error)

        asked_at = self._clock.monotonic()
        # A new daemon thread each time: one that hangs must neither delay the others nor keep the process alive.
        threading.Thread(target=ask, name="retell-eligible", daemon=True).start()
        try:
            answer = answers.get(timeout=self._timeout)
        except queue.Empty:
            return _failed(f"eligible took longer than {self._timeout:g} s")
        finally:
            self._took = self._clock.monotonic() - asked_at
        match answer:
            case True:
                return None
            case False:
                return NotEligible("not eligible")
            case str() if answer.strip():
                return NotEligible(mask_numbers(answer))
            case Exception():
                return _failed(f"eligible failed ({type(answer).__name__}: {mask_numbers(str(answer))})")
        return _failed(f"eligible must return True, False or a reason, not {shown(answer)}")


def _failed(reason: str) -> NotEligible:
    log.warning("A person is not called: %s", reason)
    return NotEligible(reason, failed=True)
