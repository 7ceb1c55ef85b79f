"""The types of ``**kwargs``, so that editors complete them and type checkers check them.

Nothing here is read at run time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict


class CallFilters(TypedDict, total=False):
    """The arguments of ``RetellHook.list_calls`` besides ``call_ids``, ``metadata`` and ``page_size``."""

    agent_id: str | None
    call_status: Sequence[str] | None
    direction: str | None
    batch_call_id: str | None
    started_from: int | None
    started_before: int | None
    filter_criteria: Mapping[str, Any] | None
    sort_order: str | None


class ContactFilters(TypedDict, total=False):
    """The arguments of ``RetellHook.list_contacts`` besides ``do_not_call`` and ``page_size``."""

    search_query: str | None
    filter_criteria: Mapping[str, Any] | None
    sort_order: str | None
