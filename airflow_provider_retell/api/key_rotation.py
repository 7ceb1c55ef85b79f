"""Decide what becomes of a request when the API key of its connection is rotated. Pure: no I/O.

Retell refuses a key that is no longer valid (401, 402, 403), and a refused request was not carried out. The
connection is then looked up once more:

==============================================  ==================================================================
the connection by then                          the refused request
==============================================  ==================================================================
cannot be looked up, or is the same             raises its error
has another key for the same server             is sent once more, with that key
is for another server                           is sent once more by a poller, which moves there; a client for one
                                                server raises its error
==============================================  ==================================================================

An idempotency key means nothing to another account, and an API key does not show whose it is. So if the response
to a request to place a call was lost, the request goes only to the same server, with the same API key:

==============================================  ==================================================================
the response to an earlier attempt              the request under another API key
==============================================  ==================================================================
was lost                                        is not sent: the call is looked for by its tag
any other, or the request has no idempotency    is sent
key
==============================================  ==================================================================
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_retell.errors import Concerns, RetellCallError, RetellError

if TYPE_CHECKING:
    from airflow_provider_retell.api.endpoints import Request
    from airflow_provider_retell.api.settings import ConnectionSettings


_DIGEST_DIGITS: Final = 16


def key_digest(settings: ConnectionSettings) -> str:
    """Return a short hash of server and key. Equal hashes mean one account; different ones may mean two."""
    return hashlib.sha256(f"{settings.base_url} {settings.api_key}".encode()).hexdigest()[:_DIGEST_DIGITS]


def may_be_rotated(error: RetellError) -> bool:
    """Return whether the connection is looked up again after a failure."""
    return error.concerns is Concerns.ACCOUNT


def is_rotated(used: ConnectionSettings, found: ConnectionSettings | None, *, moves: bool = False) -> bool:
    """Return whether a refused request is sent once more.

    Args:
        used: The connection as it was used.
        found: The connection as it is now, None if it cannot be looked up.
        moves: Whether the sender goes to another server if the connection does.
    """
    if found is None or key_digest(found) == key_digest(used):
        return False
    return moves or found.base_url == used.base_url


def check_same_key(request: Request[Any], sent_under: str | None, settings: ConnectionSettings) -> None:
    """Raise if an earlier attempt at a request may have been carried out under another API key.

    Args:
        request: The request.
        sent_under: The ``key_digest`` under which the response to an earlier attempt was lost, None if none was.
        settings: The settings that it would be sent with.

    Raises:
        RetellCallError: It must not be sent.
    """
    if not sent_under or sent_under == key_digest(settings):
        return
    error = RetellCallError(
        f"{request}: the response to an earlier attempt was lost, and the connection {settings.conn_id!r} holds "
        "another API key by now. If that belongs to another account, the request's idempotency key means nothing "
        "there, so the request is not sent again. A retry of the task looks for the call."
    )
    error.may_have_arrived = True
    raise error
