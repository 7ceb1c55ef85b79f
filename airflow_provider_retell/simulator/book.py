"""Place, dial, stop and delete calls. This module knows the clock and nothing of HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_retell.simulator.call import Origin, SimulatedCall
from airflow_provider_retell.simulator.clock import Clock
from airflow_provider_retell.simulator.contacts import ContactBook
from airflow_provider_retell.simulator.lines import Lines, Pace
from airflow_provider_retell.simulator.scenarios import SCENARIOS, Scenario
from airflow_provider_retell.simulator.script import Script
from airflow_provider_retell.simulator.seeding import seeded
from airflow_provider_retell.simulator.timeline import Timeline

IDEMPOTENCY_SECONDS = 3600.0
"""Seconds for which a request with the same idempotency key returns the same call."""

_OVER_LIMIT = "concurrency_limit_reached"


@dataclass(frozen=True, kw_only=True)
class Durations:
    """Hold the seconds that each stage of a call takes, unless its scenario says otherwise.

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
    """Keep every call and every contact.

    Args:
        clock: Returns the seconds since the epoch.
        script: Chooses the scenario of each call.
        durations: The seconds that the stages of a call take, unless its scenario says otherwise.
        concurrency_limit: The number of lines: while all are busy, no more calls are created.
        calls_per_second: The number of calls that may be created within any second; `None`: no limit.
        refuse_over_limit: True: a call over a limit is refused. False: it is created and fails.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        script: Script,
        durations: Durations,
        concurrency_limit: int,
        calls_per_second: int | None,
        refuse_over_limit: bool,
    ) -> None:
        self.clock = clock
        self.calls: dict[str, SimulatedCall] = {}
        self.contacts = ContactBook(self.calls)
        self.lines = Lines(self.calls, limit=concurrency_limit)
        self.timeline = Timeline(self.calls)
        self._pace = Pace(calls_per_second)
        self._script = script
        self._durations = durations
        self._refuse_over_limit = refuse_over_limit
        self._keys: dict[str, str] = {}

    def seed(self, count: int, *, days: float) -> None:
        """Add calls of the past, which are over."""
        for call in seeded(count, days=days, now=self.clock()):
            self.calls[call.call_id] = call
            self.contacts.add_call(call)

    def delete(self, call_id: str) -> None:
        """Delete a call.

        Raises:
            KeyError: There is no such call.
        """
        del self.calls[call_id]
        self.lines.forget(call_id)
        self.timeline = Timeline(self.calls)

    def register(self, request: Mapping[str, Any]) -> SimulatedCall:
        """Add a call that the user's telephony dials."""
        delay = self._durations.dial_delay
        scenario = self._script.next_for(request.get("to_number", ""))
        now = self.clock()
        dialed_at = None if delay is None else now + delay
        call = self._enter("register-phone-call", request, scenario, now, dialed_at=dialed_at)
        self.lines.add(call)
        return call

    def ring_in(self, request: Mapping[str, Any], scenario: Scenario | None) -> SimulatedCall:
        """Add an inbound call. It is answered at once, and is never refused for want of a line."""
        scenario = scenario or self._script.next_for(request["from_number"])
        now = self.clock()
        call = self._enter("inbound", request, scenario, now, dialed_at=now, ring_seconds=0.0)
        self.lines.add(call)
        return call

    def create(self, request: Mapping[str, Any]) -> SimulatedCall | None:
        """Add a call and dial it, or return the call that was made with the same idempotency key.

        Returns:
            The call, or `None` if a limit refuses it.
        """
        now = self.clock()
        key = request.get("idempotency_key")
        known = self.calls.get(self._keys.get(key, "")) if key else None
        if known is not None and now - known.created_at < IDEMPOTENCY_SECONDS:
            return self._change(known, creates=known.creates + 1)
        has_line = self.lines.busy(now) < self.lines.limit and self._pace.allows(now)
        if not has_line and self._refuse_over_limit:
            return None
        if has_line:
            self._pace.add(now)
            scenario = self._script.next_for(request["to_number"])
            call = self._enter("create-phone-call", request, scenario, now, dialed_at=now)
            self.lines.add(call)
        else:
            call = self._enter("create-phone-call", request, SCENARIOS[_OVER_LIMIT], now, dialed_at=now)
        if key:
            self._keys[key] = call.call_id
        return call

    def dial(self, call_id: str) -> SimulatedCall:
        """Dial a registered call.

        Raises:
            KeyError: There is no such call.
            ValueError: The call has been dialed already, or is over.
        """
        call, now = self.calls[call_id], self.clock()
        if call.is_over(now) or (call.dialed_at is not None and call.dialed_at <= now):
            raise ValueError(f"{call_id} does not wait to be dialed: its status is {call.status(now)}.")
        dialed = self._change(call, dialed_at=now)
        self.lines.add(dialed)
        return dialed

    def stop(self, call_id: str) -> bool:
        """Stop a call, and return whether it was ongoing.

        Raises:
            KeyError: There is no such call.
        """
        call, now = self.calls[call_id], self.clock()
        is_ongoing = call.connected_at <= now < call.ended_at
        stopped = self._change(call, stops=call.stops + 1, stopped_at=now if is_ongoing else call.stopped_at)
        self.lines.end(stopped)
        return is_ongoing

    def update(self, call_id: str, fields: Mapping[str, Any]) -> SimulatedCall:
        """Replace fields of a call.

        Raises:
            KeyError: There is no such call.
        """
        call = self.calls[call_id]
        return self._change(call, updates={**call.updates, **fields})

    def analyze(self, call_id: str) -> SimulatedCall:
        """Make the analysis of a call that is over appear now.

        Raises:
            KeyError: There is no such call.
        """
        call = self.calls[call_id]
        return self._change(call, reruns=call.reruns + 1, analyzed_by=self.clock())

    def do_not_call(self, number: str) -> bool:
        """Return whether the contact with a number must not be called."""
        contact = self.contacts.of(self.clock()).get(number)
        return contact is not None and contact.do_not_call

    def _enter(
        self,
        endpoint: Origin,
        request: Mapping[str, Any],
        scenario: Scenario,
        now: float,
        *,
        dialed_at: float | None,
        ring_seconds: float | None = None,
    ) -> SimulatedCall:
        defaults = self._durations
        call = SimulatedCall(
            call_id=f"call_{uuid.uuid4().hex[:27]}",
            endpoint=endpoint,
            request=request,
            scenario=scenario,
            ring_seconds=_first(scenario.ring_seconds, _first(ring_seconds, defaults.ring)),
            talk_seconds=_first(scenario.talk_seconds, defaults.talk),
            analysis_delay=_first(scenario.analysis_delay, defaults.analysis_delay),
            created_at=now,
            dialed_at=dialed_at,
        )
        self.calls[call.call_id] = call
        self.contacts.add_call(call)
        return call

    def _change(self, call: SimulatedCall, **changes: Any) -> SimulatedCall:
        changed = replace(call, **changes)
        self.calls[call.call_id] = changed
        return changed


def _first(own: float | None, default: float) -> float:
    return default if own is None else own
