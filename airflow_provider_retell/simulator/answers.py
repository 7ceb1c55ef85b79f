"""Requests and answers as values, and the errors Retell documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import responses
from typing import Any, Literal, TypeAlias

MESSAGES = {
    400: "Invalid request format, please check API reference.",
    401: "API key is missing or invalid.",
    402: "Trial has ended, please add payment method.",
    403: "Forbidden",
    404: "The requested resource was not found.",
    409: "Resource update conflict.",
    412: "Precondition failed for conditional update.",
    422: "Cannot find requested asset under given api key.",
    429: "Account rate limited, please throttle your requests.",
    500: "An unexpected server error occurred.",
}
"""The messages in Retell's API description, by status."""

Patience: TypeAlias = Callable[[float], bool]
"""Wait so many seconds; return whether the caller is still there."""

_JSON = {"content-type": "application/json; charset=utf-8"}
_HTML = {"content-type": "text/html; charset=utf-8"}


@dataclass(frozen=True, kw_only=True)
class Request:
    """Hold a request as it arrived: the path without query and still percent-encoded."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)  # holds the API key
    body: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """Hold an answer, and how the connection fails while it is delivered.

    Attributes:
        cut: `drop` closes the connection without an answer, `reset` does so rudely, `truncate` closes it
            half-way through the body.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: Literal["drop", "reset", "truncate"] | None = None


def phrase(status: int) -> str:
    """Return what HTTP calls a status; gateways also answer with numbers HTTP has no name for."""
    return responses.get(status, "Unknown")


def ok(body: Any, status: int = 200) -> Reply:
    """Answer with JSON."""
    return Reply(status=status, headers=_JSON, body=json.dumps(body, separators=(",", ":")).encode())


def error(status: int, message: str | None = None) -> Reply:
    """Answer with an error in the documented shape, in the documented words unless told otherwise."""
    return ok({"status": "error", "message": message or MESSAGES.get(status) or phrase(status)}, status)


def invalid(complaint: str) -> Reply:
    """Answer a body that breaks the schema: a shape Retell uses but does not document."""
    return ok({"error_message": complaint}, 400)


def page(status: int) -> Reply:
    """Answer with HTML, as a gateway in front of the API does."""
    title = f"{status} {phrase(status)}"
    text = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    return Reply(status=status, headers=_HTML, body=text.encode())
