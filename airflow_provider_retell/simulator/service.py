"""Retell's calls API without a network: a request in, an answer out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from airflow_provider_retell import __version__
from airflow_provider_retell.simulator import answers, filters, numbers, recordings, schemas
from airflow_provider_retell.simulator.answers import Reply, Request
from airflow_provider_retell.simulator.book import CallBook
from airflow_provider_retell.simulator.schemas import Schema
from airflow_provider_retell.simulator.timeline import Position, walk

IDENTITY = {"simulator": "airflow-provider-retell", "version": __version__}
"""The answer to `GET /`, for which no key is needed.

A client whose connection leads to another machine over plain HTTP, and says that a simulator is there, asks for
this first. It sends its key only if `simulator` is `airflow-provider-retell`. `version` is for people.
"""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Name one kind of request; `path` is a pattern whose first group, if any, is a call's or an agent's id."""

    name: str
    method: str
    path: re.Pattern[str]
    body: Schema | None = None
    of_a_call: bool = False


def _endpoint(name: str, method: str, path: str, body: Schema | None = None) -> Endpoint:
    pattern = re.compile(re.sub(r"\{\w+\}", "([^/]+)", path))
    return Endpoint(name=name, method=method, path=pattern, body=body, of_a_call="{call_id}" in path)


ENDPOINTS = (
    _endpoint("handshake", "GET", "/"),
    _endpoint("register-phone-call", "POST", "/v2/register-phone-call", schemas.REGISTER),
    _endpoint("create-phone-call", "POST", "/v2/create-phone-call", schemas.CREATE),
    _endpoint("get-call", "GET", "/v2/get-call/{call_id}"),
    _endpoint("list-calls", "POST", "/v3/list-calls", schemas.LIST),
    _endpoint("stop-call", "POST", "/v2/stop-call/{call_id}"),
    _endpoint("get-agent", "GET", "/get-agent/{agent_id}"),
    _endpoint("get-concurrency", "GET", "/get-concurrency"),
    _endpoint("get-api-key-info", "GET", "/get-api-key-info"),
    Endpoint(name="recording", method="GET", path=recordings.PATH),
)


def endpoint_of(request: Request) -> tuple[Endpoint, str] | None:
    """Find what is asked for, and the id in the path (empty if there is none)."""
    for endpoint in ENDPOINTS:
        if endpoint.method == request.method and (found := endpoint.path.fullmatch(request.path)):
            return endpoint, found[1] if found.groups() else ""
    return None


