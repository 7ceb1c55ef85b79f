"""Place calls or adopt them, wait for them, and return the last one: the flow of both call operators.

From the event of a trigger to the XCom (``phone_calls`` has the way from an argument to the request):

1. ``provider.deferral``: ``execute_complete`` reads the event; if Airflow itself ended the wait,
   ``resume_execution`` makes one. Both hand it to ``_resume``.
2. ``_resume`` takes from it the id of the call and the memory of this try. An event of Airflow's own, or in place
   of another trigger's, has neither: the id then is the task's XCom ``call_id``.
3. ``TaskWait.poll`` reads the call. If there is none yet, the task waited until it may call, and
   ``_run`` places it; if the trigger could not wait, the try fails and places nothing.
4. ``_wait_on``, if the call has not reached the goal, waits on, or gives up at the deadline.
5. ``_run`` asks ``_prepare_next_call`` whether another call follows. If so, ``_call`` places it, pushes its
   ``call_id`` as an XCom of its own, and waits for it.
6. ``TaskWait.rows`` makes the row of the last call, or raises. ``_run`` announces it to the task's assets, and
   returns it, with ``redial`` also its ``attempts``: it becomes the XCom ``return_value``.

Without ``wait_for`` a call is at its goal once it is placed, and its row is returned. With ``wait_for`` the *goal*
is that the call is over, and analyzed if that is asked for. The first line that fits counts:

=========================================  ======================================================================
the call                                   the task
=========================================  ======================================================================
cannot be read                             fails, unless the error says nothing about it (see ``api.patience``)
not at the goal, and the trigger failed    fails with ``RetellCallError``; a retry goes on with the call
not at the goal at the deadline            stops it (``cancel_on_kill``), fails with ``RetellCallTimeoutError``
not at the goal before the deadline        waits on, deferred or on its worker
is to be placed, and the trigger failed    fails with ``RetellCallError`` and places nothing; a retry continues
found no line, and ``fail_on`` names that  places another call, for up to ``limit_timeout``
is over as ``redial`` names it             waits until another call is due, and places it
``do_not_call``, and ``fail_on`` names it  fails with ``RetellCallFinalError``: no retry calls again
was stopped, and ``fail_on`` names only    fails with ``RetellCallFinalError`` too
its status
is over as ``fail_on`` names it            fails with ``RetellCallError``; a retry may place another call
is over as ``skip_on`` names it            is skipped (``AirflowSkipException``)
is over otherwise                          returns its row
=========================================  ======================================================================
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from airflow.providers.common.compat.sdk import Context

from airflow_provider_retell._clock import CLOCK
from airflow_provider_retell.calls.capacity import LineWait, is_capacity, is_capacity_named
from airflow_provider_retell.calls.gate import Hours, OutsideHours, OutsideHoursAction, utc
from airflow_provider_retell.calls.watch import Goal, WaitFor
from airflow_provider_retell.errors import RetellCallTimeoutError
from airflow_provider_retell.hooks import RetellHook
from airflow_provider_retell.operators.stop_on_kill import StopOnKill
from airflow_provider_retell.operators.this_try import ThisTry, ends_at, try_began
from airflow_provider_retell.provider.deferral import DeferringOperator, WakeEvent, check_could_wait
from airflow_provider_retell.provider.links import CALL_ID_KEY, LinkedTask, handed_on_id
from airflow_provider_retell.provider.map_labels import LIVE, NOT_CALLED, label, label_calls
from airflow_provider_retell.provider.outlets import announce_calls
from airflow_provider_retell.rows import Row

if TYPE_CHECKING:
    # Imported when a task runs: every process that parses a DAG imports this module, and places no call.
    from airflow_provider_retell.api.call_rows import CallRow
    from airflow_provider_retell.calls.placing import Placement
    from airflow_provider_retell.calls.task_wait import TaskWait
    from airflow_provider_retell.policy import Redial

_LONGEST_SLEEP: Final = 60.0
"""Maximum seconds until a task that waits on its worker reads the clock again: the clock may be set."""


class CallingTask(LinkedTask, DeferringOperator):
    """A task that places calls, one after the other, and waits for them. The attributes are its arguments."""

    retell_conn_id: Any
    wait_for: WaitFor | None
    analysis_timeout: float
    limit_timeout: float
    fail_on: tuple[str, ...]
    skip_on: tuple[str, ...]
    include: tuple[str, ...]
    deferrable: bool
    poll_interval: float
    timeout: float
    cancel_on_kill: bool
    outside_hours: OutsideHoursAction
    redial: tuple[Redial, ...] = ()
    """The rules by which the task calls again, if it waits."""

    _hook: RetellHook
    _kill: StopOnKill
    _try = ThisTry(began=0.0)
    _attempts = 0

    _retell_dials: ClassVar[bool]
    """True if Retell dials, under an idempotency key; else no phone rings until the user's telephony dials."""

    @abstractmethod
    def _placement(self, context: Context) -> Placement:
        """Return what places the next call, or adopts it."""

    @abstractmethod
    def _hours(self) -> Hours:
        """Return the calling hours of the person."""

    def _resume(self, context: Context, event: WakeEvent) -> Row:
        """Continue after the wait: read the call again, whatever the event says about it."""
        now = CLOCK.now()
        self._begin(context, ThisTry.read(event.memo, began=try_began(context, now=now), now=now))
        call_id = next(iter(event.calls), None if event.memo else handed_on_id(context))
        with RetellHook(self.retell_conn_id) as self._hook:
            if call_id is None:  # there was no call to wait for
                check_could_wait(event)
                return self._run(context)
            self._link(call_id, stored=True)
            with self._kill.watching(call_id, self._hook.get_conn()):
                wait = self._task_wait(call_id, event.deadline, woken_by=event)
                reached = wait.poll()
                self._kill.check()
                if not reached:
                    self._wait_on(wait)
            return self._run(context, wait)

    def on_kill(self) -> None:
        """Stop the call, if wanted. This runs in a signal handler."""
        if kill := vars(self).get("_kill"):  # not before the task runs
            kill.order()

    def _begin(self, context: Context, this_try: ThisTry) -> None:
        self._try = this_try
        label(context, LIVE if this_try.calls else NOT_CALLED, number=getattr(self, "to_number", None))
        # Not in the constructor: Airflow copies operators, and this holds a thread.
        self._kill = StopOnKill(context, wanted=self.cancel_on_kill, leave_registered=not self._retell_dials)

    def _run(self, context: Context, wait: TaskWait | None = None) -> Row:
        """Place calls, and wait for them if wanted, until no other call follows; return the last one as a row."""
        while wait is None or self._prepare_next_call(wait, context):
            wait = self._call(context)
        label_calls(context, wait.watch.calls.values())
        (row,) = wait.rows(final=False)
        announce_calls(context, self.outlets, [row], retell_conn_id=self.retell_conn_id)
        return {**row, "attempts": self._attempts} if self.redial else row

    def _call(self, context: Context) -> TaskWait:
        """Place the call, or another one that follows it, and wait for it if wanted."""
        call = self._place(context)
        self._link(call.call_id)
        label_calls(context, [call])
        with self._kill.watching(call.call_id, self._hook.get_conn()):
            self._kill.check()
            for key, value in self._handed_on(call).items():
                context["ti"].xcom_push(key=key, value=value)
            wait = self._task_wait(call.call_id, min(self._try.placed_at + self.timeout, self._ends_at()))
            wait.take(call)
            if self.wait_for is not None and not wait.watch.reached:
                self._wait_on(wait)
        return wait

    def _prepare_next_call(self, wait: TaskWait, context: Context) -> bool:
        """Return whether another call follows, and wait until it may be placed."""
        if not self.wait_for or not (self.fail_on or self.redial):
            return False
        (call,) = wait.watch.calls.values()
        no_line = is_capacity_named(call, self.fail_on)
        if not (no_line or self.redial):
            return False
        if wait.woken_by is not None and not wait.woken_by.memo:
            (placement := self._placement(context)).recall(call.call_id)
            self._try = self._try.after(placement.sender)
        if no_line:
            check_could_wait(wait.woken_by)
            line = self._line_wait()
            if line.pause():
                self._try = replace(self._try, waited=line.waited, follows=True)
                return True
        return bool(self.redial) and self._prepare_redial(call, wait)

    def _prepare_redial(self, call: CallRow, wait: TaskWait) -> bool:
        """Return whether ``redial`` asks for another call, and wait until it is due."""
        from airflow_provider_retell.calls.lookup import read_earlier  # noqa: PLC0415 (see above)
        from airflow_provider_retell.calls.redialing import end_of, next_call_at  # noqa: PLC0415 (see above)

        earlier = [each for each in self._try.calls if each != call.call_id]
        calls = [*read_earlier(self._hook.get_conn(), earlier), call]
        self._attempts = sum(each is None or not is_capacity(each) for each in calls)
        now = CLOCK.now()
        over_at = end_of(call, placed_at=self._try.placed_at, now=now)
        due = next_call_at(self.redial, calls, over_at=over_at)
        if due is None:
            return False
        check_could_wait(wait.woken_by)
        wait.report()
        self._try = replace(self._try, over_at=over_at, follows=True)
        due = self._hours().opens_at(max(due, now))
        if due > now:
            self._wait_until(
                due, f"{call.call_id} ended as {call.outcome}. The next call is placed at {utc(due)}."
            )
        return True

    def _place(self, context: Context) -> CallRow:
        """Return the call; wait for the calling hours before placing it."""
        while True:
            placement = self._placement(context)
            try:
                call = placement.place(after=self._try.number if self._try.follows else None)
            except OutsideHours as shut:
                self._try = replace(self._try, waited=placement.line.waited, sent=placement.sent)
                action = "wait" if self._try.follows else self.outside_hours
                self._wait_until(shut.act(action), str(shut))
            else:
                self._try = replace(self._try.after(placement.sender), follows=False, waited=placement.line.waited)
                return call

    def _wait_until(self, moment: float, why: str) -> None:
        """Wait in the triggerer if the task may defer, else here."""
        if moment >= self._ends_at():
            raise RetellCallTimeoutError(f"{why} That is too late for execution_timeout.") from None
        if self.deferrable:
            from airflow_provider_retell._call_triggers import RetellTimeTrigger  # noqa: PLC0415 (see above)

            self.log.info("%s Waiting until then.", why)
            self._defer_to(RetellTimeTrigger(deadline=moment, memo=self._try.to_memo()))
        self.log.warning("%s Waiting until then on the worker; with deferrable=True it would be free.", why)
        while (left := moment - CLOCK.now()) > 0:
            CLOCK.sleep(min(left, _LONGEST_SLEEP))
            self._kill.check()

    def _line_wait(self) -> LineWait:
        left = self._ends_at() - CLOCK.now()
        return LineWait(limit=min(self.limit_timeout, left), waited=self._try.waited)

    def _ends_at(self) -> float:
        """Return when to stop placing calls and waiting for one; the time left is for stopping it."""
        return ends_at(self.execution_timeout, self._try.began)

    def _handed_on(self, call: CallRow) -> dict[str, str]:
        return {CALL_ID_KEY: call.call_id}

    def _task_wait(self, call_id: str, deadline: float, *, woken_by: WakeEvent | None = None) -> TaskWait:
        from airflow_provider_retell.calls.task_wait import TaskWait  # noqa: PLC0415 (see above)

        return TaskWait(
            self._hook.get_conn(),
            [call_id],
            goal=Goal(wait_for=self.wait_for or "ended", analysis_timeout=self.analysis_timeout),
            deadline=deadline,
            poll_interval=self.poll_interval,
            fail_on=self.fail_on if self.wait_for else (),
            skip_on=self.skip_on if self.wait_for else (),
            include=self.include,
            woken_by=woken_by,
            longest=deadline - self._try.placed_at if self.wait_for else None,
        )

    def _wait_on(self, wait: TaskWait) -> None:
        """Wait until the call has reached the goal."""
        while not wait.timed_out:
            if self.deferrable:
                from airflow_provider_retell._call_triggers import RetellCallTrigger  # noqa: PLC0415 (as in _wait_until)

                self._kill.release()  # from here on, the trigger stops the call
                self._defer_to(
                    RetellCallTrigger(
                        retell_conn_id=self.retell_conn_id,
                        cancel_on_kill=self.cancel_on_kill,
                        leave_registered=not self._retell_dials,
                        memo=self._try.to_memo(),
                        **wait.trigger_arguments(),
                    ),
                    woken_by=wait.woken_by,
                )
            wait.sleep()
            reached = wait.poll()
            self._kill.check()
            if reached:
                return
        (call_id,) = wait.watch.call_ids
        raise RetellCallTimeoutError(
            f"{wait.missed()} {self._kill.give_up(call_id, self._hook.get_conn())}", call_ids=(call_id,)
        )
