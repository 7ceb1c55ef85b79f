"""The requests and the messages of a connection's Test button."""

from __future__ import annotations

from dataclasses import replace

from airflow_provider_retell.api.endpoints import get_api_key_info, get_concurrency
from airflow_provider_retell.api.flows import Flow
from airflow_provider_retell.api.settings import API_KEY_FIELD, BASE_URL_FIELD, ConnectionSettings
from airflow_provider_retell.errors import (
    RetellAuthenticationError,
    RetellConnectionError,
    RetellError,
    RetellInputError,
    RetellPermissionError,
    RetellResponseError,
    RetellStatusError,
)


def try_key(settings: ConnectionSettings) -> tuple[bool, str]:
    """Ask Retell whether it accepts the key; return whether it does, and a message for the form."""
    from airflow_provider_retell.api.client import RetellClient  # noqa: PLC0415 (as in hooks.get_conn)

    # A person is waiting: one attempt of each request.
    once = replace(settings, max_attempts=1)
    try:
        with RetellClient(once) as client:
            good, message = client.run(check_key(once))
    except RetellInputError as error:
        good, message = False, str(error)
    return good, " ".join([message, *settings.remarks])


def check_key(settings: ConnectionSettings) -> Flow[tuple[bool, str]]:
    """Return whether Retell accepts the key, and a message for the form. Reads only: no call is placed."""
    try:
        owner = yield get_api_key_info()
        workspace = owner.get("org_name") or owner.get("org_id") or "of unknown name"
        accepted = f"Key accepted, workspace {workspace}"
    except RetellPermissionError:
        accepted = "Key accepted, although it may not read its workspace"
    except RetellError as error:
        return False, explained(error, settings)
    try:
        calls = yield get_concurrency()
    except RetellPermissionError:
        return True, f"{accepted}. It may not read the concurrency."
    except RetellError as error:
        return False, f"{accepted}, but its concurrency could not be read. {explained(error, settings)}"
    used, limit = calls.get("current_concurrency"), calls.get("concurrency_limit")
    if used is None or limit is None:
        return True, f"{accepted}. Retell does not report the concurrency."
    return True, f"{accepted}, {used} of {limit} concurrent calls in use."


def explained(error: RetellError, settings: ConnectionSettings) -> str:
    """Explain an error in terms of the form that the user has open."""
    host, check_host = settings.base_url, f"Check the field {BASE_URL_FIELD}."
    match error:
        case RetellAuthenticationError():
            text = f"Key refused: {_sentence(error.message)} Check the field {API_KEY_FIELD}."
        case RetellConnectionError(timed_out=True):
            text = f"Time-out: no answer from {host} within {settings.timeout:g} s."
        case RetellConnectionError(may_have_arrived=False):
            text = f"Host unreachable: {host} ({error.reason.rstrip('.')}). {check_host}"
        case RetellConnectionError():
            text = f"No answer: {host} closed the connection ({error.reason.rstrip('.')})."
        case RetellStatusError():
            text = f"{host} answered {error.status_code}: {_sentence(error.message)}"
        case RetellResponseError():
            text = f"{host} answered {error.status_code}, but not as Retell does. {check_host}"
        case _:
            text = str(error)
    return text


def _sentence(message: str) -> str:
    return f"{message.rstrip('. ')}."
