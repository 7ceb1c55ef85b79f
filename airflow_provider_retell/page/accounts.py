"""The accounts behind the pages: one client and one reading of each list for all viewers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from airflow_provider_retell._clock import CLOCK, Clock
from airflow_provider_retell.api.client import RetellClient
from airflow_provider_retell.api.endpoints import get_concurrency, list_calls, list_tagged_calls
from airflow_provider_retell.api.settings import ConnectionSettings, SettingsError
from airflow_provider_retell.calls.intent import TAG
from airflow_provider_retell.errors import RetellError, RetellInputError
from airflow_provider_retell.page.call_cache import LONGEST_LOOK, CallCache
from airflow_provider_retell.page.threads import InTurn

if TYPE_CHECKING:
    from airflow_provider_retell.api.endpoints import Request
    from airflow_provider_retell.api.models import Call
    from airflow_provider_retell.api.pages import Page

log = logging.getLogger(__name__)

T = TypeVar("T")

LONGEST_RESPONSE: Final = 30.0
"""Seconds to wait for one response; a page of a thousand calls takes Retell some time."""
SETTINGS_KEPT: Final = 60.0
"""Seconds before a connection is looked up again."""
LINES_KEPT: Final = 10.0
"""Seconds after a reading of the lines in use before they are read again."""
CACHE_KEPT: Final = 600.0
"""Seconds after which an unused cache is dropped."""
MOST_CACHES: Final = 64
"""The most caches kept for one account, and so the most of its readings that wait for a thread."""

_DAY: Final = 86_400
_THREADS: Final = 8
_OF_ONE_ACCOUNT: Final = 2


@dataclass(frozen=True, kw_only=True)
class Lines:
    """The lines of an account; None if they are not known.

    Attributes:
        paused: Whether the connection is paused.
        in_use: Calls in progress now, including those of others.
        limit: The most calls that may be in progress.
        problem: The reason why these are not known.
    """

    paused: bool | None = None
    in_use: int | None = None
    limit: int | None = None
    problem: str | None = None


class Account:
    """The data of one account, for all pages.

    Args:
        look_up: Returns the settings of the connection; raises ``SettingsError`` if there are none.
        executor: Runs the readings.
        clock: The clocks.
    """

    def __init__(
        self, look_up: Callable[[], ConnectionSettings], executor: Executor, *, clock: Clock = CLOCK
    ) -> None:
        self._look_up = look_up
        self._executor = executor
        self._clock = clock
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        self._looking_up = threading.Lock()  # separate, so that no viewer waits for a slow secrets backend
        self._client: RetellClient | None = None
        self._settings_at = self._lines_at = 0.0
        self._lines = Lines()
        self._lines_reading: Future[None] | None = None
        self._caches: dict[tuple[str, str | int], tuple[CallCache, float]] = {}

    def calls_tagged(self, beginning: str) -> CallCache:
        """Return the calls whose tags have this beginning."""
        return self._cache(("tag", beginning), list_tagged_calls(TAG, beginning, op="sw"))

    def calls_of_today(self) -> CallCache:
        """Return the calls that ended today (UTC), without those for which Retell gives no time."""
        midnight = int(self._clock.now()) // _DAY * _DAY
        ended = {"end_timestamp": {"type": "number", "op": "ge", "value": midnight * 1000}}
        return self._cache(("ended since", midnight), list_calls(filter_criteria=ended))

    def _cache(self, key: tuple[str, str | int], first: Request[Page[Call]]) -> CallCache:
        now = self._clock.monotonic()
        with self._lock:
            kept = sorted(((at, k) for k, (_, at) in self._caches.items() if k != key), reverse=True)
            for place, (at, other) in enumerate(kept, start=1):
                if place >= MOST_CACHES or now - at > CACHE_KEPT:
                    dropped, _ = self._caches.pop(other)
                    dropped.drop()
            cache = (
                self._caches[key][0]
                if key in self._caches
                else CallCache(first, self._send_once, self._executor, clock=self._clock)
            )
            self._caches[key] = (cache, now)
            return cache

    def lines(self, *, longest: float = LONGEST_LOOK) -> Lines:
        """Return the lines of the account as known; first wait a moment for a reading that is due.

        Args:
            longest: The most seconds to wait.
        """
        with self._asking:
            reading = self._lines_reading
            old = self._clock.monotonic() - self._lines_at >= LINES_KEPT
            if reading is None or (reading.done() and old):
                reading = self._lines_reading = self._executor.submit(self._read_lines)
        wait([reading], timeout=longest)
        return self._lines

    def _read_lines(self) -> None:
        lines = Lines()
        try:
            # The connection too is looked up here: a secrets backend may be as slow as Retell.
            client = self.client()
            lines = Lines(paused=client.settings.paused)
            answer = client.send_once(get_concurrency())
            in_use, limit = (_count(answer.get(name)) for name in ("current_concurrency", "concurrency_limit"))
            self._lines = replace(lines, in_use=in_use, limit=limit)
        except RetellError as error:
            self._lines = replace(lines, problem=str(error))
        except Exception:
            log.exception("The page could not read the lines in use.")
            self._lines = replace(lines, problem="An error of this package; see the server's log.")
        finally:
            # A reading may take longer than it is kept, so its age counts from its end.
            self._lines_at = self._clock.monotonic()

    def client(self) -> RetellClient:
        """Return the client, with the connection's settings of at most a minute ago.

        Raises:
            RetellInputError: The connection cannot be used.
        """
        now = self._clock.monotonic()
        with self._looking_up:
            if self._client is None or now - self._settings_at >= SETTINGS_KEPT:
                try:
                    settings = self._look_up()
                except SettingsError as error:
                    raise RetellInputError(f"The connection cannot be used: {error}.") from None
                # One retry at most, because the next look at the page reads again anyway.
                settings = replace(settings, timeout=min(settings.timeout, LONGEST_RESPONSE), max_attempts=2)
                if self._client is None or self._client.settings != settings:
                    self._close()
                    self._client = RetellClient(settings)
                self._settings_at = now
            return self._client

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        with self._looking_up:
            self._close()

    def _close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _send_once(self, request: Request[T]) -> T:
        return self.client().send_once(request)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


class Accounts:
    """The accounts, by connection and by the team for which the connection is looked up.

    Args:
        look_up: Returns the settings of a connection for a team, or for none.
        executor: Runs the readings.
        clock: The clocks.
    """

    def __init__(
        self,
        look_up: Callable[[str, str | None], ConnectionSettings],
        executor: Executor,
        *,
        clock: Clock = CLOCK,
    ) -> None:
        self._look_up = look_up
        self._executor = executor
        self._clock = clock
        self._lock = threading.Lock()
        self._accounts: dict[tuple[str, str | None], Account] = {}

    def of(self, conn_id: str, team: str | None = None) -> Account:
        """Return the account of a connection."""
        key = (conn_id, team)
        with self._lock:
            if key not in self._accounts:
                threads = InTurn(self._executor, at_once=_OF_ONE_ACCOUNT)
                look_up = partial(self._look_up, conn_id, team)
                self._accounts[key] = Account(look_up, threads, clock=self._clock)
            return self._accounts[key]

    def close(self) -> None:
        """Close the connections to all accounts once the current readings have ended."""
        self._executor.shutdown()
        for account in self._accounts.values():
            account.close()


@cache
def accounts() -> Accounts:
    """Return the accounts of this process."""
    from airflow_provider_retell.page.connections import read_settings  # noqa: PLC0415 (Airflow's database)

    return Accounts(read_settings, ThreadPoolExecutor(_THREADS, thread_name_prefix="retell-page"))
