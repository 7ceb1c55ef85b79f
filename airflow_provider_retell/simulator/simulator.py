"""Put the parts of the simulator together: a transport of httpx, a server, and a record of all requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Literal, TypeAlias, get_args

from airflow_provider_retell.simulator.book import CallBook, Durations
from airflow_provider_retell.simulator.clock import Clock, RealClock
from airflow_provider_retell.simulator.connection import airflow_connection
from airflow_provider_retell.simulator.controls import Controls
from airflow_provider_retell.simulator.faults import Fault, FaultPlan
from airflow_provider_retell.simulator.request_log import RecordedRequest, record
from airflow_provider_retell.simulator.responses import Patience, Request, Response
from airflow_provider_retell.simulator.script import Play, Script
from airflow_provider_retell.simulator.server import LOOPBACK, serving
from airflow_provider_retell.simulator.service import Service
from airflow_provider_retell.simulator.transport import Transport

OverLimit: TypeAlias = Literal["429", "call"]


class Simulator(Controls, Transport):
    """Stand in for the Retell calls API.

    Pass it to a client (`httpx.Client(transport=simulator)`, `httpx.AsyncClient(transport=simulator)`), or let it
    `serve` on a socket. Several threads and clients may use it at once.

    Args:
        clock: Returns the seconds since the epoch; by default a `RealClock`.
        api_key: The key that requests must carry.
        scenario: The scenario, or its name, of numbers that are neither in `numbers` nor in the table.
        numbers: The scenarios of given numbers, which are in E.164 form: a scenario, its name, or several in turn,
            of which the last applies to all further calls.
        auto_dial: True: registered calls are dialed, as the user's telephony would do.
        dial_delay: Seconds from the registration of a call to its dialing.
        ring_seconds: Seconds from dialing to connection, or to failure.
        talk_seconds: Seconds from connection to the end.
        analysis_delay: Seconds from the end to `call_analysis`.
        list_registered: True: list-calls shows `registered` calls. Retell does not say whether it does.
        list_lag: Seconds by which list-calls lags behind; get-call never does.
        concurrency_limit: The number of lines: while so many calls are dialed or ongoing, no more are created.
        calls_per_second: The number of calls that may be created within any second; `None`: no limit.
        over_limit: `429`: a call over one of these limits is refused. `call`: it is created, and fails with
            `concurrency_limit_reached`. Retell does not say which it does.
        recording_link_seconds: Seconds for which links to recordings are valid; they lead to the simulator.
            `None`: they lead nowhere.

    Raises:
        ValueError: An option makes no sense.
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
        list_lag: float = 0.0,
        concurrency_limit: int = 20,
        calls_per_second: int | None = None,
        over_limit: OverLimit = "429",
        recording_link_seconds: float | None = None,
    ) -> None:
        _check_not_negative(
            dial_delay=dial_delay,
            ring_seconds=ring_seconds,
            talk_seconds=talk_seconds,
            analysis_delay=analysis_delay,
            list_lag=list_lag,
            concurrency_limit=concurrency_limit,
            recording_link_seconds=recording_link_seconds,
        )
        if calls_per_second is not None and calls_per_second < 1:
            raise ValueError(f"calls_per_second is {calls_per_second}: it cannot be less than 1.")
        if over_limit not in get_args(OverLimit):
            raise ValueError(f"over_limit is '429' or 'call', not {over_limit!r}.")
        if not api_key:
            raise ValueError("api_key is empty: then no request could carry it.")
        script = Script(default=scenario, plays=numbers or {})
        book = CallBook(
            clock=clock or RealClock(),
            script=script,
            durations=Durations(
                dial_delay=dial_delay if auto_dial else None,
                ring=ring_seconds,
                talk=talk_seconds,
                analysis_delay=analysis_delay,
            ),
            concurrency_limit=concurrency_limit,
            calls_per_second=calls_per_second,
            refuse_over_limit=over_limit == "429",
        )
        super().__init__(book=book, script=script)
        self.api_key = api_key
        self._service = Service(
            book=book,
            api_key=api_key,
            list_registered=list_registered,
            list_lag=list_lag,
            recording_link_seconds=recording_link_seconds,
        )
        self._faults = FaultPlan()
        self._requests: list[RecordedRequest] = []

    @property
    def requests(self) -> list[RecordedRequest]:
        """Return all requests, in the order in which they were answered."""
        with self._lock:
            return list(self._requests)

    @property
    def recording_link_seconds(self) -> float | None:
        """Return the seconds for which links to recordings are valid; `None`: they lead nowhere. Can be set."""
        return self._service.recording_link_seconds

    @recording_link_seconds.setter
    def recording_link_seconds(self, seconds: float | None) -> None:
        _check_not_negative(recording_link_seconds=seconds)
        self._service.recording_link_seconds = seconds

    def fail(self, *faults: Fault) -> None:
        """Make requests fail. Of several faults that match a request, the one added first applies."""
        with self._lock:
            self._faults.add(*faults)

    def recover(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._faults.clear()

    def serve(self, port: int = 0, *, host: str = LOOPBACK) -> AbstractContextManager[str]:
        """Serve requests in background threads until the `with` block ends; the block gets the base URL.

        Args:
            port: The port; 0: a free one.
            host: The address or name to listen on; `0.0.0.0`: other machines reach the server, too.

        Raises:
            OSError: The server cannot listen there.
        """
        return serving(self.respond, port, host)

    def connection(self, url: str) -> str:
        """Return the Airflow connection to the simulator at that URL, for `AIRFLOW_CONN_RETELL_DEFAULT`.

        If the URL leads to another machine, the extra says `simulator: true`, without which plain HTTP is refused.
        """
        return airflow_connection(url, self.api_key)

    def respond(self, request: Request, wait: Patience) -> Response | None:
        """Answer a request that arrived in any way; `None` if the caller gave up during a delay.

        Args:
            request: The request.
            wait: Called with the seconds by which a fault delays the response; returns whether the caller waits.
        """
        with self._lock:
            fault = self._faults.strike(request)
        # Wait without the lock: one slow response must not hold up the others.
        if fault and not fault.after and not wait(fault.delay):
            return self._recorded(request, None, fault)
        with self._lock:
            takes_effect = fault is None or fault.lets_through
            response = self._service.respond(request) if takes_effect else Response(status=500)
        if fault and fault.after and not wait(fault.delay):
            return self._recorded(request, None, fault)
        with self._lock:
            return self._recorded(request, fault.spoil(request, response) if fault else response, fault)

    def _recorded(self, request: Request, response: Response | None, fault: Fault | None) -> Response | None:
        with self._lock:
            self._requests.append(record(request, response, fault=fault.name if fault else None, now=self.clock()))
        return response


def _check_not_negative(**options: float | None) -> None:
    for name, value in options.items():
        if value is not None and not value >= 0:  # true for NaN, too
            raise ValueError(f"{name} is {value}: it cannot be less than 0.")
