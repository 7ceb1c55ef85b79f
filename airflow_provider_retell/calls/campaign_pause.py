"""The pause of one campaign: an Airflow Variable, named after the campaign, that says who paused it and when.

The page writes it. A campaign reads it again after four seconds, and places no call on what it read more than five
seconds ago. The Variable may be written by hand too, on any version of Airflow.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from airflow_provider_retell.calls.intent import digest
from airflow_provider_retell.provider.version_compat import read_variable

log = logging.getLogger(__name__)

PAUSE_INTERVAL: Final = 4.0
PAUSE_MAX_AGE: Final = 5.0
"""Seconds between two readings of a campaign's pause, and for which one is good to place calls on."""

_SHOWN: Final = 80
_DIGITS: Final = 16


def pause_variable(*, dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    """Return the name of the Variable in which a campaign's pause is kept.

    >>> pause_variable(dag_id="dag", run_id="run", task_id="call", map_index=-1)
    'retell_pause.dag.call.c4ef8414ad8d4944'
    """
    names = digest(dag_id, run_id, task_id, str(map_index), length=_DIGITS)
    return f"retell_pause.{dag_id[:_SHOWN]}.{task_id[:_SHOWN]}.{names}"


def read_pause(stored: str | None) -> dict[str, str] | None:
    """Return ``by`` and ``at`` of a campaign's pause, as they were written; None if it is not paused.

    A Variable that somebody wrote by hand pauses too, whatever it holds, unless that is ``false``.

    >>> read_pause('{"paused": true, "by": "ada"}'), read_pause("true"), read_pause("false")
    ({'by': 'ada', 'at': ''}, {'by': '', 'at': ''}, None)
    """
    if stored is None:
        return None
    try:
        value: Any = json.loads(stored)
    except ValueError:
        value = stored
    given = value if isinstance(value, Mapping) else {"paused": value}
    if str(given.get("paused", True)).strip().lower() == "false":
        return None
    return {name: str(given.get(name) or "") for name in ("by", "at")}


@dataclass(kw_only=True)
class CampaignPause:
    """Reads the pause of one campaign, and logs when it begins and ends.

    Attributes:
        name: The Variable.
    """

    name: str
    _on: bool = field(default=False, init=False)

    def look_up(self) -> bool:
        """Return whether the campaign is paused."""
        pause = read_pause(read_variable(self.name))
        if pause is not None and not self._on:
            by = f" by {pause['by']}" if pause["by"] else ""
            at = f" at {pause['at']}" if pause["at"] else ""
            log.warning(
                "The campaign is paused%s%s (Variable %r): no call is placed, live calls go on.", by, at, self.name
            )
        elif pause is None and self._on:
            log.info("The campaign is not paused any more, and goes on.")
        self._on = pause is not None
        return self._on


def pause_of(ti: Any) -> CampaignPause:
    """Return the pause of the campaign that a task instance runs."""
    names = {name: getattr(ti, name) for name in ("dag_id", "run_id", "task_id", "map_index")}
    return CampaignPause(name=pause_variable(**names))
