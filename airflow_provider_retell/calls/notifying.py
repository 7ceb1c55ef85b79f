"""The occasions on which a notifier rings: a failure of a task or of a run, or a missed deadline.

===============================================  =====================================  ==========================
the context that Airflow gives                   one call per number for each           may wait for answers
===============================================  =====================================  ==========================
of a task's callback on a worker, with the       DAG, run, task, map index and try      yes
exception
of a task's callback elsewhere                   the same                               no
of a DAG's callback, with the last task          the same                               no
of a DAG's callback, without                     DAG and run                            no
of a ``DeadlineAlert``                           DAG, run and deadline                  no
===============================================  =====================================  ==========================

Airflow may run a callback twice: a frozen worker and the DAG processor both report one failure, and a trigger runs
again on another triggerer. The idempotency key is made of the occasion, so both have the same.

See https://airflow.apache.org/docs/apache-airflow/stable/administration-and-deployment/logging-monitoring/callbacks.html
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from airflow_provider_retell import _metrics as metrics
from airflow_provider_retell._clock import CLOCK, Clock
from airflow_provider_retell._masking import last_digits, mask_numbers
from airflow_provider_retell.api.endpoints import Request, list_tagged_calls
from airflow_provider_retell.api.flows import Flow
from airflow_provider_retell.calls.intent import (
    PERSON_DIGITS,
    TAG,
    digest,
    numbered,
    person_prefix,
    tag_of,
    task_prefix,
)
from airflow_provider_retell.calls.recognition import was_there_before
from airflow_provider_retell.errors import Concerns, RetellConnectionError, RetellError, RetellInputError
from airflow_provider_retell.provider.backfills import is_backfill

if TYPE_CHECKING:
    from airflow_provider_retell.api.models import Call
    from airflow_provider_retell.api.pages import Page

log = logging.getLogger(__name__)

_NO_TASK_IS_CALLED: Final = "notification about "
"""A text with a space, which no task id has, so that no task adopts the call of a notifier."""


@dataclass(frozen=True, kw_only=True)
class Occasion:
    """The event that a callback's context describes.

    Attributes:
        dag_id: The id of the DAG.
        run_id: The id of the run.
        task_id: The id of the task, empty if the occasion concerns the run.
        map_index: The map index of the task, -1 if it is not mapped.
        try_number: The number of the task's try.
        deadline: The id of the missed deadline, empty if there is none.
        in_backfill: Whether the run is one of a backfill.
        may_wait: Whether there is time to wait for an answer.
    """

    dag_id: str
    run_id: str
    task_id: str = ""
    map_index: int = -1
    try_number: int = 0
    deadline: str = ""
    in_backfill: bool = False
    may_wait: bool = False

    @classmethod
    def of(cls, context: Mapping[str, Any]) -> Self:
        """Return the occasion that a context describes.

        Raises:
            RetellInputError: It has no run.
        """
        ti, run = context.get("ti"), context.get("dag_run")
        dag_id = _first(ti, run, context.get("dag"), name="dag_id")
        # A deadline's context has the run as the REST API shows it.
        run_id = _first(ti, run, context, name="run_id") or _first(run, name="dag_run_id")
        if not dag_id or not run_id:
            raise RetellInputError("The callback's context names no DAG run.")
        map_index = _first(ti, name="map_index")
        return cls(
            dag_id=str(dag_id),
            run_id=str(run_id),
            task_id=str(_first(ti, name="task_id") or ""),
            map_index=-1 if map_index is None else int(map_index),
            try_number=int(_first(ti, name="try_number") or 0),
            deadline=str(_first(context.get("deadline"), name="id") or ""),
            in_backfill=is_backfill(run, run_id=str(run_id)),
            # Away from a worker the exception is missing, or a text.
            may_wait=isinstance(context.get("exception"), BaseException),
        )

    def tag(self, number: str, *, namespace: str) -> str:
        """Return the metadata tag of the call to a number, by which it can be found again."""
        task = task_prefix(
            namespace=namespace,
            dag_id=self.dag_id,
            run_id=self.run_id,
            task_id=_NO_TASK_IS_CALLED + self.task_id,
            map_index=self.map_index,
        )
        person = digest(number, self.deadline, length=PERSON_DIGITS)
        return numbered(person_prefix(task, person), generation=0, ordinal=self.try_number)

    def __str__(self) -> str:
        """Return a description for a message."""
        task = f"try {self.try_number} of the task {self.task_id} in " if self.task_id else ""
        deadline = "a deadline of " if self.deadline else ""
        return f"{deadline}{task}the run {self.run_id} of the DAG {self.dag_id}"


def _first(*sources: Any, name: str) -> Any:
    """Return the first value that an object, or a mapping, has under a name."""
    found = (each.get(name) if isinstance(each, Mapping) else getattr(each, name, None) for each in sources)
    return next((value for value in found if value is not None), None)


@dataclass(kw_only=True)
class OneCall:
    """The call to one number, which is placed once, however often that is tried.

    Attributes:
        request: Places the call, under a key and with a tag in its metadata.
        clock: The time.
    """

    request: Request[Call]
    clock: Clock = CLOCK
    _asked_at: float | None = field(default=None, init=False)

    def ring(self) -> Flow[Call]:
        """Return the call with the tag of the request, and place it if there is none.

        The key prevents a second call for an hour, the list for longer. If the list cannot be read, only the key
        counts, because not ringing about a failure would be worse.
        """
        tag = str((self.request.body or {})["metadata"][TAG])
        with suppress(RetellError):
            page: Page[Call] = yield list_tagged_calls(TAG, tag, op="eq")
            for call in page.calls:
                if tag_of(call) == tag:
                    return call
        self._asked_at = self.clock.now() if self._asked_at is None else self._asked_at
        placed: Call = yield self.request
        return placed

    def placed(self, call: Call) -> bool:
        """Return whether a call was placed here, and not by another run of the callback."""
        return self._asked_at is not None and not was_there_before(call, first_sent_at=self._asked_at)


@dataclass(kw_only=True)
class CallRound:
    """The calls about one occasion.

    Attributes:
        occasion: The occasion of the calls.
        pending: The remaining calls, by the number to call.
        problems: The reasons why some numbers were not rung.
    """

    occasion: Occasion
    pending: dict[str, OneCall] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def each(self) -> Iterator[tuple[str, OneCall]]:
        """Yield the remaining numbers with their calls."""
        while self.pending:
            number = next(iter(self.pending))
            yield number, self.pending.pop(number)

    def rang(self, number: str, call: Call, *, placed: bool) -> None:
        """Note a call, which was placed just now or found."""
        metrics.count("retell.calls.placed.create" if placed else "retell.calls.found")
        words = "Rang %s about %s: %s." if placed else "%s has been rung before about %s: found %s."
        log.info(words, last_digits(number), self.occasion, call.call_id)

    def failed(self, number: str, error: RetellError) -> None:
        """Note a number that was not rung, and give up the numbers that would fail for the same reason."""
        self.problems[number] = str(error)
        if isinstance(error, RetellConnectionError) or error.concerns is Concerns.ACCOUNT:
            self.problems |= dict.fromkeys(self.pending, "for the same reason")
            self.pending.clear()

    def report(self) -> None:
        """Log the problems, in one line."""
        if self.problems:
            each = "; ".join(f"{last_digits(number)}: {why}" for number, why in self.problems.items())
            log.error("Not rung about %s: %s", self.occasion, mask_numbers(each))
