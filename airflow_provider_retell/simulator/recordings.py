"""Serve recordings, by links that expire."""

from __future__ import annotations

import io
import re
import wave
from collections.abc import Mapping
from typing import Any

from airflow_provider_retell.simulator import responses
from airflow_provider_retell.simulator.responses import Request, Response

PATH = re.compile(r"/recordings/([^/]+)/(\d+)/recording\.wav")
"""The call id, and the time at which the link expires, in milliseconds since the epoch."""

_RATE = 8000  # samples of one byte a second
_LENGTH = 2000


def with_link(call: dict[str, Any], request: Request, *, expires_at: float) -> dict[str, Any]:
    """Return a call object whose `recording_url`, if it has one, leads to the simulator."""
    if "recording_url" not in call:
        return call
    host = request.headers.get("host", "127.0.0.1")
    path = f"/recordings/{call['call_id']}/{round(expires_at * 1000)}/recording.wav"
    return {**call, "recording_url": f"http://{host}{path}", "opt_in_signed_url": True}


def respond(path: str, calls: Mapping[str, Any], now: float) -> Response:
    """Return the recording that a link leads to. No API key is needed: the link is the permission."""
    found = PATH.fullmatch(path)
    if found is None or found[1] not in calls:
        return responses.error(404)
    if now * 1000 > int(found[2]):
        return responses.error(403, "Request has expired")
    return Response(status=200, headers={"content-type": "audio/wav"}, body=wav(found[1]))


def wav(call_id: str) -> bytes:
    """Return the recording of a call: a short noise that differs from call to call."""
    noise = (call_id.encode() * _LENGTH)[:_LENGTH]
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(_RATE)
        file.writeframes(noise)
    return content.getvalue()
