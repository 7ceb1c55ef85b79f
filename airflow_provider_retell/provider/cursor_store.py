"""Keep a watcher's cursor in the state of its asset, or before Airflow 3.3 in a Variable."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any, Protocol

from airflow_provider_retell.provider.event_triggers import HAS_ASSET_STATE
from airflow_provider_retell.provider.version_compat import read_variable


class CursorStore(Protocol):
    """A store of values by key."""

    async def get(self, key: str) -> Any:
        """Return a value, None if there is none."""

    async def set(self, key: str, value: Any) -> None:
        """Keep a value, which is JSON."""


class AssetStateStore:
    """Keep values in the state of an asset, which lasts as long as a DAG refers to the asset.

    Args:
        asset: The URI of the asset.
    """

    def __init__(self, asset: str) -> None:
        # Imported here: Airflow 3.3 and later only.
        from airflow.sdk.definitions.asset import AssetUriRef  # noqa: PLC0415
        from airflow.sdk.execution_time.context import AssetStateStoreAccessors  # noqa: PLC0415

        # By the URI, because the shared poll of a trigger cannot reach the store that Airflow gives the trigger.
        self._store = AssetStateStoreAccessors(inlets=[AssetUriRef(uri=asset)])

    async def get(self, key: str) -> Any:
        """Return a value, None if there is none."""
        if hasattr(self._store, "aget"):
            return await self._store.aget(key)
        return await asyncio.to_thread(self._store.get, key)  # 3.3.0 and 3.3.1

    async def set(self, key: str, value: Any) -> None:
        """Keep a value, which is JSON."""
        if hasattr(self._store, "aset"):
            await self._store.aset(key, value)
        else:
            await asyncio.to_thread(self._store.set, key, value)


class VariableStore:
    """Keep values in Airflow's Variables, which a triggerer can write since Airflow 3.0.

    Args:
        asset: The URI of the asset that the values belong to.
    """

    def __init__(self, asset: str) -> None:
        self._suffix = hashlib.sha256(asset.encode()).hexdigest()[:12]

    async def get(self, key: str) -> Any:
        """Return a value, None if there is none."""
        from asgiref.sync import sync_to_async  # noqa: PLC0415 (a slow import, which DAG files can do without)

        # One after the other, in one thread: before 3.2 a triggerer mixes up the answers to concurrent questions.
        found = await sync_to_async(read_variable)(f"{key}_{self._suffix}")
        return None if found is None else json.loads(found)

    async def set(self, key: str, value: Any) -> None:
        """Keep a value, which is JSON."""
        from airflow.sdk import Variable  # noqa: PLC0415 (Airflow 3 only)
        from asgiref.sync import sync_to_async  # noqa: PLC0415 (as above)

        await sync_to_async(Variable.set)(f"{key}_{self._suffix}", json.dumps(value))


def cursor_store(asset: str) -> CursorStore:
    """Return the store of an asset's watcher in this version of Airflow."""
    return AssetStateStore(asset) if HAS_ASSET_STATE else VariableStore(asset)
