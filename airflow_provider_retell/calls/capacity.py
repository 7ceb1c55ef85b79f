"""What a task does where the account is at its limit: wait a while, before its try is spent."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from airflow_provider_retell._clock import SYSTEM_CLOCK, Clock
from airflow_provider_retell.outcomes import DisconnectionReason

if TYPE_CHECKING:
    from airflow_provider_retell.api.models import Call

log = logging.getLogger(__name__)

FIRST_PAUSE: Final = 5.0
"""Seconds of the first pause where Retell names none; then as long again as was waited already.

Also of the shortest one: an answer that asks for no pause at all is not obeyed."""

LONGEST_PAUSE: Final = 120.0
"""Seconds of the longest pause where Retell names none."""

_SPREAD: Final = 0.25
"""By how much of itself a pause is longer at most: a hundred mapped tasks shall not all come back at once."""


@dataclass(frozen=True, kw_only=True)
class LimitWait:
    """How long a task waits for a free line.

    Attributes:
        began: When it asked first, in seconds since the epoch.
        longest: Seconds to wait at most, all in all.
        clock: What time it is.
    """

    began: float
    longest: float
    clock: Clock = SYSTEM_CLOCK

    def pause(self, asked: float | None = None) -> bool:
        """Sleep for a while; return False, at once, where the next pause would be too long.

        Args:
            asked: Seconds that Retell asks for.
        """
        now = self.clock.now()
        waited = now - self.began
        pause = min(max(waited, FIRST_PAUSE), LONGEST_PAUSE) if asked is None else max(asked, FIRST_PAUSE)
        pause *= random.uniform(1, 1 + _SPREAD)  # noqa: S311 (jitter)
        if waited + pause > self.longest:
            return False
        log.info(
            "The account is at its limit. Placing the call in %.0f s; given up in %.0f s.",
            pause,
            self.longest - waited,
        )
        self.clock.sleep(pause)
        return True


def found_no_line(call: Call) -> bool:
    """Say whether a call was never dialed, because the account had too many calls at once."""
    return call.disconnection_reason == DisconnectionReason.CONCURRENCY_LIMIT_REACHED
