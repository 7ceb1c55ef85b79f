"""Save recordings from Retell's links to files."""

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
from airflow_provider_retell.export.listing import complete_call

if TYPE_CHECKING:
    from airflow_provider_retell.api.client import RetellClient
    from airflow_provider_retell.files.destination import Destination

log = logging.getLogger(__name__)

RECORDINGS: Final = "recordings"
"""The folder of the recordings, below the destination."""

_GONE: Final = (RetellInvalidRequestError, RetellNotFoundError, RetellPermissionError)
"""The errors of a storage if a link has expired or its file is gone: 400, 403, 404, 410."""


def save_recording(
    client: RetellClient,
    call: Mapping[str, Any],
    destination: Destination,
    *,
    link: Callable[[Mapping[str, Any]], Any],
) -> str | None:
    """Stream a call's recording to a file; return the file's name below the destination, None without a recording.

    A link may have expired since the call was listed: the call is then read again for a new one. A link that may
    not be followed counts as one that leads to nothing.

    Args:
        client: Reads calls and links.
        call: The call as listed.
        destination: The destination.
        link: Returns the link to the recording of a call, None if it has none.
    """
    call_id = str(call["call_id"])
    request = Request[None](method="GET", path=f"the recording of {call_id}", read=lambda _: None, idempotent=True)
    if name := _save(client, request, link(call), destination, call_id):
        return name
    if not link(call):
        return None
    try:
        reread = client.send(complete_call(call_id))
    except RetellNotFoundError:
        return None
    name = _save(client, request, link(reread), destination, call_id)
    if name is None:
        log.warning(
            "The recording of %s is left out: Retell's link to it leads to nothing, or is not https://.",
            call_id,
        )
    return name


def _save(
    client: RetellClient, request: Request[None], link: Any, destination: Destination, call_id: str
) -> str | None:
    """Stream the target of a link into a file, and return its name, None if the link leads to nothing."""
    if not client.settings.may_follow(link):
        return None
    name = posixpath.join(RECORDINGS, quote(call_id, safe="") + _suffix(link))

    try:
        for attempt in client.attempts(request):
            with attempt, client.download(request, link) as content, destination.writing(name) as file:
                for piece in content:
                    file.write(piece)
    except _GONE:
        return None
    return name


def _suffix(url: str) -> str:
    suffix = posixpath.splitext(urlsplit(url).path)[1]
    return suffix if re.fullmatch(r"\.\w{1,5}", suffix) else ".wav"
