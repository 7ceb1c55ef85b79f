"""Recordings, and links to them that expire."""

from __future__ import annotations

import io
import re
import wave
from collections.abc import Mapping
from typing import Any

from airflow_provider_retell.simulator import answers
from airflow_provider_retell.simulator.answers import Reply, Request

PATH = re.compile(r"/recordings/([^/]+)/(\d+)/recording\.wav")
"""Call id, and when the link expires in milliseconds since the epoch."""

_RATE = 8000  # samples in a second, of one byte each
_LENGTH = 2000


def with_link(call: dict[str, Any], request: Request, *, expires_at: float) -> dict[str, Any]:
    """Return a call object whose recording can be had from the simulator, if it has one."""
    if "recording_url" not in call:
        return call
    host = request.headers.get("host", "127.0.0.1")
    path = f"/recordings/{call['call_id']}/{round(expires_at * 1000)}/recording.wav"
    return {**call, "recording_url": f"http://{host}{path}", "opt_in_signed_url": True}


def respond(path: str, calls: Mapping[str, Any], now: float) -> Reply:
    """Answer who follows a link: no API key is asked for, as the link is the permission."""
    found = PATH.fullmatch(path)
    if found is None or found[1] not in calls:
        return answers.error(404)
    if now * 1000 > int(found[2]):
        return answers.error(403, "Request has expired")
    return Reply(status=200, headers={"content-type": "audio/wav"}, body=wav(found[1]))


def wav(call_id: str) -> bytes:
    """Return the recording of a call: a short noise of its own."""
    noise = (call_id.encode() * _LENGTH)[:_LENGTH]
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(_RATE)
        file.writeframes(noise)
    return content.getvalue()
