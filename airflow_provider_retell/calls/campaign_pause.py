"""The pause of one campaign: an Airflow Variable, named after the campaign, that says who paused it and when.

The page writes it. A campaign reads it every four seconds, and places no call on a reading that is more than five
seconds old. The Variable may also be written by hand, on any version of Airflow.

=============================================  =================================================================
Airflow                                        the campaign
=============================================  =================================================================
says that the Variable pauses                  places no call
says that there is none, or that it is false   goes on
does not answer, or refuses                    goes on as it was for five seconds, then places no call
the same for ten minutes                       ends once its live calls are over: a retry goes on, but not if
                                               Airflow refuses
=============================================  =================================================================
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from airflow_provider_retell._clock import CLOCK, Clock
from airflow_provider_retell._masking import mask_numbers
from airflow_provider_retell.calls.intent import digest
from airflow_provider_retell.errors import RetellCallError, RetellCallFinalError
from airflow_provider_retell.provider.version_compat import read_variable

log = logging.getLogger(__name__)

PAUSE_INTERVAL: Final = 4.0
PAUSE_MAX_AGE: Final = 5.0
"""Seconds for which a reading of the pause counts: on an older one, no call is placed."""

UNKNOWN_FOR: Final = 600.0
"""Seconds after which a campaign ends if Airflow does not say whether it is paused."""

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

    A Variable written by hand pauses the campaign too, unless it holds ``false``.

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
        clock: The time.
    """

    name: str
    clock: Clock = CLOCK
    _on: bool = field(default=False, init=False)
    _trouble: str = field(default="", init=False)
    _unknown_since: float | None = field(default=None, init=False)

    def look_up(self) -> bool | None:
        """Return whether the campaign is paused; None if Airflow does not say.

        Raises:
            RetellCallError: It has not said so for ten minutes.
            RetellCallFinalError: The same, because it refuses to.
        """
        try:
            pause = read_pause(read_variable(self.name))
        except Exception as error:  # noqa: BLE001 (whatever Airflow raises, the pause is not known)
            self._failed(error)
            return None
        self._unknown_since = None
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

    def _failed(self, error: Exception) -> None:
        now = self.clock.monotonic()
        self._unknown_since = now if self._unknown_since is None else self._unknown_since
        trouble = mask_numbers(f"{type(error).__name__}: {error}")
        if now - self._unknown_since >= UNKNOWN_FOR:
            raise self._end(trouble, refused=isinstance(error, PermissionError)) from error
        if trouble != self._trouble:
            self._trouble = trouble
            log.warning(
                "Airflow does not say whether the campaign is paused (Variable %r): %s. If it still does not in "
                "a few seconds, no call is placed until it does. Live calls go on.",
                self.name,
                trouble,
            )

    def _end(self, trouble: str, *, refused: bool) -> RetellCallError:
        said = f"For {UNKNOWN_FOR / 60:.0f} minutes Airflow has not said whether the campaign is paused"
        if refused:
            return RetellCallFinalError(
                f"{said}: it does not let this task read the Variable {self.name!r} ({trouble}). Give tasks of "
                "this DAG the permission to read Variables, in Airflow's API server or in the secrets backend "
                "that refuses, then clear the task: it goes on with the rest."
            )
        return RetellCallError(
            f"{said}: the Variable {self.name!r} cannot be read ({trouble}). Look at Airflow's API server and its "
            "database. A retry, or a clear, goes on with the rest."
        )


def pause_of(ti: Any) -> CampaignPause:
    """Return the pause of the campaign that a task instance runs."""
    names = {name: getattr(ti, name) for name in ("dag_id", "run_id", "task_id", "map_index")}
    return CampaignPause(name=pause_variable(**names))
