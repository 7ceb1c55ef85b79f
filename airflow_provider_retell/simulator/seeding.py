"""Make up calls of the past: the same ones each time, at the same distance from the present."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

from airflow_provider_retell.simulator.call import SimulatedCall
from airflow_provider_retell.simulator.numbers import OWN_NUMBER
from airflow_provider_retell.simulator.scenarios import SCENARIOS, Scenario

_DAY = 86_400.0
_NEWEST_SECONDS_AGO = 7200.0
_AREAS = ("202", "212", "312", "415", "512", "617")
_AGENTS = ("agent_reminders", "agent_reminders", "agent_surveys", "agent_reception")
_CAMPAIGNS = ("spring", "summer", "autumn", "winter")
_INBOUND = "agent_reception"
# The weight of each hour of the day: no calls at night, fewer at noon.
_HOURS = (0, 0, 0, 0, 0, 1, 2, 4, 8, 12, 13, 11, 6, 9, 12, 13, 12, 9, 7, 4, 2, 1, 0, 0)
# The weights of common scenarios; each other scenario that ends has the weight 1.
_OFTEN = {
    "agent_hangup": 300,
    "user_hangup": 250,
    "voicemail_reached": 180,
    "dial_no_answer": 150,
    "dial_busy": 40,
    "user_declined": 30,
    "call_transfer": 40,
    "user_requested_callback": 20,
    "invalid_destination": 15,
    "user_requested_dnc": 5,
}
_ENDING = tuple(
    scenario
    for scenario in SCENARIOS.values()
    if scenario.status in ("ended", "error", "not_connected") and scenario.name != "analyzed_late"
)
_WEIGHTS = tuple(_OFTEN.get(scenario.name, 1) for scenario in _ENDING)


def seeded(count: int, *, days: float, now: float) -> Iterator[SimulatedCall]:
    """Make up calls that are over, in the order in which they were placed.

    Args:
        count: The number of calls.
        days: The days that they go back.
        now: The present, in seconds since the epoch. All calls are over and analyzed by then.

    Raises:
        ValueError: The count is negative, or the days are too few for calls that began two hours ago.
    """
    if count < 0:
        raise ValueError(f"The number of past calls is {count}: it cannot be less than 0.")
    if not _NEWEST_SECONDS_AGO < days * _DAY < math.inf:
        raise ValueError(f"Calls of the past are 2 hours old or older, so they cannot go back {days:g} days.")
    chance = random.Random(count)  # noqa: S311 (not for secrets: for the same calls each time)
    last = now - _NEWEST_SECONDS_AGO
    first = now - days * _DAY
    moments: list[float] = []
    while len(moments) < count:
        moment = chance.uniform(first, last)
        # More by day than by night, unless the span is too short to have both.
        if days < 1 or chance.random() * max(_HOURS) < _HOURS[int(moment % _DAY // 3600)]:
            moments.append(moment)
    scenarios = chance.choices(_ENDING, _WEIGHTS, k=count)
    for number, (moment, scenario) in enumerate(zip(sorted(moments), scenarios, strict=True)):
        yield _call(number, moment, scenario, chance)


def _call(number: int, moment: float, scenario: Scenario, chance: random.Random) -> SimulatedCall:
    agent = chance.choice(_AGENTS)
    person = f"+1{chance.choice(_AREAS)}55501{scenario.digits}"
    inbound = agent == _INBOUND
    return SimulatedCall(
        call_id=f"call_{number:06x}{chance.getrandbits(84):021x}",
        endpoint="inbound" if inbound else "create-phone-call",
        request={
            "agent_id": agent,
            "from_number": person if inbound else OWN_NUMBER,
            "to_number": OWN_NUMBER if inbound else person,
            "direction": "inbound" if inbound else "outbound",
            "metadata": {"campaign": chance.choice(_CAMPAIGNS), "customer": number},
            "retell_llm_dynamic_variables": {"name": f"Customer {number}"},
        },
        scenario=scenario,
        ring_seconds=round(chance.uniform(2, 25), 3),
        talk_seconds=round(min(chance.expovariate(1 / 90) + 5, 1800), 3),
        analysis_delay=round(chance.uniform(1, 60), 3),
        created_at=moment,
        dialed_at=None if scenario.reason == "registered_call_timeout" else moment,
    )
