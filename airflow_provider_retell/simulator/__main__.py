"""Run the simulator until interrupted: `python -m airflow_provider_retell.simulator --port 8787`."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from threading import Event

from airflow_provider_retell.simulator import RealClock, SimulatedCall, Simulator
from airflow_provider_retell.simulator.faults import parse_fault
from airflow_provider_retell.simulator.scenarios import SCENARIOS

_TICK = 0.2


def parse(arguments: Sequence[str] | None = None) -> tuple[argparse.Namespace, Simulator]:
    """Read the command line into a simulator."""
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_retell.simulator",
        description="A stand-in for the Retell AI calls API on 127.0.0.1. No phone rings.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    option = parser.add_argument
    option("--port", type=int, default=8787, help="0 takes a free one")
    option("--api-key", default="key_simulator", help="the key that requests must carry")
    option("--speed", type=float, default=1.0, help="how many times faster than time calls go by")
    option(
        "--scenario",
        default="agent_hangup",
        choices=SCENARIOS,
        metavar="NAME",
        help="what other numbers play",
    )
    option("--number", action="append", default=[], metavar="+NUMBER=NAME", help="what a number plays")
    option("--no-auto-dial", action="store_true", help="nobody dials registered calls")
    option("--dial-delay", type=float, default=1.0, help="seconds from registration to dialing")
    option("--ring-seconds", type=float, default=4.0, help="from dialing to connection or failure")
    option("--talk-seconds", type=float, default=20.0, help="from connection to the end")
    option("--analysis-delay", type=float, default=3.0, help="seconds from the end to call_analysis")
    option("--list-registered", action="store_true", help="list-calls shows registered calls")
    option("--concurrency-limit", type=int, default=20, help="calls at once, from dialing to the end")
    option("--seed", type=int, default=0, metavar="COUNT", help="calls of the past to begin with")
    option("--seed-days", type=float, default=2.0, help="how far they reach back")
    option("--recording-link-seconds", type=float, help="links to recordings lead here, and are good so long")
    option("--over-limit", choices=["429", "call"], default="429", help="refuse one more, or let it fail")
    option("--fault", action="append", default=[], metavar="ENDPOINT:WHAT", help="see docs/simulator.md")
    option("--quiet", action="store_true", help="print nothing but the connection")
    chosen = parser.parse_args(arguments)
    try:
        simulator = Simulator(
            clock=RealClock(speed=chosen.speed),
            api_key=chosen.api_key,
            scenario=chosen.scenario,
            numbers=dict(_pair(text) for text in chosen.number),
            auto_dial=not chosen.no_auto_dial,
            dial_delay=chosen.dial_delay,
            ring_seconds=chosen.ring_seconds,
            talk_seconds=chosen.talk_seconds,
            analysis_delay=chosen.analysis_delay,
            list_registered=chosen.list_registered,
            concurrency_limit=chosen.concurrency_limit,
            over_limit=chosen.over_limit,
            recording_link_seconds=chosen.recording_link_seconds,
        )
        simulator.seed(chosen.seed, days=chosen.seed_days)
        simulator.fail(*map(parse_fault, chosen.fault))
    except ValueError as wrong:
        parser.error(str(wrong))
    return chosen, simulator


def _pair(text: str) -> tuple[str, str]:
    number, equals, scenario = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is not of the form +NUMBER=NAME.")
    return number, scenario


class News:
    """Tell what has become of calls since the last time somebody asked."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._told = len(simulator.calls)
        self._open: list[str] = []

    def lines(self) -> Iterator[str]:
        """Tell of every new call and of every call that is over."""
        calls, now = self._simulator.calls, self._simulator.clock()
        placed = list(calls)[self._told :]
        self._told += len(placed)
        for call_id in placed:
            how = "created" if calls[call_id].endpoint == "create-phone-call" else "registered"
            yield f"{_name(calls[call_id])} {how}"
        over = [call_id for call_id in (*self._open, *placed) if calls[call_id].is_over(now)]
        self._open = [call_id for call_id in (*self._open, *placed) if not calls[call_id].is_over(now)]
        for call_id in over:
            status, reason = calls[call_id].ending
            yield f"{_name(calls[call_id])} {status}{f', {reason}' if reason else ''}"


def _name(call: SimulatedCall) -> str:
    return f"{call.call_id} to ...{call.request.get('to_number', '')[-4:]}:"


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    chosen, simulator = parse()
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as stack:
        try:
            url = stack.enter_context(simulator.serve(chosen.port))
        except OSError as taken:
            sys.exit(f"Cannot serve on port {chosen.port}: {taken.strerror}.")
        _say(f"export AIRFLOW_CONN_RETELL_DEFAULT={shlex.quote(simulator.connection(url))}")
        news = News(simulator)
        while not stop.wait(_TICK):
            for line in news.lines() if not chosen.quiet else ():
                _say(line)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
