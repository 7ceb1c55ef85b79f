"""The arguments and results of ``next_step``: the call that is wanted, the calls seen, the steps. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from airflow_provider_retell.calls.intent import Intent, Record

if TYPE_CHECKING:
    from airflow_provider_retell.api.call_rows import CallRow
    from airflow_provider_retell.policy import Redial

KEY_LIFETIME: Final = 3600 - 300
"""Seconds for which a key is trusted: Retell's hour, less five minutes for clocks that disagree."""


class Missing(StrEnum):
    """The reason why there is no call to look at."""

    UNKNOWN = "unknown"
    """Retell does not know its id."""
    UNLISTED = "unlisted"
    """Retell lists no call with the tag."""
    UNLISTABLE = "unlistable"
    """This key, or this server, lists no calls."""


Seen: TypeAlias = "tuple[CallRow, ...] | Missing | None"
"""The calls of the task as Retell shows them, or why there are none; None if Retell was not asked yet."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The call that this try wants to place.

    Attributes:
        intent: The identity of the call.
        body: The request that it would send.
        retell_dials: Whether Retell dials, under an idempotency key. Otherwise no phone rings until the user's
            telephony dials, and there is no key.
        fail_on: The endings after which a new call is placed; empty if the task does not wait for the end.
        first_try: Whether no earlier try can have placed a call; with a ``call_key`` also the first try after a
            clear.
        began: When this try began to look, in seconds since the epoch.
        run_began: When the DAG run began, in seconds since the epoch, None if that is not known. None of its keys
            is older.
        redial: The rules by which one try may place several calls, one after the other.
        durable: Whether calls are tagged, so that they can be looked for.
        conn_id: The connection that it uses.
        key_digest: The ``key_digest`` of that connection.
        hours_shut: Whether the calling hours were found shut: then a call that may have been placed before is
            looked for first.
    """

    intent: Intent
    body: Mapping[str, Any]
    retell_dials: bool
    fail_on: tuple[str, ...]
    first_try: bool
    began: float
    run_began: float | None = None
    redial: tuple[Redial, ...] = ()
    durable: bool = True
    conn_id: str = ""
    key_digest: str = ""
    hours_shut: bool = False

    def key_is_alive(self, now: float) -> bool:
        """Return whether each key that the task may have used is still trusted."""
        return self.run_began is not None and now - self.run_began < KEY_LIFETIME


# -- the steps -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PlaceNew:
    """Place a call under a generation and an ordinal."""

    generation: int
    ordinal: int


@dataclass(frozen=True)
class SendAgain:
    """Send the request on record again, with the same key: Retell places it once."""

    record: Record


@dataclass(frozen=True)
class Adopt:
    """Continue with a call."""

    call: CallRow


@dataclass(frozen=True)
class Read:
    """Read calls, oldest first, in addition to those seen."""

    call_ids: tuple[str, ...]


@dataclass(frozen=True)
class LookForTag:
    """List the calls whose tag has this prefix; if that was done already, pause and list them again."""

    prefix: str


@dataclass(frozen=True)
class StopFirst:
    """Stop the calls from before a clear, then place a new one."""

    calls: tuple[CallRow, ...]
    then: PlaceNew


@dataclass(frozen=True)
class Refuse:
    """Fail the task for good, with a message that says what to do."""

    message: str
    call_ids: tuple[str, ...] = ()
    outcomes: frozenset[str] = frozenset()


Step: TypeAlias = PlaceNew | SendAgain | Adopt | Read | LookForTag | StopFirst | Refuse
