"""Label mapped tasks in Airflow's grid by ``map_index_template="{{ outcome }} {{ last_digits }}"``.

Airflow renders the template after the task, with the task's context. A name that is missing there would fail a
task that has succeeded, after its call was placed; so both names are set before anything can return, skip or fail.
Both stay texts under native rendering, which would turn digits alone into a number that Airflow cannot handle.

See https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/dynamic-task-mapping.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, MutableMapping
from typing import TYPE_CHECKING, Any, Final, cast

from airflow_provider_retell._masking import last_digits

if TYPE_CHECKING:
    from airflow_provider_retell.api.call_rows import CallRow
    from airflow_provider_retell.api.models import Call

OUTCOME: Final = "outcome"
LAST_DIGITS: Final = "last_digits"

NOT_CALLED: Final = "not called"
LIVE: Final = "live"


def label(context: Any, outcome: str, *, number: Any = None) -> None:
    """Set the names that the template may use.

    Args:
        context: Airflow's context of the running task.
        outcome: The outcome of the call, or a word if there is none.
        number: The called number; None leaves the digits as they are, or empty.
    """
    names = cast("MutableMapping[str, Any]", context)
    names[OUTCOME] = outcome
    if number is not None or LAST_DIGITS not in names:
        names[LAST_DIGITS] = last_digits(number)


def label_calls(context: Any, calls: Iterable[Call | CallRow]) -> None:
    """Set the names: for one call its outcome and number, for several the counts of their outcomes."""
    calls = list(calls)
    words = Counter(LIVE if call.outcome is None else call.outcome.value for call in calls)
    if len(calls) == 1:
        label(context, next(iter(words)), number=calls[0].to_number)
    else:
        label(context, ", ".join(f"{count} {word}" for word, count in words.most_common()) or "no calls")
