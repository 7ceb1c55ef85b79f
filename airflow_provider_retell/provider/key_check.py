"""What the Test button of a connection asks Retell, and what it tells a person. No I/O: a client runs it."""

from __future__ import annotations

from airflow_provider_retell.api.endpoints import get_api_key_info, get_concurrency
from airflow_provider_retell.api.flows import Flow
from airflow_provider_retell.api.settings import API_KEY_FIELD, BASE_URL_FIELD, ConnectionSettings
from airflow_provider_retell.errors import (
    RetellAuthenticationError,
    RetellConnectionError,
    RetellError,
    RetellPermissionError,
    RetellResponseError,
    RetellStatusError,
)


def check_key(settings: ConnectionSettings) -> Flow[tuple[bool, str]]:
    """Return whether Retell takes the key, and a sentence or two for a form. Reads only: no call is placed."""
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
        return True, f"{accepted}. Retell does not tell the concurrency."
    return True, f"{accepted}, {used} of {limit} concurrent calls in use."


def explained(error: RetellError, settings: ConnectionSettings) -> str:
    """Return what went wrong, in the words of the form: whoever reads it has the fields before their eyes."""
    host, check_host = settings.base_url, f"Check the field {BASE_URL_FIELD}."
    match error:
        case RetellAuthenticationError():
            told = f"Key refused: {_sentence(error.message)} Check the field {API_KEY_FIELD}."
        case RetellConnectionError(timed_out=True):
            told = f"Time-out: no answer from {host} within {settings.timeout:g} s."
        case RetellConnectionError(may_have_arrived=False):
            told = f"Host unreachable: {host} ({error.reason.rstrip('.')}). {check_host}"
        case RetellConnectionError():
            told = f"No answer: {host} closed the connection ({error.reason.rstrip('.')})."
        case RetellStatusError():
            told = f"{host} answered {error.status_code}: {_sentence(error.message)}"
        case RetellResponseError():
            told = f"{host} answered {error.status_code}, but not as Retell does. {check_host}"
        case _:
            told = str(error)
    return told


def _sentence(message: str) -> str:
    return f"{message.rstrip('. ')}."
