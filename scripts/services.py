"""PostgreSQL and Redis from Debian's packages, each on a free port for as long as a `with` block lasts."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from processes import LOOPBACK, end_sessions, free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PATIENCE = 30.0  # seconds for a service to come up
POSTGRES = Path("/usr/lib/postgresql")
USER = "postgres" if os.geteuid() == 0 else None
"""The user that runs the services, because PostgreSQL refuses to run as root."""


class ServiceError(RuntimeError):
    """A service is not installed, or does not start."""


@contextmanager
def postgresql() -> Iterator[str]:
    """Run a PostgreSQL server, and yield its database as `user:password@host:port/name`."""
    found = sorted(POSTGRES.glob("*/bin"), key=lambda folder: float(folder.parent.name))
    if not found:
        raise ServiceError("PostgreSQL is not installed (apt-get install postgresql).")
    programs, password = found[-1], secrets.token_hex()
    (port,) = free_ports(1)
    settings = {
        "listen_addresses": LOOPBACK,
        "port": port,
        "unix_socket_directories": "",
        "max_connections": 300,
        "fsync": "off",  # these data need not survive a power cut
    }
    options = [f"--{name}={value}" for name, value in settings.items()]
    wishes = ["--username=airflow", "--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync"]
    is_ready = [f"{programs}/pg_isready", "--quiet", f"--host={LOOPBACK}", f"--port={port}"]
    with _folder() as folder:
        _write(folder / "password", password)
        subprocess.run(  # noqa: S603 - our own words
            [f"{programs}/initdb", f"--pgdata={folder}/data", f"--pwfile={folder}/password", *wishes],
            check=True,
            stdout=subprocess.DEVNULL,
            user=USER,
        )
        with _running(
            [f"{programs}/postgres", "-D", f"{folder}/data", *options],
            folder / "log",
            lambda: subprocess.run(is_ready, check=False).returncode == 0,  # noqa: S603 - our own words
        ):
            yield f"airflow:{password}@{LOOPBACK}:{port}/postgres"


@contextmanager
def redis() -> Iterator[str]:
    """Run a Redis server that keeps nothing, and yield its URL."""
    program = shutil.which("redis-server")
    if program is None:
        raise ServiceError("Redis is not installed (apt-get install redis-server).")
    password = secrets.token_hex()
    (port,) = free_ports(1)

    def ready() -> bool:
        with suppress(OSError), socket.create_connection((LOOPBACK, port)):
            return True
        return False

    with _folder() as folder:
        _write(folder / "conf", f'bind {LOOPBACK}\nport {port}\nrequirepass {password}\ndir {folder}\nsave ""\n')
        with _running([program, f"{folder}/conf"], folder / "log", ready):
            yield f"redis://:{password}@{LOOPBACK}:{port}/0"


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        if USER:
            shutil.chown(folder, USER)
        yield Path(folder)


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    if USER:
        shutil.chown(path, USER)
    path.write_text(text)


@contextmanager
def _running(command: Sequence[str], log: Path, ready: Callable[[], bool]) -> Iterator[None]:
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - the command has only words of ours
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=USER,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServiceError(f"{command[0]} does not come up:\n{log.read_text(errors='replace')}")
            time.sleep(0.1)
        yield
    finally:
        end_sessions([process], signal.SIGINT)  # after SIGTERM, PostgreSQL would wait for its clients
