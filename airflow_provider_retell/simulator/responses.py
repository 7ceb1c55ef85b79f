"""Requests and responses as values, and the errors that Retell documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
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
"""Waits for a number of seconds and returns whether the caller is still connected."""

_JSON = {"content-type": "application/json; charset=utf-8"}
_HTML = {"content-type": "text/html; charset=utf-8"}


@dataclass(frozen=True, kw_only=True)
class Request:
    """Hold a request as it arrived. The path has no query and is still percent-encoded."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)  # holds the API key
    body: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Response:
    """Hold a response, and how the connection fails while it is sent.

    Attributes:
        cut: `drop` closes the connection without a response, `reset` resets it, `truncate` closes it in the middle
            of the body. `None`: the response is sent.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: Literal["drop", "reset", "truncate"] | None = None


def phrase(status: int) -> str:
    """Return the reason phrase of a status, `Unknown` for numbers that HTTP does not define but gateways send."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def ok(body: Any, status: int = 200) -> Response:
    """Return a response with a JSON body."""
    return Response(status=status, headers=_JSON, body=json.dumps(body, separators=(",", ":")).encode())


def error(status: int, message: str | None = None) -> Response:
    """Return an error in the shape that Retell documents, by default with the documented message."""
    return ok({"status": "error", "message": message or MESSAGES.get(status) or phrase(status)}, status)


def invalid(complaint: str) -> Response:
    """Return the error for a body that breaks the schema, in a shape that Retell uses but does not document."""
    return ok({"error_message": complaint}, 400)


def page(status: int) -> Response:
    """Return an HTML page, as a gateway in front of the API does."""
    title = f"{status} {phrase(status)}"
    text = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    return Response(status=status, headers=_HTML, body=text.encode())
