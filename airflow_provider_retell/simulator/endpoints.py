"""Name the requests that the simulator answers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from airflow_provider_retell.simulator import recordings, schemas
from airflow_provider_retell.simulator.schemas import Schema


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Describe one kind of request.

    Attributes:
        name: The last word of the path.
        path: A pattern whose first group, if any, is the id of a call or of an agent, or a phone number.
        body: What a body must look like; `None` if there is none.
        of_a_call: True: the id must be that of a call.
    """

    name: str
    method: str
    path: re.Pattern[str]
    body: Schema | None = None
    of_a_call: bool = False


def _endpoint(method: str, path: str, body: Schema | None = None, *, name: str = "") -> Endpoint:
    return Endpoint(
        name=name or re.sub(r"/\{\w+\}", "", path).rpartition("/")[2],
        method=method,
        path=re.compile(re.sub(r"\{\w+\}", "([^/]+)", path)),
        body=body,
        of_a_call="{call_id}" in path,
    )


ENDPOINTS = (
    _endpoint("GET", "/", name="handshake"),
    _endpoint("POST", "/v2/register-phone-call", schemas.REGISTER),
    _endpoint("POST", "/v2/create-phone-call", schemas.CREATE),
    _endpoint("GET", "/v2/get-call/{call_id}"),
    _endpoint("POST", "/v3/list-calls", schemas.LIST),
    _endpoint("POST", "/v2/stop-call/{call_id}"),
    _endpoint("PATCH", "/v2/update-call/{call_id}", schemas.UPDATE),
    _endpoint("DELETE", "/v2/delete-call/{call_id}"),
    _endpoint("PUT", "/rerun-call-analysis/{call_id}"),
    _endpoint("POST", "/list-contacts", schemas.LIST_CONTACTS),
    _endpoint("GET", "/get-contact-by-phone/{phone_number}"),
    _endpoint("GET", "/get-agent/{agent_id}"),
    _endpoint("GET", "/get-concurrency"),
    _endpoint("GET", "/get-api-key-info"),
    Endpoint(name="recording", method="GET", path=recordings.PATH),
)


@lru_cache(maxsize=4096)
def endpoint_of(method: str, path: str) -> tuple[Endpoint, str] | None:
    """Return the endpoint of a request and the id in its path (empty if there is none), `None` if none fits."""
    for endpoint in ENDPOINTS:
        if endpoint.method == method and (found := endpoint.path.fullmatch(path)):
            return endpoint, found[1] if found.groups() else ""
    return None
