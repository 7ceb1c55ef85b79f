"""Let people call the account at regular intervals."""

from __future__ import annotations

import math
import random

from airflow_provider_retell.simulator.scenarios import SCENARIOS
from airflow_provider_retell.simulator.simulator import Simulator

_AREAS = ("202", "212", "312", "415", "512", "617")
# The weights with which scenarios are drawn.
_OFTEN = {"user_hangup": 60, "agent_hangup": 30, "call_transfer": 6, "user_requested_callback": 3, "inactivity": 1}


class Callers:
    """Let a person ring in at regular intervals of the simulator's clock.

    Args:
        simulator: The account they call.
        seconds: The seconds from one call to the next.

    Raises:
        ValueError: `seconds` is not a finite number greater than 0.
    """

    def __init__(self, simulator: Simulator, *, seconds: float) -> None:
        if not 0 < seconds < math.inf:
            raise ValueError(f"Calls come in at intervals longer than 0 seconds, not {seconds:g}.")
        self._simulator = simulator
        self._seconds = seconds
        self._next = simulator.clock() + seconds
        self._chance = random.Random(1)  # noqa: S311 (not for secrets: for the same callers each time)

    def ring(self) -> None:
        """Let all due calls come in."""
        while self._next <= self._simulator.clock():
            self._next += self._seconds
            (name,) = self._chance.choices(list(_OFTEN), list(_OFTEN.values()))
            area = self._chance.choice(_AREAS)
            self._simulator.ring_in(f"+1{area}55501{SCENARIOS[name].digits}")
