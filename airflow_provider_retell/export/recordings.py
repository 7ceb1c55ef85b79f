"""Recordings, from Retell's links to files."""

from __future__ import annotations

import logging
import posixpath
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from airflow_provider_retell.api.endpoints import Request
from airflow_provider_retell.errors import (
    RetellInvalidRequestError,
    RetellNotFoundError,
    RetellPermissionError,
)
from airflow_provider_retell.export.listing import Fields, whole_call

if TYPE_CHECKING:
    from airflow_provider_retell.api.client import RetellClient
    from airflow_provider_retell.files.destination import Destination

log = logging.getLogger(__name__)

RECORDINGS: Final = "recordings"
"""The folder of the recordings, below the destination."""

_GONE: Final = (RetellInvalidRequestError, RetellNotFoundError, RetellPermissionError)
"""How a storage answers for a link that has expired, or whose file is no more: 400, 403, 404, 410."""


def keep_recording(
    client: RetellClient,
    call: Mapping[str, Any],
    destination: Destination,
    *,
    link: Callable[[Mapping[str, Any]], Any],
) -> str | None:
    """Stream a call's recording into a file, and return the file's name below the destination, None without one.

    A link may expire between the list and here: the call is then read again for a new one.

    Args:
        client: Reads calls and links.
        call: The call as listed.
        destination: Where to.
        link: Returns the link to the recording of a call, None if it has none.
    """
    call_id = str(call["call_id"])
    endpoint = _endpoint(call_id)
    if name := _keep(client, endpoint, link(call), destination, call_id):
        return name
    if not link(call):
        return None
    try:
        again: Fields = client.send(whole_call(call_id))
    except RetellNotFoundError:
        return None
    name = _keep(client, endpoint, link(again), destination, call_id)
    if name is None:
        log.warning("%s has no recording any more, although Retell gives a link to it.", call_id)
    return name


def _keep(
    client: RetellClient, endpoint: Request[None], link: Any, destination: Destination, call_id: str
) -> str | None:
    """Stream what a link leads to into a file, and return its name, None if the link leads nowhere."""
    if not link:
        return None
    name = posixpath.join(RECORDINGS, quote(call_id, safe="") + _suffix(link))

    def attempt() -> None:
        with client.download(endpoint, link) as content, destination.writing(name) as file:
            for piece in content:
                file.write(piece)

    try:
        client.repeat(endpoint, attempt)
    except _GONE:
        return None
    return name


def _suffix(url: str) -> str:
    suffix = posixpath.splitext(urlsplit(url).path)[1]
    return suffix if re.fullmatch(r"\.\w{1,5}", suffix) else ".wav"


def _endpoint(call_id: str) -> Request[None]:
    return Request(method="GET", path=f"the recording of {call_id}", read=lambda _: None, idempotent=True)
