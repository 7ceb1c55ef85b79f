"""Turn our clients and requests into httpx's, and httpx's errors into ours."""

from __future__ import annotations

import json
import logging
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any, Final, TypeVar

import httpx

from airflow_provider_retell import __version__
from airflow_provider_retell.api.endpoints import Request
from airflow_provider_retell.api.response_limits import LONGEST_RESPONSE, TooLongError
from airflow_provider_retell.api.responses import clean
from airflow_provider_retell.api.settings import BASE_URL_FIELD, ConnectionSettings
from airflow_provider_retell.errors import RetellConnectionError, RetellInputError, RetellResponseError

C = TypeVar("C", httpx.Client, httpx.AsyncClient)

MAX_CONNECTIONS: Final = 20
"""Network connections that one client keeps open at most; a request beyond them waits for one."""

_PROXIES: Final = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
_CERTIFICATES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_ERRORS: Final = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, httpx.CookieConflict)
_NEVER_ARRIVED: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)


# -- clients ---------------------------------------------------------------------------------------------------


def make_client(kind: type[C], settings: ConnectionSettings, transport: Any, **options: Any) -> C:
    """Return a client of httpx for a connection.

    Args:
        kind: ``httpx.Client`` or ``httpx.AsyncClient``.
        settings: The connection.
        transport: The httpx transport that carries the requests, None for the network.
        **options: Further options of httpx, which override those of the connection.

    Raises:
        RetellInputError: The base URL, or a proxy or certificate of the environment, cannot be used.
    """
    try:
        _QUIET_HOSTS.add(httpx.URL(settings.base_url).netloc)
    except httpx.InvalidURL as error:
        raise RetellInputError(
            f"Connection {settings.conn_id!r}: the field {BASE_URL_FIELD} is not a URL ({error}). "
            "Nothing was sent."
        ) from None
    try:
        return kind(**{**_options(settings), **options}, transport=transport)
    except Exception as error:  # noqa: BLE001 (httpx passes on any error of the environment)
        raise RetellInputError(_environment_problem(error, settings)) from None


def _options(settings: ConnectionSettings) -> dict[str, Any]:
    # A proxy of the environment is for the internet, and a simulator is not there.
    trust_env = not settings.is_plain_http
    return {
        "base_url": settings.base_url,
        "headers": {
            "Authorization": f"Bearer {settings.api_key}",
            "User-Agent": f"airflow-provider-retell/{__version__}",
        },
        # Waiting for a free connection is not waiting for Retell.
        "timeout": httpx.Timeout(settings.timeout, pool=None),
        "limits": httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS),
        "follow_redirects": False,
        "trust_env": trust_env,
        # Over plain HTTP there is nothing to check: this context trusts no certificate at all.
        "verify": certificates(settings) if trust_env else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    }


def use_key(client: httpx.Client, api_key: str) -> None:
    """Let a client send another API key from now on."""
    client.headers["Authorization"] = f"Bearer {api_key}"


def certificates(settings: ConnectionSettings) -> ssl.SSLContext:
    """Return the TLS context of https:// connections, including those to a simulator's links."""
    return _tls_context(not settings.is_plain_http, *map(os.environ.get, _CERTIFICATES))


@cache
def _tls_context(trust_env: bool, *_certificates: str | None) -> ssl.SSLContext:
    """Return the TLS context that a process's clients share: reading certificates takes longer than a request."""
    return httpx.create_ssl_context(trust_env=trust_env)


def _environment_problem(error: Exception, settings: ConnectionSettings) -> str:
    if isinstance(error, OSError):
        names, problem = _set(_CERTIFICATES), "certificates"
    else:
        names, problem = [name for name in _set(_PROXIES) if not _is_proxy(os.environ[name])], "proxy"
        names = names or _set(("NO_PROXY", *_PROXIES))
    which = " or ".join(names) or "of this process"
    hint = " A SOCKS proxy needs the package httpx[socks]." if isinstance(error, ImportError) else ""
    # The error itself is not quoted: it may hold the proxy's password.
    return (
        f"Connection {settings.conn_id!r}: the {problem} in the environment variable {which} cannot be used "
        f"({type(error).__name__}).{hint} Nothing was sent."
    )


