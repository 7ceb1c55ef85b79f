"""The pause of a connection: ``paused: true`` in its extra, under which no call is placed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from airflow_provider_retell._clock import CLOCK, Clock
from airflow_provider_retell.errors import RetellCallError

log = logging.getLogger(__name__)

MAX_AGE: Final = 30.0
"""Seconds after which the pause is read again before a call is placed."""


@dataclass(kw_only=True)
class ConnectionPause:
    """The pause of a connection, read again when the last reading is half a minute old.

    Each hook has one, and notes each reading of its connection: the first call is placed on the reading that gave
    the API key.

    Attributes:
        conn_id: The connection, for messages.
        look_up: Reads the connection, and returns whether it is paused.
        clock: The time.
    """

    conn_id: str
    look_up: Callable[[], bool]
    clock: Clock = CLOCK
    _on: bool = field(default=False, init=False)
    _read_at: float | None = field(default=None, init=False)

    def note(self, *, paused: bool) -> None:
        """Note whether the connection is paused, as read just now."""
        self._on, self._read_at = paused, self.clock.boottime()

    def is_on(self) -> bool:
        """Return whether the connection is paused."""
        if self._read_at is None or self.clock.boottime() - self._read_at >= MAX_AGE:
            self.note(paused=self.look_up())
        return self._on

    def check(self) -> None:
        """Raise ``RetellCallError`` if the connection is paused."""
        self.wait_until_off(limit=0)

    def wait_until_off(self, *, limit: float) -> None:
        """Sleep while the connection is paused.

        Args:
            limit: Maximum seconds.

        Raises:
            RetellCallError: It is still paused; a retry looks again.
        """
        waited = 0.0
        while self.is_on():
            if waited >= limit:
                raise RetellCallError(
                    f"Not called: the connection {self.conn_id!r} is paused (paused: true in its extra)"
                    f"{f', for {waited:.0f} s now' if waited else ''}. Take that out to let calls be placed; a "
                    "retry of this task looks again."
                )
            if not waited:
                log.warning(
                    "The connection %r is paused (paused: true in its extra): no call is placed. Looking again "
                    "every %.0f s, for up to %.0f s.",
                    self.conn_id,
                    MAX_AGE,
                    limit,
                )
            pause = min(MAX_AGE, limit - waited)
            self.clock.sleep(pause)
            waited += pause
            self._read_at = None