class Service:
    """Answer requests from the book of calls."""

    def __init__(
        self, *, book: CallBook, api_key: str, list_registered: bool, recording_link_seconds: float | None
    ) -> None:
        self._book = book
        self.recording_link_seconds = recording_link_seconds
        self._api_key = api_key
        self._list_registered = list_registered
        self._actions: Mapping[str, Callable[[str, Any], Reply]] = {
            "register-phone-call": self._register,
            "create-phone-call": self._create,
            "get-call": self._get,
            "list-calls": self._list,
            "stop-call": self._stop,
            "get-agent": self._agent,
            "get-concurrency": self._concurrency,
            "get-api-key-info": self._api_key_info,
        }

    def respond(self, request: Request) -> Reply:
        """Answer one request."""
        target = endpoint_of(request)
        if target is None:
            return answers.error(404)
        endpoint, named = target
        if endpoint.name == "handshake":
            return answers.ok(IDENTITY)
        if endpoint.name == "recording":
            return recordings.respond(request.path, self._book.calls, self._book.clock())
        return self._linked(self._answer(endpoint, named, request), request)

    def _answer(self, endpoint: Endpoint, named: str, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {self._api_key}":
            return answers.error(401)
        if endpoint.of_a_call and named not in self._book.calls:
            return answers.error(422)
        body = None
        if endpoint.body is not None:
            try:
                body = json.loads(request.body or b"{}")
            except ValueError:
                return answers.error(400)
            if wrong := ", ".join(schemas.complaints(endpoint.body, body)):
                return answers.invalid(wrong)
        return self._actions[endpoint.name](named, body)

    def _linked(self, reply: Reply, request: Request) -> Reply:
        """Put links to recordings into an answer, if there are to be any."""
        if self.recording_link_seconds is None or reply.status != 200:  # noqa: PLR2004
            return reply
        expires_at = self._book.clock() + self.recording_link_seconds
        answer = json.loads(reply.body)
        linked = [
            recordings.with_link(call, request, expires_at=expires_at) for call in answer.get("items", [answer])
        ]
        return answers.ok({**answer, "items": linked} if "items" in answer else linked[0])

    def _register(self, _: str, body: dict[str, Any]) -> Reply:
        return answers.ok(self._book.register(body).full(self._book.clock()), 201)

    def _create(self, _: str, body: dict[str, Any]) -> Reply:
        checked = ["to_number"] if body.get("ignore_e164_validation") else ["from_number", "to_number"]
        for name in checked:
            if not numbers.is_e164(body[name]):
                return answers.error(400, f"{name} must be in E.164 format.")
        if body.get("honor_internal_dnc") and self._book.do_not_call(body["to_number"]):
            return answers.error(400, "The contact for to_number is marked do_not_call.")
        call = self._book.create(body)
        if call is None:
            return answers.error(429)
        return answers.ok(call.full(self._book.clock()), 201)

    def _get(self, call_id: str, _: None) -> Reply:
        return answers.ok(self._book.calls[call_id].full(self._book.clock()))

    def _stop(self, call_id: str, _: None) -> Reply:
        if self._book.stop(call_id):
            return Reply(status=204)
        return answers.error(400, "Call is not ongoing.")

    def _agent(self, agent_id: str, _: None) -> Reply:
        """Answer who asks for an agent: there are those of the calls."""
        for call in self._book.calls.values():
            if call.agent_id == agent_id:
                return answers.ok({"agent_id": agent_id, "agent_name": "Simulated agent", "version": 1})
        return answers.error(422)

    def _list(self, _: str, body: dict[str, Any]) -> Reply:
        limit = body.get("limit", 50)
        last = None
        if "pagination_key" in body:
            try:
                last = filters.decode_cursor(body["pagination_key"])
            except ValueError:
                return answers.error(400)
        matching = self._matching(body, last)
        page = list(islice(matching, body.get("skip", 0), body.get("skip", 0) + limit + 1))
        answer: dict[str, Any] = {"items": [call for _, call in page[:limit]], "has_more": len(page) > limit}
        if answer["has_more"]:
            answer["pagination_key"] = filters.encode_cursor(page[limit - 1][0])
        if body.get("include_total"):
            answer["total"] = sum(1 for _ in self._matching(body, None))
        return answers.ok(answer)

    def _matching(
        self, body: Mapping[str, Any], last: Position | None
    ) -> Iterator[tuple[Position, dict[str, Any]]]:
        now, calls = self._book.clock(), self._book.calls
        criteria = body.get("filter_criteria", {})
        wanted = criteria.get("call_id", {})
        if wanted.get("type") == "enum":
            # Pollers ask for their own ids: look these up instead of going through all calls.
            ids = dict.fromkeys(call_id for call_id in wanted["value"] if call_id in calls)
            positions = self._book.timeline.of(ids, now)
            criteria = {name: value for name, value in criteria.items() if name != "call_id"}
        else:
            positions = self._book.timeline.positions(now)
        descending = body.get("sort_order", "descending") == "descending"
        started = criteria.get("start_timestamp")
        for position in walk(positions, descending=descending, last=last, started=started):
            call = calls[position[1]]
            if call.status(now) == "registered" and not self._list_registered:
                continue
            item = call.listed(now)
            if filters.matches(item, criteria):
                yield position, item

    def _concurrency(self, _: str, __: None) -> Reply:
        limit = self._book.concurrency_limit
        return answers.ok(
            {
                "current_concurrency": self._book.concurrency(),
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

    def _api_key_info(self, _: str, __: None) -> Reply:
        return answers.ok(
            {"org_id": "org_simulated", "org_name": "Simulated organisation", "api_key_name": "Simulator"}
        )
