"""Decide whether a wait goes on after a failed read. Pure: no I/O, no clock of its own.

The table in ``errors`` says what each failure concerns, and what follows.
"""

from __future__ import annotations

from typing import Final

from airflow_provider_retell.errors import Concerns, RetellError, RetellResponseError

UNREADABLE_FOR: Final = 600.0
"""Seconds for which a wait puts up with unreadable responses.

A gateway's maintenance page goes away by itself; the page of a wrong host does not.
"""

NOT_THERE_YET: Final = 60.0
"""Seconds for which a call that Retell has just placed may not be found."""

LONGEST_RINGING: Final = 330.0
"""Seconds after which a ringing call has been answered or given up: Retell's five minutes and a margin."""


class Patience:
    """Decide how long one wait puts up with failing reads.

    =====================================  ===============================================================
    the failure                            the wait goes on
    =====================================  ===============================================================
    an unreadable response                 until ``UNREADABLE_FOR`` seconds after the first one, unless a
                                           read succeeds in between; other failures change nothing
    any other that concerns nothing        always: the wait's own deadline limits it
    concerns the call, request or account  never (``api.sweeps`` holds back a call that is not found yet)
    =====================================  ===============================================================
    """

    def __init__(self) -> None:
        self._unreadable_since: float | None = None

    def succeeded(self) -> None:
        """Note that a read succeeded."""
        self._unreadable_since = None

    def bears(self, error: RetellError, *, now: float) -> bool:
        """Return whether the wait goes on after a failed read.

        Args:
            error: Why it failed.
            now: Seconds by a monotonic clock.
        """
        if error.concerns is not Concerns.NOTHING:
            return False
        if not isinstance(error, RetellResponseError):
            return True
        if self._unreadable_since is None:
            self._unreadable_since = now
        return now < self._unreadable_since + UNREADABLE_FOR
