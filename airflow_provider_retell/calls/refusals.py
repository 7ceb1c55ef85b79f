"""The refusals of ``next_step``, in words that say what a person can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from airflow_provider_retell.calls.steps import Refuse
from airflow_provider_retell.outcomes import Outcome

if TYPE_CHECKING:
    from airflow_provider_retell.api.call_rows import CallRow

CLEAR: Final = "To place a new call, clear the task."
OTHER_API_KEY: Final = "The connection holds another API key by now, which may be another account's. "
OTHER_KEY: Final = "Another call needs another call_key."
HIDDEN: Final = (
    "Not called again: an earlier try may have placed a call, its idempotency key is spent or the calling hours "
    "are shut, and this API key may not list calls. Give it that permission in Retell's dashboard and clear the "
    "task, or set durable=False."
)


def no_longer_known(call_id: str) -> Refuse:
    """Refuse to call after a call that Retell does not know."""
    return Refuse(
        f"Not called again: an earlier try placed {call_id}, which Retell no longer knows, so it is unknown how "
        f"it went. {CLEAR}",
        call_ids=(call_id,),
    )


def was_stopped(call: CallRow) -> Refuse:
    """Refuse to call after a call in which somebody was cut off."""
    return Refuse(
        f"Not called again: {call.call_id} of an earlier try was stopped, by this task when it was killed "
        f"or timed out, or through Retell's API or dashboard. {CLEAR} To have retries place one, name "
        "'stopped' in fail_on.",
        call_ids=(call.call_id,),
        outcomes=frozenset({Outcome.STOPPED.value}),
    )
