"""The sensor: wait until one call is over, or many calls are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, cast

from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    BaseSensorOperator,
    Context,
    PokeReturnValue,
    XComArg,
)

from airflow_provider_retell._argument_checks import flag, seconds
from airflow_provider_retell._clock import CLOCK
from airflow_provider_retell._masking import shown
from airflow_provider_retell.api.identifiers import check_call_id
from airflow_provider_retell.api.settings import DEFAULT_CONN_ID
from airflow_provider_retell.calls.watch import Goal, WaitFor, check_wait_for
from airflow_provider_retell.errors import RetellInputError
from airflow_provider_retell.hooks import RetellHook
from airflow_provider_retell.outcomes import check_endings
from airflow_provider_retell.provider.deferral import DEFAULT_DEFERRABLE, DeferringOperator, WakeEvent
from airflow_provider_retell.provider.links import CALL_ID_KEY, LinkedTask
from airflow_provider_retell.provider.map_labels import LIVE, label, label_calls
from airflow_provider_retell.provider.options import read_options
from airflow_provider_retell.provider.outlets import announce_calls
from airflow_provider_retell.provider.templates import TemplatedOperator, check_pushed
from airflow_provider_retell.provider.version_compat import first_look
from airflow_provider_retell.rows import Row, check_include, is_dry

if TYPE_CHECKING:
    from airflow_provider_retell.calls.task_wait import TaskWait


class RetellCallSensor(LinkedTask, TemplatedOperator, DeferringOperator, BaseSensorOperator):
    """Wait until calls are over, that is ``ended``, ``error`` or ``not_connected``.

    Result: a row for one call, a list of rows in the order given for a sequence, ``[]`` at once for an empty
    sequence. The modes ``poke`` and ``reschedule`` and ``deferrable=True`` differ neither in their results nor in
    their failures, except that ``reschedule`` waits out unreadable responses until ``timeout``, and that with
    ``deferrable=True`` a trigger that failed is a ``RetellCallError``, unless the calls are over by then.

    See https://docs.retellai.com/api-references/list-calls

    Args:
        call_id: One call id, one row of an operator, or a sequence of either (the output of a mapped operator).
        wait_for: ``ended``, or ``analyzed``: wait for ``call_analysis`` too.
        analysis_timeout: Seconds to wait for the analysis after the end of each call. Calls that never connected
            are not waited for.
        fail_on: Statuses, outcomes and disconnection reasons. A call that ends in one of them fails the task
            without a retry, because the call cannot change any more.
        skip_on: The same, but the task is skipped. ``fail_on`` goes first.
        include: Heavy fields to put into the rows, such as ``transcript``.
        deferrable: Wait in the triggerer, without a worker.
        retell_conn_id: A connection of type ``retell``.
        poke_interval: Seconds between two polls, or a timedelta.
        timeout: Seconds to wait for all of the calls, or a timedelta.
        **kwargs: Airflow's own, such as ``mode`` and ``soft_fail``.

    Raises:
        RetellInputError: An argument is invalid, such as a ``call_id`` without an id.
        RetellCallFinalError: A call ended as ``fail_on`` names.
        AirflowSensorTimeout: Not all calls were over within ``timeout``.
    """

    template_fields = ("call_id", "retell_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"call_id": "json"}
    ui_color = "#e8f4ea"

    def __init__(
        self,
        *,
        call_id: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any] | XComArg] | XComArg,
        wait_for: WaitFor = "ended",
        analysis_timeout: float | timedelta = 600,
        fail_on: str | Sequence[str] = (),
        skip_on: str | Sequence[str] = (),
        include: str | Sequence[str] = (),
        deferrable: bool = DEFAULT_DEFERRABLE,
        retell_conn_id: str | XComArg = DEFAULT_CONN_ID,
        poke_interval: float | timedelta = 30,
        timeout: float | timedelta = 10800,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            poke_interval=seconds("poke_interval", poke_interval), timeout=seconds("timeout", timeout), **kwargs
        )
        check_wait_for(wait_for, required=True)
        check_pushed("call_id", call_id)
        self.call_id = call_id
        self.wait_for = wait_for
        self.analysis_timeout = seconds("analysis_timeout", analysis_timeout)
        self.fail_on = check_endings("fail_on", fail_on)
        self.skip_on = check_endings("skip_on", skip_on)
        self.include = check_include(include)
        self.deferrable = flag("deferrable", deferrable)
        self.retell_conn_id: Any = retell_conn_id
        self._wait: TaskWait | None = None
        self._woken_by: WakeEvent | None = None
        self._hook: RetellHook
        self._hidden: Any = None

    def _do_render_template_fields(self, *args: Any, **kwargs: Any) -> None:
        """Render, then reduce rows to call ids, so that whole calls do not end up in Airflow's rendered fields."""
        super()._do_render_template_fields(*args, **kwargs)
        given: Any = self.call_id
        try:
            ids = call_ids(given)
        except RetellInputError:  # raised again when the task runs, so that soft_fail applies
            self._hidden = given
            self.call_id = "a dry run: no call to wait for" if is_dry(given) else "not the id of a call"
        else:
            self.call_id = ids[0] if isinstance(given, str | Mapping) else ids

    @property
    def _given(self) -> Any:
        """The calls to wait for: ``call_id`` as given, before rendering reduced it to ids."""
        return self.call_id if self._hidden is None else self._hidden

    def execute(self, context: Context) -> Row | list[Row]:
        """Wait, and return the row or rows."""
        label(context, LIVE)
        rows: Any = self._given
        if is_dry(rows):
            self.log.info("Dry run: there is no call to wait for.")
            return cast("Row", rows) if isinstance(rows, Mapping) else list(rows)
        options = read_options()
        # A rescheduled sensor meets the same race as a deferred one: its process must have ended first.
        shortest = options.shortest_deferral if self.reschedule else options.shortest_poll_interval
        self.poke_interval = max(self.poke_interval, shortest)
        self._wait = None  # `dag.test()` may resume the same object, whose old wait holds a closed client
        with RetellHook(self.retell_conn_id) as self._hook:
            result: Row | list[Row] = super().execute(context)
        rows = result if isinstance(result, list) else [result]
        announce_calls(context, self.outlets, rows, retell_conn_id=self.retell_conn_id)
        return result

    def _resume(self, context: Context, event: WakeEvent) -> Row | list[Row]:
        self._woken_by = event  # for poke, which Airflow's own loop calls
        return self.execute(context)

    def poke(self, context: Context) -> PokeReturnValue:
        """Read the calls once; if they are not over, defer or let Airflow poke again."""
        wait = self._wait
        if wait is None:
            wait = self._wait = self._first_wait(context)
            if isinstance(self._given, str | Mapping):
                (call_id,) = wait.call_ids
                self._link(call_id, stored=self._woken_by is not None)
                if self._woken_by is None:
                    context["ti"].xcom_push(key=CALL_ID_KEY, value=call_id)
        if wait.poll():
            label_calls(context, wait.watch.calls.values())
            rows = wait.rows(final=True)
            many = not isinstance(self._given, str | Mapping)
            return PokeReturnValue(is_done=True, xcom_value=rows if many else rows[0])
        if self.deferrable:
            if wait.timed_out:
                raise AirflowSensorTimeout(f"{wait.missed()} The calls go on by themselves.")
            # Imported here: Airflow's part of it takes 10 ms, in every process that parses a DAG.
            from airflow_provider_retell._call_triggers import RetellCallTrigger  # noqa: PLC0415

            # From inside Airflow's own loop, so that soft_fail and the like mean the same in every mode.
            trigger = RetellCallTrigger(retell_conn_id=self.retell_conn_id, **wait.trigger_arguments())
            self._defer_to(trigger, woken_by=self._woken_by)
        return PokeReturnValue(is_done=False)

    def _first_wait(self, context: Context) -> TaskWait:
        # Imported here: every process that parses a DAG imports this module, and few of them wait for a call.
        from airflow_provider_retell.calls.task_wait import TaskWait, longest_wait  # noqa: PLC0415

        longest = longest_wait(self, self.timeout)
        ids = call_ids(self._given)
        return TaskWait(
            self._hook.get_conn(),
            ids,
            goal=Goal(wait_for=self.wait_for, analysis_timeout=self.analysis_timeout),
            deadline=CLOCK.now() + longest,
            poll_interval=self.poke_interval,
            fail_on=self.fail_on,
            skip_on=self.skip_on,
            include=self.include,
            woken_by=self._woken_by,
            since=first_look(context) if self.reschedule else None,
            longest=longest,
        )


def call_ids(given: Any) -> list[str]:
    """Return the call ids of a sensor's ``call_id``; raise ``RetellInputError`` if there is no id in it."""
    if isinstance(given, str | Mapping):
        return [_call_id(given)]
    if not isinstance(given, Sequence) or isinstance(given, bytes | bytearray):
        raise RetellInputError(
            f"call_id must be a call id, a row, or a sequence of either, got {shown(given)}. Nothing was sent."
        )
    return [_call_id(item) for item in given]


def _call_id(item: Any) -> str:
    if isinstance(item, Mapping):
        if "call_id" not in item:
            raise RetellInputError(f"The row given as call_id has no call_id, only {shown(sorted(item))}.")
        item = item["call_id"]
    return check_call_id(item)
