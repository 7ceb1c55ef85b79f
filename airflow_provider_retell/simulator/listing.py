"""Make the pages of calls that list-calls returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from airflow_provider_retell.simulator import filters
from airflow_provider_retell.simulator.call import SimulatedCall
from airflow_provider_retell.simulator.timeline import Position, Timeline, walk


class Listing:
    """List calls as they were at one moment.

    https://docs.retellai.com/api-references/list-calls

    Args:
        calls: Every call by its id.
        timeline: The order of the calls.
        now: The moment, in seconds since the epoch. Calls made later are not listed.
        registered: True: calls that are still `registered` are listed, too.
    """

    def __init__(
        self, calls: Mapping[str, SimulatedCall], timeline: Timeline, *, now: float, registered: bool
    ) -> None:
        self._calls = calls
        self._timeline = timeline
        self._now = now
        self._registered = registered

    def page(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the page that the body of a request asks for.

        Raises:
            ValueError: The pagination key was not made here.
        """
        limit, skip = body.get("limit", 50), body.get("skip", 0)
        last = filters.decode_cursor(body["pagination_key"]) if "pagination_key" in body else None
        found = list(islice(self._matching(body, last), skip, skip + limit + 1))
        page: dict[str, Any] = {"items": [call for _, call in found[:limit]], "has_more": len(found) > limit}
        if page["has_more"]:
            page["pagination_key"] = filters.encode_cursor(found[limit - 1][0])
        if body.get("include_total"):
            page["total"] = sum(1 for _ in self._matching(body, None))
        return page

    def _matching(
        self, body: Mapping[str, Any], last: Position | None
    ) -> Iterator[tuple[Position, dict[str, Any]]]:
        now, criteria = self._now, dict(body.get("filter_criteria", {}))
        if criteria.get("call_id", {}).get("type") == "enum":
            # Polls name their ids: look these up instead of going through all calls.
            ids = dict.fromkeys(call_id for call_id in criteria.pop("call_id")["value"] if call_id in self._calls)
            positions = self._timeline.of(ids, now)
        else:
            positions = self._timeline.positions(now)
        # Making a complete call object takes ten times as long: first apply filters that need only the request.
        fixed = {name: criteria.pop(name) for name in filters.FIXED_BY_REQUEST & criteria.keys()}
        started = criteria.get("start_timestamp")
        descending = body.get("sort_order", "descending") == "descending"
        for position in walk(positions, descending=descending, last=last, started=started):
            call = self._calls[position[1]]
            if call.created_at > now or (call.status(now) == "registered" and not self._registered):
                continue
            if fixed and not filters.matches(call.identity, fixed):
                continue
            item = call.listed(now)
            if filters.matches(item, criteria):
                yield position, item
