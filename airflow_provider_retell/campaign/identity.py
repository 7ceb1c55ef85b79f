"""Who a call is for, as digests: the key under which Retell places it once, the tag under which it is listed.

A person is known by number and by id. The key holds the number alone: a person who comes back under another id,
because an upstream task made new ones, has the same key. The tag holds both, so that what is listed names the
person even if Retell stores no numbers.

.. code-block:: text

    tag   run.task.map index.number id.0000.attempt      (12 hex digits for the number, 12 for the id)
    key   airflow.run.task.map index.number.attempt

Tags of one call and tags of a campaign are built by the same functions, in ``calls.intent``. Neither a time nor a
machine enters them: what a killed process sent, the next process asks for by the same key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from airflow_provider_retell.calls.intent import PERSON_DIGITS, digest, numbered, person_prefix, task_prefix

DIGITS: Final = PERSON_DIGITS // 2
"""Hexadecimal digits of a digest: among 100,000 people, two share one with a probability of 2 in 100,000."""

_REST: Final = re.compile(rf"([0-9a-f]{{6}}\.)([0-9a-f]{{{DIGITS}}})([0-9a-f]{{{DIGITS}}})\.\d{{4,}}\.(\d{{4,}})")
"""What follows the beginning: map index, number, id, generation, attempt."""


@dataclass(frozen=True, slots=True)
class PersonKey:
    """A person as keys and tags name them.

    Attributes:
        number: A digest of the number in E.164 form, as an integer (which takes half the memory of a text).
        id: A digest of ``person_id``.
    """

    number: int
    id: int

    def __str__(self) -> str:
        return f"{self.number:0{DIGITS}x}{self.id:0{DIGITS}x}"


@dataclass(frozen=True, slots=True)
class TaggedAttempt:
    """What a tag says about a call of this task.

    Attributes:
        person: Who was called.
        attempt: Which attempt it was, from 1 on.
        same_map_index: Whether this mapped task placed it, and not a sibling.
    """

    person: PersonKey
    attempt: int
    same_map_index: bool


@dataclass(frozen=True, kw_only=True)
class CampaignIdentity:
    """One mapped instance of a campaign's task, in one run.

    Attributes:
        beginning: How the tags of all calls of this task begin, over all its map indexes.
        prefix: How those of this map index begin.
    """

    beginning: str
    prefix: str

    @classmethod
    def of(cls, *, dag_id: str, run_id: str, task_id: str, map_index: int, namespace: str = "") -> Self:
        """Return the identity of a task instance. The number of the try is no part of it."""
        beginning = task_prefix(namespace=namespace, dag_id=dag_id, run_id=run_id, task_id=task_id)
        prefix = task_prefix(
            namespace=namespace, dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index
        )
        return cls(beginning=beginning, prefix=prefix)

    def person(self, *, to_number: str, person_id: str) -> PersonKey:
        """Return a person's digests. Those of different tasks have nothing in common."""
        return PersonKey(number=self._digest("number", to_number), id=self._digest("id", person_id))

    def _digest(self, kind: str, value: str) -> int:
        return int(digest(self.beginning, kind, value, length=DIGITS), 16)

    def tag(self, person: PersonKey, attempt: int) -> str:
        """Return the metadata tag of an attempt. A clear continues a campaign, so there is one generation only."""
        return numbered(person_prefix(self.prefix, str(person)), generation=0, number=attempt)

    def key(self, person: PersonKey, attempt: int) -> str:
        """Return the idempotency key of an attempt."""
        return f"airflow.{self.prefix}{person.number:0{DIGITS}x}.{attempt}"

    def read(self, tag: object) -> TaggedAttempt | None:
        """Return what a tag says, None if no campaign task of this name and run wrote it."""
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
