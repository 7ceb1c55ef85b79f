"""The book of calls: places, dials, finds and stops them. Knows the clock, knows nothing of HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

from airflow_provider_retell.simulator.call import SimulatedCall
from airflow_provider_retell.simulator.clock import Clock
from airflow_provider_retell.simulator.scenarios import SCENARIOS, Scenario
from airflow_provider_retell.simulator.script import Script
from airflow_provider_retell.simulator.seeding import seeded
from airflow_provider_retell.simulator.timeline import Timeline

IDEMPOTENCY_SECONDS = 3600.0
"""How long an idempotency key stands for the call it made."""

_OVER_LIMIT = "concurrency_limit_reached"


@dataclass(frozen=True, kw_only=True)
class Durations:
    """Hold how long the stages of a call take, in seconds, if its scenario does not say.

    Attributes:
        dial_delay: From registration to dialing; `None` if registered calls are not dialed.
        ring: From dialing to connection, or to failure.
        talk: From connection to the end.
        analysis_delay: From the end to `call_analysis`.
    """

    dial_delay: float | None
    ring: float
    talk: float
    analysis_delay: float


class CallBook:
    """Keep every call.

    Args:
        clock: Seconds since the epoch.
        script: The scenario of each call.
        durations: How long its stages take if the scenario does not say.
        concurrency_limit: How many created calls may be ringing or ongoing at once.
        refuse_over_limit: Whether one more is refused, or accepted to fail.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        script: Script,
        durations: Durations,
        concurrency_limit: int,
        refuse_over_limit: bool,
    ) -> None:
        self.clock = clock
        self.concurrency_limit = concurrency_limit
        self.calls: dict[str, SimulatedCall] = {}
        self.timeline = Timeline(self.calls)
        self._script = script
        self._durations = durations
        self._refuse_over_limit = refuse_over_limit
        # Ids of the calls not yet seen to be over, so that counting them does not go through all.
        self._open: dict[str, None] = {}
        self._keys: dict[str, str] = {}

    def seed(self, count: int, *, days: float) -> None:
        """Enter calls of the past, which are over."""
        self.calls |= {call.call_id: call for call in seeded(count, days=days, now=self.clock())}

    def delete(self, call_id: str) -> None:
        """Forget a call.

        Raises:
            KeyError: There is no such call.
        """
        self._open.pop(call_id, None)
        del self.calls[call_id]
        self.timeline = Timeline(self.calls)

    def register(self, request: Mapping[str, Any]) -> SimulatedCall:
        """Enter a call that somebody else will dial."""
        now = self.clock()
        delay = self._durations.dial_delay
        dialed_at = None if delay is None else now + delay
        scenario = self._script.next_for(request.get("to_number", ""))
        return self._enter("register-phone-call", request, scenario, now, dialed_at)

    def create(self, request: Mapping[str, Any]) -> SimulatedCall | None:
        """Enter a call and dial it, or find the one this idempotency key stands for.

        Returns:
            The call, or `None` if there are too many already.
        """
        now = self.clock()
        key = request.get("idempotency_key")
        known = self.calls.get(self._keys.get(key, "")) if key else None
        if known is not None and now - known.created_at < IDEMPOTENCY_SECONDS:
            return self._change(known, creates=known.creates + 1)
        scenario = self._script.next_for(request["to_number"])
        if self._is_full(now):
            if self._refuse_over_limit:
                return None
            scenario = SCENARIOS[_OVER_LIMIT]
        call = self._enter("create-phone-call", request, scenario, now, now)
        if key:
            self._keys[key] = call.call_id
        return call

    def dial(self, call_id: str) -> SimulatedCall:
        """Dial a registered call.

        Raises:
            KeyError: There is no such call.
            ValueError: It does not wait to be dialed.
        """
        call, now = self.calls[call_id], self.clock()
        if call.is_over(now) or (call.dialed_at is not None and call.dialed_at <= now):
            raise ValueError(f"{call_id} does not wait to be dialed: it is {call.status(now)}.")
        return self._change(call, dialed_at=now)

    def stop(self, call_id: str) -> bool:
        """Hang up, and tell whether there was a call to hang up on.

        Raises:
            KeyError: There is no such call.
        """
        call, now = self.calls[call_id], self.clock()
        is_ongoing = call.connected_at <= now < call.ended_at
        self._change(call, stops=call.stops + 1, stopped_at=now if is_ongoing else call.stopped_at)
        return is_ongoing

    def do_not_call(self, number: str) -> bool:
        """Tell whether somebody at that number has asked never to be called again."""
        now = self.clock()
        return any(
            call.request.get("to_number") == number
            and call.ending[1] == "user_requested_dnc"
            and call.is_over(now)
            for call in self.calls.values()
        )

    def concurrency(self) -> int:
        """Count the calls that are being dialed or ongoing."""
        return sum(1 for _ in self._busy(self.clock()))

    def _is_full(self, now: float) -> bool:
        # Counting may be long when the limit is high; that so few calls are open at all is quickly seen.
        if len(self._open) < self.concurrency_limit:
            return False
        return len(list(islice(self._busy(now), self.concurrency_limit))) >= self.concurrency_limit

    def _busy(self, now: float) -> Iterator[SimulatedCall]:
        for call_id in list(self._open):
            call = self.calls[call_id]
            if call.is_over(now):
                del self._open[call_id]
            elif call.dialed_at is not None and call.dialed_at <= now and call.scenario.name != _OVER_LIMIT:
                yield call

    def _enter(
        self,
        endpoint: Literal["create-phone-call", "register-phone-call"],
        request: Mapping[str, Any],
        scenario: Scenario,
        now: float,
        dialed_at: float | None,
    ) -> SimulatedCall:
        defaults = self._durations
        call = SimulatedCall(
            call_id=f"call_{uuid.uuid4().hex[:27]}",
            endpoint=endpoint,
            request=request,
            scenario=scenario,
            ring_seconds=_first(scenario.ring_seconds, defaults.ring),
            talk_seconds=_first(scenario.talk_seconds, defaults.talk),
            analysis_delay=_first(scenario.analysis_delay, defaults.analysis_delay),
            created_at=now,
            dialed_at=dialed_at,
        )
        self.calls[call.call_id] = call
        self._open[call.call_id] = None
        return call

    def _change(self, call: SimulatedCall, **changes: Any) -> SimulatedCall:
        changed = replace(call, **changes)
        self.calls[call.call_id] = changed
        return changed


def _first(own: float | None, default: float) -> float:
    return default if own is None else own
