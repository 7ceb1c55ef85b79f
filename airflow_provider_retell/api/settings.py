"""The settings in a connection of type ``retell``. Imports nothing of Airflow."""

from __future__ import annotations

import ipaddress
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

CONN_TYPE: Final = "retell"
DEFAULT_CONN_ID: Final = "retell_default"
DEFAULT_BASE_URL: Final = "https://api.retellai.com"

_TYPED: Final = f"extra__{CONN_TYPE}__"
_PORTS: Final = {"https": 443, "http": 80}
_MAX_NAMES_IN_MESSAGE: Final = 3
_LONGEST_NAME: Final = 30  # characters


@dataclass(frozen=True, kw_only=True)
class NumericSetting:
    """A number in a form or in a configuration file.

    Attributes:
        help: An explanation for users.
        default: Its value if nothing is given.
        minimum: The least it may be.
        integer: Whether it must be a whole number.
    """

    help: str
    default: float
    minimum: float
    integer: bool = False

    def read(self, given: Any) -> float:
        """Return the number that was given, as a number or as text; the default for None and empty text.

        Raises:
            ValueError: It cannot be used; the message continues after the name of the field.
        """
        if given is None or given == "":
            return self.default
        try:
            number = float("a truth value" if isinstance(given, bool) else given)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not (math.isfinite(number) and number >= self.minimum) or (self.integer and number % 1):
            kind = "whole number" if self.integer else "number"
            raise ValueError(f"must be a {kind} of at least {self.minimum:g}, not {given!r}")
        return number


@dataclass(frozen=True, kw_only=True)
class NumberInExtra(NumericSetting):
    """A number in the connection's extra.

    Attributes:
        label: Its name in the form.
    """

    label: str


@dataclass(frozen=True, kw_only=True)
class FlagInExtra:
    """A switch in the connection's extra, off by default.

    Attributes:
        label: Its name in the form.
        help: An explanation for users.
    """

    label: str
    help: str
    default: bool = False

    def read(self, given: Any) -> bool:
        """Return the flag that was given, as Airflow reads its own booleans; the default for None and empty text.

        Raises:
            ValueError: It is not a flag; the message continues after the name of the field.
        """
        if given is None or given == "":
            return self.default
        word = str(given).strip().lower() if isinstance(given, bool | int | str) else ""
        if word not in _FLAGS:
            raise ValueError(f"must be true or false, not {given!r}")
        return _FLAGS[word]


_FLAGS: Final = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}

Setting: TypeAlias = NumberInExtra | FlagInExtra

SETTINGS: Final[Mapping[str, Setting]] = {
    "timeout": NumberInExtra(
        label="Time-out", help="Seconds for each step of a request to Retell.", default=30, minimum=0.1
    ),
    "max_attempts": NumberInExtra(
        label="Attempts",
        help="Maximum number of times a request is sent, if repeating it is harmless.",
        default=4,
        minimum=1,
        integer=True,
    ),
    "max_retry_delay": NumberInExtra(
        label="Longest pause",
        help="Maximum seconds between two attempts, even if Retell asks for more.",
        default=60,
        minimum=0,
    ),
    "paused": FlagInExtra(label="Paused", help="Pause: no call is placed by anything that uses this connection."),
    "simulator": FlagInExtra(
        label="Simulator",
        help="A simulator is at the Base URL, which may then be http:// on another machine.",
    ),
}


API_KEY_FIELD: Final = "Password (API key)"
BASE_URL_FIELD: Final = "Host (Base URL)"
"""The name of a field in messages: Airflow's own and, in brackets, the label in the form."""


class SettingsError(ValueError):
    """The connection holds something that cannot be used; the message names the field."""


@dataclass(frozen=True, kw_only=True)
class ConnectionSettings:
    """The settings of one connection.

    Attributes:
        api_key: Retell's API key.
        base_url: Scheme, host and port, without a path.
        timeout: Seconds for each step of a request, such as connecting, or the gap between two chunks.
        max_attempts: Maximum number of times a request is sent.
        max_retry_delay: Maximum seconds between two attempts; caps Retry-After too.
        paused: Whether no call may be placed.
        conn_id: The connection these came from, for messages.
        remarks: Sentences on settings that work but should be looked at or corrected.
    """

    api_key: str = field(repr=False)
    base_url: str = DEFAULT_BASE_URL
    timeout: float = SETTINGS["timeout"].default
    max_attempts: int = int(SETTINGS["max_attempts"].default)
    max_retry_delay: float = SETTINGS["max_retry_delay"].default
    paused: bool = False
    conn_id: str = DEFAULT_CONN_ID
    remarks: tuple[str, ...] = ()

    @property
    def complete_response(self) -> float:
        """Seconds to wait for the complete response, which the time-out between two chunks does not limit."""
        return 2 * self.timeout

    @property
    def is_plain_http(self) -> bool:
        """True if the base URL is ``http://``: a simulator's."""
        return self.base_url.lower().startswith("http://")

    @property
    def needs_handshake(self) -> bool:
        """True if the server must identify itself as a simulator before it gets the key unencrypted."""
        return self.is_plain_http and not _is_loopback(urlsplit(self.base_url).hostname or "")

    def may_follow(self, link: object) -> bool:
        """Return whether a link that Retell gives may be followed: to https://, or to the server of the API."""
        try:
            starts = isinstance(link, str) and link.startswith(("https://", f"{self.base_url}/"))
            return starts and bool(urlsplit(str(link)).hostname)
        except ValueError:
            return False

    @classmethod
    def of(cls, connection: Any, *, conn_id: str) -> ConnectionSettings:
        """Return the settings of an Airflow connection; errors as of ``read``."""
        fields = {name: getattr(connection, name) for name in ("password", "host", "schema", "port", "extra")}
        return cls.read(conn_id=conn_id, **fields)

    @classmethod
    def read(
        cls,
        *,
        conn_id: str,
        password: str | None,
        host: str | None = None,
        schema: str | None = None,
        port: int | None = None,
        extra: str | None = None,
    ) -> ConnectionSettings:
        """Return the settings in the fields of an Airflow connection; ``extra`` is JSON text.

        Raises:
            SettingsError: A field holds something that cannot be used.
        """
        own = _extra(extra)
        given = {name: _setting(name, own.get(name)) for name in SETTINGS}
        return cls(
            conn_id=conn_id,
            api_key=_api_key(password),
            base_url=_base_url(host, schema, port, simulator=bool(given["simulator"])),
            timeout=given["timeout"],
            max_attempts=int(given["max_attempts"]),
            max_retry_delay=given["max_retry_delay"],
            paused=bool(given["paused"]),
            remarks=tuple(_remarks(password or "", host or "", own, paused=bool(given["paused"]))),
        )