def _set(names: tuple[str, ...]) -> list[str]:
    return [spelt for name in names for spelt in (name.lower(), name) if os.environ.get(spelt)]


def _is_proxy(url: str) -> bool:
    try:
        # The way httpx itself reads these variables.
        httpx.HTTPTransport(proxy=url if "://" in url else f"http://{url}").close()
    except Exception:  # noqa: BLE001 (whatever is wrong with it)
        return False
    return True


# -- errors ----------------------------------------------------------------------------------------------------


@contextmanager
def translated(
    request: Request[Any], settings: ConnectionSettings, *, server: str | None = None
) -> Iterator[None]:
    """Turn httpx's errors into this package's, not chained, because httpx's may quote secrets.

    Args:
        request: The request that was sent.
        settings: The settings that it was sent with.
        server: The server in words, if it is not Retell.
    """
    try:
        yield
    except TooLongError:
        raise RetellResponseError(
            f"{request}: the response is longer than {LONGEST_RESPONSE // 10**6} MB, and is not read to its end.",
            status_code=200,
        ) from None
    except httpx.DecodingError as error:
        raise RetellResponseError(
            f"{request}: the response is not encoded as it says ({clean(error, request, settings)}).",
            status_code=200,
        ) from None
    except _ERRORS as error:
        arrived = not isinstance(error, _NEVER_ARRIVED)
        meaning = " It may have been carried out nevertheless." if arrived else " It was not carried out."
        meaning = "" if server else meaning  # a download carries nothing out
        reason = f"{type(error).__name__}: {clean(error, request, settings) or 'no details'}"
        raise RetellConnectionError(
            f"{request}: no answer from {server or settings.base_url} ({reason}).{meaning}",
            may_have_arrived=arrived,
            timed_out=isinstance(error, httpx.TimeoutException),
            reason=reason,
        ) from None


def to_httpx(
    client: httpx.Client | httpx.AsyncClient, request: Request[Any], *, trace: object, key: bool = True
) -> httpx.Request:
    """Return httpx's form of a request.

    Args:
        client: The client that will send it.
        request: The request.
        trace: Sees each step of it.
        key: Whether the API key goes with it.

    Raises:
        RetellInputError: Its body is not JSON.
    """
    content = None
    try:
        if request.body is not None:
            # Not by httpx, whose older releases send NaN, and escape text that UTF-8 cannot hold.
            content = json.dumps(request.body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise RetellInputError(
            f"{request}: the request cannot be written as JSON ({type(error).__name__}). Nothing was sent."
        ) from None
    # Not by the client, which would read the URL twice.
    made = httpx.Request(
        request.method,
        _url(str(client.base_url).rstrip("/") + request.path),
        headers=client.headers,
        content=content,
        # Older releases of httpx would send it without a time-out.
        extensions={"timeout": client.timeout.as_dict(), "trace": trace},
    )
    if content is not None:
        made.headers["Content-Type"] = "application/json"
    if not key:
        del made.headers["Authorization"]
    return made


@lru_cache(maxsize=64)
def _url(url: str) -> httpx.URL:
    """Return a parsed URL; cached, because parsing is slow and most requests go to a few URLs."""
    return httpx.URL(url)


_QUIET_HOSTS: set[bytes] = set()


def quiet(request: httpx.Request) -> None:
    """Keep the requests to a host out of httpx's log, because the links to its files are secrets."""
    _QUIET_HOSTS.add(request.url.netloc)


def _is_not_ours(record: logging.LogRecord) -> bool:
    """Drop httpx's line per request to Retell: a wait of three hours would fill the task's log with them."""
    urls = [arg for arg in _args(record) if isinstance(arg, httpx.URL)]
    return not any(url.netloc in _QUIET_HOSTS for url in urls)


def _args(record: logging.LogRecord) -> tuple[object, ...]:
    args = record.args or ()
    return tuple(args.values()) if isinstance(args, Mapping) else args


logging.getLogger("httpx").addFilter(_is_not_ours)
