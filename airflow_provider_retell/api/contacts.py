"""The requests for contacts: the people in the account's address book."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from airflow_provider_retell._masking import last_digits, shown
from airflow_provider_retell.api.endpoints import Request
from airflow_provider_retell.api.filters import MAX_PAGE_SIZE, criteria, page_body
from airflow_provider_retell.api.identifiers import is_e164
from airflow_provider_retell.api.pages import Fields, Page, page_of
from airflow_provider_retell.errors import RetellInputError


def _read_contact(body: Any) -> Fields:
    if not isinstance(body, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 (one class for every unreadable response)
    return body


def list_contacts(
    *,
    do_not_call: bool | None = None,
    search_query: str | None = None,
    filter_criteria: Mapping[str, Any] | None = None,
    sort_order: str | None = None,
    page_size: int = MAX_PAGE_SIZE,
) -> Request[Page[Fields]]:
    """Read the first page of contacts; ``at`` of the request gives the others.

    See https://docs.retellai.com/api-references/list-contacts

    Args:
        do_not_call: Only contacts who must not be called, or only those who may be.
        search_query: Only contacts with this text in number, name, external id or a custom field.
        filter_criteria: Filters in Retell's own form, beside those above.
        sort_order: ``asc`` or ``desc`` (Retell's default) by the time they were created.
        page_size: Contacts in one response, 1 to 1000.

    Raises:
        RetellInputError: A filter is empty or is given twice.
    """
    if do_not_call is not None and not isinstance(do_not_call, bool):
        raise RetellInputError(f"do_not_call must be True or False, not {shown(do_not_call)}. Nothing was sent.")
    flag = None if do_not_call is None else {"type": "boolean", "op": "eq", "value": do_not_call}
    arguments = {"search_query": search_query, "filter_criteria": filter_criteria}
    body = page_body(page_size, sort_order) | criteria(filter_criteria or {}, {"do_not_call": flag}, arguments)
    if search_query is not None:
        body["search_query"] = search_query
    read = page_of(_read_contact, key="contact_id")
    return Request(method="POST", path="/list-contacts", body=body, read=read, idempotent=True)


def get_contact_by_phone(number: str) -> Request[Fields]:
    """Read the contact with a phone number; messages show its last four digits only.

    See https://docs.retellai.com/api-references/get-contact-by-phone

    Raises:
        RetellInputError: The number is not in E.164 form.
    """
    if not is_e164(number):
        raise RetellInputError(
            "number must be a phone number in E.164 form, such as +14155550100, got "
            f"{shown(number, is_number=True)}. Nothing was sent."
        )
    return Request(
        method="GET",
        path=f"/get-contact-by-phone/{quote(number, safe='')}",
        shown_path=f"/get-contact-by-phone/{last_digits(number)}",
        read=_read_contact,
        idempotent=True,
    )
