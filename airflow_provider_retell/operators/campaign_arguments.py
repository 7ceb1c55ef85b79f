"""Read a campaign's arguments: fixed ones when the DAG is parsed, templated ones and times when it runs."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from airflow_provider_retell._argument_checks import rendered_flag
from airflow_provider_retell._masking import shown
from airflow_provider_retell.errors import RetellInputError
from airflow_provider_retell.policy import AttemptLimit, Redial

log = logging.getLogger(__name__)

_UNTIL: Final = "a datetime, ISO 8601 text or a timedelta"


def check_policies(*, redial: Any, attempts: Any, history: Any, eligible: Any) -> None:
    """Raise ``RetellInputError`` if one of them is invalid, or ``attempts`` comes without ``history``."""
    if attempts is not None and not isinstance(attempts, AttemptLimit):
        raise RetellInputError("attempts takes an AttemptLimit, such as AttemptLimit(3, per=timedelta(days=7)).")
    if attempts is not None and history is None:
        raise RetellInputError(
            "attempts needs history, a folder of earlier results; say history=False if there is none."
        )
    if isinstance(redial, str) or not all(isinstance(rule, Redial) for rule in redial):
        raise RetellInputError(
            'redial takes rules such as Redial("no_answer", after=timedelta(hours=2), times=2), in a list.'
        )
    if eligible is not None and not callable(eligible) and not isinstance(eligible, str):
        raise RetellInputError("eligible takes a function, or its dotted path.")


def until_at(until: Any, due: float) -> float:
    """Return ``until`` in seconds since the epoch; infinite if it is None."""
    match until:
        case None | "":
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


def warn_if_forgetful(*, honor_internal_dnc: Any, history: Any) -> None:
    """Warn if nothing would remember who asks in a call of this campaign never to be called again."""
    if not history and not rendered_flag("honor_internal_dnc", honor_internal_dnc or False):
        log.warning(
            "A person who asks in a call of this campaign never to be called again is called by the next one: "
            "give honor_internal_dnc=True, so that Retell remembers, or history, a folder of earlier results."
        )
