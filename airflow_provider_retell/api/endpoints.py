"""Each request to Retell as a value: what is sent, how the answer reads, whether it may be repeated. No I/O.

Base: https://docs.retellai.com/api-references
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Self, TypeVar
from urllib.parse import quote

from airflow_provider_retell._masking import shown
from airflow_provider_retell.api.identifiers import check_call_id
from airflow_provider_retell.api.pages import Page, page_of
from airflow_provider_retell.errors import RetellInputError

if TYPE_CHECKING:
    from airflow_provider_retell.api.models import Call, CreatePhoneCallRequest, RegisterPhoneCallRequest

T = TypeVar("T")

MAX_PAGE_SIZE: Final = 1000
"""The most calls that Retell lists in one answer; it lists 50 if nobody says."""


@dataclass(frozen=True, kw_only=True)
class Request(Generic[T]):
    """One request.

    Attributes:
        method: The HTTP method.
        path: The path below the base URL.
        read: Makes a value of the decoded JSON (None for an empty answer). Raises ``ValueError``.
        idempotent: Whether sending it twice does no more than sending it once. If not, it is repeated only
            when the first one certainly was not carried out (connection refused, 429).
        body: The JSON body, None for none.
        empty: Whether an answer without a body is what is expected.
    """

    method: str
    path: str
    read: Callable[[Any], T]
    idempotent: bool
    body: Mapping[str, Any] | None = None
    empty: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def cursor(self) -> str | None:
        """Where the page that is asked for begins, None for the first page of a list."""
        return None if self.body is None else self.body.get("pagination_key")

    def at(self, cursor: str) -> Self:
        """Return the request for the page that begins at a cursor, for any page of the same list."""
        return replace(self, body={**(self.body or {}), "pagination_key": cursor})


def _read_call(answer: Any) -> Call:
    # Here, not above: a DAG file that is parsed sends nothing and reads no answer, so it needs no models.
    from airflow_provider_retell.api.models import Call  # noqa: PLC0415

    return Call.read(answer)


def _read_object(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 (one class for every unreadable answer)
    return answer


def register_phone_call(request: RegisterPhoneCallRequest | Mapping[str, Any]) -> Request[Call]:
    """Register a call that the user's own telephony will dial, at ``sip:{call_id}@sip.retellai.com``.

    See https://docs.retellai.com/api-references/register-phone-call
    """
    from airflow_provider_retell.api.models import RegisterPhoneCallRequest  # noqa: PLC0415 (as above)

    return Request(
        method="POST",
        path="/v2/register-phone-call",
        body=RegisterPhoneCallRequest.read(request).body(),
        read=_read_call,
        idempotent=False,  # Retell takes no idempotency key here: each request registers a call of its own
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
    from airflow_provider_retell.api.models import CreatePhoneCallRequest  # noqa: PLC0415 (as above)

    body = CreatePhoneCallRequest.read(request).body()
    if idempotency_key is not None:
        body = CreatePhoneCallRequest.read(body | {"idempotency_key": idempotency_key}).body()
    return Request(
        method="POST",
        path="/v2/create-phone-call",
        body=body,
        read=_read_call,
        idempotent="idempotency_key" in body,  # one call per key; without a key each request rings somebody
    )


def get_call(call_id: str) -> Request[Call]:
    """Read one call, with everything Retell has of it.

    See https://docs.retellai.com/api-references/get-call
    """
    return Request(method="GET", path=f"/v2/get-call/{check_call_id(call_id)}", read=_read_call, idempotent=True)


def get_agent(agent_id: str) -> Request[dict[str, Any]]:
    """Read an agent.

    See https://docs.retellai.com/api-references/get-agent
    """
    return Request(method="GET", path=f"/get-agent/{quote(agent_id, safe='')}", read=_read_object, idempotent=True)


def stop_call(call_id: str) -> Request[None]:
    """Hang up.

    See https://docs.retellai.com/api-references/stop-call
    """
    return Request(
        method="POST",
        path=f"/v2/stop-call/{check_call_id(call_id)}",
        read=lambda _: None,
        idempotent=True,  # a call that is over stays over
        empty=True,
    )


def get_concurrency() -> Request[dict[str, Any]]:
    """Read how many calls the account has going, and how many it may have.

    See https://docs.retellai.com/api-references/get-concurrency
    """
    return Request(method="GET", path="/get-concurrency", read=_read_object, idempotent=True)


def get_api_key_info() -> Request[dict[str, Any]]:
    """Read whose API key this is: ``org_id``, ``org_name``, ``api_key_name``."""
    return Request(method="GET", path="/get-api-key-info", read=_read_object, idempotent=True)


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
    sort_order: str | None = None,
    page_size: int = MAX_PAGE_SIZE,
) -> Request[Page[Call]]:
    """Read the first page of calls; ``at`` of the request gives the others.

    See https://docs.retellai.com/api-references/list-calls

    Args:
        call_ids: Only these.
        metadata: Only calls whose top-level metadata has these values (strings, numbers or booleans).
        agent_id: Only this agent's.
        call_status: Only in one of these: ``not_connected``, ``ongoing``, ``ended``, ``error``.
        direction: ``inbound`` or ``outbound``.
        batch_call_id: Only this batch's.
        started_from: Only calls answered at this time or later, in milliseconds since the epoch.
        started_before: Only calls answered before this time, likewise.
        sort_order: ``ascending`` or ``descending`` (Retell's default) by the time they were answered.
        page_size: Calls in one answer, 1 to 1000.
    """
    if not 1 <= page_size <= MAX_PAGE_SIZE:
        raise RetellInputError(f"page_size must be 1 to {MAX_PAGE_SIZE}, got {page_size}.")
    started = (started_from, started_before)
    filters = {
        "call_id": None if call_ids is None else _any_of([*map(check_call_id, _several(call_ids))]),
        "metadata": [_equal(key, value) for key, value in (metadata or {}).items()] or None,
        "agent": None if agent_id is None else [{"agent_id": agent_id}],
        "call_status": None if call_status is None else _any_of(call_status),
        "direction": None if direction is None else _any_of(direction),
        "batch_call_id": None if batch_call_id is None else {"type": "string", "op": "eq", "value": batch_call_id},
        "start_timestamp": None if started == (None, None) else _between(*started),
    }
    criteria = {name: criterion for name, criterion in filters.items() if criterion}
    body: dict[str, Any] = {"limit": page_size}
    if criteria:
        body["filter_criteria"] = criteria
    if sort_order is not None:
        body["sort_order"] = sort_order
    return Request(method="POST", path="/v3/list-calls", body=body, read=page_of(_read_call), idempotent=True)


def list_tagged_calls(key: str, value: str, *, op: Literal["eq", "sw"]) -> Request[Page[Call]]:
    """Read the calls whose top-level metadata has a key that equals a value, or starts with it."""
    criterion = {"key": key, "type": "string", "op": op, "value": value}
    return replace(list_calls(), body={"limit": MAX_PAGE_SIZE, "filter_criteria": {"metadata": [criterion]}})


def _any_of(values: Sequence[str]) -> dict[str, Any]:
    return {"type": "enum", "op": "in", "value": _several(values)}


def _several(values: Sequence[str]) -> list[str]:
    # One word is a sequence too, of letters.
    return [values] if isinstance(values, str) else list(values)


def _equal(key: str, value: Any) -> dict[str, Any]:
    kind = {bool: "boolean", int: "number", float: "number", str: "string"}.get(type(value))
    if kind is None:
        raise RetellInputError(
            f"list_calls compares metadata with strings, numbers and booleans, "
            f"but {shown(key)} is of type {type(value).__name__}."
        )
    return {"key": key, "type": kind, "op": "eq", "value": value}


def _between(first: int | None, before: int | None) -> dict[str, Any]:
    if before is None:
        return {"type": "number", "op": "ge", "value": first}
    if first is None:
        return {"type": "number", "op": "lt", "value": before}
    return {"type": "range", "op": "bt", "value": [first, before - 1]}
