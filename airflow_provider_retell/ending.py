"""End a call that nobody wants any more, although a phone that rings may not let itself be stopped at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from airflow_provider_retell.clock import Clock
from airflow_provider_retell.flows import HungUp, hang_up
from airflow_provider_retell.hooks import RetellHook

if TYPE_CHECKING:
    from airflow_provider_retell.poller import Poller

LONGEST_RINGING: Final = 330.0
"""Seconds after which a call that rings has certainly been answered or given up: Retell's five minutes at most."""

STOP_INTERVAL: Final = 5.0
"""Seconds between two attempts to stop a call."""


def end_call(hook: RetellHook, call_id: str, *, leave_registered: bool, clock: Clock) -> HungUp:
    """Stop a call, again and again while it rings; return what became of it."""
    give_up_at = clock.now() + LONGEST_RINGING
    while (became := hook.run(hang_up(call_id, leave_registered=leave_registered))).live:
        if clock.now() >= give_up_at:
            break
        clock.sleep(STOP_INTERVAL)
    return became


async def aend_call(poller: Poller, call_id: str, *, leave_registered: bool, clock: Clock) -> HungUp:
    """Do the same without blocking the event loop."""
    give_up_at = clock.now() + LONGEST_RINGING
    while (became := await poller.run(hang_up(call_id, leave_registered=leave_registered))).live:
        if clock.now() >= give_up_at:
            break
        await clock.asleep(STOP_INTERVAL)
    return became
