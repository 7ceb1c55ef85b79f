"""Each request to Retell as a value: what is sent, how to read the response, whether to repeat it. No I/O.

Base: https://docs.retellai.com/api-references
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar
from urllib.parse import quote

from airflow_provider_retell._masking import shown
from airflow_provider_retell.api.decoding import decode_json
from airflow_provider_retell.api.filters import (
    MAX_PAGE_SIZE,
    any_of,
    between,
    criteria,
    metadata_filter,
    page_body,
    text,
)
from airflow_provider_retell.api.identifiers import check_call_id
from airflow_provider_retell.api.pages import Page, page_of
from airflow_provider_retell.errors import RetellInputError

if TYPE_CHECKING:
    from airflow_provider_retell.api.models import Call
    from airflow_provider_retell.api.requests import (
        CreatePhoneCallRequest,
        RegisterPhoneCallRequest,
        UpdateCallRequest,
    )

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Request(Generic[T]):
    """One request.

    Attributes:
        method: The HTTP method.
        path: The path below the base URL.
        read: Turns the decoded body (None for an empty response) into a value; raises ``ValueError`` if it cannot.
        idempotent: Whether sending it twice does no more than sending it once. If not, it is repeated only
            when the first one certainly was not carried out (connection refused, 429).
        body: The JSON body, None for none.
        empty: Whether a response without a body is expected.
        shown_path: The path as messages show it, None for the path itself.
        decode: Turns the body of the response into what ``read`` takes; raises ``ValueError`` if it cannot.
        call_id: The call that the response must hold, None if any may come.
        key_digest: The ``key_digest`` of the server and API key with which it may have been carried out before: it
            is not repeated with others. Empty if it was not sent before.
    """

    method: str
    path: str
    read: Callable[[Any], T]
    idempotent: bool
    body: Mapping[str, Any] | None = None
    empty: bool = False
    shown_path: str | None = None
    decode: Callable[[bytes], Any] = decode_json
    call_id: str | None = None
    key_digest: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.shown_path or self.path}"

    def with_idempotency_key(self, key: str) -> Self:
        """Return the request under a key: for one hour, a request with the same key places no second call.

        Raises:
            RetellInputError: The key is blank, or ``None`` as a template renders it.
        """
        if not isinstance(key, str) or key.strip() in {"", "None"}:
            raise RetellInputError(f"idempotency_key must be given, got {shown(key)}. Nothing was sent.")
        return replace(self, body={**(self.body or {}), "idempotency_key": key}, idempotent=True)

    @property
    def idempotency_key(self) -> str | None:
        """The key under which Retell carries it out once, None if it has none."""
        return None if self.body is None else self.body.get("idempotency_key")

    @property
    def cursor(self) -> str | None:
        """The beginning of the requested page of a list, None for its first page."""
        return None if self.body is None else self.body.get("pagination_key")

    def at(self, cursor: str) -> Self:
        """Return the request for the page that begins at a cursor; this one may be for any page of the list."""
        return replace(self, body={**(self.body or {}), "pagination_key": cursor})


def _read_call(body: Any) -> Call:
    # Imported here: a process that parses a DAG file reads no response and needs no models.
    from airflow_provider_retell.api.models import Call  # noqa: PLC0415

    return Call.read(body)


def _read_object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 (one class for every unreadable response)
    return body


def _read_nothing(_: Any) -> None:
    """Read an empty response."""


# -- calls -----------------------------------------------------------------------------------------------------


def register_phone_call(request: RegisterPhoneCallRequest | Mapping[str, Any]) -> Request[Call]:
    """Register a call that the user's own telephony will dial, at ``sip:{call_id}@sip.retellai.com``.

    See https://docs.retellai.com/api-references/register-phone-call
    """
    from airflow_provider_retell.api.requests import RegisterPhoneCallRequest  # noqa: PLC0415 (as above)

    return Request(
        method="POST",
        path="/v2/register-phone-call",
        body=RegisterPhoneCallRequest.read(request).body(),
        read=_read_call,
        idempotent=False,  # Retell takes no idempotency key here: each request registers another call
    )


def create_phone_call(
    request: CreatePhoneCallRequest | Mapping[str, Any], *, idempotency_key: str | None = None
) -> Request[Call]:
    """Have Retell dial.

    See https://docs.retellai.com/api-references/create-phone-call

    Args:
        request: The call to place.
        idempotency_key: For one hour, a request with the same key places no second call.
    """
    from airflow_provider_retell.api.requests import CreatePhoneCallRequest  # noqa: PLC0415 (as above)

    body = CreatePhoneCallRequest.read(request).body()
    made = Request(
        method="POST",
        path="/v2/create-phone-call",
        body=body,
        read=_read_call,
        idempotent="idempotency_key" in body,  # one call per key; without a key each request rings a phone
    )
    return made if idempotency_key is None else made.with_idempotency_key(idempotency_key)


def get_call(call_id: str) -> Request[Call]:
    """Read one call with all its fields.

    See https://docs.retellai.com/api-references/get-call
    """
    path = f"/v2/get-call/{check_call_id(call_id)}"
    return Request(method="GET", path=path, read=_read_call, idempotent=True, call_id=call_id)


def stop_call(call_id: str) -> Request[None]:
    """Hang up.

    See https://docs.retellai.com/api-references/stop-call
    """
    path = f"/v2/stop-call/{check_call_id(call_id)}"
    # Idempotent: a call that is over stays over.
    return Request(method="POST", path=path, read=_read_nothing, idempotent=True, empty=True)


def list_calls(
    *,
    call_ids: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    agent_id: str | None = None,
    call_status: Sequence[str] | None = None,
    direction: str | None = None,
    batch_call_id: str | None = None,
    started_from: int | None = None,
    started_before: int | None = None,
    filter_criteria: Mapping[str, Any] | None = None,
    sort_order: str | None = None,
    page_size: int = MAX_PAGE_SIZE,
) -> Request[Page[Call]]:
    """Read the first page of calls; ``at`` of the request gives the others.

    See https://docs.retellai.com/api-references/list-calls

    Args:
        call_ids: Only these.
        metadata: Only calls whose top-level metadata has these values (strings, numbers or booleans).
        agent_id: Only this agent's calls.
        call_status: Only calls with one of these: ``not_connected``, ``ongoing``, ``ended``, ``error``.
        direction: ``inbound`` or ``outbound``.
        batch_call_id: Only this batch's calls.
        started_from: Only calls answered at this time or later, in milliseconds since the epoch.
        started_before: Only calls answered before this time, likewise.
        filter_criteria: Filters in Retell's own form, beside those above.
        sort_order: ``ascending`` or ``descending`` (Retell's default) by the time they were answered.
        page_size: Calls in one response, 1 to 1000.

    Raises:
        RetellInputError: A filter is empty or is given twice, or an argument cannot be sent.
    """
    arguments = {
        "call_ids": call_ids,
        "metadata": metadata,
        "agent_id": agent_id,
        "call_status": call_status,
        "direction": direction,
        "batch_call_id": batch_call_id,
        "filter_criteria": filter_criteria,
    }
    ids = [call_ids] if isinstance(call_ids, str) else call_ids
    named = {
        "call_id": None if ids is None else any_of([*map(check_call_id, ids)]),
        "metadata": None if metadata is None else metadata_filter(metadata),
        "agent": None if agent_id is None else [{"agent_id": agent_id}],
        "call_status": None if call_status is None else any_of(call_status),
        "direction": None if direction is None else any_of(direction),
        "batch_call_id": None if batch_call_id is None else text(batch_call_id),
        "start_timestamp": between(started_from, started_before),
    }
    body = page_body(page_size, sort_order) | criteria(filter_criteria or {}, named, arguments)
    return Request(method="POST", path="/v3/list-calls", body=body, read=page_of(_read_call), idempotent=True)


def list_tagged_calls(key: str, value: str, *, op: Literal["eq", "sw"]) -> Request[Page[Call]]:
    """Read the calls whose top-level metadata has a given value under a key, or a value that begins with it."""
    return list_calls(filter_criteria={"metadata": [{"key": key, "type": "string", "op": op, "value": value}]})


def update_call(call_id: str, changes: UpdateCallRequest | Mapping[str, Any]) -> Request[Call]:
    """Change the data that Retell keeps of a call that is over.

    See https://docs.retellai.com/api-references/update-call

    Args:
        call_id: The call.
        changes: ``metadata``, ``data_storage_setting``, ``custom_attributes``.

    Raises:
        RetellInputError: No change is given, or a value cannot be sent.
    """
    from airflow_provider_retell.api.requests import UpdateCallRequest  # noqa: PLC0415 (as above)

    path = f"/v2/update-call/{check_call_id(call_id)}"
    body = UpdateCallRequest.read(changes).body()
    if not body:
        raise RetellInputError(f"update_call needs one of {', '.join(UpdateCallRequest.model_fields)}.")
    return Request(method="PATCH", path=path, body=body, read=_read_call, idempotent=True, call_id=call_id)


def delete_call(call_id: str) -> Request[None]:
    """Delete a call and all its data, for good.

    See https://docs.retellai.com/api-references/delete-call
    """
    path = f"/v2/delete-call/{check_call_id(call_id)}"
    return Request(method="DELETE", path=path, read=_read_nothing, idempotent=True, empty=True)


def rerun_call_analysis(call_id: str) -> Request[Call]:
    """Have Retell analyse a call again, which costs money.

    See https://docs.retellai.com/api-references/rerun-call-analysis
    """
    path = f"/rerun-call-analysis/{check_call_id(call_id)}"
    # Not idempotent: each run is charged.
    return Request(method="PUT", path=path, read=_read_call, idempotent=False, call_id=call_id)


# -- the account -----------------------------------------------------------------------------------------------


def get_agent(agent_id: str) -> Request[dict[str, Any]]:
    """Read an agent.

    See https://docs.retellai.com/api-references/get-agent
    """
    return Request(method="GET", path=f"/get-agent/{quote(agent_id, safe='')}", read=_read_object, idempotent=True)


def get_concurrency() -> Request[dict[str, Any]]:
    """Read how many calls the account has in progress, and how many it may have.

    See https://docs.retellai.com/api-references/get-concurrency
    """
    return Request(method="GET", path="/get-concurrency", read=_read_object, idempotent=True)


def get_api_key_info() -> Request[dict[str, Any]]:
    """Read to whom the API key belongs: ``org_id``, ``org_name``, ``api_key_name``."""
    return Request(method="GET", path="/get-api-key-info", read=_read_object, idempotent=True)
