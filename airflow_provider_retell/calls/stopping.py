"""End a call that nobody wants any more, although a phone that rings may not let itself be stopped at once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from airflow_provider_retell._clock import Clock
from airflow_provider_retell.api.flows import AsyncFlowRunner, FlowRunner, StopResult, stop
from airflow_provider_retell.errors import RetellError, may_pass

log = logging.getLogger(__name__)

LONGEST_RINGING: Final = 330.0
"""Seconds after which a call that rings has certainly been answered or given up: Retell's five minutes at most."""

STOP_INTERVAL: Final = 5.0
"""Seconds between two attempts to stop a call."""


def stop_until_over(runner: FlowRunner, call_id: str, *, leave_registered: bool, clock: Clock) -> StopResult:
    """Stop a call, again and again while it rings or Retell is in trouble; return what became of it.

    Raises:
        RetellError: The last attempt failed.
    """
    give_up_at = clock.now() + LONGEST_RINGING
    while True:
        with _retrying(call_id, give_up_at, clock):
            became = runner.run(stop(call_id, leave_registered=leave_registered))
            if not became.live or clock.now() >= give_up_at:
                return became
        clock.sleep(STOP_INTERVAL)


async def astop_until_over(
    runner: AsyncFlowRunner, call_id: str, *, leave_registered: bool, clock: Clock
) -> StopResult:
    """Do the same without blocking the event loop."""
    give_up_at = clock.now() + LONGEST_RINGING
    while True:
        with _retrying(call_id, give_up_at, clock):
            became = await runner.run(stop(call_id, leave_registered=leave_registered))
            if not became.live or clock.now() >= give_up_at:
                return became
        await clock.asleep(STOP_INTERVAL)


@contextmanager
def _retrying(call_id: str, give_up_at: float, clock: Clock) -> Iterator[None]:
    """Log an error that may pass by itself, and raise every other one, and the last."""
    try:
        yield
    except RetellError as error:
        if not may_pass(error) or clock.now() >= give_up_at:
            raise
        log.warning("%s could not be stopped, which is tried again: %s", call_id, error)
