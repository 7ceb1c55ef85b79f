"""A client that goes on when the API key of its connection is rotated."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from airflow_provider_retell.api.client import RetellClient
from airflow_provider_retell.api.endpoints import Request
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.api.wire import use_key
from airflow_provider_retell.errors import Concerns, RetellError

T = TypeVar("T")

log = logging.getLogger(__name__)


class RotatingKeyClient(RetellClient):
    """A client that looks its connection up again when Retell refuses the key.

    ========================================  ==========================================================
    the connection by then                    the refused request
    ========================================  ==========================================================
    has another key for the same server       is sent once more, with that key, and so are all later ones
    is the same, or for another server        raises its error
    cannot be looked up                       raises its error
    ========================================  ==========================================================

    A refused request was not carried out, so sending it once more repeats nothing.

    Args:
        settings: As for ``RetellClient``.
        look_up: Looks the connection up.
        **options: As for ``RetellClient``.
    """

    def __init__(
        self, settings: ConnectionSettings, *, look_up: Callable[[], ConnectionSettings], **options: Any
    ) -> None:
        super().__init__(settings, **options)
        self._look_up = look_up
        self._rotation = threading.Lock()

    def send_once(self, request: Request[T], *, check: Callable[[], None] | None = None) -> T:
        """Send one request, and once more if the key was rotated; return its result.

        Args:
            request: The request.
            check: As for ``RetellClient``, before each of the two.
        """
        key = self.settings.api_key
        try:
            return super().send_once(request, check=check)
        except RetellError as error:
            if error.concerns is not Concerns.ACCOUNT or not self._rotated(key):
                raise
            log.info("Retell refused the key, and the connection holds another by now: %s", error)
        return super().send_once(request, check=check)

    def _rotated(self, refused: str) -> bool:
        """Return whether this client has another key than the refused one, which it then uses."""
        with self._rotation:
            if self.settings.api_key != refused:
                return True  # another thread was faster
            try:
                found = self._look_up()
            except Exception as error:  # noqa: BLE001 (whatever a secrets backend raises)
                log.warning("The connection could not be looked up again, and stays as it was: %s", error)
                return False
            if found.api_key == refused or found.base_url != self.settings.base_url:
                return False
            use_key(self._http, found.api_key)  # first: a thread that sees the new key in the settings sends it
            self.settings = replace(self.settings, api_key=found.api_key)
            return True
