"""What a mapped task may call itself in Airflow's grid: ``map_index_template="{{ outcome }} {{ last_digits }}"``.

Airflow renders the template after the task, with what the task left in its context. A name that is missing there
fails a task that succeeded, after its call was placed; so both are set before anything can return, skip or fail.
Both are texts that stay texts: native rendering makes a number of digits alone, and Airflow breaks on that.

See https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/dynamic-task-mapping.html
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, MutableMapping
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from airflow_provider_retell.api.models import Call

OUTCOME: Final = "outcome"
LAST_DIGITS: Final = "last_digits"

NOT_CALLED: Final = "not called"
LIVE: Final = "live"

_SHOWN_DIGITS: Final = 4


def label(context: Any, outcome: str, *, number: Any = None) -> None:
    """Set what the template may name.

    Args:
        context: The task's.
        outcome: The outcome of the call, or a word for none.
        number: The number that is called; None leaves the digits as they are, or empty.
    """
    names = cast("MutableMapping[str, Any]", context)
    names[OUTCOME] = outcome
    if number is not None or LAST_DIGITS not in names:
        digits = re.sub(r"\D", "", str(number or ""))
        names[LAST_DIGITS] = f"…{digits[-_SHOWN_DIGITS:]}" if len(digits) > _SHOWN_DIGITS else ""


def label_calls(context: Any, calls: Iterable[Call]) -> None:
    """Set it by calls: one by its outcome and number, several by the counts of their outcomes."""
    calls = list(calls)
    words = Counter(LIVE if call.outcome is None else call.outcome.value for call in calls)
    if len(calls) == 1:
        label(context, next(iter(words)), number=calls[0].to_number)
    else:
        label(context, ", ".join(f"{count} {word}" for word, count in words.most_common()) or "no calls")
