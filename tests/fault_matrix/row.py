"""A row of the fault matrix: one fault and its goal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from airflow_stack import AirflowStack

from airflow_provider_retell.simulator import Fault
from fault_matrix import plays
from fault_matrix.cells import Cell, Figures
from fault_matrix.columns import COLUMNS, Column


class Goal(Enum):
    """The goal of a row."""

    ONCE = "one call, and the task succeeds"
    NEW_CALL = "one call more, never two at once, and the task succeeds"
    STOPPED = "one call, hung up on, and the run fails"


class Group(Enum):
    """The table of the page in which a row stands."""

    ANSWERS = "Answers that go wrong"
    PROCESSES = "Processes that die"
    PEOPLE = "Clears, kills and time-outs"

    @property
    def goal(self) -> str:
        """Return what the page says of the rows' goals."""
        if self is Group.PEOPLE:
            return (
                "The goal after a clear, which asks for a new call: one more call, never two at once, success. "
                "The goal of the\nother rows: the call is stopped, no other is placed, and the run fails."
            )
        return "The goal: one call placed, or one registered call handed on (three for three tasks); success."


@dataclass(frozen=True, kw_only=True)
class Miss:
    """A cell that does not reach the goal, and cannot.

    Attributes:
        shown: What the page shows instead.
        reason: Why.
    """

    shown: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One fault.

    Attributes:
        name: Part of run ids.
        title: Its name on the page.
        group: Which table of the page it stands in.
        faults: What goes wrong with the requests.
        play: What happens to the run meanwhile.
        together: What happens to Airflow, once all runs of the row wait for their calls.
        goal: What must come of it.
        calls: How many calls are intended.
        tries: How many tries it takes at least, else nothing has gone wrong.
        suffix: Which sibling of the DAG.
        timeout: Seconds that the client waits for an answer.
        refuses: Whether connections are refused, until the row's play opens the port.
        held_at: Where the task stands still, until it is killed there.
        ring_seconds: How long phones ring.
        scenario: What the simulator plays on each call.
        columns: Which columns meet it.
        misses: The columns, by their DAG, that do not reach the goal.
    """

    name: str
    title: str
    group: Group = Group.ANSWERS
    faults: Callable[[Column], Sequence[Fault]] = plays.no_faults
    play: Callable[[Cell], None] = plays.nothing
    together: Callable[[AirflowStack], None] | None = None
    goal: Goal = Goal.ONCE
    calls: int = 1
    tries: int = 2
    suffix: str = ""
    timeout: float = 30
    refuses: bool = False
    held_at: str = ""
    ring_seconds: float = 0
    scenario: str = "agent_hangup"
    columns: tuple[Column, ...] = COLUMNS
    misses: Mapping[str, Miss] = field(default_factory=dict)

    def reached(self, column: Column, figures: Figures) -> bool:
        """Return whether the goal is reached."""
        intended = 2 * self.calls if self.goal is Goal.NEW_CALL else self.calls
        # A registration whose answer was lost cannot be dialed, and times out.
        calls = figures.handed_on if column.registers else figures.placed
        if (calls, figures.at_once, figures.live, figures.note) != (intended, 1, 0, ""):
            return False
        if figures.tries < self.tries:
            return False
        if self.goal is not Goal.NEW_CALL and figures.stopped != (self.goal is Goal.STOPPED):
            return False
        if self.goal is Goal.STOPPED:
            return figures.state in {"failed", "skipped, run failed"}
        return figures.state == "success"
