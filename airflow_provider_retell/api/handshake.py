"""Ask a server at a plain http:// address whether it is a simulator, before the key is sent. Pure: no I/O."""

from __future__ import annotations

import json
from typing import Any, Final

from airflow_provider_retell.api.endpoints import Request
from airflow_provider_retell.api.responses import Response, clean
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.errors import RetellConnectionError, RetellInputError

SIMULATOR: Final = "airflow-provider-retell"
"""The name that a simulator gives itself."""

_FIRST_SERVER_ERROR: Final = 500

HANDSHAKE: Final[Request[Any]] = Request(method="GET", path="/", read=lambda body: body, idempotent=True)
"""The request that asks; it is sent without the API key."""


def check_is_simulator(response: Response, settings: ConnectionSettings) -> None:
    """Raise unless a response to ``HANDSHAKE`` is a simulator's.

    ========================  ==================================================================
    the response              means
    ========================  ==================================================================
    200, names a simulator    the key may be sent
    5xx                       no answer: ``RetellConnectionError``, tried again
    anything else             another server: ``RetellInputError``, since a retry would not help
    ========================  ==================================================================
    """
    if response.status_code >= _FIRST_SERVER_ERROR:
        raise unanswered(f"{response.status_code} {clean(response.text, HANDSHAKE, settings)}".rstrip(), settings)
    if response.status_code != 200 or not _names_a_simulator(response.content):  # noqa: PLR2004 (OK)
        raise RetellInputError(
            f"Connection {settings.conn_id!r}: http:// is for a simulator only, and the server at "
            f"{settings.base_url} did not identify itself as one ({response.status_code}, "
            f"{clean(response.text, HANDSHAKE, settings)!r}). The API key was not sent to it. "
            "Use https://, or start the simulator there."
        )


def unanswered(reason: str, settings: ConnectionSettings, *, timed_out: bool = False) -> RetellConnectionError:
    """Return the error of a handshake without an answer: no request that could do anything was sent."""
    return RetellConnectionError(
        f"{HANDSHAKE}: no answer from {settings.base_url} ({reason}). Nothing was sent.",
        may_have_arrived=False,
        timed_out=timed_out,
        reason=reason,
    )


def _names_a_simulator(content: bytes) -> bool:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(body, dict) and body.get("simulator") == SIMULATOR
