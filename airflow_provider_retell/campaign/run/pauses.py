"""The two pauses during which a campaign places no call, and how long a reading of them counts.

===================  ==============================================  ==================  =======================
the pause of         where it is                                     is read again       a reading counts for
===================  ==============================================  ==================  =======================
the connection       ``paused: true`` in the connection's extra      after 15 seconds    30 seconds
the campaign         an Airflow Variable, named after the campaign   after 4 seconds     5 seconds
===================  ==============================================  ==================  =======================

A call is placed only while both are known to be off. A reading that fails changes nothing, and is repeated.

A secrets backend may take seconds for each look-up, so each runs in a thread of its own, and no call waits for it:

==========================  =====================================================================================
a look-up takes             calls
==========================  =====================================================================================
up to two seconds           are placed meanwhile, as the reading before still counts
longer                      are placed meanwhile too: a reading counts until the next one can have come, which is
                            twice as long as it took itself and a second, and 30 seconds at most
ever longer than before     pause between the end of one reading and the next
over ten minutes            are not placed any more, and the campaign ends: a retry goes on
==========================  =====================================================================================

A reading's age counts from the beginning of its look-up.
"""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from airflow_provider_retell.campaign.plan.call_list import LONGEST_GAP
from airflow_provider_retell.errors import RetellCallError

LONGEST_AGE: Final = 30.0
"""Seconds for which a reading counts at most, however long the look-ups take."""

LONGEST_LOOK_UP: Final = 600.0
"""Seconds after which a look-up counts as hanging."""

_SHORT_WAIT: Final = 0.1
"""Seconds to wait for a look-up while the previous reading counts: most take less."""
_LONG_WAIT: Final = 1.0
"""The same while no call can be placed anyway."""

_Answers = queue.SimpleQueue[Any]


@dataclass(kw_only=True)
class Pause:
    """One pause, as last read.

    Attributes:
        look_up: Reads it, and returns whether it is on; None if that cannot be read now. It runs in a thread.
        interval: Seconds after which it is read again.
        max_age: Seconds for which calls may be placed on one reading that took no time.
        on: Whether it was on at the last reading.
        read_at: When the look-up of the last reading began, in steady time.
        known_until: Until when the last reading counts, in steady time.
    """

    look_up: Callable[[], bool | None]
    interval: float
    max_age: float
    on: bool = field(default=False, init=False)
    read_at: float = field(default=-math.inf, init=False)
    known_until: float = field(default=-math.inf, init=False)
    _answers: _Answers | None = field(default=None, init=False)
    """The place in which the look-up in progress leaves its answer."""
    _began_at: float = field(default=0.0, init=False)
    _awaited: float = field(default=0.0, init=False)
    _seen_at: float = field(default=0.0, init=False)

    def read(self, steady: float) -> None:
        """Begin to read the pause if that is due, and take the answer if there is one.

        Raises:
            RetellCallError: A look-up hangs, or raised this error.
        """
        if self._answers is None:
            if steady - self.read_at < self.interval:
                return
            self._answers, self._began_at, self._awaited = queue.SimpleQueue(), steady, 0.0
            # A daemon, because one that hangs must not keep the process alive.
            threading.Thread(
                target=_answer, args=(self.look_up, self._answers), name="retell-pause", daemon=True
            ).start()
        else:
            self._awaited += min(steady - self._seen_at, LONGEST_GAP)  # after a longer gap, it was frozen
        self._seen_at = steady
        try:
            answer = self._answers.get(timeout=_SHORT_WAIT if steady <= self.known_until else _LONG_WAIT)
        except queue.Empty:
            if self._awaited >= LONGEST_LOOK_UP:
                raise RetellCallError(
                    "For ten minutes Airflow has not answered whether calls are paused. Look at the secrets "
                    "backend, and at Airflow's API server and its database. A retry or a clear continues the "
                    "campaign."
                ) from None
            return
        self._answers = None
        self._take(answer, took=steady - self._began_at)

    def _take(self, answer: Any, *, took: float) -> None:
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            age = max(self.max_age, min(2 * took + 1, LONGEST_AGE))
            self.on, self.read_at, self.known_until = answer, self._began_at, self._began_at + age


def _answer(look_up: Callable[[], bool | None], answers: _Answers) -> None:
    try:
        answers.put(look_up())
    except Exception as error:  # noqa: BLE001 (raised again in the campaign's own thread)
        answers.put(error)


def read_pauses(pauses: Sequence[Pause], steady: float) -> tuple[bool, float]:
    """Read the pauses that are due; return whether any is on or not known, and until when that is known."""
    for pause in pauses:
        pause.read(steady)
    known_until = min(pause.known_until for pause in pauses)
    return known_until < steady or any(pause.on for pause in pauses), known_until
