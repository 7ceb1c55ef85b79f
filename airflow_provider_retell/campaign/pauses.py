"""The two pauses under which a campaign places no call, and the age up to which a reading of them counts. Pure.

===================  ==============================================  ==================  =======================
the pause of         where it is                                     is read again       a reading counts for
===================  ==============================================  ==================  =======================
the connection       ``paused: true`` in the connection's extra      after 15 seconds    30 seconds
the campaign         an Airflow Variable, named after the campaign   after 4 seconds     5 seconds
===================  ==============================================  ==================  =======================

A call is placed only while both are known to be off. A reading that fails changes nothing, and is repeated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Pause:
    """One pause, as last read.

    Attributes:
        look_up: Reads it, and returns whether it is on; None if that cannot be read now.
        interval: Seconds after which it is read again.
        max_age: Seconds for which calls may be placed on one reading.
        on: Whether it was on at the last reading.
        read_at: When the last reading was, in steady time.
    """

    look_up: Callable[[], bool | None]
    interval: float
    max_age: float
    on: bool = field(default=False, init=False)
    read_at: float = field(default=-math.inf, init=False)

    def read(self, steady: float) -> None:
        """Read the pause if that is due."""
        if steady - self.read_at >= self.interval:
            on = self.look_up()
            if on is not None:
                self.on, self.read_at = on, steady


def read_pauses(pauses: Sequence[Pause], steady: float) -> tuple[bool, float]:
    """Read the pauses that are due; return whether any is on or not known, and until when that is known."""
    for pause in pauses:
        pause.read(steady)
    known_until = min(pause.read_at + pause.max_age for pause in pauses)
    return known_until < steady or any(pause.on for pause in pauses), known_until