def _remarks(password: str, host: str, extra: Mapping[str, Any], *, paused: bool) -> Iterator[str]:
    if paused:
        yield "The connection is paused (Extra): no call is placed."
    if password != password.strip():
        yield f"The field {API_KEY_FIELD} has white space around the key, which is left out."
    if host.strip() and host != host.strip():
        yield f"The field {BASE_URL_FIELD} has white space around the URL, which is left out."
    if host.strip().endswith("/"):
        yield f"The field {BASE_URL_FIELD} ends with a slash, which is left out."
    if unknown := sorted(extra.keys() - SETTINGS.keys()):
        # Names only, and few of them: a misplaced value may be a secret.
        named = unknown[:_MAX_NAMES_IN_MESSAGE]
        names = ", ".join(repr(name[:_LONGEST_NAME]) for name in named)
        more = f" and {len(unknown) - len(named)} more" if len(unknown) > len(named) else ""
        yield f"The field Extra has names that mean nothing here: {names}{more}. Known: {', '.join(SETTINGS)}."


def _api_key(password: str | None) -> str:
    key = (password or "").strip()
    if not key:
        raise SettingsError(f"the field {API_KEY_FIELD} is empty")
    # Checked here, because the message of the HTTP library would quote the key.
    if not key.isascii() or not key.isprintable() or " " in key:
        raise SettingsError(f"the field {API_KEY_FIELD} holds spaces, line breaks or letters no key has")
    return key


def _base_url(host: str | None, schema: str | None, port: int | None, *, simulator: bool) -> str:
    text = (host or "").strip() or DEFAULT_BASE_URL
    if "://" not in text:
        text = f"{(schema or '').strip() or 'https'}://{text}"
    text = text.rstrip("/")
    example = f"the field {BASE_URL_FIELD} must be a base URL such as {DEFAULT_BASE_URL}"
    try:
        url = urlsplit(text)
        own_port = url.port
    except ValueError:
        raise SettingsError(f"{example}, and what it holds is not a URL") from None
    if url.username or url.password:
        # Not quoted: what stands before the @ may be a key.
        raise SettingsError(f"{example}, without a user or a password in it")
    if url.scheme not in _PORTS or not url.hostname or any(map(str.isspace, text)):
        raise SettingsError(f"{example}, not {text!r}")
    if url.path or url.query or url.fragment:
        raise SettingsError(f"{example}, without a path, not {text!r}")
    if url.scheme == "http" and not _is_loopback(url.hostname) and not simulator:
        raise SettingsError(
            f"the field {BASE_URL_FIELD} is {text!r}, but http:// is for a simulator on this machine (127.0.0.1, "
            "localhost) only: an API key must not cross a network unencrypted. Use https:// or, if a simulator is "
            'there, put "simulator": true into the field Extra'
        )
    return text if own_port or port in {None, 0, _PORTS[url.scheme]} else f"{text}:{port}"


def _is_loopback(hostname: str) -> bool:
    if hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False


def _extra(extra: str | None) -> dict[str, Any]:
    if not extra:
        return {}
    try:
        fields = json.loads(extra)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise SettingsError("the field Extra is not a JSON object")
    # The Test button of Airflow 2.11 sends the form's own fields under longer names, beside what was saved before.
    typed = {name: value for name, value in fields.items() if name.startswith(_TYPED)}
    saved = {name: value for name, value in fields.items() if name not in typed}
    return saved | {name.removeprefix(_TYPED): value for name, value in typed.items()}


def _setting(name: str, given: Any) -> float:
    setting = SETTINGS[name]
    try:
        return setting.read(given)
    except ValueError as error:
        raise SettingsError(f"the field {name} of Extra ({setting.label}) {error}") from None
