"""Choose the scenario of the next call to a number."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from airflow_provider_retell.simulator import numbers
from airflow_provider_retell.simulator.scenarios import Scenario, scenario_named, scenario_of

Play: TypeAlias = str | Scenario
"""A scenario, or the name of one."""


class Script:
    """Choose the scenario of each call: that of its number, else that of its last two digits, else the default.

    Args:
        default: The scenario of numbers that have none of their own.
        plays: The scenarios of given numbers: one, or several in turn, of which the last applies to all further
            calls.

    Raises:
        ValueError: A number is not in E.164 form, a scenario has an unknown name, or a number has no scenario.
    """

    def __init__(self, *, default: Play, plays: Mapping[str, Play | Sequence[Play]]) -> None:
        self._default = scenario_named(default)
        self._plays: dict[str, deque[Scenario]] = {}
        for number, scenarios in plays.items():
            self.play(number, [scenarios] if isinstance(scenarios, str | Scenario) else scenarios)

    def play(self, number: str, scenarios: Iterable[Play]) -> None:
        """Set what the next calls to a number play, in turn; the last scenario applies to all further calls.

        Raises:
            ValueError: The number is not in E.164 form, a scenario has an unknown name, or there is none.
        """
        script = deque(map(scenario_named, scenarios))
        if not script:
            raise ValueError("A number needs at least one scenario to play.")
        self._plays[numbers.checked(number)] = script

    def next_for(self, number: str) -> Scenario:
        """Return what the next call to a number plays, and move on to the one after it."""
        if script := self._plays.get(number):
            return script.popleft() if len(script) > 1 else script[0]
        return scenario_of(number) or self._default
