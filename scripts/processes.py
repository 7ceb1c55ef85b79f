"""Find free ports, and end sessions with all processes that were forked in them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Collection

GRACE = 5.0  # seconds for a process to end by itself before it is killed
LOOPBACK = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """Find different free ports of the loopback interface."""
    with ExitStack() as held:
        listeners = [held.enter_context(socket.create_server((LOOPBACK, 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


def processes_of(sessions: Collection[int], *, zombies: bool = False) -> list[psutil.Process]:
    """List the live processes of sessions, whatever became of their parents and process groups.

    Args:
        sessions: The ids of the sessions.
        zombies: Also list those that have ended, and whose parents have not looked at them yet.
    """
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # gone meanwhile, or not ours to look at
            if os.getsid(process.pid) in sessions and (zombies or process.status() != psutil.STATUS_ZOMBIE):
                found.append(process)
    return found


def end_sessions(
    leaders: Collection[subprocess.Popen[bytes]], sig: signal.Signals, *, grace: float = GRACE
) -> None:
    """Signal the leaders, give their sessions some seconds to end, and kill the remaining processes."""
    sessions = {leader.pid for leader in leaders}
    try:
        if sig != signal.SIGKILL:
            for leader in leaders:
                leader.send_signal(sig)
            deadline = time.monotonic() + grace
            while processes_of(sessions) and time.monotonic() < deadline:
                time.sleep(0.25)
    finally:  # also when an impatient Ctrl-C cuts the waiting short
        while left := processes_of(sessions):  # again and again: the dying may fork
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            time.sleep(0.05)
        for leader in leaders:
            leader.wait()
