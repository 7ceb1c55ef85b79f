"""The number of live calls a campaign may have, if it follows the account's limit."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_retell._clock import Clock
from airflow_provider_retell.api.endpoints import get_concurrency
from airflow_provider_retell.campaign.plan.pacing import free_lines
from airflow_provider_retell.errors import Concerns, RetellError, RetellInputError, RetellResponseError

if TYPE_CHECKING:
    from airflow_provider_retell.api.client import RetellClient

log = logging.getLogger(__name__)

_MAX_AGE: Final = 60.0
"""Seconds after which the account is asked again."""


class AccountLines:
    """The account's limit, minus the reserved lines, those kept for inbound calls, and those that others use.

    See https://docs.retellai.com/deploy/concurrency

    Args:
        client: Asks the account.
        reserved: Lines to leave free for others.
        clock: The time.
    """

    def __init__(self, client: RetellClient, *, reserved: int, clock: Clock) -> None:
        self._client = client
        self._reserved = reserved
        self._clock = clock
        self._asked_at: float | None = None
        self._lines = 0

    def __call__(self, own: int) -> int:
        """Return how many calls may be live; the last known number if the account cannot be asked at the moment.

        Args:
            own: How many of this campaign's calls are live.

        Raises:
            RetellError: The account's limit is not available.
            RetellInputError: ``reserved`` leaves no line, so no call could ever be placed.
        """
        now = self._clock.boottime()
        if self._asked_at is None or now - self._asked_at >= _MAX_AGE:
            try:
                self._lines = self._read(self._client.send(get_concurrency()), own)
            except RetellError as error:
                if self._asked_at is None or error.concerns is not Concerns.NOTHING:
                    error.add_note("Give the campaign lines=... to set its own limit.")
                    raise
                log.warning("The account's limit is not known; %d lines count as before: %s", self._lines, error)
            self._asked_at = now
        return self._lines

    def _read(self, answer: dict[str, Any], own: int) -> int:
        limit, in_use = answer.get("concurrency_limit"), answer.get("current_concurrency")
        inbound = answer.get("reserved_inbound_concurrency")
        if not isinstance(limit, int) or not isinstance(in_use, int):
            raise RetellResponseError("get-concurrency does not say how many lines there are.", status_code=200)
        inbound = inbound if isinstance(inbound, int) else 0
        if limit <= self._reserved + inbound:
            kept = f", {inbound} of them for inbound calls (reserved_inbound_concurrency)" if inbound else ""
            raise RetellInputError(
                f"No call can be placed: the account's limit is {limit} live calls (concurrency_limit){kept}, and "
                f"reserved_lines={self._reserved} leaves none of them. Reserve fewer."
            )
        return free_lines(limit=limit, reserved=self._reserved + inbound, in_use=in_use, own=own)
