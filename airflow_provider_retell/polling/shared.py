"""One poller for all triggers of an event loop. What a triggerer needs is loaded here, before its loop runs."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import airflow.providers.common.compat.connection  # noqa: F401 (versions.aget_connection imports it on the loop)

from airflow_provider_retell._clock import SYSTEM_CLOCK, Clock
from airflow_provider_retell.api.client import AsyncRetellClient
from airflow_provider_retell.hooks import RetellHook, read_options
from airflow_provider_retell.polling.poller import Poller


@dataclass
class _Shared:
    poller: Poller
    users: int = 0


_shared: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Shared]] = weakref.WeakKeyDictionary()


@asynccontextmanager
async def shared_poller(retell_conn_id: str, clock: Clock = SYSTEM_CLOCK) -> AsyncIterator[Poller]:
    """Share one poller, one client and one look-up of the connection among all who wait on this loop.

    A client costs some 20 ms of the loop and 0.8 MB, a look-up some 40 ms. The last one to leave closes it.
    """
    pollers = _shared.setdefault(asyncio.get_running_loop(), {})
    if retell_conn_id not in pollers:
        options = read_options()
        client = partial(AsyncRetellClient, connections=options.connections)
        look_up = RetellHook(retell_conn_id).aget_settings
        pollers[retell_conn_id] = _Shared(Poller(look_up, client=client, options=options, clock=clock))
    shared = pollers[retell_conn_id]
    shared.users += 1
    try:
        yield shared.poller
    finally:
        shared.users -= 1
        if shared.users == 0:
            del pollers[retell_conn_id]
            await shared.poller.aclose()
