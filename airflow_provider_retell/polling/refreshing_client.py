"""Keep a client up to date with an Airflow connection that may change while the client is in use."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib import import_module
from typing import Final

from airflow_provider_retell._clock import Clock
from airflow_provider_retell.api.client import AsyncRetellClient
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.errors import RetellError

log = logging.getLogger(__name__)

FIRST_LOOK_UPS: Final = (1.0, 5.0, 25.0)
"""Seconds between the first look-ups while they fail, because all waits depend on one secrets backend."""

LOOK_UP_EVERY: Final = 300.0
"""Seconds after which the connection is looked up again, to pick up a change."""

LONGEST_LOOK_UP: Final = 30.0
"""Seconds after which a look-up counts as failed, because all waits and their deadlines depend on it."""

IMPORTED_ON_THE_LOOP: Final = (
    "airflow.providers.common.compat.connection",
    "asgiref.sync",
    "anyio._backends._asyncio",
)
"""Modules that the first look-up and httpx's first request would import on the event loop, in tens of ms."""


class RefreshingClient:
    """Keep the client of an Airflow connection, and make another when the connection has changed.

    Args:
        look_up: Looks up the connection; one look-up at a time.
        make: Makes a client.
        clock: The time.
        longest_look_up: Seconds after which a look-up counts as failed.
    """

    def __init__(
        self,
        look_up: Callable[[], Awaitable[ConnectionSettings]],
        make: Callable[[ConnectionSettings], AsyncRetellClient],
        clock: Clock,
        *,
        longest_look_up: float = LONGEST_LOOK_UP,
    ) -> None:
        self._look_up = look_up
        self._make = make
        self._clock = clock
        self._longest_look_up = longest_look_up
        self._clients: list[AsyncRetellClient] = []
        self._looked_up = float("-inf")
        self._one_at_a_time = asyncio.Lock()

    async def get(self) -> AsyncRetellClient:
        """Return the client; look the connection up first if the last look-up is five minutes old."""
        async with self._one_at_a_time:
            if self._clock.monotonic() >= self._looked_up + LOOK_UP_EVERY:
                await self._refresh()
            return self._clients[-1]

    async def renewed(self, used: ConnectionSettings) -> ConnectionSettings:
        """Return the connection as it is now; look it up at once if it is still the one that was used."""
        async with self._one_at_a_time:
            if self._clients[-1].settings is used:
                await self._refresh()
            return self._clients[-1].settings

    async def aclose(self) -> None:
        """Close the client and its predecessors."""
        for client in self._clients:
            await client.aclose()

    async def _refresh(self) -> None:
        if not self._clients:
            await asyncio.to_thread(_import)
        try:
            settings = await self._looked_up_settings()
        except Exception as error:
            if not self._clients:
                raise
            log.warning("The connection could not be looked up again, and stays as it was: %s", error)
        else:
            if not self._clients or self._clients[-1].settings != settings:
                # In a thread: a client reads certificates from disk, which holds up an event loop for some 20 ms.
                # The one before may still carry a request, so it is closed at the end.
                self._clients.append(await asyncio.to_thread(self._make, settings))
        self._looked_up = self._clock.monotonic()

    async def _looked_up_settings(self) -> ConnectionSettings:
        for pause in () if self._clients else FIRST_LOOK_UPS:
            try:
                return await self._look_up_once()
            except RetellError:
                raise  # the connection exists, but cannot be used
            except Exception as error:  # noqa: BLE001 (whatever a secrets backend raises)
                log.warning("The connection could not be looked up; trying again: %s", error)
                await self._clock.asleep(pause)
        return await self._look_up_once()

    async def _look_up_once(self) -> ConnectionSettings:
        # Shielded: before Airflow 3.2, the next look-up would get the response to a cancelled one.
        asked = asyncio.ensure_future(self._look_up())
        asked.add_done_callback(lambda it: it.cancelled() or it.exception())
        try:
            async with asyncio.timeout(self._longest_look_up):
                return await asyncio.shield(asked)
        except TimeoutError:
            raise TimeoutError(f"The look-up took longer than {self._longest_look_up:.0f} s") from None


def _import() -> None:
    for module in IMPORTED_ON_THE_LOOP:
        with suppress(ImportError):  # then it is not needed either
            import_module(module)
