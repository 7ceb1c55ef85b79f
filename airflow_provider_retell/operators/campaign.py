"""The operator that calls a list of people from one task."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from airflow.providers.common.compat.sdk import Context, XComArg

from airflow_provider_retell._argument_checks import choice, flag, number, rendered_flag, seconds
from airflow_provider_retell._clock import CLOCK
from airflow_provider_retell.api.settings import DEFAULT_CONN_ID
from airflow_provider_retell.errors import RetellCallFinalError, RetellCallTimeoutError
from airflow_provider_retell.files.formats import FileFormat, check_format
from airflow_provider_retell.hooks import RetellHook
from airflow_provider_retell.operators.campaign_builder import CampaignBuilder
from airflow_provider_retell.operators.campaign_process import Process, first_began, trigger_for
from airflow_provider_retell.operators.phone_calls import RetellCreatePhoneCallOperator
from airflow_provider_retell.operators.policies import (
    check_attempts,
    check_calling_hours,
    check_eligible,
    check_rules,
)
from airflow_provider_retell.operators.stop_calls_on_kill import StopCallsOnKill
from airflow_provider_retell.operators.this_try import ends_at
from airflow_provider_retell.policy import AttemptLimit, CallingHours, Redial
from airflow_provider_retell.provider.backfills import check_run
from airflow_provider_retell.provider.deferral import DEFAULT_DEFERRABLE, DeferringOperator, Wake, WakeEvent
from airflow_provider_retell.provider.map_labels import NOT_CALLED, label
from airflow_provider_retell.provider.options import read_options
from airflow_provider_retell.provider.outlets import announce_campaign
from airflow_provider_retell.provider.templates import FieldKind, TemplatedOperator
from airflow_provider_retell.retry_policy import DEFAULT_RETRY_POLICY, with_retry_policy
from airflow_provider_retell.rows import CampaignResult, check_include

if TYPE_CHECKING:
    from airflow_provider_retell.campaign.run.eligibility import Eligible
    from airflow_provider_retell.campaign.run.terms import End

_LISTS: Final = ("people", "do_not_call")
_DEFAULTS: Final = tuple(name for name in RetellCreatePhoneCallOperator.request_fields if name != "to_number")


class RetellCampaignOperator(TemplatedOperator, DeferringOperator):
    """Call a list of people from one task, each of them once per attempt, no matter which process dies.

    A clear continues as a retry does: people who have been called are not called again. A new run is a new
    campaign. The task succeeds once the fate of each person is known, and fails only if there is trouble with the
    account.

    Result: counts (``people``, ``reached``, ``outcomes``, ``attempts``, ``refused``, ``not_called``),
    ``talk_seconds``, ``cost_cents`` and ``paths``; without ``path`` the rows of the people as ``rows``.

    See https://docs.retellai.com/api-references/create-phone-call

    Args:
        people: Mappings with the fields of the create operator and ``person_id``, ``time_zone``, ``not_before``,
            ``not_after``; or the URL of a .csv, .jsonl or .parquet file, whose other columns are variables.
        path: The folder for the results, one for each run. May be left out for up to 1,000 people; then the task
            stays on its worker while people wait to be called again.
        from_number: A default for all people, like the fields below; a person's own value goes first.
        override_agent_id: The agent that speaks.
        override_agent_version: Its version.
        agent_override: Settings of the agent.
        metadata: A JSON object that comes back with each call.
        retell_llm_dynamic_variables: Variables for the agent's prompt: an object of strings.
        custom_sip_headers: Headers of the SIP calls.
        ignore_e164_validation: Let ``from_number`` be anything, for custom telephony.
        honor_internal_dnc: Have Retell refuse contacts that it keeps as do-not-call.
        region: The country of numbers in a national form, such as ``"US"``.
        calls_per_second: The most calls to place in a second.
        lines: The most live calls; None: the account's limit, minus the lines that others use at the moment.
        reserved_lines: Lines of the account to leave free, with ``lines=None``.
        calling_hours: When people may be called.
        redial: Which calls are followed by another one, when, and how often.
        attempts: How often a person may be called, over this run and ``history``.
        history: A folder of earlier results; False if there is none.
        do_not_call: Numbers never to call, or a file with a column ``to_number``.
        eligible: A function of a person, or its dotted path, asked right before each call.
        until: When to stop placing calls: a datetime, ISO 8601 text, or a timedelta after the run was due.
        limit: The most people to call, over all tries.
        wait_for: ``ended``, or ``analyzed``: also wait for each ``call_analysis``.
        analysis_timeout: Seconds to wait for an analysis after the end of a call.
        include: Heavy fields for the rows of attempts, such as ``transcript``.
        file_format: ``jsonl`` or ``parquet`` (extra ``export``).
        poll_interval: Seconds between two readings of the live calls.
        timeout: Like ``until``, but counted from the first try; live calls are then stopped.
        cancel_on_kill: Stop live calls when the task is killed; else the next try goes on with them.
        dry_run: Send nothing: find out who would be called when, and who is refused. Templated.
        backfill: Whether to call in backfills too.
        deferrable: Leave the worker during waits of two minutes or longer.
        retell_conn_id: A connection of type ``retell``.
        retry_policy: Airflow's argument (3.3 and later); ``RetellRetryPolicy`` by default.
        **kwargs: Airflow's own arguments.
    """

    template_fields: Sequence[str] = (
        "retell_conn_id",
        "people",
        "path",
        "history",
        "do_not_call",
        "until",
        "limit",
        "is_dry_run",
        *_DEFAULTS,
    )
    field_kinds = {  # noqa: RUF012 (a ClassVar of the base class)
        **RetellCreatePhoneCallOperator.field_kinds,
        **dict.fromkeys(("people", "path", "history", "do_not_call", "until", "limit"), FieldKind.TEXT),
    }
    left_out_if_empty = ("limit",)  # a variable takes it out between two tries, without another version of the DAG
    hidden_fields = RetellCreatePhoneCallOperator.hidden_fields
    template_fields_renderers = RetellCreatePhoneCallOperator.template_fields_renderers
    ui_color = "#e8f4ea"
    _kill: StopCallsOnKill

    def __init__(
        self,
        *,
        people: Sequence[Mapping[str, Any]] | str | XComArg,
        path: Any = None,
        from_number: str | XComArg | None = None,
        override_agent_id: str | XComArg | None = None,
        override_agent_version: int | str | XComArg | None = None,
        agent_override: Mapping[str, Any] | XComArg | None = None,
        metadata: Mapping[str, Any] | XComArg | None = None,
        retell_llm_dynamic_variables: Mapping[str, str | XComArg] | XComArg | None = None,
        custom_sip_headers: Mapping[str, str | XComArg] | XComArg | None = None,
        ignore_e164_validation: bool | XComArg | None = None,
        honor_internal_dnc: bool | XComArg | None = None,
        region: str | None = None,
        calls_per_second: float = 1,
        lines: int | None = None,
        reserved_lines: int = 0,
        calling_hours: CallingHours | None = None,
        redial: Sequence[Redial] = (),
        attempts: AttemptLimit | None = None,
        history: Any = None,
        do_not_call: Sequence[str] | str | XComArg = (),
        eligible: Eligible | str | None = None,
        until: datetime | timedelta | str | None = None,
        limit: int | str | None = None,
        wait_for: Literal["ended", "analyzed"] = "ended",
        analysis_timeout: float | timedelta = 600,
        include: Sequence[str] = (),
        file_format: FileFormat = "jsonl",
        poll_interval: float | timedelta = 10,
        timeout: float | timedelta | None = None,
        cancel_on_kill: bool = False,
        dry_run: bool | str | XComArg = False,
        backfill: bool = False,
        deferrable: bool = DEFAULT_DEFERRABLE,
        retell_conn_id: str = DEFAULT_CONN_ID,
        retry_policy: Any = DEFAULT_RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(**with_retry_policy(kwargs, retry_policy))
        check_format(file_format, None)
        check_eligible(eligible)
        self.people = people
        self.path = path
        self.from_number = from_number
        self.override_agent_id = override_agent_id
        self.override_agent_version = override_agent_version
        self.agent_override = agent_override
        self.metadata = metadata
        self.retell_llm_dynamic_variables = retell_llm_dynamic_variables
        self.custom_sip_headers = custom_sip_headers
        self.ignore_e164_validation = ignore_e164_validation
        self.honor_internal_dnc = honor_internal_dnc
        self.region = region
        self.calls_per_second = number("calls_per_second", calls_per_second, above=0)
        self.lines = None if lines is None else number("lines", lines, above=0, whole=True)
        self.reserved_lines = number("reserved_lines", reserved_lines, above=-1, whole=True)
        self.calling_hours = check_calling_hours(calling_hours)
        self.redial = check_rules(redial)
        self.attempts = check_attempts(attempts, history=history)
        self.history = history
        self.has_history = history is not None and history is not False
        self.do_not_call = do_not_call
        self.eligible = eligible
        self.until = until
        self.limit = limit
        self.wait_for = choice("wait_for", wait_for, ("ended", "analyzed"))
        self.analysis_timeout = seconds("analysis_timeout", analysis_timeout)
        self.include = check_include(include)
        self.file_format: FileFormat = file_format
        self.poll_interval = seconds("poll_interval", poll_interval)
        self.timeout = None if timeout is None else seconds("timeout", timeout)
        self.cancel_on_kill = flag("cancel_on_kill", cancel_on_kill)
        self.is_dry_run = dry_run  # Airflow's operators have a method dry_run
        self.backfill = flag("backfill", backfill)
        self.deferrable = flag("deferrable", deferrable)
        self.retell_conn_id = retell_conn_id

    def _mask(self) -> None:
        """Hide the lists of people: rendered fields only show how many people there are."""
        for name in _LISTS:
            given = getattr(self, name)
            if isinstance(given, Collection) and not isinstance(given, str | Mapping):
                vars(self)[f"_given_{name}"] = given
                setattr(self, name, f"{len(given)} given")
        super()._mask()

    def _list(self, name: str) -> Any:
        return vars(self).get(f"_given_{name}", getattr(self, name))

    # -- the task ------------------------------------------------------------------------------------------

    def execute(self, context: Context) -> CampaignResult:
        """Call the people, or continue an earlier try; write the results, and return the counts."""
        label(context, NOT_CALLED)
        check_run(context, backfill=self.backfill, now=CLOCK.now())
        if rendered_flag("dry_run", self.is_dry_run):
            process = Process.of(context, None, now=CLOCK.now())
            result, failure = self._builder(process).rehearse(context)
            self.log.info("Dry run, nothing is sent. It would be: %s", self._counts(result))
            return self._checked(result, failure)
        return self._run(context)

    def _resume(self, context: Context, event: WakeEvent) -> CampaignResult:
        """Continue after a wait: read again from the list and the files who was called."""
        label(context, NOT_CALLED)
        return self._run(context, event)

    def on_kill(self) -> None:
        """Place no more calls, and stop the live ones if wanted. This runs in a signal handler."""
        if kill := vars(self).get("_kill"):  # not before the task runs
            kill.order()

    def _run(self, context: Context, event: WakeEvent | None = None) -> CampaignResult:
        from airflow_provider_retell.campaign.run.terms import Leave  # noqa: PLC0415 (no DAG that is parsed runs)

        now = CLOCK.now()
        process = Process.of(context, event, now=now)
        campaign_began = first_began(context, process, now=now)
        with RetellHook(self.retell_conn_id) as hook:
            builder = self._builder(process)
            settings = hook.get_conn().settings
            self._kill = StopCallsOnKill(context, settings=settings, wanted=self.cancel_on_kill)
            run = builder.run(
                context,
                hook.get_conn(),
                # A trigger that failed would fail again at once, so this process waits for the rest of the time.
                may_leave=self.deferrable and (event is None or event.wake is not Wake.FAILED),
                kill=self._kill,
                paused=hook.is_paused,
                task_ends_at=ends_at(self.execution_timeout, process.began),
                campaign_began=campaign_began,
            )
            left = () if event is None or event.wake is Wake.OVER else event.calls
            run.plan.state.in_progress.left = tuple(left)
            self._kill.calls = run.sender
            with self._kill:
                try:
                    done = run.run()
                except RetellCallTimeoutError:
                    self._kill.stop_if_wanted()
                    raise
        if isinstance(done, Leave):
            memo = {**campaign_began.memo(), **process.memo(done.placed_at)}
            self._defer_to(trigger_for(self, done, memo), woken_by=event)
        return self._result(context, builder.finish(run), done)

    def _builder(self, process: Process) -> CampaignBuilder:
        defaults = {name: getattr(self, name) for name in _DEFAULTS}
        return CampaignBuilder(
            operator=self,
            defaults=defaults,
            people=self._list("people"),
            do_not_call=self._list("do_not_call"),
            namespace=read_options().namespace,
            process=process,
            clock=CLOCK,
        )

    def _result(self, context: Context, result: dict[str, Any], done: End) -> CampaignResult:
        label(context, f"{result['reached']} of {result['people']} reached")
        if done.error is not None:
            raise done.error
        checked = self._checked(result, done.failure)
        announce_campaign(context, self.outlets, result, retell_conn_id=self.retell_conn_id)
        return checked

    def _checked(self, result: dict[str, Any], failure: str | None) -> CampaignResult:
        if failure is not None:
            raise RetellCallFinalError(f"{failure} So far: {self._counts(result)}. A clear goes on with the rest.")
        return cast("CampaignResult", result)

    @staticmethod
    def _counts(result: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in result.items() if name != "rows"}
