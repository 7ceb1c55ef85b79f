"""Who a call is for, as digests: the key under which Retell places it once, the tag under which it is listed.

A person is known by number and by id. The key holds the number alone: a person who comes back under another id,
because an upstream task made new ones, has the same key. The tag holds both, so that what is listed names the
person even if Retell stores no numbers.

.. code-block:: text

    tag   run  task  map index  number  id  .0.  attempt      12 hex digits each, then two numbers
    key   airflow.  run  task  map index  number  .  attempt

Neither a time nor a machine enters them: what a killed process sent, the next process asks for by the same key.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Final, Self

DIGITS: Final = 12
"""Hexadecimal digits of a digest: among 100,000 people, two share one with a probability of 2 in 100,000."""

_TAG: Final = re.compile(rf"([0-9a-f]{{{5 * DIGITS}}})\.\d+\.(\d+)")


def digest(*parts: str | int) -> str:
    """Return a fixed-width digest of some values."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:DIGITS]


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
        run: A digest of the namespace, the DAG and the run.
        task: A digest of the task.
        map_index: A digest of the map index.
    """

    run: str
    task: str
    map_index: str

    @classmethod
    def of(cls, *, dag_id: str, run_id: str, task_id: str, map_index: int, namespace: str = "") -> Self:
        """Return the identity of a task instance. The number of the try is no part of it."""
        return cls(run=digest(namespace, dag_id, run_id), task=digest(task_id), map_index=digest(map_index))

    @property
    def beginning(self) -> str:
        """How the tags of all calls of this task begin, over all its map indexes."""
        return f"{self.run}{self.task}"

    def person(self, *, to_number: str, person_id: str) -> PersonKey:
        """Return a person's digests. Those of different runs have nothing in common."""
        return PersonKey(
            number=int(digest(self.run, "number", to_number), 16), id=int(digest(self.run, "id", person_id), 16)
        )

    def tag(self, person: PersonKey, attempt: int) -> str:
        """Return the metadata tag of an attempt. A clear continues a campaign, so there is one generation only."""
        return f"{self.beginning}{self.map_index}{person}.0.{attempt}"

    def key(self, person: PersonKey, attempt: int) -> str:
        """Return the idempotency key of an attempt."""
        return f"airflow.{self.beginning}{self.map_index}{person.number:0{DIGITS}x}.{attempt}"

    def read(self, tag: object) -> TaggedAttempt | None:
        """Return what a tag says, None if no campaign task of this name and run wrote it."""
        match = _TAG.fullmatch(tag) if isinstance(tag, str) else None
        if match is None or not match[1].startswith(self.beginning):
            return None
        parts = [match[1][start : start + DIGITS] for start in range(0, 5 * DIGITS, DIGITS)]
        return TaggedAttempt(
            person=PersonKey(number=int(parts[3], 16), id=int(parts[4], 16)),
            attempt=int(match[2]),
            same_map_index=parts[2] == self.map_index,
        )
