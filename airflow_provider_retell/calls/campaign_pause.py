"""The pause of one campaign: an Airflow Variable, named after the campaign, that says who paused it and when.

The page writes it. A campaign reads it every four seconds, and places no call on a reading that is more than five
seconds old. The Variable may also be written by hand, on any version of Airflow.
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
"""The greatest age in seconds of a reading of the pause on which calls are placed."""

_SHOWN: Final = 80
_DIGITS: Final = 16


def pause_variable(*, dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    """Return the name of the Variable that holds a campaign's pause.

    >>> pause_variable(dag_id="dag", run_id="run", task_id="call", map_index=-1)
    'retell_pause.dag.call.c4ef8414ad8d4944'
    """
    names = digest(dag_id, run_id, task_id, str(map_index), length=_DIGITS)
    return f"retell_pause.{dag_id[:_SHOWN]}.{task_id[:_SHOWN]}.{names}"


def read_pause(stored: str | None) -> dict[str, str] | None:
    """Return ``by`` and ``at`` of a campaign's pause, as they were written; None if it is not paused.

    A Variable written by hand pauses the campaign too, whatever it holds but ``false``.

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
    """Read the pause of one campaign, and log when it begins and ends.

    Attributes:
        name: The Variable.
    """

    name: str
    _on: bool = field(default=False, init=False)
    _trouble: str = field(default="", init=False)

    def look_up(self) -> bool | None:
        """Return whether the campaign is paused; None if Airflow does not say."""
        try:
            pause = read_pause(read_variable(self.name))
        except Exception as error:  # noqa: BLE001 (whatever Airflow raises, the pause is not known)
            if (trouble := f"{type(error).__name__}: {error}") != self._trouble:
                self._trouble = trouble
                log.warning(
                    "Airflow does not say whether the campaign is paused (Variable %r), which is asked again: %s. "
                    "Soon no call is placed until it is known; live calls go on.",
                    self.name,
                    trouble,
                )
            return None
        if self._trouble:
            self._trouble = ""
            log.info("Airflow says again whether the campaign is paused.")
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
