"""Events of finished calls: the trigger of an asset watcher, and the function with which a DAG reads them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Hashable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast

from airflow.triggers.base import TriggerEvent

from airflow_provider_retell._argument_checks import choice, seconds
from airflow_provider_retell._masking import shown
from airflow_provider_retell.api.settings import DEFAULT_CONN_ID
from airflow_provider_retell.errors import RetellInputError
from airflow_provider_retell.provider.event_triggers import (
    HAS_ASSET_STATE,
    HAS_ASSET_WATCHERS,
    BaseEventTrigger,
    SharedStreamProducer,
)

if TYPE_CHECKING:
    from airflow_provider_retell.polling.watcher import Watcher

# The watcher is imported where it is used, because a DAG that only reads events does without it. In a triggerer,
# `triggers` has imported it before.


class FinishedCall(TypedDict):
    """A call in an event; ``RetellHook.get_call`` has the rest."""

    call_id: str
    outcome: str
    direction: str | None
    agent_id: str | None


def finished_calls(triggering_asset_events: Mapping[Any, Iterable[Any]]) -> list[FinishedCall]:
    """Return the calls that started a DAG run, each once, in the order in which they were announced.

    For example::

        @task
        def read(triggering_asset_events=None):
            return [call["call_id"] for call in finished_calls(triggering_asset_events)]

    A call may be announced twice, to one run or to two, so tasks must be able to process a call again.

    Args:
        triggering_asset_events: What Airflow passes to a task under this name: the events by asset. Events that
            do not come from a ``RetellFinishedCallsTrigger`` are left out.
    """
    calls: dict[str, FinishedCall] = {}
    # Not `items()` or `values()`, because Airflow 3's mapping makes new keys each time.
    for asset in triggering_asset_events:
        for event in triggering_asset_events[asset]:
            extra = event.extra if isinstance(event.extra, Mapping) else {}
            payload = extra.get("payload")
            listed = payload.get("calls") if isinstance(payload, Mapping) else None
            for call in listed if isinstance(listed, list | tuple) else ():
                if isinstance(call, Mapping) and isinstance(call.get("call_id"), str):
                    calls.setdefault(call["call_id"], cast("FinishedCall", call))
    return list(calls.values())


class RetellFinishedCallsTrigger(BaseEventTrigger):
    """Announce every finished call of the account, inbound ones too, to an ``AssetWatcher`` (Airflow 3).

    For example::

        CALLS = "retell://retell_default/inbound"
        trigger = RetellFinishedCallsTrigger(CALLS, direction="inbound", wait_for="analyzed")
        asset = Asset(CALLS, watchers=[AssetWatcher(name="inbound", trigger=trigger)])

    Each call is announced at least once, whatever happens to the triggerer or to Retell, and may be announced
    again: ``finished_calls`` reads the events. A poll that finds calls makes one event, with the payload
    ``{"calls": [{"call_id", "outcome", "direction", "agent_id"}, ...]}``; several if it finds more than 1,000.

    See https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/event-scheduling.html

    Args:
        asset: The URI of the watched asset, which also keeps the watcher's position.
        since: On the first start, announce the calls that ended at this time or later: a datetime, or text in
            ISO 8601, UTC if it has no time zone; None: only calls that end after that start.
        retell_conn_id: A connection of type ``retell``. All watchers of one connection share one poll.
        agent_id: Only this agent's calls.
        direction: ``inbound`` or ``outbound``.
        metadata: Only calls whose top-level metadata has these values (strings, numbers or booleans).
        wait_for: ``ended``: a call is announced when it is over; ``analyzed``: when it has its ``call_analysis``,
            or ten minutes after its end.
        poll_interval: Seconds between two polls.

    Raises:
        RetellInputError: An argument is invalid, or this Airflow has no asset watchers.
    """

    def __init__(
        self,
        asset: str,
        *,
        since: datetime | str | None = None,
        retell_conn_id: str = DEFAULT_CONN_ID,
        agent_id: str | None = None,
        direction: Literal["inbound", "outbound"] | None = None,
        metadata: Mapping[str, str | float | bool] | None = None,
        wait_for: Literal["ended", "analyzed"] = "ended",
        poll_interval: float = 30,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow does not annotate it
        if not HAS_ASSET_WATCHERS:
            raise RetellInputError("RetellFinishedCallsTrigger needs asset watchers: Airflow 3.0 or later.")
        if not isinstance(asset, str) or not asset.strip():
            raise RetellInputError(
                "asset must be the URI of the watched asset, such as retell://retell_default/calls, "
                f"not {shown(asset)}."
            )
        self.asset = asset
        self.since = None if since is None else _moment(since).isoformat()
        self.retell_conn_id = retell_conn_id
        self.agent_id = agent_id
        self.direction = None if direction is None else choice("direction", direction, ["inbound", "outbound"])
        self.metadata = None if metadata is None else dict(metadata)
        self.wait_for = choice("wait_for", wait_for, ["ended", "analyzed"])
        self.poll_interval = seconds("poll_interval", poll_interval)
        _check_filters(self._filters())

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that Airflow stores."""
        return (
            "airflow_provider_retell.triggers.RetellFinishedCallsTrigger",
            {
                "asset": self.asset,
                "since": self.since,
                "retell_conn_id": self.retell_conn_id,
                "agent_id": self.agent_id,
                "direction": self.direction,
                "metadata": self.metadata,
                "wait_for": self.wait_for,
                "poll_interval": self.poll_interval,
            },
        )

    def shared_stream_key(self) -> Hashable:
        """Return a key that no other watcher has: watchers share requests to Retell, not events."""
        path, kwargs = self.serialize()
        return path, json.dumps(kwargs, sort_keys=True)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> SharedStreamProducer:
        """Return the producer that polls, and is notified when Airflow has stored an event (since Airflow 3.3)."""
        from airflow_provider_retell.polling.watcher import WatcherProducer  # noqa: PLC0415 (see above)

        return WatcherProducer(cls(**kwargs).watcher())

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Fire an event for each payload."""
        async for payload in shared_stream:
            if payload is not None:
                yield TriggerEvent(payload)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fire an event for each payload, for ever, on Airflow before 3.3, which does not report stored events."""
        watcher = self.watcher()
        async for payload, cursor in watcher.polls():
            if payload is not None:
                yield TriggerEvent(payload)
            if cursor is not None:
                watcher.stored(cursor)

    def watcher(self) -> Watcher:
        """Return the watcher that polls."""
        from airflow_provider_retell.calls.watch import Goal  # noqa: PLC0415 (see above)
        from airflow_provider_retell.hooks import RetellHook  # noqa: PLC0415 (see above)
        from airflow_provider_retell.polling.shared import shared_poller  # noqa: PLC0415 (see above)
        from airflow_provider_retell.polling.watcher import Watcher  # noqa: PLC0415 (see above)
        from airflow_provider_retell.provider.cursor_store import cursor_store  # noqa: PLC0415 (see above)

        goal = Goal(wait_for=self.wait_for)
        look_up = RetellHook(self.retell_conn_id).aget_settings
        return Watcher(
            f"The watcher of {self.asset}",
            lambda: shared_poller(self.retell_conn_id, look_up),
            cursor_store(self.asset),
            filters=self._filters(),
            identity=(self.retell_conn_id, self.wait_for),
            done=lambda call, now: goal.reached(call, now=now, seen_over=now),
            since=None if self.since is None else round(datetime.fromisoformat(self.since).timestamp() * 1000),
            poll_interval=self.poll_interval,
            settle=0 if HAS_ASSET_STATE else SETTLED_AFTER,
        )

    def _filters(self) -> dict[str, Any]:
        given = {"agent_id": self.agent_id, "direction": self.direction, "metadata": self.metadata}
        return {name: value for name, value in given.items() if value is not None}


SETTLED_AFTER = 10.0
"""Seconds after which an event counts as stored before Airflow 3.3; a triggerer stores it within one or two."""


def _moment(since: datetime | str) -> datetime:
    try:
        moment = since if isinstance(since, datetime) else datetime.fromisoformat(since.strip())
    except (AttributeError, ValueError):
        raise RetellInputError(
            f"since must be a datetime, or one as text such as 2026-01-31T00:00+00:00, not {shown(since)}."
        ) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _check_filters(filters: Mapping[str, Any]) -> None:
    from airflow_provider_retell.api.endpoints import list_calls  # noqa: PLC0415 (DAGs that only read do without)

    list_calls(**filters)
