"""Read the bounds of a campaign, which may be templates: until when it places calls, and to how many people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from airflow_provider_retell._masking import shown
from airflow_provider_retell.errors import RetellInputError

_UNTIL: Final = "a datetime, ISO 8601 text or a timedelta"


def until_at(until: Any, due: float) -> float:
    """Return ``until`` in seconds since the epoch; infinite if it is None."""
    match until:
        case None:
            return math.inf
        case timedelta():
            return due + until.total_seconds()
        case str():
            try:
                at = datetime.fromisoformat(until)
            except ValueError:
                raise RetellInputError(f"until must be {_UNTIL}, not {shown(until)}. Nothing was sent.") from None
        case datetime():
            at = until
        case _:
            raise RetellInputError(f"until must be {_UNTIL}, not {shown(until)}. Nothing was sent.")
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def read_limit(given: Any) -> int | None:
    """Return ``limit`` as a template rendered it."""
    if given is None or given in ("", "None"):
        return None
    try:
        limit = int(str(given))
    except (TypeError, ValueError):
        limit = 0
    if limit < 1 or isinstance(given, bool):
        raise RetellInputError(f"limit must be a whole number above 0, not {shown(given)}. Nothing was sent.")
    return limit


def due_at(context: Mapping[str, Any], now: float) -> float:
    """Return when the run was due: ``run_after``; on Airflow 2 the end of its data interval."""
    run = context.get("dag_run")
    for name in ("run_after", "data_interval_end", "logical_date"):
        if isinstance(at := getattr(run, name, None), datetime):
            return at.timestamp()
    return now
