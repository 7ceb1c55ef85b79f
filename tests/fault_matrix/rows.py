"""The rows of the fault matrix: what goes wrong."""

from __future__ import annotations

import signal
from dataclasses import replace
from functools import partial
from typing import Final

from airflow_provider_retell.simulator import Fault
from fault_matrix import plays
from fault_matrix.columns import COLUMNS
from fault_matrix.lines import TALK
from fault_matrix.plays import answered, restart
from fault_matrix.row import Goal, Group, Miss, Row

OURS: Final = tuple(column for column in COLUMNS if column.ours)
OURS_BLOCKING: Final = tuple(column for column in OURS if not column.deferrable)
CREATES: Final = tuple(column for column in OURS if not column.registers)
GATEWAYS: Final = {500: "", 502: " with an HTML page", 503: "", 504: ""}
WHEN: Final = {"before": "no call was made", "after": "the call was made"}

ANSWERS: Final = (
    Row(
        name="refused",
        title="connection refused, as long as the first try",
        refuses=True,
        play=plays.open_after_the_first_try,
    ),
    Row(name="429_seconds", title="429, Retry-After in seconds", faults=answered(429, retry_after=1), tries=1),
    Row(
        name="429_date",
        title="429, Retry-After as a date",
        faults=answered(429, retry_after=1, as_date=True),
        tries=1,
    ),
    Row(name="429", title="429 without Retry-After", faults=answered(429), tries=1),
    *(
        Row(
            name=f"{status}_{when}",
            title=f"{status}{page}, {what}",
            faults=answered(status, html=bool(page), after=when == "after"),
        )
        for when, what in WHEN.items()
        for status, page in GATEWAYS.items()
    ),
    Row(
        name="read_timeout",
        title="read time-out, the call was made",
        faults=answered(None, delay=6, after=True),
        timeout=2,
    ),
    Row(name="reset", title="connection reset, the call was made", faults=answered("reset", after=True)),
    Row(name="truncated", title="answer cut off, the call was made", faults=answered("truncate")),
    Row(
        name="mapped",
        title="three mapped tasks, and the answer of one is lost",
        faults=answered("reset", after=True),
        calls=3,
        suffix="_mapped",
    ),
    Row(
        name="polls", title="while waiting, four polls answered 503", faults=plays.polls_answered(503, 4), tries=1
    ),
    Row(
        name="reads_fail",
        title="while waiting, reading the call fails again and again",
        faults=plays.reads_of_two_tries,
        tries=1,
    ),
)
PROCESSES: Final = (
    Row(
        name="worker_before_post",
        title="worker SIGKILL before the request took effect",
        faults=lambda column: [Fault(endpoint=column.endpoint, delay=20)],
        play=plays.killed_before_the_post,
    ),
    Row(
        name="worker_before_save",
        title="worker SIGKILL between the request and saving the id",
        faults=lambda column: [Fault(endpoint=column.endpoint, delay=20, after=True)],
        play=plays.killed_after_the_post,
    ),
    Row(
        name="worker_after_save",
        title="worker SIGKILL after saving the id",
        held_at="handing-on",
        play=plays.killed_where_held,
    ),
    Row(name="worker_waiting", title="worker SIGKILL while waiting", play=plays.killed_while_waiting),
    Row(
        name="worker_unanswered",
        title="worker SIGKILL while waiting, and nobody answers the phone",
        play=plays.killed_and_unanswered,
        ring_seconds=TALK,
        scenario="dial_no_answer",
    ),
    Row(
        name="worker_frozen",
        title="worker SIGSTOP while waiting, and SIGCONT with SIGTERM once a retry waits for its call",
        play=plays.woken_too_late,
        columns=OURS_BLOCKING,
    ),
    Row(
        name="triggerer_sigterm",
        title="triggerer SIGTERM while waiting",
        together=partial(restart, "triggerer", signal.SIGTERM),
        tries=1,
        columns=OURS,
    ),
    Row(
        name="triggerer_sigkill",
        title="triggerer SIGKILL while waiting",
        together=partial(restart, "triggerer", signal.SIGKILL),
        tries=1,
        columns=OURS,
    ),
    Row(
        name="scheduler_sigterm",
        title="scheduler restart (SIGTERM) while waiting",
        together=partial(restart, "scheduler", signal.SIGTERM),
        tries=1,
    ),
    Row(
        name="scheduler_sigkill",
        title="scheduler SIGKILL, with its workers, while waiting",
        together=partial(restart, "scheduler", signal.SIGKILL),
        tries=1,
    ),
)
LIKE_A_RETRY: Final = Miss(
    shown="1 call, success",
    reason="Airflow numbers the try after such a clear as a retry. So it continues with the existing call: "
    "never two calls, but no new one.",
)
RINGS_ON: Final = Miss(
    shown="1 still live, failed",
    reason="Retell does not say whether a call that still rings can be stopped. The simulator refuses it, as the "
    "harder case. A worker that is killed has five seconds; a trigger tries again for five and a half minutes, "
    "which is longer than Retell lets a phone ring, but not than the twenty minutes for which it rings here.",
)
PEOPLE: Final = (
    Row(
        name="clear_live", title="clear while the call is live", goal=Goal.NEW_CALL, play=plays.cleared_while_live
    ),
    Row(
        name="clear_dead_worker",
        title="worker SIGKILL, and a clear before Airflow notices",
        goal=Goal.NEW_CALL,
        play=plays.cleared_when_dead,
        columns=OURS_BLOCKING,
        misses={column.dag: LIKE_A_RETRY for column in OURS_BLOCKING},
    ),
    Row(name="clear_over", title="clear after the end", goal=Goal.NEW_CALL, play=plays.cleared_after_the_end),
    Row(
        name="clear_ringing",
        title="clear while the phone still rings",
        goal=Goal.NEW_CALL,
        play=plays.cleared_while_ringing,
        ring_seconds=TALK,
        columns=CREATES,
    ),
    Row(
        name="clear_forgotten",
        title="clear while the phone still rings, and the task state store is empty",
        goal=Goal.NEW_CALL,
        play=plays.cleared_without_record,
        ring_seconds=TALK,
        columns=CREATES,
    ),
    Row(
        name="mark_failed", title="mark failed while waiting", goal=Goal.STOPPED, tries=1, play=plays.marked_failed
    ),
    Row(
        name="mark_failed_slow",
        title="mark failed while waiting, and Retell takes 1.5 seconds for each answer",
        faults=plays.slow(1.5),
        goal=Goal.STOPPED,
        tries=1,
        play=plays.marked_failed,
    ),
    Row(
        name="dagrun_timeout",
        title="dag-run time-out while waiting",
        goal=Goal.STOPPED,
        tries=1,
        suffix="_limited",
    ),
    Row(
        name="execution_timeout",
        title="`execution_timeout` while the phone still rings, without retries",
        goal=Goal.STOPPED,
        tries=1,
        play=plays.answered_after_the_time_out,
        suffix="_timed",
        ring_seconds=TALK,
        columns=CREATES,
    ),
    Row(
        name="worker_sigterm",
        title="worker SIGTERM while waiting, and SIGKILL five seconds later, as when a pod is evicted",
        goal=Goal.STOPPED,
        play=plays.evicted_while_waiting,
        columns=OURS_BLOCKING,
    ),
    Row(
        name="mark_failed_ringing",
        title="mark failed while the phone still rings",
        goal=Goal.STOPPED,
        tries=1,
        play=plays.marked_failed,
        ring_seconds=TALK,
        columns=CREATES,
        misses={column.dag: RINGS_ON for column in CREATES},
    ),
)
ROWS: Final = (
    *ANSWERS,
    *(replace(row, group=Group.PROCESSES) for row in PROCESSES),
    *(replace(row, group=Group.PEOPLE) for row in PEOPLE),
)
