"""Run the simulator until interrupted: `python -m airflow_provider_retell.simulator --port 8787`."""

from __future__ import annotations

import argparse
import errno
import shlex
import signal
import socket
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from threading import Event
from urllib.parse import urlsplit

from airflow_provider_retell.simulator import RealClock, SimulatedCall, Simulator
from airflow_provider_retell.simulator.callers import Callers
from airflow_provider_retell.simulator.endpoints import ENDPOINTS
from airflow_provider_retell.simulator.faults import parse_fault
from airflow_provider_retell.simulator.scenarios import SCENARIOS, scenario_named
from airflow_provider_retell.simulator.server import ALL_ADDRESSES, LOOPBACK, base_url

_TICK = 0.2
_LAST_PORT = 65535


def _listed() -> str:
    width = max(map(len, SCENARIOS))
    return "\n".join(f"  {it.number[-2:]}  {it.name:{width}}  {it.story}" for it in SCENARIOS.values())


_EPILOG = f"""faults:
  ENDPOINT is {", ".join(each.name for each in ENDPOINTS[:4])},
  {", ".join(each.name for each in ENDPOINTS[4:])},
  or a pattern with * for a path, such as '/v2/*'. WHAT is an HTTP status, drop, reset, truncate or empty, and
  options: after, html, as-date, message=TEXT, retry-after=SECONDS, delay=SECONDS, times=COUNT or all, skip=COUNT.
  --fault create-phone-call:503,after         the call is placed, and the request answered with 503
  --fault list-calls:429,retry-after=10,times=3

scenarios, chosen by the last two digits of +1 (any area code) 555-01..:
{_listed()}
"""


def parse(arguments: Sequence[str] | None = None) -> tuple[argparse.Namespace, Simulator]:
    """Return the options on the command line, and the simulator that they describe."""
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_retell.simulator",
        description="Stand in for the Retell AI calls API. No phone rings.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = parser.add_argument
    option(
        "--host",
        default=LOOPBACK,
        help="address to listen on; 0.0.0.0 to be reached by other machines and containers (default: %(default)s)",
    )
    option(
        "--advertise",
        metavar="NAME",
        help="name by which Airflow reaches this machine, in the connection that is printed (default: --host, or "
        "this machine's own name if that is 0.0.0.0 or ::)",
    )
    option("--port", type=_port, default=8787, help="0: a free one (default: %(default)s)")
    option(
        "--api-key", metavar="KEY", default="key_simulator", help="the key of each request (default: %(default)s)"
    )
    option(
        "--speed",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="speed factor: 10 runs calls ten times faster (default: 1)",
    )
    option(
        "--scenario",
        type=_scenario,
        default="agent_hangup",
        metavar="NAME",
        help="scenario of all numbers that have none, see below (default: %(default)s)",
    )
    option(
        "--number",
        action="append",
        default=[],
        metavar="+NUMBER=NAME[,NAME...]",
        help="scenario of one number, or those of its calls in turn, the last one for all further calls; "
        "may be repeated for other numbers",
    )
    option("--no-auto-dial", action="store_true", help="do not dial registered calls")
    seconds = partial(option, type=float, metavar="SECONDS")
    seconds("--dial-delay", default=1.0, help="from registration to dialing (default: 1)")
    seconds("--ring-seconds", default=4.0, help="from dialing to connection or failure (default: 4)")
    seconds("--talk-seconds", default=20.0, help="from connection to the end (default: 20)")
    seconds("--analysis-delay", default=3.0, help="from the end to call_analysis (default: 3)")
    option("--list-registered", action="store_true", help="show registered calls in list-calls")
    seconds("--list-lag", default=0.0, help="how far list-calls lags behind get-call (default: 0)")
    option(
        "--concurrency-limit",
        type=int,
        default=20,
        metavar="CALLS",
        help="calls at once, from dialing to the end (default: %(default)s)",
    )
    option("--calls-per-second", type=int, metavar="CALLS", help="calls created within any second (default: any)")
    option(
        "--over-limit",
        choices=["429", "call"],
        default="429",
        help="what happens to a created call over a limit: it is refused with 429, or it fails (default: 429)",
    )
    seconds("--ring-in", help="seconds between two people who call in")
    option(
        "--do-not-call",
        action="append",
        default=[],
        metavar="+NUMBER",
        help="mark the contact with a number as do_not_call; may be repeated",
    )
    option("--seed", type=int, default=0, metavar="COUNT", help="start with this many past calls")
    option("--seed-days", type=float, default=2.0, metavar="DAYS", help="how far these go back (default: 2)")
    seconds("--recording-link-seconds", help="serve recordings, with links that are valid for this long")
    option(
        "--fault",
        action="append",
        default=[],
        metavar="ENDPOINT:WHAT",
        help="make requests fail, see below; may be repeated",
    )
    option("--quiet", action="store_true", help="print only the connection")
    chosen = parser.parse_args(arguments)
    try:
        simulator = Simulator(
            clock=RealClock(speed=chosen.speed),
            api_key=chosen.api_key,
            scenario=chosen.scenario,
            numbers=_numbers(chosen.number),
            auto_dial=not chosen.no_auto_dial,
            dial_delay=chosen.dial_delay,
            ring_seconds=chosen.ring_seconds,
            talk_seconds=chosen.talk_seconds,
            analysis_delay=chosen.analysis_delay,
            list_registered=chosen.list_registered,
            list_lag=chosen.list_lag,
            concurrency_limit=chosen.concurrency_limit,
            calls_per_second=chosen.calls_per_second,
            over_limit=chosen.over_limit,
            recording_link_seconds=chosen.recording_link_seconds,
        )
        simulator.seed(chosen.seed, days=chosen.seed_days)
        for number in chosen.do_not_call:
            simulator.put_contact(number, do_not_call=True)
        chosen.callers = None if chosen.ring_in is None else Callers(simulator, seconds=chosen.ring_in)
        simulator.fail(*map(parse_fault, chosen.fault))
    except ValueError as wrong:
        parser.error(str(wrong))
    return chosen, simulator


