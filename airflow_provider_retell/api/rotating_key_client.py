"""A client that goes on when the API key of its connection is rotated."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from airflow_provider_retell.api.client import RetellClient
from airflow_provider_retell.api.endpoints import Request
from airflow_provider_retell.api.key_rotation import check_same_key, is_rotated, key_digest, may_be_rotated
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.api.wire import use_key
from airflow_provider_retell.errors import RetellError

T = TypeVar("T")

log = logging.getLogger(__name__)


class RotatingKeyClient(RetellClient):
    """A client that looks its connection up again when Retell refuses the key, by the rules of ``key_rotation``.

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
        self._lost: dict[str, str] = {}  # the `key_digest` of a lost response, by idempotency key

    def send_once(self, request: Request[T], *, check: Callable[[], None] | None = None) -> T:
        """Send one request, and once more if the key was rotated; return its result.

        Args:
            request: The request.
            check: As for ``RetellClient``, before each of the two.
        """
        used = self.settings
        try:
            return self._send(request, check)
        except RetellError as error:
            if not may_be_rotated(error) or not is_rotated(used, self._renewed(used)):
                raise
            log.info("Retell refused the API key; trying the connection's new one: %s", error)
        return self._send(request, check)

    def _send(self, request: Request[T], check: Callable[[], None] | None) -> T:
        key, used = request.idempotency_key, self.settings
        if key is not None:
            check_same_key(request, self._lost.get(key, request.key_digest), used)
        try:
            return super().send_once(request, check=check)
        except RetellError as error:
            if key is not None and error.may_have_arrived:
                self._lost.setdefault(key, key_digest(used))
            raise

    def _renewed(self, used: ConnectionSettings) -> ConnectionSettings | None:
        """Return the connection as it is now, and use its key from now on; None if it cannot be looked up."""
        with self._rotation:
            if self.settings is not used:
                return self.settings  # another thread was faster
            try:
                found = self._look_up()
            except Exception as error:  # noqa: BLE001 (whatever a secrets backend raises)
                log.warning("The connection could not be looked up again, and stays as it was: %s", error)
                return None
            if is_rotated(used, found):
                use_key(self._http, found.api_key)  # first: a thread that sees the new settings sends the new key
                self.settings = replace(used, api_key=found.api_key)
            return found
