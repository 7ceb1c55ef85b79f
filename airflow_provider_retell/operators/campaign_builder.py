"""Make a campaign from an operator's arguments: its people, its checks, its files, its end."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_retell._clock import Clock
from airflow_provider_retell._masking import shown
from airflow_provider_retell.api.patience import LONGEST_RINGING
from airflow_provider_retell.errors import RetellInputError
from airflow_provider_retell.operators.campaign_bounds import due_at, read_limit, until_at
from airflow_provider_retell.operators.policies import warn_if_forgetful
from airflow_provider_retell.policy.numbers import e164
from airflow_provider_retell.provider.templates import check_given

if TYPE_CHECKING:
    from airflow_provider_retell.api.client import RetellClient
    from airflow_provider_retell.campaign.people.person import Person
    from airflow_provider_retell.campaign.plan.checks import Checks
    from airflow_provider_retell.campaign.plan.plan import Plan
    from airflow_provider_retell.campaign.results.results import Results
    from airflow_provider_retell.campaign.run.campaign_run import CampaignRun
    from airflow_provider_retell.campaign.run.requests import CallRequests
    from airflow_provider_retell.operators.campaign_process import Beginning, Process
    from airflow_provider_retell.operators.stop_calls_on_kill import StopCallsOnKill

log = logging.getLogger(__name__)

WITHOUT_PATH: Final = 1000
"""The most people whose rows are put into an XCom."""
KNOWN_FOR: Final = 24 * 3600.0
"""Seconds for which every account keeps its calls. Without files, older calls would not be known."""
_EXAMPLE_NUMBER: Final = "+14155550100"


@dataclass(kw_only=True)
class CampaignBuilder:
    """The campaign of one process, as its operator wants it.

    Attributes:
        operator: The operator, with its templates rendered.
        defaults: The request fields for all people.
        people: The argument as given.
        do_not_call: The argument as given.
        namespace: The option ``namespace``, which keeps two Airflows with one account apart.
        process: The process.
        clock: The time.
    """

    operator: Any
    defaults: Mapping[str, Any]
    people: Any
    do_not_call: Any
    namespace: str
    process: Process
    clock: Clock
    _files: Results | None = field(default=None, init=False)

    def run(
        self,
        context: Mapping[str, Any],
        client: RetellClient,
        *,
        may_leave: bool,
        kill: StopCallsOnKill,
        paused: Callable[[], bool],
        task_ends_at: float,
        campaign_began: Beginning,
    ) -> CampaignRun:
        """Return the campaign to run; no call has been placed so far."""
        from airflow_provider_retell.calls.campaign_pause import pause_of  # noqa: PLC0415
        from airflow_provider_retell.campaign.plan.account_lines import AccountLines  # noqa: PLC0415
        from airflow_provider_retell.campaign.run.background import Moments  # noqa: PLC0415
        from airflow_provider_retell.campaign.run.campaign_run import CampaignRun  # noqa: PLC0415
        from airflow_provider_retell.campaign.run.recorder import Recorder  # noqa: PLC0415
        from airflow_provider_retell.campaign.run.terms import Terms  # noqa: PLC0415

        task, ti, now = self.operator, context["ti"], self.clock.now()
        continued, placed_at = self.process.continues, self.process.placed_at
        if not continued:
            warn_if_forgetful(honor_internal_dnc=task.honor_internal_dnc, history=task.history)
        plan, requests, refresh = self._plan(
            context,
            began=campaign_began,
            continued=continued,
            unlisted=ti.try_number > 1 or now < placed_at + LONGEST_RINGING,
        )
        recorder = Recorder(
            plan.state.roster,
            requests.identity,
            client,
            include=task.include,
            analysis_timeout=self._analysis_timeout,
            files=self._files,
        )
        moments = Moments(self.clock)
        if self._files is not None:
            began = moments.now()
            plan.state.load(recorder.known(self._files.known(), began.wall), began)
        own_lines = None
        if task.lines is None:
            own_lines = AccountLines(client, reserved=task.reserved_lines, clock=self.clock)
            plan.lines = own_lines(0)
        refresh(now)
        terms = Terms(
            may_leave=may_leave,
            known_until=campaign_began.at_earliest + KNOWN_FOR,
            ends_at=task_ends_at,
            killed=lambda: kill.killed,
            calls_after_kill=kill.outcome,
            connection_paused=paused,
            campaign_paused=pause_of(ti).look_up,
            refresh=refresh,
            lines=own_lines,
            report=lambda progress: ti.xcom_push(key="progress", value=progress.to_xcom()),
        )
        return CampaignRun(
            client=client,
            plan=plan,
            requests=requests,
            recorder=recorder,
            terms=terms,
            files=self._files,
            clock=self.clock,
            moments=moments,
            last_placed_at=placed_at,
        )

    def rehearse(self, context: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
        """Return the result of a dry run, with the files written, and why the task would fail."""
        from airflow_provider_retell.campaign.plan.pacing import Moment  # noqa: PLC0415
        from airflow_provider_retell.campaign.run.dry_run import (  # noqa: PLC0415
            ACCOUNT_LINES,
            dry_result,
            dry_rows,
            rehearse,
        )
        from airflow_provider_retell.campaign.run.recorder import known_calls  # noqa: PLC0415

        now = self.clock.now()
        plan, requests, refresh = self._plan(context, began=None, continued=False, unlisted=False)
        if self.operator.lines is None:
            plan.lines = max(ACCOUNT_LINES - self.operator.reserved_lines, 1)
            log.info("lines is not given, and a dry run does not ask Retell: %d lines are assumed.", plan.lines)
        if self._files is not None:
            known = known_calls(self._files.known(), requests.identity, now=now)
            plan.state.load(known, Moment(now, 0.0))
        refresh(now)
        done = rehearse(plan, requests, now=now)
        return self._with_rows(dry_result(plan, done, now=now), partial(dry_rows, plan, done)), done.failure

    def finish(self, run: CampaignRun) -> dict[str, Any]:
        """Write all files, and return the result."""
        from airflow_provider_retell.campaign.results.summary import people_rows, summarize  # noqa: PLC0415

        roster = run.plan.state.roster
        if gone := {call.person.number for call in roster.unowned.values() if call.ours}:
            log.warning("%d people who were called are not on the list any more.", len(gone))
        return self._with_rows(summarize(roster), partial(people_rows, roster))

    def _with_rows(self, result: dict[str, Any], rows: Callable[..., Iterable[dict[str, Any]]]) -> dict[str, Any]:
        if self._files is not None:
            return result | {"paths": self._files.finish(rows)}
        return result | {"paths": [], "rows": list(rows(for_xcom=True))}

    # -- steps ---------------------------------------------------------------------------------------------

    def _plan(
        self, context: Mapping[str, Any], *, began: Beginning | None, continued: bool, unlisted: bool
    ) -> tuple[Plan, CallRequests, Callable[[float], None]]:
        """Return the plan, the maker of its requests, and a function that reads its lists again.

        Args:
            context: Airflow's.
            began: When the first try began, if that is known; None for a dry run.
            continued: Whether an earlier process may have placed calls.
            unlisted: Whether those calls may be too recent to be listed.
        """
        from airflow_provider_retell.campaign.people.identity import CampaignIdentity  # noqa: PLC0415
        from airflow_provider_retell.campaign.plan.pacing import Pace  # noqa: PLC0415
        from airflow_provider_retell.campaign.plan.plan import Plan  # noqa: PLC0415
        from airflow_provider_retell.campaign.plan.roster import Roster  # noqa: PLC0415
        from airflow_provider_retell.campaign.plan.state import CampaignState  # noqa: PLC0415
        from airflow_provider_retell.campaign.run.requests import CallRequests  # noqa: PLC0415

        task, now = self.operator, self.clock.now()
        names = {name: getattr(context["ti"], name) for name in ("dag_id", "run_id", "task_id", "map_index")}
        requests = CallRequests(CampaignIdentity.of(**names, namespace=self.namespace), self.defaults)
        requests.check(needs=("from_number",))
        roster = Roster(self._people(), requests.identity)
        requests.check_callers(slot.person for slot in roster.callable)
        due = due_at(context, now)
        first_began = self._open(names, len(roster.slots), continued=continued, began=began)
        if (until := until_at(task.until, due)) <= now:
            log.warning("until is past: no call is placed.")
        checks, refresh = self._checks(now if first_began is None else first_began, until)
        state = CampaignState(
            roster,
            checks=checks,
            pace=Pace(task.calls_per_second),
            redial=task.redial,
            poll_interval=task.poll_interval,
            analysis_timeout=self._analysis_timeout,
            continued=unlisted,
        )
        return Plan(state, lines=task.lines or 0, limit=read_limit(task.limit)), requests, refresh

    @property
    def _analysis_timeout(self) -> float:
        return float(self.operator.analysis_timeout) if self.operator.wait_for == "analyzed" else 0.0

    def _people(self) -> Iterator[Person]:
        from airflow_provider_retell.campaign.people.files import file_url, read_people_file  # noqa: PLC0415
        from airflow_provider_retell.campaign.people.person import read_person  # noqa: PLC0415

        region = self.operator.region
        e164(_EXAMPLE_NUMBER, region)  # a wrong region is an error, and not a bad number for each person
        given: Any = self.people
        if (url := file_url(given)) is not None:
            given = read_people_file(url)
        elif isinstance(given, str | Mapping) or not hasattr(given, "__iter__"):
            raise RetellInputError(
                f"people takes mappings, or the URL of a .csv, .jsonl or .parquet file, not {shown(given)}."
            )
        for row, fields in enumerate(given):
            yield read_person(row, fields, region=region, from_file=url is not None)

    def _open(
        self, names: Mapping[str, Any], people: int, *, continued: bool, began: Beginning | None
    ) -> float | None:
        """Open the files, if there is a path; return when the first try began, if that is known."""
        from airflow_provider_retell.campaign.results.results import Results  # noqa: PLC0415

        task = self.operator
        if task.path is None:
            if people > WITHOUT_PATH:
                raise RetellInputError(
                    f"path must be given for more than {WITHOUT_PATH} people, and there are {people}."
                )
            if continued and began is not None and self.clock.now() - began.at_earliest > KNOWN_FOR:
                raise RetellInputError(
                    "This campaign began over 24 hours ago and has no path: it is no longer certain who was "
                    "called, so nobody is called. Give it a path, and let a new run call those who are left."
                )
            return None if began is None else began.at
        check_given("path", task.path)
        where = "" if names["map_index"] < 0 else f", map index {names['map_index']}"
        holds = f"the campaign {names['task_id']} of the DAG {names['dag_id']}, run {names['run_id']}{where}"
        self._files = Results(str(task.path), holds=holds, token=self.process.token, file_format=task.file_format)
        return self._files.open(began_at=None if began is None else began.at)

    def _checks(self, began: float, until: float) -> tuple[Checks, Callable[[float], None]]:
        from airflow_provider_retell.campaign.people.do_not_call import DoNotCall  # noqa: PLC0415
        from airflow_provider_retell.campaign.plan.checks import Checks  # noqa: PLC0415
        from airflow_provider_retell.campaign.results.history import History  # noqa: PLC0415
        from airflow_provider_retell.campaign.run.eligibility import Eligibility, find  # noqa: PLC0415

        task = self.operator
        timeout = math.inf if task.timeout is None else task.timeout
        checks = Checks(
            began_at=began, until=until, timeout=timeout, hours=task.calling_hours, limit=task.attempts
        )
        never = DoNotCall(self.do_not_call, region=task.region)
        checks.listed = never.listed
        refreshers = [never.refresh]
        if task.has_history and task.history is not False:
            memory = timedelta(0) if task.attempts is None else task.attempts.memory
            history = History(task.history, memory=memory, region=task.region)
            checks.history = history.of
            refreshers.append(history.refresh)
        if (function := find(task.eligible)) is not None:
            checks.eligible, checks.is_slow = (asked := Eligibility(function, clock=self.clock)), asked.is_slow

        def refresh(now: float) -> None:
            for each in refreshers:
                each(now)

        return checks, refresh
