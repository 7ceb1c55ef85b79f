"""Keep contacts: people known by their number, some of whom must not be called."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_provider_retell.simulator import filters
from airflow_provider_retell.simulator.call import SimulatedCall

ORGANISATION = "org_simulated"
DO_NOT_CALL = "user_requested_dnc"
"""The disconnection reason of a call on which the person asked not to be called again."""


@dataclass(frozen=True, kw_only=True)
class Contact:
    """Hold a contact. Each number has at most one.

    https://docs.retellai.com/api-references/get-contact-by-phone

    Attributes:
        phone_number: In E.164 form.
        created_at: Seconds since the epoch.
    """

    phone_number: str
    created_at: float
    do_not_call: bool = False
    first_name: str | None = None
    last_name: str | None = None
    custom_fields: Mapping[str, Any] = field(default_factory=dict)

    def full(self) -> dict[str, Any]:
        """Return the contact object as Retell shows it."""
        named = {"first_name": self.first_name, "last_name": self.last_name}
        return {
            "contact_id": f"contact_{hashlib.sha256(self.phone_number.encode()).hexdigest()[:24]}",
            "org_id": ORGANISATION,
            "created_timestamp": round(self.created_at * 1000),
            "phone_number": self.phone_number,
            "do_not_call": self.do_not_call,
            "custom_fields": dict(self.custom_fields),
            **{name: value for name, value in named.items() if value is not None},
        }


class ContactBook:
    """Keep the contacts: those that were added, and people who asked on a call not to be called again.

    Args:
        calls: Every call by its id; other code keeps it up to date.
    """

    def __init__(self, calls: Mapping[str, SimulatedCall]) -> None:
        self._calls = calls
        self._contacts: dict[str, Contact] = {}
        self._asking: list[str] = []

    def add_call(self, call: SimulatedCall) -> None:
        """Note a call if the person is going to ask not to be called again."""
        if call.scenario.reason == DO_NOT_CALL:
            self._asking.append(call.call_id)

    def put(self, contact: Contact) -> None:
        """Add a contact, or replace the one with that number."""
        self.of(contact.created_at)
        self._contacts[contact.phone_number] = contact

    def of(self, now: float) -> Mapping[str, Contact]:
        """Return all contacts by number, with the wishes of people whose calls are over by now."""
        over = [each for each in self._asking if each not in self._calls or self._calls[each].is_over(now)]
        for call_id in over:
            self._asking.remove(call_id)
            call = self._calls.get(call_id)
            if call is not None and call.ending[1] == DO_NOT_CALL and (number := call.person):
                known = self._contacts.get(number) or Contact(phone_number=number, created_at=call.ended_at)
                self._contacts[number] = replace(known, do_not_call=True)
        return self._contacts


def listing(contacts: Mapping[str, Contact], body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the page of contacts that the body of a list-contacts request asks for.

    Raises:
        ValueError: The pagination key was not made here.
    """
    criteria, excluded = body.get("filter_criteria", {}), set(body.get("excluded_contact_ids", ()))
    descending = body.get("sort_order", "desc") == "desc"
    matching = {
        (each["created_timestamp"], each["contact_id"]): each
        for each in (contact.full() for contact in contacts.values())
        if each["contact_id"] not in excluded
        and filters.matches(each, criteria)
        and body.get("search_query", "").lower() in _searched(each)
    }
    places = sorted(matching, reverse=descending)
    if "pagination_key" in body:
        last = filters.decode_cursor(body["pagination_key"])
        places = [place for place in places if (place < last if descending else place > last)]
    places = places[int(body.get("skip", 0)) :]
    page = places[: int(body.get("limit", 50))]
    response: dict[str, Any] = {
        "items": [matching[place] for place in page],
        "has_more": len(page) < len(places),
        "total": len(matching),
    }
    if response["has_more"]:
        response["pagination_key"] = filters.encode_cursor(page[-1])
    return response


def _searched(contact: Mapping[str, Any]) -> str:
    names = (contact["phone_number"], contact.get("first_name", ""), contact.get("last_name", ""))
    return "\n".join(map(str, (*names, *contact["custom_fields"].values()))).lower()
