"""The simulator as one object: an httpx transport, a server, and a record of all that happened."""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from threading import RLock
from typing import Any, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from airflow_provider_retell.simulator.answers import Patience, RecordedRequest, Reply, Request
from airflow_provider_retell.simulator.book import CallBook, Durations
from airflow_provider_retell.simulator.call import SimulatedCall
from airflow_provider_retell.simulator.clock import Clock, RealClock
from airflow_provider_retell.simulator.faults import Fault, FaultPlan
from airflow_provider_retell.simulator.script import Play, Script
from airflow_provider_retell.simulator.server import LOOPBACK, serving
from airflow_provider_retell.simulator.service import Service, endpoint_of
from airflow_provider_retell.simulator.transport import Transport

OverLimit: TypeAlias = Literal["429", "call"]


class Simulator(Transport):
    """Stand in for the Retell calls API.

    Hand it to a client (`httpx.Client(transport=simulator)`, `httpx.AsyncClient(transport=simulator)`) or let
    it `serve` on a socket. It may be used by many threads and clients at once.

    Args:
        clock: Seconds since the epoch; a `RealClock` by default.
        api_key: The key that requests must carry.
        scenario: What numbers play that neither `numbers` nor the table of scenarios mentions.
        numbers: What calls to given numbers (in E.164 form) play: a scenario or the name of one, or several in
            turn, of which the last applies to all further calls.
        auto_dial: Whether registered calls are dialed, as the user's telephony would.
        dial_delay: Seconds from the registration of a call to its dialing.
        ring_seconds: From dialing to connection, or to failure.
        talk_seconds: From connection to the end.
        analysis_delay: Seconds from the end to `call_analysis`.
        list_registered: Whether list-calls shows `registered` calls; Retell does not say.
        concurrency_limit: How many calls may be dialed or ongoing when one more is created.
        over_limit: `429`: creating one more is refused; `call`: it is accepted and fails with
            `concurrency_limit_reached`. Retell does not say which it is.
        recording_link_seconds: How long a link to a recording is good for; such links lead to the simulator.
            `None`: links lead nowhere.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        api_key: str = "key_simulator",
        scenario: Play = "agent_hangup",
        numbers: Mapping[str, Play | Sequence[Play]] | None = None,
        auto_dial: bool = True,
        dial_delay: float = 1.0,
        ring_seconds: float = 4.0,
        talk_seconds: float = 20.0,
        analysis_delay: float = 3.0,
        list_registered: bool = False,
        concurrency_limit: int = 20,
        over_limit: OverLimit = "429",
        recording_link_seconds: float | None = None,
    ) -> None:
        _check_not_negative(
            dial_delay=dial_delay,
            ring_seconds=ring_seconds,
            talk_seconds=talk_seconds,
            analysis_delay=analysis_delay,
            concurrency_limit=concurrency_limit,
            recording_link_seconds=recording_link_seconds,
        )
        if over_limit not in get_args(OverLimit):
            raise ValueError(f"over_limit is '429' or 'call', not {over_limit!r}.")
        if not api_key:
            raise ValueError("api_key is empty: then no request could carry it.")
        self.clock = clock or RealClock()
        self.api_key = api_key
        self._script = Script(default=scenario, plays=numbers or {})
        self._book = CallBook(
            clock=self.clock,
            script=self._script,
            durations=Durations(
                dial_delay=dial_delay if auto_dial else None,
                ring=ring_seconds,
                talk=talk_seconds,
                analysis_delay=analysis_delay,
            ),
            concurrency_limit=concurrency_limit,
            refuse_over_limit=over_limit == "429",
        )
        self._service = Service(
            book=self._book,
            api_key=api_key,
            list_registered=list_registered,
            recording_link_seconds=recording_link_seconds,
        )
        self._faults = FaultPlan()
        self._requests: list[RecordedRequest] = []
        self._lock = RLock()

    @property
    def calls(self) -> dict[str, SimulatedCall]:
        """Return every call by its id, in order of creation."""
        with self._lock:
            return dict(self._book.calls)

    @property
    def placed(self) -> list[SimulatedCall]:
        """Return the calls that create-phone-call placed: each has rung a phone."""
        return [call for call in self.calls.values() if call.endpoint == "create-phone-call"]

    @property
    def requests(self) -> list[RecordedRequest]:
        """Return every request, in the order in which they were dealt with."""
        with self._lock:
            return list(self._requests)

    @property
    def recording_link_seconds(self) -> float | None:
        """Return how many seconds links to recordings are valid, `None` if they lead nowhere; may be set."""
        return self._service.recording_link_seconds

    @recording_link_seconds.setter
    def recording_link_seconds(self, seconds: float | None) -> None:
        _check_not_negative(recording_link_seconds=seconds)
        self._service.recording_link_seconds = seconds

    def call(self, call_id: str) -> dict[str, Any]:
        """Return the call object as get-call would show it now.

        Raises:
            KeyError: There is no such call.
        """
        with self._lock:
            return self._book.calls[call_id].full(self.clock())

    def play(self, number: str, *scenarios: Play) -> None:
        """Set what the next calls to a number play, in turn; the last scenario applies to all further calls.

        Raises:
            ValueError: The number is not in E.164 form (`+12025550177`), a scenario has an unknown name, or there
                is none.
        """
        with self._lock:
            self._script.play(number, scenarios)

    def register(self, request: Mapping[str, Any]) -> str:
        """Register a call as register-phone-call does, without a request that is checked or recorded.

        Returns:
            The call's id.
        """
        with self._lock:
            return self._book.register(request).call_id

    def dial(self, call_id: str) -> None:
        """Dial a registered call now, as the user's telephony would.

        Raises:
            KeyError: There is no such call.
            ValueError: It does not wait to be dialed.
        """
        with self._lock:
            self._book.dial(call_id)

    def seed(self, count: int, *, days: float = 2.0) -> None:
        """Make up calls of the past days, all of them over: the same ones for the same count.

        Args:
            count: How many.
            days: How far they reach back from now. The last ones began two hours ago.

        Raises:
            ValueError: The count is negative, or the days are too few for calls that began two hours ago.
        """
        with self._lock:
            self._book.seed(count, days=days)

    def delete(self, call_id: str) -> None:
        """Delete a call, as somebody does in the dashboard.

        Raises:
            KeyError: There is no such call.
        """
        with self._lock:
            self._book.delete(call_id)

    def fail(self, *faults: Fault) -> None:
        """Make requests fail; of several faults that fit a request, the first one added strikes."""
        with self._lock:
            self._faults.add(*faults)

    def recover(self) -> None:
        """Forget every fault."""
        with self._lock:
            self._faults.clear()

    def serve(self, port: int = 0, *, host: str = LOOPBACK) -> AbstractContextManager[str]:
        """Answer in background threads until the `with` block ends; it yields the base URL.

        Args:
            port: 0 for a free one.
            host: The address or name to listen on: `0.0.0.0` to be reached from other machines too.

        Raises:
            OSError: It cannot listen there.
        """
        return serving(self.respond, port, host)

    def connection(self, url: str) -> str:
        """Return the Airflow connection to the simulator at that URL, for `AIRFLOW_CONN_RETELL_DEFAULT`.

        For a URL of another machine it says that a simulator is there: plain HTTP is refused otherwise.
        """
        fields: dict[str, Any] = {"conn_type": "retell", "host": url, "password": self.api_key}
        if not _is_loopback(urlsplit(url).hostname):
            fields["extra"] = {"simulator": True}
        return json.dumps(fields)

    def respond(self, request: Request, wait: Patience) -> Reply | None:
        """Answer a request of any kind of server or client; `None` if its caller gave up during a delay.

        Args:
            request: The request.
            wait: Called with the seconds that a fault delays the answer.
        """
        with self._lock:
            fault = self._faults.strike(request)
        # Wait without the lock: one slow answer must not hold up the others.
        if fault and not fault.after and not wait(fault.delay):
            return self._record(request, None, fault)
        with self._lock:
            takes_effect = fault is None or fault.lets_through
            reply = self._service.respond(request) if takes_effect else Reply(status=500)
        if fault and fault.after and not wait(fault.delay):
            return self._record(request, None, fault)
        with self._lock:
            return self._record(request, fault.spoil(request, reply) if fault else reply, fault)

    def _record(self, request: Request, reply: Reply | None, fault: Fault | None) -> Reply | None:
        target = endpoint_of(request)
        headers = dict(request.headers)
        if "authorization" in headers:
            headers["authorization"] = f"{headers['authorization'].partition(' ')[0]} ***"
        try:
            body = json.loads(request.body)
        except ValueError:
            body = None
        record = RecordedRequest(
            time=time.time(),
            clock=self.clock(),
            method=request.method,
            path=request.path,
            endpoint=target[0].name if target else "",
            headers=headers,
            json=body,
            status=reply.status if reply and reply.cut is None else None,
            fault=fault.name if fault else None,
        )
        with self._lock:
            self._requests.append(record)
        return reply


def _is_loopback(host: str | None) -> bool:
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


def _check_not_negative(**options: float | None) -> None:
    for name, value in options.items():
        if value is not None and not value >= 0:  # which NaN is not either
            raise ValueError(f"{name} is {value}: it cannot be less than 0.")
