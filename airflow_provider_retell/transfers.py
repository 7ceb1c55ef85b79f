"""The transfer: all calls of an interval as files in an object store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

from airflow.providers.common.compat.sdk import AirflowFailException, Context

from airflow_provider_retell._argument_checks import flag, number, seconds
from airflow_provider_retell._clock import CLOCK
from airflow_provider_retell.api.concurrency import RequestRate
from airflow_provider_retell.api.filters import MAX_PAGE_SIZE
from airflow_provider_retell.api.settings import DEFAULT_CONN_ID
from airflow_provider_retell.calls.watch import Goal
from airflow_provider_retell.errors import RetellInputError
from airflow_provider_retell.export.checkpoint import Checkpoint
from airflow_provider_retell.export.interval import read_interval
from airflow_provider_retell.export.late_arrivals import ANALYSIS_TIMEOUT, find_late_arrivals
from airflow_provider_retell.export.listing import Selection, read_filters
from airflow_provider_retell.export.progress import Progress, Section
from airflow_provider_retell.export.run import Export, file_name
from airflow_provider_retell.files.contents import Contents
from airflow_provider_retell.files.destination import Destination
from airflow_provider_retell.files.formats import FileFormat, check_format, open_format
from airflow_provider_retell.hooks import RetellHook
from airflow_provider_retell.provider.deferral import (
    DEFAULT_DEFERRABLE,
    DeferringOperator,
    Wake,
    WakeEvent,
    first_portion,
)
from airflow_provider_retell.provider.options import read_options
from airflow_provider_retell.provider.outlets import announce_export
from airflow_provider_retell.provider.templates import TemplatedOperator
from airflow_provider_retell.retry_policy import DEFAULT_RETRY_POLICY, with_retry_policy
from airflow_provider_retell.rows import check_include

_FILTERS: Final = ("agent_id", "direction", "call_status", "batch_call_id", "metadata")


class RetellCallsToObjectStorageOperator(TemplatedOperator, DeferringOperator):
    """Write the calls that were answered in an interval to files, including those that Airflow did not place.

    Calls that were not answered have no start and so belong to no interval: they are missing unless
    ``undated=True``, which writes all of them, of any time, to separate files. Retell does not list calls that
    are still ``registered``. The result says which calls are missing.

    A rerun replaces the files of the interval once all new ones are complete; if it fails earlier, the old ones
    stay. Result: a summary without personal data (paths, counts by outcome, seconds of talk, cost in cents, first
    and last start).

    See https://docs.retellai.com/api-references/list-calls

    Args:
        path: The folder to write to, as ``ObjectStoragePath`` takes it: ``s3://conn_id@bucket/calls/{{ ds }}``.
            Each interval needs its own.
        start: Calls answered at this time or later: a datetime, or text in ISO 8601. Default: the start of the
            run's data interval.
        end: Calls answered before this time. Default: the end of the data interval.
        agent_id: Only calls of this agent.
        direction: Only ``inbound`` or only ``outbound`` calls.
        call_status: Only calls with one of these: ``not_connected``, ``ongoing``, ``ended``, ``error``.
        batch_call_id: Only calls of this batch.
        metadata: Only calls whose top-level metadata has these values.
        undated: Also write the calls that have no start, of any time, to files ``undated-...``.
        late_arrivals: How long after the end of the interval to wait for its calls that are still in progress or
            not yet analyzed: seconds, or a timedelta.
        file_format: ``jsonl`` or ``parquet`` (extra ``export``).
        compression: For ``jsonl``: None or ``gzip``; for ``parquet``: None, ``snappy``, ``gzip`` or ``zstd``.
        max_file_bytes: Start a new file after the page of calls that exceeds this size. None: one file.
        include: Fields that list-calls leaves out, such as ``transcript``: one more request per call.
        scrubbed: Write Retell's scrubbed transcripts and recordings instead of the others.
        mask_numbers: Write only the last four digits of phone numbers.
        recordings: Save recordings as files in the folder ``recordings``.
        requests_per_second: Requests to Retell's API per second. None: no limit.
        deferrable: Wait for late arrivals in the triggerer, without a worker.
        poll_interval: Seconds between two checks for late arrivals, or a timedelta.
        retell_conn_id: A connection of type ``retell``.
        retry_policy: Airflow's argument; ``RetellRetryPolicy`` by default (Airflow 3.3 and later).

    Raises:
        RetellInputError: An argument is invalid, such as a filter that a template left empty.
        RetellExportError: The destination cannot be written.
        RetellExportOvertakenError: A later run writes to the same path.
        RetellResponseError: Retell's list cannot be read to its end.
    """

    calls_per_page: int = MAX_PAGE_SIZE
    calls_per_page_with_details: int = 100
    """Fewer with transcripts, since two pages are in memory, and with recordings, since their links expire."""

    template_fields: Sequence[str] = (
        "path",
        "start",
        "end",
        "agent_id",
        "direction",
        "call_status",
        "batch_call_id",
        "metadata",
        "retell_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"metadata": "json"}
    ui_color = "#e8f4ea"

    def __init__(
        self,
        *,
        path: Any,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        agent_id: str | None = None,
        direction: str | None = None,
        call_status: Sequence[str] | None = None,
        batch_call_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        undated: bool = False,
        late_arrivals: float | timedelta = timedelta(hours=2),
        file_format: FileFormat = "jsonl",
        compression: str | None = None,
        max_file_bytes: int | None = None,
        include: Sequence[str] = (),
        scrubbed: bool = False,
        mask_numbers: bool = False,
        recordings: bool = False,
        requests_per_second: float | None = None,
        deferrable: bool = DEFAULT_DEFERRABLE,
        poll_interval: float | timedelta = 60,
        retell_conn_id: str = DEFAULT_CONN_ID,
        retry_policy: Any = DEFAULT_RETRY_POLICY,  # named here, so that one in the DAG's default_args is seen
        **kwargs: Any,
    ) -> None:
        super().__init__(**with_retry_policy(kwargs, retry_policy))
        check_format(file_format, compression)
        for name, limit in (("max_file_bytes", max_file_bytes), ("requests_per_second", requests_per_second)):
            if limit is not None:
                number(name, limit, above=0)
        self.path = path
        self.start = start
        self.end = end
        self.agent_id = agent_id
        self.direction = direction
        self.call_status = call_status
        self.batch_call_id = batch_call_id
        self.metadata = metadata
        self.undated = flag("undated", undated)
        self.late_arrivals = seconds("late_arrivals", late_arrivals)
        self.file_format: FileFormat = file_format
        self.compression = compression
        self.max_file_bytes = max_file_bytes
        self.include = check_include(include)
        self.scrubbed = flag("scrubbed", scrubbed)
        self.mask_numbers = flag("mask_numbers", mask_numbers)
        self.recordings = flag("recordings", recordings)
        self.requests_per_second = requests_per_second
        self.deferrable = flag("deferrable", deferrable)
        self.poll_interval = seconds("poll_interval", poll_interval)
        self.retell_conn_id = retell_conn_id

    # -- the task ------------------------------------------------------------------------------------------

    def execute(self, context: Context) -> dict[str, Any]:
        """Wait for late arrivals, then write the files, and return the summary."""
        return self._execute(context)

    def _resume(self, context: Context, event: WakeEvent) -> dict[str, Any]:
        """Continue after the wait: list the calls again, whatever the event says."""
        if event.message:
            self.log.warning("The wait for late arrivals ended early (%s): looking again.", event.message)
        return self._execute(context, event)

    def _execute(self, context: Context, event: WakeEvent | None = None) -> dict[str, Any]:
        selection = self._selection(context)
        file_format = open_format(self.file_format, self.compression)
        contents = self._contents()
        written_as = [self.file_format, self.compression, self.undated, self.max_file_bytes]
        meant = [repr(selection), repr(contents), str(self.path), *written_as]
        checkpoint = Checkpoint(context, meant, now=CLOCK.now())
        destination = Destination(
            self.path,
            token=checkpoint.token,
            holds=selection.describe_interval(),
            details=selection.describe_filters(),
        )
        progress = checkpoint.progress()
        keeping = None if progress is None else progress.names()
        if not destination.claim(keeping=keeping, names=[file_name(Section.DATED, 0, file_format)]):
            progress = None
        rate = RequestRate(self.requests_per_second)
        keep = False
        try:
            with RetellHook(self.retell_conn_id) as hook:
                if progress is None:
                    self._wait_for_late_arrivals(hook, selection, rate, event)
                keep = checkpoint.worth_keeping
                export = Export(
                    hook.get_conn(),
                    selection,
                    destination,
                    file_format,
                    contents=contents,
                    undated=self.undated,
                    max_file_bytes=self.max_file_bytes,
                    rate=rate,
                    progress=progress or Progress(),
                    save=checkpoint.save,
                )
                summary = export.run()
        except BaseException as error:
            if not keep or isinstance(error, AirflowFailException):
                destination.clean_up()
            raise
        announce_export(context, self.outlets, summary, retell_conn_id=self.retell_conn_id)
        return summary

    # -- steps ---------------------------------------------------------------------------------------------

    def _selection(self, context: Context) -> Selection:
        if not self.path or str(self.path) == "None":
            raise RetellInputError(f"path must be given, got {self.path!r}. Nothing was sent.")
        start, end = read_interval(self.start, self.end, context, now=CLOCK.now())
        filters = read_filters({name: getattr(self, name) for name in _FILTERS})
        details = self.include or self.recordings
        page_size = self.calls_per_page_with_details if details else self.calls_per_page
        selection = Selection(start=start, end=end, filters=filters, page_size=page_size)
        selection.dated()  # a filter that cannot be sent fails here, before anything is written
        return selection

    def _contents(self) -> Contents:
        return Contents(
            include=self.include,
            scrubbed=self.scrubbed,
            mask_numbers=self.mask_numbers,
            recordings=self.recordings,
        )

    def _wait_for_late_arrivals(
        self, hook: RetellHook, selection: Selection, rate: RequestRate, woken_by: WakeEvent | None
    ) -> None:
        # A trigger that failed would fail again at once, so this process waits for the rest of the time.
        may_defer = self.deferrable and (woken_by is None or woken_by.wake is Wake.OVER)
        deadline = selection.end / 1000 + self.late_arrivals
        goal = Goal(wait_for="analyzed", analysis_timeout=ANALYSIS_TIMEOUT)
        if woken_by is not None:
            goal = goal.left_after(woken_by)
        while waiting := find_late_arrivals(
            hook.get_conn().send,
            selection,
            goal=goal,
            now=CLOCK.now(),
            window=self.late_arrivals,
            rate=rate,
        ):
            left = deadline - CLOCK.now()
            self.log.info(
                "Waiting up to %.0f s until calls of the interval are over and analyzed: %d.", left, len(waiting)
            )
            if may_defer:
                from airflow_provider_retell._call_triggers import RetellCallTrigger  # noqa: PLC0415

                trigger = RetellCallTrigger(
                    call_ids=first_portion(waiting),
                    retell_conn_id=self.retell_conn_id,
                    deadline=deadline,
                    poll_interval=self.poll_interval,
                    wait_for="analyzed",
                    analysis_timeout=ANALYSIS_TIMEOUT,
                )
                self._defer_to(trigger, woken_by=woken_by)
            CLOCK.sleep(read_options().pause(self.poll_interval, left=left))
