"""The manifest of a folder: the files in it that this package has written, and their contents. Pure: no I/O."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, Self

from airflow_provider_retell import __version__

MANIFEST: Final = "_retell_manifest"
"""The name of the file. Spark, Hive and Athena ignore names that begin with an underscore."""

_VERSION: Final = 1


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The contents of a folder.

    As a file it is JSON::

        {"version": 1, "written_by": "airflow-provider-retell 0.1.0", "holds": "the calls from ...",
         "details": "agent_id 'agent_1'", "complete": true, "names": ["calls-00000.jsonl"], "began_at": null}

    Attributes:
        holds: The files in words.
        details: More about them, which may differ from one run to the next.
        names: The names of the files, relative to the folder.
        complete: False while the folder may hold files of two runs, because publishing goes on or was interrupted.
        began_at: When the first process began, if the folder is filled over several tries, in seconds since the
            epoch; None if that does not matter.
    """

    holds: str
    details: str = ""
    names: frozenset[str] = frozenset()
    complete: bool = True
    began_at: float | None = None

    def to_bytes(self) -> bytes:
        """Return the manifest as the content of its file."""
        content = {
            "version": _VERSION,
            "written_by": f"airflow-provider-retell {__version__}",
            "holds": self.holds,
            "details": self.details,
            "complete": self.complete,
            "names": sorted(self.names),
            "began_at": self.began_at,
        }
        return (json.dumps(content, indent=1) + "\n").encode()

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Return the manifest that is the content of a file.

        Raises:
            ValueError: It is not a manifest, or one of a later version of this package.
        """
        found = _json(content)
        match found:
            case {
                "version": 1,
                "holds": str(holds),
                "details": str(details),
                "complete": bool(complete),
                "names": list(names),
            }:
                began_at = found.get("began_at")
                return cls(
                    holds=holds,
                    details=details,
                    names=frozenset(map(str, names)),
                    complete=complete,
                    began_at=began_at if isinstance(began_at, int | float) else None,
                )
            case {"version": int(version)} if version > _VERSION:
                raise ValueError(f"it has version {version}, newer than this package: upgrade it")
            case _:
                raise ValueError("it is not a manifest of this package")


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None
