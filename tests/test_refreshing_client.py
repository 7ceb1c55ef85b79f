"""Test the client of a connection that changes, or cannot be looked up, while the client is in use."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from conftest import SteppingClock

from airflow_provider_retell.api.client import AsyncRetellClient
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.polling.refreshing_client import LOOK_UP_EVERY, RefreshingClient

AT_ONCE = 0.001  # seconds, by the machine's clock


def settings(key: str) -> ConnectionSettings:
    """Return a connection with a key."""
    return ConnectionSettings.read(
        conn_id="retell_default", password=key, host=None, schema=None, port=None, extra=None
    )


def looking_up(*keys: str | None) -> Callable[[], Awaitable[ConnectionSettings]]:
    """Return a look-up that gives one key after the other, and hangs where there is None."""
    given = iter(keys)

    async def look_up() -> ConnectionSettings:
        if (key := next(given)) is None:
            await asyncio.Event().wait()
        return settings(str(key))

    return look_up


def test_a_look_up_that_hangs_leaves_the_client_as_it_was(clock: SteppingClock) -> None:
    """A secrets backend that does not respond must not hold up the waits of its connection for ever."""

    async def keys() -> list[str]:
        client = RefreshingClient(
            looking_up("key_1", None, "key_2"), AsyncRetellClient, clock, longest_look_up=AT_ONCE
        )
        found = []
        for _ in range(3):
            found.append((await client.get()).settings.api_key)
            clock.sleep(LOOK_UP_EVERY)
        await client.aclose()
        return found

    assert asyncio.run(keys()) == ["key_1", "key_1", "key_2"]


def test_a_first_look_up_that_hangs_is_tried_again_and_then_fails(clock: SteppingClock) -> None:
    """Without a client there is nothing to wait with: the waits must learn of it."""

    async def key(*given: str | None) -> str:
        client = RefreshingClient(looking_up(*given), AsyncRetellClient, clock, longest_look_up=AT_ONCE)
        found = (await client.get()).settings.api_key
        await client.aclose()
        return found

    assert asyncio.run(key(None, None, "key_1")) == "key_1"
    with pytest.raises(TimeoutError, match="The look-up took longer than"):
        asyncio.run(key(None, None, None, None))


def test_of_two_rounds_whose_key_was_refused_only_the_first_looks_the_connection_up(clock: SteppingClock) -> None:
    """The second finds the key that the first has found, and goes on with it too."""

    async def found() -> list[str]:
        client = RefreshingClient(looking_up("key_1", "key_2"), AsyncRetellClient, clock)
        used = (await client.get()).settings
        both = await asyncio.gather(client.renewed(used), client.renewed(used))
        await client.aclose()
        return [settings.api_key for settings in both]

    assert asyncio.run(found()) == ["key_2", "key_2"]
