"""Asset events, on which DAGs that analyse calls can be scheduled.

A task with outlets announces its calls when it succeeds. An ``Asset`` gets one event per task instance. An
``AssetAlias`` gets one per call that is over; of a campaign or an export, one per run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from airflow.providers.common.compat.sdk import Asset, AssetAlias

NAMED_CALLS: Final = 1000
"""The most calls that the event of an ``Asset`` names; it counts them all."""

_KEPT: Final = "!$&'()*+,;=:"
"""The characters of a connection id that a URI can hold as they are, beside letters, digits and ``-._~``."""


def calls_uri(retell_conn_id: str, outcome: str) -> str:
    """Return the URI of the asset whose events are calls with an outcome.

    >>> calls_uri("retell_default", "answered")
    'retell://retell_default/calls/answered'
    """
    return _uri(retell_conn_id, f"calls/{outcome}")


def exports_uri(retell_conn_id: str) -> str:
    """Return the URI of the asset whose events are exports."""
    return _uri(retell_conn_id, "exports")


def campaigns_uri(retell_conn_id: str) -> str:
    """Return the URI of the asset whose events are campaigns."""
    return _uri(retell_conn_id, "campaigns")


def _uri(retell_conn_id: str, path: str) -> str:
    # Airflow allows ids such as "team#retell", "a/b" and "a@b", which would end the name of a server in a URI.
    return f"retell://{quote(retell_conn_id, safe=_KEPT)}/{path}"


def announce_calls(
    context: Mapping[str, Any],
    outlets: Iterable[Any],
    rows: Sequence[Mapping[str, Any]],
    *,
    retell_conn_id: str,
) -> None:
    """Announce calls to outlets: ids and outcomes, no numbers and no content of a conversation.

    Args:
        context: Airflow's context of the running task.
        outlets: The outlets of the task.
        rows: The calls as rows.
        retell_conn_id: Names the assets of an ``AssetAlias``.
    """
    calls = {str(row["call_id"]): row.get("outcome") for row in rows}
    over = {call_id: outcome for call_id, outcome in calls.items() if outcome is not None}
    for outlet, accessor in _accessors(context, outlets):
        if isinstance(outlet, AssetAlias):
            for call_id, outcome in over.items():
                asset = Asset(uri=calls_uri(retell_conn_id, outcome))
                accessor.add(asset, extra={"call_id": call_id, "outcome": outcome})
        else:
            accessor.extra.update(_asset_extra(calls))


def _asset_extra(calls: Mapping[str, Any]) -> dict[str, Any]:
    if len(calls) == 1:
        ((call_id, outcome),) = calls.items()
        return {"call_id": call_id, "outcome": outcome}
    extra: dict[str, Any] = {"outcomes": dict(Counter(str(outcome) for outcome in calls.values()))}
    return extra | ({"calls": dict(calls)} if len(calls) <= NAMED_CALLS else {})


def announce_export(
    context: Mapping[str, Any], outlets: Iterable[Any], summary: Mapping[str, Any], *, retell_conn_id: str
) -> None:
    """Announce an export to outlets with its summary."""
    for outlet, accessor in _accessors(context, outlets):
        if isinstance(outlet, AssetAlias):
            accessor.add(Asset(uri=exports_uri(retell_conn_id)), extra=dict(summary))
        else:
            accessor.extra.update(summary)


def announce_campaign(
    context: Mapping[str, Any], outlets: Iterable[Any], result: Mapping[str, Any], *, retell_conn_id: str
) -> None:
    """Announce a campaign to outlets: its counts and its files, nothing about a single person."""
    extra = {name: value for name, value in result.items() if name != "rows"}
    for outlet, accessor in _accessors(context, outlets):
        if isinstance(outlet, AssetAlias):
            accessor.add(Asset(uri=campaigns_uri(retell_conn_id)), extra=extra)
        else:
            accessor.extra.update(extra)


def _accessors(context: Mapping[str, Any], outlets: Iterable[Any]) -> Iterable[tuple[Any, Any]]:
    events = context.get("outlet_events")
    if events is None:
        return
    for outlet in outlets:
        try:
            yield outlet, events[outlet]
        except (AttributeError, KeyError, TypeError):
            continue  # an outlet that has no events, such as a table of Airflow's lineage
