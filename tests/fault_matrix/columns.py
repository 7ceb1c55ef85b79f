"""The columns of the fault matrix: four of this package, and two that users would write instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_ATTEMPTS: Final = 2
"""The number of attempts of our client at a request, in these runs."""

SIBLINGS: Final = 4
"""The number of DAGs of a column."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One way to place a call.

    Attributes:
        dag: The DAG that does it.
        title: Its name on the page.
        registers: Whether it registers calls, which another telephony dials; else it has Retell dial.
        deferrable: Whether it waits in the triggerer.
        ours: Whether it is this package's.
    """

    dag: str
    title: str
    registers: bool
    deferrable: bool = False
    ours: bool = True

    @property
    def endpoint(self) -> str:
        return "register-phone-call" if self.registers else "create-phone-call"

    def posts(self, answer: object) -> int:
        """Return how often one try sends the request that places the call, if it is always answered so."""
        if not self.ours:
            return 3 if self.registers else 1  # Retell's SDK repeats registrations twice, requests nothing
        repeated = answer == 429 or not self.registers
        return MAX_ATTEMPTS if repeated else 1


COLUMNS: Final = (
    Column(dag="register_blocking", title="register, blocking", registers=True),
    Column(dag="register_deferrable", title="register, deferrable", registers=True, deferrable=True),
    Column(dag="create_blocking", title="create, blocking", registers=False),
    Column(dag="create_deferrable", title="create, deferrable", registers=False, deferrable=True),
    Column(dag="http", title="`HttpOperator`", registers=False, ours=False),
    Column(dag="sdk", title="`retell-sdk` in a `@task`", registers=True, ours=False),
)
