"""Stop a call that is no longer wanted, although Retell may refuse to stop it while the phone rings."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from airflow_provider_retell._clock import CLOCK, Clock
from airflow_provider_retell.api.flows import AsyncFlowRunner, FlowRunner, StopResult, stop
from airflow_provider_retell.api.patience import LONGEST_RINGING
from airflow_provider_retell.errors import Concerns, RetellError

log = logging.getLogger(__name__)

STOP_INTERVAL: Final = 5.0
"""Seconds between two attempts to stop a call."""


def stop_until_over(
    runner: FlowRunner, call_id: str, *, leave_registered: bool, clock: Clock = CLOCK
) -> StopResult:
    """Stop a call, and try again while it rings or Retell is in trouble; return what became of it.

    Args:
        runner: Sends the requests.
        call_id: The call.
        leave_registered: Do not stop a call that has not been dialed yet: it times out by itself.
        clock: The time.

    Raises:
        RetellError: The last attempt failed.
    """
    give_up_at = clock.now() + LONGEST_RINGING
    while True:
        with _retrying(call_id, give_up_at, clock):
            result = runner.run(stop(call_id, leave_registered=leave_registered))
            if not result.may_go_on or clock.now() >= give_up_at:
                return result
        clock.sleep(STOP_INTERVAL)


async def astop_until_over(
    runner: AsyncFlowRunner, call_id: str, *, leave_registered: bool, clock: Clock = CLOCK
) -> StopResult:
    """Do the same as ``stop_until_over`` without blocking the event loop."""
    give_up_at = clock.now() + LONGEST_RINGING
    while True:
        with _retrying(call_id, give_up_at, clock):
            result = await runner.run(stop(call_id, leave_registered=leave_registered))
            if not result.may_go_on or clock.now() >= give_up_at:
                return result
        await clock.asleep(STOP_INTERVAL)


@contextmanager
def _retrying(call_id: str, give_up_at: float, clock: Clock) -> Iterator[None]:
    """Log an error that says nothing about the call; raise every other one, and the last one in any case."""
    try:
        yield
    except RetellError as error:
        if error.concerns is not Concerns.NOTHING or clock.now() >= give_up_at:
            raise
        log.warning("%s could not be stopped; trying again: %s", call_id, error)
