"""Do a campaign's regular work beside the calls: refresh its lists, write parts, report progress."""

from __future__ import annotations

import logging
import math
from typing import Final

from airflow_provider_retell._masking import mask_numbers
from airflow_provider_retell.calls import campaign_pause
from airflow_provider_retell.campaign.plan.pacing import Moment
from airflow_provider_retell.campaign.plan.plan import Plan
from airflow_provider_retell.campaign.results.summary import Progress
from airflow_provider_retell.campaign.run.pauses import Pause, read_pauses
from airflow_provider_retell.campaign.run.recorder import Files
from airflow_provider_retell.campaign.run.terms import Terms
from airflow_provider_retell.errors import RetellCallError, RetellError

log = logging.getLogger(__name__)

REPORT_INTERVAL: Final = 30.0
PART_INTERVAL: Final = 60.0
REFRESH_INTERVAL: Final = 5.0
"""Seconds between two refreshes, which also write the calls placed here for other campaigns.

Each refreshed object decides for itself how old its data may become.
"""

PAUSE_INTERVAL: Final = 15.0
PAUSE_MAX_AGE: Final = 30.0
"""Seconds between two readings of the connection's pause, and seconds for which calls may be placed on one."""


class Upkeep:
    """Do the regular work when it is due.

    Args:
        plan: The campaign's plan, which is stopped after an error.
        terms: The limits and callbacks of the task.
        files: The campaign's files; None to keep none.
        began: When this process began.

    Attributes:
        placed: Calls placed since the last report.
        error: Why no more calls are placed, None as long as they are.
    """

    def __init__(self, plan: Plan, terms: Terms, files: Files | None, began: Moment) -> None:
        self.placed = 0
        self.error: RetellError | None = None
        self._plan = plan
        self._terms = terms
        self._files = files
        self._reported_at = self._written_at = self._began = self._now = began.steady
        self._refreshed_at = -math.inf
        self._connection_pause = Pause(
            look_up=self._read_connection_pause, interval=PAUSE_INTERVAL, max_age=PAUSE_MAX_AGE
        )
        self._campaign_pause = Pause(
            look_up=terms.campaign_paused,
            interval=campaign_pause.PAUSE_INTERVAL,
            max_age=campaign_pause.PAUSE_MAX_AGE,
        )

    def tick(self, now: Moment) -> None:
        """Do the work that is due by now."""
        self.read_pauses(now)
        if now.steady - self._refreshed_at >= REFRESH_INTERVAL:
            self._refreshed_at = now.steady
            self.write_placed()  # first: other campaigns too write theirs before they read
            self._refresh(now)
        if now.steady - self._written_at >= PART_INTERVAL:
            self._written_at = now.steady
            self.save()
        if now.steady - self._reported_at >= REPORT_INTERVAL:
            self.report(now)

    def read_pauses(self, now: Moment) -> None:
        """Read the pauses that are due."""
        self._now = now.steady
        try:
            self._plan.paused, self._plan.pause_known_until = read_pauses(
                [self._connection_pause, self._campaign_pause], now.steady
            )
        except RetellError as error:
            self.stop(error)

    def _refresh(self, now: Moment) -> None:
        state = self._plan.state
        try:
            self._terms.refresh(now.wall)
            if self._terms.lines is not None:
                self._plan.lines = self._terms.lines(state.busy)
        except RetellError as error:
            self.stop(error)

    def stop(self, error: RetellError) -> None:
        """Place no more calls, and let the task end with an error once the live calls are over."""
        self.error = self.error or error
        self._plan.state.trouble.stop(str(error))

    def _read_connection_pause(self) -> bool | None:
        try:
            paused = self._terms.connection_paused()
        except RetellError:
            raise
        except Exception as error:  # noqa: BLE001 (after any error of Airflow, the pause is not known)
            self._not_known(error)
            return None
        if paused and not self._connection_pause.on:
            log.warning(
                "The connection is paused (paused: true in its extra): no call is placed until that is removed. "
                "Looking again every %.0f s until the campaign ends; live calls go on.",
                PAUSE_INTERVAL,
            )
        elif self._connection_pause.on and not paused:
            log.info("The connection is no longer paused: calls are placed again.")
        return paused

    def _not_known(self, error: Exception) -> None:
        """Log that the connection's pause cannot be read; raise if it could not be for ten minutes."""
        trouble = mask_numbers(f"{type(error).__name__}: {error}")
        if self._now - max(self._connection_pause.read_at, self._began) >= campaign_pause.UNKNOWN_FOR:
            raise RetellCallError(
                "For ten minutes Airflow has not said whether the connection is paused "
                f"({trouble}). Look at Airflow's API server and its database. A retry or a clear continues the "
                "campaign."
            ) from error
        log.warning(
            "Airflow does not say whether the connection is paused: %s. If it still does not in a few "
            "seconds, no call is placed until it does. Live calls go on.",
            trouble,
        )

    def report(self, now: Moment) -> None:
        """Report the progress: in the log, as metrics, and to the task."""
        seconds = now.steady - self._reported_at
        progress = Progress.of(self._plan, placed=self.placed, seconds=seconds, now=now.wall)
        self.placed, self._reported_at = 0, now.steady
        log.info("%s", progress)
        progress.count()
        try:
            self._terms.report(progress)
        except Exception as error:  # noqa: BLE001 (the calls matter more than the figures)
            log.warning("Airflow did not take the progress: %s", mask_numbers(f"{type(error).__name__}: {error}"))

    def write_placed(self) -> None:
        """Let other campaigns know of the calls that were placed, if there are new ones."""
        try:
            if self._files is not None:
                self._files.write_placed()
        except RetellError as error:  # ``save`` raises it if it lasts
            log.warning("Other campaigns do not know of the latest calls, as they could not be written: %s", error)

    def save(self) -> None:
        """Write the recorded rows as a part, and the calls that are in none yet."""
        if self._files is not None:
            self._files.write_part()
            self._files.write_placed()
