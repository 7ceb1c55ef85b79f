from __future__ import annotations

import json
import traceback
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_retell.api.settings import SETTINGS, ConnectionSettings, SettingsError
from airflow_provider_retell.errors import RetellInputError
from airflow_provider_retell.hooks import RetellHook

KEY = "key_0123456789abcdef"
FLAGS = ("paused", "simulator")
DEFAULTS: dict[str, Any] = {
    "api_key": KEY,
    "base_url": "https://api.retellai.com",
    "timeout": 30,
    "max_attempts": 4,
    "max_retry_delay": 60,
    "paused": False,
    "conn_id": "retell_default",
}


def read(**fields: Any) -> ConnectionSettings:
    """Read the fields of a connection, with a key by default."""
    return ConnectionSettings.read(**{"conn_id": "retell_default", "password": KEY, **fields})


def refusal(**fields: Any) -> str:
    """Return the message with which the fields of a connection are refused."""
    with pytest.raises(SettingsError) as refused:
        read(**fields)
    return str(refused.value)


# -- the forms a connection may take -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ({"password": KEY}, {}),
        (
            {"password": KEY, "extra": {"timeout": 5, "max_attempts": 2, "max_retry_delay": 0}},
            {"timeout": 5, "max_attempts": 2, "max_retry_delay": 0},
        ),
        ({"password": KEY, "extra": json.dumps({"timeout": "5"})}, {"timeout": 5}),
        ({"password": KEY, "host": "https://retell.example"}, {"base_url": "https://retell.example"}),
        ({"password": KEY, "host": "http://127.0.0.1:8787"}, {"base_url": "http://127.0.0.1:8787"}),
        (
            {"password": KEY, "host": "127.0.0.1", "port": 8787, "schema": "http"},
            {"base_url": "http://127.0.0.1:8787"},
        ),
        (f"retell://:{KEY}@", {}),
        (f"retell://:{KEY}@/", {}),
        (f"retell://:{KEY}@/?timeout=5&max_attempts=2", {"timeout": 5, "max_attempts": 2}),
        (f"retell://:{KEY}@/?__extra__=%7B%22timeout%22%3A+5%7D", {"timeout": 5}),
        (f"retell://:{KEY}@http%3A%2F%2F127.0.0.1%3A8787", {"base_url": "http://127.0.0.1:8787"}),
        (
            f"retell://:{KEY}@http%3A%2F%2F127.0.0.1%3A8787?timeout=5",
            {"base_url": "http://127.0.0.1:8787", "timeout": 5},
        ),
        (f"retell://:{KEY}@127.0.0.1:8787/http", {"base_url": "http://127.0.0.1:8787"}),
        (f"retell://:{KEY}@retell.example:8443", {"base_url": "https://retell.example:8443"}),
    ],
)
def test_a_connection_is_read_in_every_form(
    text: str | dict[str, Any], expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON and URI, as Airflow itself parses them, with a host in one field or in several."""
    fields = {"conn_type": "retell", **text} if isinstance(text, dict) else None
    monkeypatch.setenv("AIRFLOW_CONN_RETELL_DEFAULT", json.dumps(fields) if fields else str(text))
    with RetellHook() as hook:
        settings = hook.get_conn().settings
    assert settings == ConnectionSettings(**(DEFAULTS | expected))


def test_a_hook_says_which_connection_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """An invalid setting is final, and the message names connection and field; nothing was sent."""
    monkeypatch.setenv("AIRFLOW_CONN_RETELL_TEAM", json.dumps({"conn_type": "retell"}))
    with pytest.raises(RetellInputError) as refused:
        RetellHook("retell_team").get_conn()
    assert str(refused.value) == (
        "Connection 'retell_team': the field Password (API key) is empty. Nothing was sent."
    )
    assert isinstance(refused.value, AirflowFailException)


# -- the key -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("password", [None, "", "  ", "\n"])
def test_a_key_must_be_there(password: str | None) -> None:
    """Without a key nothing is worth sending."""
    assert refusal(password=password) == "the field Password (API key) is empty"


def test_a_key_is_pasted_with_its_surroundings() -> None:
    """The line break that comes along with a pasted key is not a part of it."""
    assert read(password=f" {KEY}\n").api_key == KEY


@pytest.mark.parametrize("middle", [" ", "\n", "\r\n", "\t", "\x00", "\u00a0", "ü", "\u200b"])
def test_a_key_has_no_white_space_in_it(middle: str) -> None:
    """A key that no HTTP header can carry is refused here, where the message does not quote it."""
    message = refusal(password=f"{KEY}{middle}{KEY}")
    assert message == "the field Password (API key) holds spaces, line breaks or letters no key has"


def test_settings_do_not_show_the_key() -> None:
    """The repr of settings hides the key, because it appears in tracebacks and debuggers."""
    assert KEY not in repr(read())


# -- the host ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        ({}, "https://api.retellai.com"),
        ({"host": " "}, "https://api.retellai.com"),
        ({"host": "api.retellai.com"}, "https://api.retellai.com"),
        ({"host": " https://api.retellai.com/\n"}, "https://api.retellai.com"),
        ({"host": "https://api.retellai.com//"}, "https://api.retellai.com"),
        ({"host": "https://retell.example", "port": 8443}, "https://retell.example:8443"),
        ({"host": "https://retell.example:8443", "port": 9999}, "https://retell.example:8443"),
        ({"host": "https://retell.example", "schema": "http"}, "https://retell.example"),
        ({"host": "retell.example", "schema": "https"}, "https://retell.example"),
        ({"port": 8443}, "https://api.retellai.com:8443"),
        ({"port": 443}, "https://api.retellai.com"),
        ({"port": 0}, "https://api.retellai.com"),
        ({"host": "http://127.0.0.1", "port": 80}, "http://127.0.0.1"),
        ({"host": "http://127.0.0.1", "port": 443}, "http://127.0.0.1:443"),
    ],
)
def test_a_host_becomes_a_base_url(fields: dict[str, Any], base_url: str) -> None:
    """A bare host is https; what the host says itself wins over the fields for scheme and port."""
    assert read(**fields).base_url == base_url


@pytest.mark.parametrize(
    "host",
    [
        "http://127.0.0.1",
        "http://127.0.0.1:8787/",
        "http://127.8.9.10:8787",
        "http://localhost:8787",
        "http://LOCALHOST:8787",
        "HTTP://127.0.0.1:8787",
        "http://[::1]:8787",
    ],
)
def test_http_reaches_this_machine(host: str) -> None:
    """A simulator needs no certificate."""
    assert read(host=host).base_url == host.rstrip("/")


@pytest.mark.parametrize(
    "host",
    [
        "http://api.retellai.com",
        "HTTP://api.retellai.com",
        "http://localhost.evil.com",
        "http://127.0.0.1.evil.com",
        "http://evil.com:8787",
        "http://localhost.",
        "http://10.0.0.1",
        "http://0.0.0.0:8787",
        "http://127.1",
        "http://2130706433",
        "http://0x7f.0.0.1",
        "http://[::]:8787",
        "http://[::2]:8787",
        "http://host.docker.internal:8787",
    ],
)
def test_http_reaches_no_other_machine(host: str) -> None:
    """A key must not cross a network unencrypted; names and addresses that look like loopback do not fool it."""
    assert refusal(host=host).startswith(
        f"the field Host (Base URL) is '{host}', but http:// is for a simulator on this machine"
    )


def test_http_in_the_schema_field_is_no_way_around() -> None:
    """The scheme counts wherever it is given."""
    assert "an API key must not cross a network unencrypted" in refusal(host="api.retellai.com", schema="http")


@pytest.mark.parametrize(
    "host",
    [
        "http://127.0.0.1@evil.com",
        "http://localhost:8787@evil.com",
        "http://127.0.0.1\\@evil.com",
        "https://user:secret_0@api.retellai.com",
        "https://secret_0@api.retellai.com",
        "https://:secret_0@api.retellai.com",
    ],
)
def test_a_host_holds_no_user(host: str) -> None:
    """Text before an @ may be a trick or a key: it is refused and not quoted."""
    message = refusal(host=host)
    assert message.endswith("without a user or a password in it")
    assert "evil" not in message
    assert "secret_0" not in message


@pytest.mark.parametrize(
    "host",
    [
        "https://",
        "https:/api.retellai.com",
        "ftp://api.retellai.com",
        "file:///etc/passwd",
        "https://api.retellai.com/v2",
        "https://api.retellai.com?key=a",
        "https://api.retellai.com#a",
        "http://evil.com#@127.0.0.1",
        "http://evil.com?@127.0.0.1",
        "http://evil.com/@127.0.0.1",
        "https://api.retellai.com evil.com",
        "https://api\n.retellai.com",
        "https://api.retellai.com:port",
        "https://api.retellai.com:99999",
        "https://user:secret_0@api.retellai.com:port",
        "https://[::1",
    ],
)
def test_a_host_is_a_base_url_and_nothing_else(host: str) -> None:
    """No path, no query, no other scheme, nothing that is no URL; the message gives an example."""
    message = refusal(host=host)
    assert message.startswith("the field Host (Base URL) must be a base URL such as https://api.retellai.com, ")
    assert "secret_0" not in message


# -- the numbers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "seconds"), [(5, 5), (0.5, 0.5), ("5", 5), (" 7.5 ", 7.5), (None, 30), ("", 30), (0.1, 0.1)]
)
def test_a_number_may_be_text_or_left_out(given: Any, seconds: float) -> None:
    """Forms and URIs give text; an empty field is the default."""
    assert read(extra=json.dumps({"timeout": given})).timeout == seconds


@pytest.mark.parametrize("name", [name for name in SETTINGS if name not in FLAGS])
@pytest.mark.parametrize(
    "given",
    ["soon", "30s", -1, True, False, [], {}, [5], "nan", "inf", float("inf"), pytest.param(10**400, id="huge")],
)
def test_rubbish_is_refused_by_name(name: str, given: Any) -> None:
    """A field of the extra that is no number is a clear error, not a crash or a silent default."""
    assert refusal(extra=json.dumps({name: given})).startswith(
        f"the field {name} of Extra ({SETTINGS[name].label}) must be a "
    )


@pytest.mark.parametrize(
    ("given", "paused"),
    [
        *((word, True) for word in (True, 1, "true", "True", "TRUE", " t ", "1")),
        *((word, False) for word in (False, 0, "false", "False", "f", "0", "", None)),
    ],
)
def test_a_flag_is_read_as_airflow_reads_its_own(given: Any, paused: bool) -> None:
    """In a URI every value is text, and the text "false" is not true."""
    assert read(extra=json.dumps({"paused": given})).paused is paused


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("given", ["yes", "on", "maybe", 2, -1, 1.0, [], {}, [True]])
def test_what_is_no_flag_is_refused(name: str, given: Any) -> None:
    """A pause that is misspelt is an error, and neither on nor off."""
    message = f"the field {name} of Extra ({SETTINGS[name].label}) must be true or false, not {given!r}"
    assert refusal(extra=json.dumps({name: given})) == message


@pytest.mark.parametrize("host", ["http://retell:8787", "http://host.docker.internal", "http://10.0.0.1"])
def test_a_simulator_may_be_on_another_machine(host: str) -> None:
    """Plain http:// is accepted if the extra says so, and then the server must say so too."""
    fields = {"password": KEY, "host": host}
    settings = ConnectionSettings.read(conn_id="c", **fields, extra='{"simulator": true}')
    assert (settings.base_url, settings.needs_handshake) == (host, True)
    with pytest.raises(SettingsError, match='put "simulator": true into the field Extra'):
        ConnectionSettings.read(conn_id="c", **fields, extra='{"simulator": false}')


@pytest.mark.parametrize("host", ["https://api.retellai.com", "http://127.0.0.1:8787", "http://localhost:1"])
def test_no_handshake_is_needed_if_no_key_can_be_overheard(host: str) -> None:
    """Whatever the extra says: the key stays on this machine, or is encrypted."""
    settings = ConnectionSettings.read(conn_id="c", password=KEY, host=host, extra='{"simulator": true}')
    assert not settings.needs_handshake


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("timeout", 0, "the field timeout of Extra (Time-out) must be a number of at least 0.1, not 0"),
        (
            "max_attempts",
            0,
            "the field max_attempts of Extra (Attempts) must be a whole number of at least 1, not 0",
        ),
        (
            "max_attempts",
            2.5,
            "the field max_attempts of Extra (Attempts) must be a whole number of at least 1, not 2.5",
        ),
        (
            "max_retry_delay",
            "x",
            "the field max_retry_delay of Extra (Longest pause) must be a number of at least 0, not 'x'",
        ),
    ],
)
def test_the_message_says_what_a_number_may_be(name: str, given: Any, message: str) -> None:
    """It names the field, the least value, and what was given."""
    assert refusal(extra=json.dumps({name: given})) == message


