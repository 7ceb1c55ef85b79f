"""Identify the person of a call by digests: in the key under which Retell places it once, and in its tag.

A person is known by number and by id. The key holds only the number: a person who comes back under another id,
because an upstream task made new ones, keeps the same key, and so does one who is in the lists of two map indexes.
The tag, by which calls are listed, holds number, id and map index. So it identifies the person even if Retell
stores no numbers, and shows which map index placed the call.

.. code-block:: text

    tag   run.task.map index.number id.0000.attempt      (12 hex digits for the number, 12 for the id)
    key   airflow.run.task.number.attempt

The functions in ``calls.intent`` build these tags and those of single calls. Tags and keys do not depend on the
time or the machine, so the process after a killed one repeats requests under the same keys.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from airflow_provider_retell.calls.intent import PERSON_DIGITS, digest, numbered, person_prefix, task_prefix

DIGITS: Final = PERSON_DIGITS // 2
"""Hexadecimal digits of a digest: among 100,000 people, two share one with a probability of 2 in 100,000."""

_REST: Final = re.compile(rf"([0-9a-f]{{6}}\.)([0-9a-f]{{{DIGITS}}})([0-9a-f]{{{DIGITS}}})\.\d{{4,}}\.(\d{{4,}})")
"""The part after the beginning: map index, number, id, generation, attempt."""


@dataclass(frozen=True, slots=True)
class PersonKey:
    """A person as in keys and tags.

    Attributes:
        number: A digest of the number in E.164 form, as an integer (half the memory of a text).
        id: A digest of ``person_id``.
    """

    number: int
    id: int

    def __str__(self) -> str:
        return f"{self.number:0{DIGITS}x}{self.id:0{DIGITS}x}"


@dataclass(frozen=True, slots=True)
class TaggedAttempt:
    """The contents of the tag of a call of this task.

    Attributes:
        person: The person called.
        attempt: The number of the attempt, counted from 1.
        same_map_index: Whether this mapped instance of the task placed it, and not another one.
    """

    person: PersonKey
    attempt: int
    same_map_index: bool


@dataclass(frozen=True, kw_only=True)
class CampaignIdentity:
    """One mapped instance of a campaign's task, in one run.

    Attributes:
        beginning: The beginning of the tags of all calls of this task, over all its map indexes.
        prefix: The beginning of the tags of this map index.
    """

    beginning: str
    prefix: str

    @classmethod
    def of(cls, *, dag_id: str, run_id: str, task_id: str, map_index: int, namespace: str = "") -> Self:
        """Return the identity of a task instance. It is the same in each try."""
        beginning = task_prefix(namespace=namespace, dag_id=dag_id, run_id=run_id, task_id=task_id)
        prefix = task_prefix(
            namespace=namespace, dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index
        )
        return cls(beginning=beginning, prefix=prefix)

    def person(self, *, to_number: str, person_id: str) -> PersonKey:
        """Return a person's digests, which differ between tasks."""
        return PersonKey(number=self._digest("number", to_number), id=self._digest("id", person_id))

    def _digest(self, kind: str, value: str) -> int:
        return int(digest(self.beginning, kind, value, length=DIGITS), 16)

    def tag(self, person: PersonKey, attempt: int) -> str:
        """Return the metadata tag of an attempt. A clear continues a campaign, so the generation is always 0."""
        return numbered(person_prefix(self.prefix, str(person)), generation=0, ordinal=attempt)

    def key(self, person: PersonKey, attempt: int) -> str:
        """Return the idempotency key of an attempt, which all map indexes of the task share."""
        return f"airflow.{self.beginning}{person.number:0{DIGITS}x}.{attempt}"

    def read(self, tag: object) -> TaggedAttempt | None:
        """Return the contents of a tag, None if it is not of this task and run."""
        if not isinstance(tag, str) or not tag.startswith(self.beginning):
            return None
        if (match := _REST.fullmatch(tag, len(self.beginning))) is None:
            return None
        map_index, number, person_id, attempt = match.groups()
        return TaggedAttempt(
            person=PersonKey(number=int(number, 16), id=int(person_id, 16)),
            attempt=int(attempt),
            same_map_index=f"{self.beginning}{map_index}" == self.prefix,
        )
