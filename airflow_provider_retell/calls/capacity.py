"""Decide how long one try of a task waits for a free line."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from airflow_provider_retell._clock import CLOCK, Clock
from airflow_provider_retell.outcomes import DisconnectionReason, matches

if TYPE_CHECKING:
    from airflow_provider_retell.api.call_rows import CallRow
    from airflow_provider_retell.api.models import Call

log = logging.getLogger(__name__)

FIRST_PAUSE: Final = 5.0
"""Seconds of the first pause unless Retell names one; each further pause is as long as all before it together.

It is also the minimum, even if Retell asks for no pause at all.
"""

LONGEST_PAUSE: Final = 120.0
"""Maximum seconds of a pause that Retell does not name."""

_JITTER: Final = 0.25
"""Each pause is lengthened by up to this fraction, so that a hundred mapped tasks do not all return at once."""


@dataclass(kw_only=True)
class LineWait:
    """Pause while the account is at its limit, up to ``limit_timeout`` in all, however many requests that takes.

    Attributes:
        limit: Maximum seconds of all pauses together.
        waited: Seconds of the pauses so far, including those in earlier processes of this try.
        clock: The time.
    """

    limit: float
    waited: float = 0.0
    clock: Clock = CLOCK

    def pause(self, asked: float | None = None) -> bool:
        """Sleep for a while; return False at once if the pause would exceed the limit.

        Args:
            asked: Seconds that Retell asks for.
        """
        pause = min(max(self.waited, FIRST_PAUSE), LONGEST_PAUSE) if asked is None else max(asked, FIRST_PAUSE)
        pause *= random.uniform(1, 1 + _JITTER)  # noqa: S311 (jitter)
        left = self.limit - self.waited
        if pause > left:
            return False
        log.info("The account is at its limit. Trying again in %.0f s; giving up in %.0f s.", pause, left)
        self.clock.sleep(pause)
        self.waited += pause
        return True


def is_capacity(call: Call | CallRow) -> bool:
    """Return whether a call found no line, because the account had too many at once: it was never dialed."""
    return call.disconnection_reason == DisconnectionReason.CONCURRENCY_LIMIT_REACHED


def is_capacity_named(call: Call | CallRow, fail_on: Sequence[str]) -> bool:
    """Return whether a call found no line and ``fail_on`` names that: another one replaces it in the same try."""
    return is_capacity(call) and matches(call, fail_on)