def _port(text: str) -> int:
    if not 0 <= (port := int(text)) <= _LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text} is not a port: ports are 0 to {_LAST_PORT}")
    return port


def _numbers(pairs: Iterable[str]) -> dict[str, list[str]]:
    plays: dict[str, list[str]] = {}
    for pair in pairs:
        number, equals, scenarios = pair.partition("=")
        if not equals:
            raise ValueError("--number is of the form +NUMBER=NAME, as in +12025550177=dial_busy.")
        if number in plays:
            raise ValueError(
                f"--number names the number that ends in {number[-4:]} twice. Its calls play scenarios in turn as "
                "+NUMBER=NAME,NAME."
            )
        plays[number] = scenarios.split(",")
    return plays


def _scenario(name: str) -> str:
    try:
        return scenario_named(name).name
    except ValueError as unknown:
        raise argparse.ArgumentTypeError(str(unknown)) from None


_BEGINNINGS = {"create-phone-call": "created", "register-phone-call": "registered", "inbound": "inbound"}


class CallReporter:
    """Report the calls that are new or over since the last report."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._reported = len(simulator.calls)
        self._open: list[str] = []

    def lines(self) -> Iterator[str]:
        """Yield a line for each new call and for each call that is over."""
        calls, now = self._simulator.calls, self._simulator.clock()
        placed = list(calls)[self._reported :]
        self._reported += len(placed)
        for call_id in placed:
            yield f"{_name(calls[call_id])} {_BEGINNINGS[calls[call_id].endpoint]}"
        over = [call_id for call_id in (*self._open, *placed) if calls[call_id].is_over(now)]
        self._open = [call_id for call_id in (*self._open, *placed) if not calls[call_id].is_over(now)]
        for call_id in over:
            status, reason = calls[call_id].ending
            yield f"{_name(calls[call_id])} {status}{f', {reason}' if reason else ''}"


def _name(call: SimulatedCall) -> str:
    direction = "from" if call.request.get("direction") == "inbound" else "to"
    return f"{call.call_id} {direction} ...{(call.person or '')[-4:]}:"


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    chosen, simulator = parse()
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as stack:
        try:
            url = stack.enter_context(simulator.serve(chosen.port, host=chosen.host))
        except OSError as error:
            sys.exit(_cannot_listen(chosen.host, chosen.port, error))
        if name := chosen.advertise or (chosen.host in ALL_ADDRESSES and socket.gethostname()):
            url = base_url(name, urlsplit(url).port or chosen.port)
        _say(f"export AIRFLOW_CONN_RETELL_DEFAULT={shlex.quote(simulator.connection(url))}")
        reporter = CallReporter(simulator)
        while not stop.wait(_TICK):
            if chosen.callers:
                chosen.callers.ring()
            for line in reporter.lines() if not chosen.quiet else ():
                _say(line)


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    message = f"Cannot listen on {host}, port {port}: {error.strerror}."
    if error.errno == errno.EADDRINUSE:
        message += " Choose another port with --port, or let --port 0 take a free one."
    return message


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
