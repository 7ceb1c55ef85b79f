"""Read Retell's responses. Pure: no I/O."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar

from airflow_provider_retell._masking import Masker
from airflow_provider_retell.api.endpoints import Request
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.errors import (
    Concerns,
    RetellAuthenticationError,
    RetellNotFoundError,
    RetellPaymentError,
    RetellPermissionError,
    RetellResponseError,
    RetellStatusError,
)

T = TypeVar("T")

_FIRST_CHARACTERS: Final = 200
_SUCCESSES: Final = range(200, 300)
_FIRST_ERROR: Final = 400


@dataclass(frozen=True, kw_only=True)
class Response:
    """The part of an HTTP response that this package reads.

    Attributes:
        status_code: The HTTP status.
        content: The body.
        retry_after: The header of that name.
    """

    status_code: int
    content: bytes
    retry_after: str | None

    @property
    def is_page(self) -> bool:
        """True if the body is HTML or XML: a gateway's page, because Retell answers in JSON."""
        return self.content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")

    @property
    def text(self) -> str:
        """The body as text; bytes that are not text are replaced."""
        return self.content.decode(errors="replace")


def read(request: Request[T], response: Response, settings: ConnectionSettings) -> T:
    """Return the value in a response, or raise the error that it stands for."""
    if response.status_code in _SUCCESSES:
        try:
            return _value(request, response.content)
        except (ValueError, RecursionError) as error:
            broken = isinstance(error, json.JSONDecodeError | UnicodeDecodeError | RecursionError)
            problem = "not JSON" if broken else str(error)
            raise _unreadable(request, response, settings, problem) from None
    if response.status_code < _FIRST_ERROR:
        raise _unreadable(request, response, settings, "a redirect, which is not followed")
    if RetellStatusError.kind(response.status_code).concerns is not Concerns.NOTHING and response.is_page:
        raise _unreadable(request, response, settings, "a page, and not Retell's JSON")
    raise status_error(request, response, settings)


def _value(request: Request[T], content: bytes) -> T:
    """Return the value in the body of a successful response.

    A cache or gateway that mixes answers up would else end the wait for one call with another person's.

    Raises:
        ValueError: It cannot be read, or holds another call than the one that was asked for.
    """
    value = request.read(None if request.empty else request.decode(content))
    if request.call_id is not None:
        call: Any = value
        if request.call_id != (call["call_id"] if isinstance(call, dict) else call.call_id):
            raise ValueError("another call than the one that was asked for")
    return value


def status_error(request: Request[Any], response: Response, settings: ConnectionSettings) -> RetellStatusError:
    """Return the error for an error status, even if the body cannot be read."""
    kind = RetellStatusError.kind(response.status_code)
    message = clean(_message(response), request, settings)
    return kind(
        f"{request}: {response.status_code} {message.rstrip('.')}. {_advice(kind, settings)}".rstrip(),
        status_code=response.status_code,
        message=message,
        retry_after=retry_after(response.retry_after, now=time.time()),
    )


def _unreadable(
    request: Request[Any], response: Response, settings: ConnectionSettings, problem: str
) -> RetellResponseError:
    return RetellResponseError(
        f"{request}: Retell's answer ({response.status_code}) is {problem}. "
        f"It begins: {clean(response.text, request, settings)!r}. "
        f"Check that the Host of connection {settings.conn_id!r} is Retell's API.",
        status_code=response.status_code,
    )


def _message(response: Response) -> str:
    """Return Retell's own words, in either of the two forms it uses."""
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        body = None
    if isinstance(body, dict):
        for name in ("message", "error_message"):
            if isinstance(body.get(name), str) and body[name]:
                return str(body[name])
    return response.text


def clean(text: object, request: Request[Any], settings: ConnectionSettings) -> str:
    """Return a text from outside in a form safe for a message: short, without the key and phone numbers."""
    line = " ".join(str(text).replace(settings.api_key, "***").split())
    return Masker.of(request.body).text(line)[:_FIRST_CHARACTERS]


def _advice(kind: type[RetellStatusError], settings: ConnectionSettings) -> str:
    return _ADVICE.get(kind, "").format(conn_id=settings.conn_id)


_ADVICE: Final[dict[type[RetellStatusError], str]] = {
    RetellAuthenticationError: "Check the API key (Password) of connection {conn_id!r}.",
    RetellPaymentError: "Check the payment method and the credit of the Retell account.",
    RetellPermissionError: "Give the API key of connection {conn_id!r} this permission in the dashboard.",
    RetellNotFoundError: "Check the id, and that it belongs to the account of connection {conn_id!r}.",
}


def retry_after(header: str | None, *, now: float) -> float | None:
    """Return the seconds that a Retry-After header asks for, None if it cannot be read.

    >>> retry_after("Thu, 01 Jan 1970 00:01:00 GMT", now=50.0)
    10.0
    """
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            date = parsedate_to_datetime(header)
        except (ValueError, OverflowError):
            return None
        seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
    return max(0.0, seconds) if math.isfinite(seconds) else None