def test_what_is_typed_wins_over_what_was_saved() -> None:
    """The Test button of Airflow 2.11 sends both, the fields of the form under names of its own."""
    extra = {"extra__retell__timeout": "5", "extra__retell__max_attempts": 2, "timeout": 60, "max_retry_delay": 1}
    assert read(extra=json.dumps(extra)) == ConnectionSettings(
        **(DEFAULTS | {"timeout": 5, "max_attempts": 2, "max_retry_delay": 1})
    )


@pytest.mark.parametrize("extra", ["{", "timeout=5", "[]", "5", '"text"', "null"])
def test_an_extra_is_a_json_object(extra: str) -> None:
    """Anything else is refused without being quoted: it may hold a secret."""
    assert refusal(extra=extra) == "the field Extra is not a JSON object"


@pytest.mark.parametrize("extra", [None, "", "{}"])
def test_an_extra_may_be_empty(extra: str | None) -> None:
    """Every setting has a default."""
    assert read(extra=extra) == ConnectionSettings(**DEFAULTS)


# -- what is used all the same -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "remark"),
    [
        (
            {"password": f" {KEY}\n"},
            "The field Password (API key) has white space around the key, which is left out.",
        ),
        (
            {"host": " https://api.retellai.com"},
            "The field Host (Base URL) has white space around the URL, which is left out.",
        ),
        (
            {"host": "https://api.retellai.com/"},
            "The field Host (Base URL) ends with a slash, which is left out.",
        ),
        (
            {"extra": json.dumps({"retries": 5, "Timeout": 5, "timeout": 30})},
            (
                "The field Extra has names that mean nothing here: 'Timeout', 'retries'. "
                "Known: timeout, max_attempts, max_retry_delay, paused, simulator."
            ),
        ),
    ],
)
def test_what_should_be_mended_is_remarked(fields: dict[str, Any], remark: str) -> None:
    """Each setting that is corrected or ignored is named by its field."""
    assert read(**fields) == ConnectionSettings(**DEFAULTS, remarks=(remark,))


@pytest.mark.parametrize("fields", [{}, {"host": "https://api.retellai.com"}, {"host": ""}, {"host": " "}])
def test_nothing_is_remarked_of_what_is_right(fields: dict[str, Any]) -> None:
    """A warning in every task would not be read."""
    assert read(**fields).remarks == ()


def test_a_remark_quotes_little_of_a_misplaced_name() -> None:
    """A value in place of a name may be a secret, or a list of people."""
    (remark,) = read(extra=json.dumps({f"{place} {KEY * 4}": 1 for place in range(9)})).remarks
    assert KEY * 2 not in remark
    assert remark.endswith(" and 6 more. Known: timeout, max_attempts, max_retry_delay, paused, simulator.")


def test_no_refusal_shows_the_key() -> None:
    """Not even in the traceback, chained errors included."""
    for fields in ({"host": f"http://{KEY}@evil.com"}, {"password": f"{KEY} {KEY}"}, {"extra": f"{{{KEY}"}):
        with pytest.raises(SettingsError) as refused:
            read(**fields)
        assert KEY not in "".join(traceback.format_exception(refused.value))
