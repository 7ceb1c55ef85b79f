"""Answer requests as Retell's API does, without a network."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from airflow_provider_retell import __version__
from airflow_provider_retell.simulator import contacts, numbers, recordings, responses, schemas
from airflow_provider_retell.simulator.book import CallBook
from airflow_provider_retell.simulator.endpoints import Endpoint, endpoint_of
from airflow_provider_retell.simulator.listing import Listing
from airflow_provider_retell.simulator.responses import Request, Response

IDENTITY = {"simulator": "airflow-provider-retell", "version": __version__}
"""The body of the response to `GET /`, for which no key is needed.

A client whose connection leads to another machine by plain HTTP sends this request first. It sends its key only if
`simulator` is `airflow-provider-retell`. `version` is for people to read.
"""

_MAX_METADATA_BYTES = 50_000


class Service:
    """Answer requests from the book of calls.

    Args:
        book: The calls.
        api_key: The key that requests must carry.
        list_registered: True: list-calls shows calls that are still `registered`.
        list_lag: The seconds by which list-calls lags behind.
        recording_link_seconds: The seconds for which links to recordings are valid; `None`: they lead nowhere.
    """

    def __init__(
        self,
        *,
        book: CallBook,
        api_key: str,
        list_registered: bool,
        list_lag: float,
        recording_link_seconds: float | None,
    ) -> None:
        self.recording_link_seconds = recording_link_seconds
        self._book = book
        self._api_key = api_key
        self._list_registered = list_registered
        self._list_lag = list_lag
        self._actions: Mapping[str, Callable[[str, Any], Response]] = {
            "register-phone-call": self._register,
            "create-phone-call": self._create,
            "get-call": self._get,
            "list-calls": self._list,
            "stop-call": self._stop,
            "update-call": self._update,
            "delete-call": self._delete,
            "rerun-call-analysis": self._rerun,
            "list-contacts": self._list_contacts,
            "get-contact-by-phone": self._contact,
            "get-agent": self._agent,
            "get-concurrency": self._concurrency,
            "get-api-key-info": self._api_key_info,
        }

    def respond(self, request: Request) -> Response:
        """Answer one request."""
        target = endpoint_of(request.method, request.path)
        if target is None:
            return responses.error(404)
        endpoint, named = target
        if endpoint.name == "handshake":
            return responses.ok(IDENTITY)
        if endpoint.name == "recording":
            return recordings.respond(request.path, self._book.calls, self._book.clock())
        return self._linked(self._checked(endpoint, named, request), request)

    def _checked(self, endpoint: Endpoint, named: str, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {self._api_key}":
            return responses.error(401)
        if endpoint.of_a_call and named not in self._book.calls:
            return responses.error(422)
        body = None
        if endpoint.body is not None:
            try:
                body = json.loads(request.body or b"{}")
            except ValueError:
                return responses.error(400)
            if wrong := ", ".join(schemas.complaints(endpoint.body, body)):
                return responses.invalid(wrong)
        return self._actions[endpoint.name](named, body)

    def _linked(self, response: Response, request: Request) -> Response:
        """Put links to recordings into a response, unless they lead nowhere."""
        if self.recording_link_seconds is None or response.status != 200:  # noqa: PLR2004
            return response
        expires_at = self._book.clock() + self.recording_link_seconds
        content = json.loads(response.body)
        linked = [
            recordings.with_link(call, request, expires_at=expires_at) for call in content.get("items", [content])
        ]
        return responses.ok({**content, "items": linked} if "items" in content else linked[0])

    def _register(self, _: str, body: dict[str, Any]) -> Response:
        return responses.ok(self._book.register(body).full(self._book.clock()), 201)

    def _create(self, _: str, body: dict[str, Any]) -> Response:
        checked = ["to_number"] if body.get("ignore_e164_validation") else ["from_number", "to_number"]
        for name in checked:
            if not numbers.is_e164(body[name]):
                return responses.error(400, f"{name} must be in E.164 format.")
        if body.get("honor_internal_dnc") and self._book.do_not_call(body["to_number"]):
            return responses.error(400, "The contact for to_number is marked do_not_call.")
        call = self._book.create(body)
        if call is None:
            return responses.error(429)
        return responses.ok(call.full(self._book.clock()), 201)

    def _get(self, call_id: str, _: None) -> Response:
        return responses.ok(self._book.calls[call_id].full(self._book.clock()))

    def _stop(self, call_id: str, _: None) -> Response:
        if self._book.stop(call_id):
            return Response(status=204)
        return responses.error(400, "Call is not ongoing.")

    def _update(self, call_id: str, body: dict[str, Any]) -> Response:
        now = self._book.clock()
        call = self._book.calls[call_id]
        if not call.is_over(now):
            return responses.error(400, "Call has not ended.")
        if len(json.dumps(body.get("metadata", {})).encode()) > _MAX_METADATA_BYTES:
            return responses.error(400, "metadata must not be larger than 50kB.")
        stored = call.identity["data_storage_setting"]
        settings = schemas.DATA_STORAGE_SETTINGS
        if settings.index(body.get("data_storage_setting", stored)) < settings.index(stored):
            return responses.error(400, "data_storage_setting cannot be downgraded to a less restrictive one.")
        # Retell ignores attributes that are not defined in the dashboard, and here none is.
        kept = {name: value for name, value in body.items() if name != "custom_attributes"}
        return responses.ok(self._book.update(call_id, kept).full(now))

    def _delete(self, call_id: str, _: None) -> Response:
        self._book.delete(call_id)
        return Response(status=204)

    def _rerun(self, call_id: str, _: None) -> Response:
        now = self._book.clock()
        if not self._book.calls[call_id].is_over(now):
            return responses.error(400, "Call has not ended.")
        return responses.ok(self._book.analyze(call_id).full(now))

    def _list(self, _: str, body: dict[str, Any]) -> Response:
        listing = Listing(
            self._book.calls,
            self._book.timeline,
            now=self._book.clock() - self._list_lag,
            registered=self._list_registered,
        )
        try:
            return responses.ok(listing.page(body))
        except ValueError:
            return responses.error(400)

    def _list_contacts(self, _: str, body: dict[str, Any]) -> Response:
        try:
            return responses.ok(contacts.listing(self._book.contacts.of(self._book.clock()), body))
        except ValueError:
            return responses.error(400)

    def _contact(self, quoted: str, _: None) -> Response:
        contact = self._book.contacts.of(self._book.clock()).get(unquote(quoted))
        return responses.error(422) if contact is None else responses.ok(contact.full())

    def _agent(self, agent_id: str, _: None) -> Response:
        if any(call.agent_id == agent_id for call in self._book.calls.values()):
            return responses.ok({"agent_id": agent_id, "agent_name": "Simulated agent", "version": 1})
        return responses.error(422)

    def _concurrency(self, _: str, __: None) -> Response:
        limit = self._book.lines.limit
        return responses.ok(
            {
                "current_concurrency": self._book.lines.busy(self._book.clock()),
                "concurrency_limit": limit,
                "base_concurrency": limit,
                "purchased_concurrency": 0,
                "concurrency_purchase_limit": 100,
                "remaining_purchase_limit": 100,
                "concurrency_burst_enabled": False,
                "concurrency_burst_limit": 0,
                "reserved_inbound_concurrency": 0,
            }
        )

    def _api_key_info(self, _: str, __: None) -> Response:
        return responses.ok(
            {
                "org_id": contacts.ORGANISATION,
                "org_name": "Simulated organisation",
                "api_key_name": "Simulator",
            }
        )
