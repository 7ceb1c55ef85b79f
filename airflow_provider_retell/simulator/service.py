"""Retell's calls API without a network: a request in, an answer out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from airflow_provider_retell.simulator import answers, filters, schemas
from airflow_provider_retell.simulator.answers import Reply, Request
from airflow_provider_retell.simulator.book import CallBook
from airflow_provider_retell.simulator.schemas import Schema

_E164 = re.compile(r"\+[1-9]\d{1,14}")


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Name one kind of request; `path` is a pattern whose group, if any, is a call id."""

    name: str
    method: str
    path: re.Pattern[str]
    body: Schema | None = None


def _endpoint(name: str, method: str, path: str, body: Schema | None = None) -> Endpoint:
    pattern = re.compile(path.replace("{call_id}", "([^/]+)"))
    return Endpoint(name=name, method=method, path=pattern, body=body)


ENDPOINTS = (
    _endpoint("register-phone-call", "POST", "/v2/register-phone-call", schemas.REGISTER),
    _endpoint("create-phone-call", "POST", "/v2/create-phone-call", schemas.CREATE),
    _endpoint("get-call", "GET", "/v2/get-call/{call_id}"),
    _endpoint("list-calls", "POST", "/v3/list-calls", schemas.LIST),
    _endpoint("stop-call", "POST", "/v2/stop-call/{call_id}"),
    _endpoint("get-concurrency", "GET", "/get-concurrency"),
    _endpoint("get-api-key-info", "GET", "/get-api-key-info"),
)


def endpoint_of(request: Request) -> tuple[Endpoint, str] | None:
    """Find what is asked for, and the call id in the path (empty if there is none)."""
    for endpoint in ENDPOINTS:
        if endpoint.method == request.method and (found := endpoint.path.fullmatch(request.path)):
            return endpoint, "".join(found.groups())
    return None


class Service:
    """Answer requests from the book of calls."""

    def __init__(self, *, book: CallBook, api_key: str, list_registered: bool) -> None:
        self._book = book
        self._api_key = api_key
        self._list_registered = list_registered
        self._actions: Mapping[str, Callable[[str, Any], Reply]] = {
            "register-phone-call": self._register,
            "create-phone-call": self._create,
            "get-call": self._get,
            "list-calls": self._list,
            "stop-call": self._stop,
            "get-concurrency": self._concurrency,
            "get-api-key-info": self._api_key_info,
        }

    def respond(self, request: Request) -> Reply:
        """Answer one request."""
        target = endpoint_of(request)
        if target is None:
            return answers.error(404)
        if request.headers.get("authorization") != f"Bearer {self._api_key}":
            return answers.error(401)
        endpoint, call_id = target
        if call_id and call_id not in self._book.calls:
            return answers.error(422)
        body = None
        if endpoint.body is not None:
            try:
                body = json.loads(request.body or b"{}")
            except ValueError:
                return answers.error(400)
            if wrong := ", ".join(schemas.complaints(endpoint.body, body)):
                return answers.invalid(wrong)
        return self._actions[endpoint.name](call_id, body)

    def _register(self, _: str, body: dict[str, Any]) -> Reply:
        return answers.ok(self._book.register(body).full(self._book.clock()), 201)

    def _create(self, _: str, body: dict[str, Any]) -> Reply:
        checked = ["to_number"] if body.get("ignore_e164_validation") else ["from_number", "to_number"]
        for name in checked:
            if not _E164.fullmatch(body[name]):
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

    def _list(self, _: str, body: dict[str, Any]) -> Reply:
        limit = body.get("limit", 50)
        descending = body.get("sort_order", "descending") == "descending"
        matching = sorted(self._matching(body.get("filter_criteria", {})), key=itemgetter(0), reverse=descending)
        rest = matching[body.get("skip", 0) :]
        if "pagination_key" in body:
            try:
                last = filters.decode_cursor(body["pagination_key"])
            except ValueError:
                return answers.error(400)
            rest = [item for item in matching if (item[0] < last if descending else item[0] > last)]
        answer: dict[str, Any] = {"items": [call for _, call in rest[:limit]], "has_more": len(rest) > limit}
        if answer["has_more"]:
            answer["pagination_key"] = filters.encode_cursor(rest[limit - 1][0])
        if body.get("include_total"):
            answer["total"] = len(matching)
        return answers.ok(answer)

    def _matching(self, criteria: Mapping[str, Any]) -> Iterable[tuple[tuple[int, str], dict[str, Any]]]:
        now, calls = self._book.clock(), self._book.calls
        wanted = criteria.get("call_id", {})
        ids: Iterable[str] = calls
        if wanted.get("type") == "enum":
            # Pollers ask for their own ids: look these up instead of going through all calls.
            ids = dict.fromkeys(call_id for call_id in wanted["value"] if call_id in calls)
            criteria = {name: value for name, value in criteria.items() if name != "call_id"}
        for call_id in ids:
            call = calls[call_id]
            item = call.listed(now)
            if item["call_status"] == "registered" and not self._list_registered:
                continue
            if filters.matches(item, criteria):
                # What never started is sorted by when it was placed.
                yield (item.get("start_timestamp", round(call.created_at * 1000)), call_id), item

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
