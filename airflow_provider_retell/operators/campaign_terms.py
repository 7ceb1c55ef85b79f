"""Make a campaign of an operator's arguments: its people, its checks, its files, its end."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_retell._clock import Clock
from airflow_provider_retell._masking import shown
from airflow_provider_retell.errors import RetellInputError
from airflow_provider_retell.operators.campaign_arguments import read_limit, until_at
from airflow_provider_retell.policy.numbers import e164

if TYPE_CHECKING:
    from airflow_provider_retell.api.client import RetellClient
    from airflow_provider_retell.campaign.checks import Checks
    from airflow_provider_retell.campaign.people import Person
    from airflow_provider_retell.campaign.results import Results
    from airflow_provider_retell.campaign.run import CampaignRun
    from airflow_provider_retell.campaign.terms import Leave

log = logging.getLogger(__name__)

WITHOUT_PATH: Final = 1000
"""People whose rows an XCom holds at most."""
KNOWN_FOR: Final = 24 * 3600.0
"""Seconds for which each account keeps its calls at least: without files, nothing is known of older ones."""
STORE_KEY: Final = "retell_campaign"
_RINGING: Final = 330.0
_MARGIN, _LONGEST_MARGIN = 0.1, 60.0
_SOMEBODY: Final = "+14155550100"


def ends_at(limit: timedelta | None, began: float) -> float:
    """Return when a task must be over, shortly before Airflow ends it."""
    if limit is None:
        return math.inf
    return began + limit.total_seconds() - min(_MARGIN * limit.total_seconds(), _LONGEST_MARGIN)


def first_began(context: Mapping[str, Any], memo: Mapping[str, Any], *, now: float) -> float:
    """Return when the first try of this campaign began, as far as that is known."""
    known = float(memo.get("campaign_began", now))
    if (store := context.get("task_state_store")) is None:
        return known
    stored = store.get(STORE_KEY)
    if isinstance(stored, Mapping) and isinstance(stored.get("began"), int | float):
        return min(known, float(stored["began"]))
    store.set(STORE_KEY, {"began": known})
    return known


def due_at(context: Mapping[str, Any], now: float) -> float:
    """Return when the run was due: ``run_after``; on Airflow 2 the end of its data interval."""
    run = context.get("dag_run")
    for name in ("run_after", "data_interval_end", "logical_date"):
        if isinstance(at := getattr(run, name, None), datetime):
            return at.timestamp()
    return now


def trigger_for(operator: Any, leave: Leave, memo: Mapping[str, float]) -> Any:
    """Return the trigger that waits in place of a task."""
    from airflow_provider_retell.triggers import RetellCallTrigger, RetellTimeTrigger  # noqa: PLC0415

    kept = {name: value for name, value in memo.items() if math.isfinite(value)}
    if not leave.call_ids:
        return RetellTimeTrigger(deadline=leave.until, memo=kept)
    return RetellCallTrigger(
        call_ids=leave.call_ids,
        retell_conn_id=operator.retell_conn_id,
        deadline=leave.until,
        poll_interval=operator.poll_interval,
        wait_for=operator.wait_for,
        analysis_timeout=operator.analysis_timeout,
        cancel_on_kill=operator.cancel_on_kill,
        memo=kept,
    )


@dataclass(kw_only=True)
class CampaignTerms:
    """One process's campaign, as its operator asks for it.

    Attributes:
        operator: The operator, with its templates rendered.
        client: Sends the requests.
        defaults: The request fields for all people.
        people: As given.
        do_not_call: As given.
        namespace: Of the account's Airflows.
        token: Names this process.
        clock: The clocks.
    """

    operator: Any
    client: RetellClient
    defaults: Mapping[str, Any]
    people: Any
    do_not_call: Any
    namespace: str
    token: str
    clock: Clock
    _files: Results | None = field(default=None, init=False)

    def run(
        self,
        context: Mapping[str, Any],
        memo: Mapping[str, Any],
        *,
        may_leave: bool,
        killed: Callable[[], bool],
        paused: Callable[[], bool],
        task_ends_at: float,
        campaign_began: float,
    ) -> CampaignRun:
        """Return what is to run; nothing was placed so far."""
        from airflow_provider_retell.campaign.account_lines import AccountLines  # noqa: PLC0415
        from airflow_provider_retell.campaign.background import Moments  # noqa: PLC0415
        from airflow_provider_retell.campaign.identity import CampaignIdentity  # noqa: PLC0415
        from airflow_provider_retell.campaign.pacing import Pace  # noqa: PLC0415
        from airflow_provider_retell.campaign.plan import Plan  # noqa: PLC0415
        from airflow_provider_retell.campaign.recorder import Recorder  # noqa: PLC0415
        from airflow_provider_retell.campaign.requests import CallRequests  # noqa: PLC0415
        from airflow_provider_retell.campaign.roster import Roster  # noqa: PLC0415
        from airflow_provider_retell.campaign.run import CampaignRun, load  # noqa: PLC0415
        from airflow_provider_retell.campaign.state import CampaignState  # noqa: PLC0415
        from airflow_provider_retell.campaign.terms import Terms  # noqa: PLC0415

        task, ti, now = self.operator, context["ti"], self.clock.now()
        names = {name: getattr(ti, name) for name in ("dag_id", "run_id", "task_id", "map_index")}
        identity = CampaignIdentity.of(**names, namespace=self.namespace)
        requests = CallRequests(identity, self.defaults)
        requests.check(needs=("from_number",))
        roster = Roster(self._people(), identity)
        continued = ti.try_number > 1 or bool(memo)
        self._open(names, len(roster.slots), continued=continued, began=min(campaign_began, due_at(context, now)))
        until = until_at(task.until, due_at(context, now))
        if until <= now:
            log.warning("until is past: no call is placed.")
        stops_at = math.inf if task.timeout is None else campaign_began + task.timeout
        checks, refresh = self._checks(campaign_began, min(until, stops_at))
        analysis_timeout = task.analysis_timeout if task.wait_for == "analyzed" else 0
        state = CampaignState(
            roster,
            checks=checks,
            pace=Pace(task.calls_per_second),
            redial=task.redial,
            poll_interval=task.poll_interval,
            analysis_timeout=analysis_timeout,
            continued=ti.try_number > 1 or now < float(memo.get("placed_at", -math.inf)) + _RINGING,
        )
        plan = Plan(state, lines=task.lines or 0, limit=read_limit(task.limit))
        moments = Moments(self.clock)
        recorder = Recorder(
            roster,
            identity,
            self.client,
            include=task.include,
            analysis_timeout=analysis_timeout,
            files=self._files,
        )
        if self._files is not None:
            load(self._files.known(), recorder, plan, moments)
        own_lines = None
        if task.lines is None:
            own_lines = AccountLines(self.client, reserved=task.reserved_lines, clock=self.clock)
            plan.lines = own_lines(0)
        refresh(now)
        terms = Terms(
            may_leave=may_leave,
            known_until=campaign_began + KNOWN_FOR,
            ends_at=task_ends_at,
            stops_at=lambda: stops_at,
            killed=killed,
            paused=paused,
            refresh=refresh,
            lines=own_lines,
            report=lambda progress: ti.xcom_push(key="progress", value=progress.to_xcom()),
        )
        run = CampaignRun(
            client=self.client,
            plan=plan,
            requests=requests,
            recorder=recorder,
            terms=terms,
            files=self._files,
            clock=self.clock,
            moments=moments,
        )
        run.last_placed_at = float(memo.get("placed_at", -math.inf))
        return run

    def finish(self, run: CampaignRun) -> dict[str, Any]:
        """Write all files, and return the result."""
        from airflow_provider_retell.campaign.summary import people_rows, summarize  # noqa: PLC0415

        roster = run.plan.state.roster
        result = summarize(roster)
        if self._files is not None:
            return result | {"paths": self._files.finish(people_rows(roster))}
        return result | {"paths": [], "rows": list(people_rows(roster, for_xcom=True))}

    # -- steps ---------------------------------------------------------------------------------------------

    def _people(self) -> Iterator[Person]:
        from airflow_provider_retell.campaign.people import read_person  # noqa: PLC0415
        from airflow_provider_retell.campaign.people_files import is_file, read_people_file  # noqa: PLC0415

        region = self.operator.region
        e164(_SOMEBODY, region)  # a wrong region is an error, and not a bad number for each person
        given: Any = self.people
        if from_file := (isinstance(given, PurePath) or (isinstance(given, str) and is_file(given))):
            given = read_people_file(str(given))
        elif isinstance(given, str | Mapping) or not hasattr(given, "__iter__"):
            raise RetellInputError(
                f"people takes mappings, or the URL of a .csv, .jsonl or .parquet file, not {shown(given)}."
            )
        for row, fields in enumerate(given):
            yield read_person(row, fields, region=region, from_file=from_file)

    def _open(self, names: Mapping[str, Any], people: int, *, continued: bool, began: float) -> None:
        from airflow_provider_retell.campaign.results import Results  # noqa: PLC0415

        task = self.operator
        if task.path in (None, "", "None"):
            if people > WITHOUT_PATH:
                raise RetellInputError(
                    f"path must be given for more than {WITHOUT_PATH} people, and here are {people}."
                )
            if continued and self.clock.now() - began > KNOWN_FOR:
                raise RetellInputError(
                    "This campaign began over 24 hours ago and has no path: who was called is not known for sure "
                    "any more, so nobody is called. Give it a path, and let a new run call those who are left."
                )
            return
        where = "" if names["map_index"] < 0 else f", map index {names['map_index']}"
        holds = f"the campaign {names['task_id']} of the DAG {names['dag_id']}, run {names['run_id']}{where}"
        self._files = Results(str(task.path), holds=holds, token=self.token, file_format=task.file_format)
        self._files.open()

    def _checks(self, began: float, end: float) -> tuple[Checks, Callable[[float], None]]:
        from airflow_provider_retell.campaign.checks import Checks  # noqa: PLC0415
        from airflow_provider_retell.campaign.do_not_call import DoNotCall  # noqa: PLC0415
        from airflow_provider_retell.campaign.eligibility import Eligibility, find  # noqa: PLC0415
        from airflow_provider_retell.campaign.history import History  # noqa: PLC0415

        task = self.operator
        checks = Checks(began_at=began, ends_at=end, hours=task.calling_hours, limit=task.attempts)
        never = DoNotCall(self.do_not_call or (), region=task.region)
        checks.listed = never.listed
        refreshers = [never.refresh]
        if task.history:
            memory = timedelta(0) if task.attempts is None else task.attempts.memory
            history = History(str(task.history), memory=memory, region=task.region)
            checks.history = history.of
            refreshers.append(history.refresh)
        if (function := find(task.eligible)) is not None:
            checks.eligible = Eligibility(function)

        def refresh(now: float) -> None:
            for each in refreshers:
                each(now)

        return checks, refresh
