"""The button in Airflow's grid that opens the call in Retell's dashboard."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import quote

from airflow.providers.common.compat.sdk import BaseOperator, BaseOperatorLink, XCom

CALL_ID_KEY = "call_id"
"""The XCom key under which an operator or sensor pushes the id of its one call."""


class RetellCallLink(BaseOperatorLink):
    """Link to the call in Retell's dashboard. A task with many calls has no such button."""

    name = "Retell call"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address, empty as long as there is no call. Never fails and never asks Retell."""
        if not isinstance(operator, LinkedTask):  # in the webserver of Airflow 2, which knows no class of ours
            return _pushed_url(ti_key)
        return call_url(operator.linked_call_id) if operator.linked_call_id else ""


class LinkedTask(BaseOperator):
    """A task with the button. On its worker the task knows its call, and Airflow need not be asked for the id."""

    operator_extra_links: Collection[BaseOperatorLink] = (RetellCallLink(),)
    linked_call_id: str | None = None

    def _link(self, call_id: str, *, stored: bool = False) -> None:
        """Let the button lead to a call.

        Args:
            call_id: The call.
            stored: Whether an earlier process of this try has stored this link. Airflow 3 stores a task's links
                whenever a process of it ends, which takes a request for each.
        """
        self.linked_call_id = call_id
        self.operator_extra_links = () if stored else type(self).operator_extra_links


def _pushed_url(ti_key: Any) -> str:
    try:
        call_id = XCom.get_value(ti_key=ti_key, key=CALL_ID_KEY)
    except Exception:  # noqa: BLE001 (a link that raises takes the task's other links with it)
        return ""
    return call_url(call_id) if isinstance(call_id, str) else ""


def call_url(call_id: str) -> str:
    """Return the URL of a call in Retell's dashboard."""
    return f"https://dashboard.retellai.com/call-history?history={quote(call_id, safe='')}"


def handed_on_id(context: Mapping[str, Any]) -> str | None:
    """Return the id of the call that this try pushed last, None if there is none."""
    ti = context["ti"]
    call_id = ti.xcom_pull(task_ids=ti.task_id, key=CALL_ID_KEY, map_indexes=ti.map_index)
    return None if call_id is None else str(call_id)
