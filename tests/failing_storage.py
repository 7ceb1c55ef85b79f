"""Filesystems whose operations fail when a test wants them to."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import local
from typing import Any

from fsspec.asyn import sync
from fsspec.spec import AbstractBufferedFile

from airflow_provider_retell.files.claim import UNFINISHED

try:
    from airflow.sdk.io import attach
except ImportError:  # before 3.0
    from airflow.io.store import attach

__all__ = ["Failures", "Folder", "KilledError", "attach", "failing"]


class KilledError(BaseException):
    """A simulated kill, which no handler for ``Exception`` catches."""


class Failures:
    """Let the n-th operation of a storage fail, before or after its effect; after a kill, all later ones too."""

    def __init__(self) -> None:
        self.thread = local()
        self.operations = 0
        self._at: int | None = None
        self._kill = self._after = False

    def arm(self, at: int | None, *, kill: bool = False, after: bool = False) -> None:
        self.operations, self._at, self._kill, self._after = 0, at, kill, after

    def run(self, operation: Callable[[], Any]) -> Any:
        self.operations += 1
        now = self.operations == self._at
        if self._at is not None and self._kill and self.operations > self._at:
            raise KilledError
        result = operation() if not now or self._after else None
        if now:
            raise KilledError if self._kill else OSError("the storage is out of order")
        return result


OPERATIONS = (
    "cat_file",
    "pipe_file",
    "open",
    "ls",
    "find",
    "mv",
    "cp_file",
    "rm_file",
    "rmdir",
    "makedirs",
)


def failing(kind: type, failures: Failures) -> type:
    """Return a subclass of a filesystem whose operations can be made to fail."""

    def close(file: Any, really: Callable[[], None]) -> None:
        try:
            failures.run(really)
        finally:
            file.closed = True  # or the garbage collector would upload it again

    def wrap(name: str) -> Callable[..., Any]:
        def operation(self: Any, *args: Any, **kwargs: Any) -> Any:
            if kind.async_impl and hasattr(kind, f"_{name}") and name != "open":
                return sync(self.loop, getattr(self, f"_{name}"), *args, **kwargs)
            result = getattr(super(made, self), name)(*args, **kwargs)
            if isinstance(result, AbstractBufferedFile):  # uploaded when it is closed
                result.close = partial(close, result, result.close)
                failures.thread.opened = result
            return result

        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            here = failures.thread
            if getattr(here, "inside", False):
                return operation(self, *args, **kwargs)
            here.inside, here.opened = True, None  # the steps of an operation do not count
            try:
                return failures.run(lambda: operation(self, *args, **kwargs))
            except (OSError, KilledError):
                if here.opened is not None:
                    here.opened.closed = True
                raise
            finally:
                here.inside = False

        return method

    # Whether a filesystem has an ``mv`` of its own makes a difference, so an inherited one stays inherited.
    own = [name for name in OPERATIONS if name != "mv" or "mv" in vars(kind)]
    made = type(
        f"Failing{kind.__name__}",
        (kind,),
        {"cachable": False, **{n: wrap(n) for n in own}},
    )
    return made


class Folder:
    """A folder on a storage, which is read without the code under test."""

    def __init__(self, url: str, folder: str, outside: Any, failures: Failures) -> None:
        self.url, self.folder, self.outside, self.failures = url, folder, outside, failures

    def put(self, name: str, content: bytes) -> None:
        path = posixpath.join(self.folder, name)
        if "file" in self.outside.protocol:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        self.outside.pipe_file(path, content)

    def content(self) -> dict[str, bytes]:
        """Return all files by name, except unfinished ones."""
        self.outside.invalidate_cache()
        start = self.folder.strip("/") + "/"
        paths = [str(path) for path in self.outside.find(self.folder)]
        names = {path.lstrip("/").removeprefix(start): path for path in paths}
        return {n: self.outside.cat_file(p) for n, p in names.items() if not n.startswith(UNFINISHED)}
