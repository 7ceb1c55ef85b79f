"""Distinguish trouble with the account from trouble with single people. Pure.

===============================================================  ================================================
Retell                                                           the campaign
===============================================================  ================================================
answers a create with 401, 402 or 403                            stops
answers one with 404, or 400 or 422 without a field, and the     as if it named that field
person's row has a number to call from, or an agent, of its own
answers one with 404 otherwise                                   stops
refuses one (400, 422), naming no field of the person            stops
refuses one, naming such a field                                 decides by ``is_of_account``
refuses a person again, as in an earlier try                     refuses the person, and counts nothing
ends ten calls in a row as technical, blocked or billing         stops
does not list the first call to end within 330 s                 stops
gives no line to any call for six hours in which people wait     stops
===============================================================  ================================================

*Stops* means that it places no more calls, waits for the live ones, and fails. Nobody is marked as refused because
of trouble with the account, so that a clear goes on with all of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from airflow_provider_retell.campaign.plan.call_list import LISTED_WITHIN
from airflow_provider_retell.outcomes import Outcome

EQUAL_REFUSALS: Final = 5
REFUSALS: Final = 20
"""Refusals in a row after which a campaign stops, with equal words and with any; an earlier try's do not count."""
FAILED_CALLS: Final = 10
CALLERS: Final = ("from_number", "override_agent_id", "override_agent_version", "agent_override")
"""The fields that say who calls: Retell answers 404 if it does not know their values."""
_ACCOUNT_STATUSES: Final = frozenset({401, 402, 403})
_DIGITS: Final = re.compile(r"\d+")
_ACCOUNT_OUTCOMES: Final = frozenset({Outcome.TECHNICAL, Outcome.BLOCKED, Outcome.BILLING})

NOT_LISTED: Final = (
    f"The first call to end is not listed under its metadata tag, {LISTED_WITHIN:.0f} s later. Without "
    "the list a retry could not know who was called, so no more calls are placed. Look at the data storage and "
    "retention settings of the agent in Retell's dashboard: metadata must be stored, and calls kept for at least "
    "a day; the API key must be allowed to read the call history. Then clear the task: it goes on with the rest."
)

NO_LINE: Final = (
    "For six hours no call has got a line: Retell turned all of them away, or others used all lines of the "
    "account. Look at the account's concurrency in Retell's dashboard, and at what else calls with it."
)

NOT_REACHED: Final = "For ten minutes Retell has answered no request to place a call."


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """The reason why a call cannot be placed: Retell refused it, or its request cannot be made.

    Attributes:
        status: The HTTP status; None if the request cannot be made, so that it was not sent.
        message: Retell's own words, or those of the check, without phone numbers.
        field: The field that the message names, if it is in the person's row; None otherwise.
        shared: Whether the message also names a field that the task sets for all people, this person included.
    """

    status: int | None
    message: str
    field: str | None = None
    shared: bool = False

    @property
    def of_account(self) -> bool:
        """True if the account is the reason, and not the person."""
        if self.status == HTTPStatus.NOT_FOUND:
            return self.field not in CALLERS
        return self.status in _ACCOUNT_STATUSES or self.field is None


def is_of_account(rejection: Rejection, *, equal: int, in_a_row: int = 1, last: bool, placed: bool) -> bool:
    """Return whether the account, or the task, is the reason for a refusal, and not the person.

    =================  ===========================  =================================  =====
    the message names  and of the person            in a row, with equal words         it is
    =================  ===========================  =================================  =====
    anything           no field                     any number                         yes
    anything           a field                      five; or twenty, whatever words    yes
    anything           a field                      five, whatever words, at the end,  yes
                                                    no call placed
    only such a field  a field                      fewer                              no
    also a shared one  a field                      two, at the end of the campaign    yes
    also a shared one  a field                      one, at the end, no call placed    yes
    also a shared one  a field                      fewer otherwise                    no
    =================  ===========================  =================================  =====

    A shared field that is wrong for one person may be right for the next, such as a ``from_number`` that cannot
    call one country. So the campaign tries to call the others before it decides.

    Args:
        rejection: The last refusal.
        equal: How many refusals in a row, this one included, had the same words except for digits.
        in_a_row: How many refusals in a row there were, whatever their words.
        last: Whether no other person is left to be called.
        placed: Whether the campaign has placed a call.
    """
    if rejection.of_account or equal >= EQUAL_REFUSALS or in_a_row >= REFUSALS:
        return True
    if last and not placed and in_a_row >= EQUAL_REFUSALS:
        return True
    return rejection.shared and last and (equal > 1 or not placed)


class Trouble:
    """The signs of trouble with the account.

    Attributes:
        found: Why the campaign stops, None as long as it goes on.
    """

    def __init__(self) -> None:
        self.found: str | None = None
        self._refusal: Rejection | None = None
        self._refusals = self._in_a_row = 0
        self._failures = 0

    def placed(self) -> None:
        """Note a call that was created."""
        self._refusal, self._refusals, self._in_a_row = None, 0, 0

    def rejected(self, rejection: Rejection) -> None:
        """Note a refusal."""
        alike = self._refusal is not None and _words(rejection) == _words(self._refusal)
        self._refusals = self._refusals + 1 if alike else 1
        self._in_a_row += 1
        self._refusal = rejection
        self._judge(last=False, placed=True)

    def at_end(self, *, placed: bool) -> bool:
        """Return whether the account is the reason for the refusals at the end of the campaign.

        Args:
            placed: Whether the campaign has placed a call.
        """
        return self._judge(last=True, placed=placed)

    def _judge(self, *, last: bool, placed: bool) -> bool:
        refusal, equal = self._refusal, self._refusals
        in_a_row = self._in_a_row
        if refusal is None or not is_of_account(refusal, equal=equal, in_a_row=in_a_row, last=last, placed=placed):
            return False
        if refusal.of_account:
            self.stop(f"Retell refuses to place calls ({refusal.status}: {refusal.message}).")
        elif equal < EQUAL_REFUSALS and in_a_row > equal:
            self.stop(f"{in_a_row} people in a row cannot be called; the last one: {refusal.message}.")
        else:
            people = f"{equal} people in a row" if equal > 1 else "the only person"
            refused = f"Retell refused {people}" if refusal.status else f"Nothing can be sent for {people}"
            self.stop(f"{refused} for one reason: {refusal.message}.")
        return True

    def ended(self, outcome: Outcome | None) -> None:
        """Note how a call ended. One that found no line says nothing about the health of the account."""
        if outcome is Outcome.CAPACITY:
            return
        self._failures = self._failures + 1 if outcome in _ACCOUNT_OUTCOMES else 0
        if self._failures >= FAILED_CALLS:
            self.stop(
                f"{FAILED_CALLS} calls in a row ended as technical, blocked or billing; the last as {outcome}."
            )

    def stop(self, why: str) -> None:
        """Stop the campaign for a reason; the first reason counts."""
        self.found = self.found or why


def _words(rejection: Rejection) -> str:
    return _DIGITS.sub("", rejection.message)  # a message may quote the person's number
