"""Faults on demand: which requests meet one, and what it does to them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from email.utils import formatdate
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

from airflow_provider_retell.simulator import answers
from airflow_provider_retell.simulator.answers import Reply, Request
from airflow_provider_retell.simulator.endpoints import ENDPOINTS, endpoint_of

_REDIRECTS = range(300, 400)
_STATUSES = range(200, 600)

Damage = Literal["drop", "reset", "truncate", "empty"]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Describe something that goes wrong, and for which requests.

    Attributes:
        endpoint: A name from the path (`create-phone-call`, `get-call`, ...), or a pattern with `*` for a
            path or a method and a path: `/v2/*`, `GET *`.
        answer: An HTTP status, with Retell's documented body; `drop` or `reset`: the connection is closed
            without an answer, politely or not; `truncate`: half of the right answer; `empty`: the right
            status with `{}` for a body; `None`: the right answer (for a `delay`).
        after: Whether the request takes effect all the same, and only its answer is replaced. What spoils or
            delays the right answer (`truncate`, `empty`, `None`) always lets the request take effect, unless
            the caller gives up during the delay.
        html: Answer with an HTML page in place of JSON.
        message: The error message, in place of the documented one.
        retry_after: Seconds for the `Retry-After` header.
        as_date: Write `Retry-After` as an HTTP date.
        delay: Seconds the answer takes.
        times: How many requests meet the fault; `None` for all.
        skip: How many matching requests pass before.
    """

    endpoint: str
    answer: int | Damage | None = None
    after: bool = False
    html: bool = False
    message: str | None = None
    retry_after: float | None = None
    as_date: bool = False
    delay: float = 0.0
    times: int | None = 1
    skip: int = 0

    def __post_init__(self) -> None:
        names = [endpoint.name for endpoint in ENDPOINTS]
        if self.endpoint not in names and not {"*", "/"} & set(self.endpoint):
            raise ValueError(f"No endpoint is called {self.endpoint!r}; there are {', '.join(names)}.")
        for wrong in self._mistakes():
            raise ValueError(wrong)

    def _mistakes(self) -> Iterator[str]:
        if isinstance(self.answer, str) and self.answer not in get_args(Damage):
            yield f"An answer is an HTTP status or one of {', '.join(get_args(Damage))}, not {self.answer!r}."
        if isinstance(self.answer, int) and self.answer not in _STATUSES:
            yield f"{self.answer} is not an HTTP status: these are 200 to 599."
        if not 0 <= self.delay < math.inf:
            yield f"A delay is 0 seconds or more, not {self.delay:g}."
        if self.answer is None and not self.delay:
            yield "A fault without an answer or a delay does nothing."
        if self.times is not None and self.times < 1:
            yield f"A fault that is met {self.times} times does nothing: times is 1 or more."
        if self.skip < 0:
            yield f"skip is 0 or more, not {self.skip}."
        if not isinstance(self.answer, int) and (self.html or self.message or self.retry_after is not None):
            yield "html, message and retry-after belong to an answer with an HTTP status."

    @property
    def name(self) -> str:
        """Return what the log of requests calls it."""
        return f"delay {self.delay:g}" if self.answer is None else str(self.answer)

    @property
    def lets_through(self) -> bool:
        """Tell whether the request takes effect."""
        return self.after or self.answer in (None, "truncate", "empty")

    def strikes(self, request: Request) -> bool:
        """Tell whether the request is of the kind that meets the fault."""
        target = endpoint_of(request.method, request.path)
        names = [request.path, f"{request.method} {request.path}", target[0].name if target else ""]
        return any(fnmatchcase(name, self.endpoint) for name in names)

    def spoil(self, request: Request, reply: Reply) -> Reply:
        """Return what is sent in place of the right answer."""
        match self.answer:
            case int(status):
                sent = answers.page(status) if self.html else answers.error(status, self.message)
                headers = dict(sent.headers)
                if status in _REDIRECTS:
                    headers["location"] = f"https://elsewhere.invalid{request.path}"
                if self.retry_after is not None:
                    headers["retry-after"] = self._retry_after(self.retry_after)
                return replace(sent, headers=headers)
            case "empty":
                return answers.ok({}, reply.status)
            case "drop" | "reset" | "truncate":
                return replace(reply, cut=self.answer)
            case None:
                return reply

    def _retry_after(self, seconds: float) -> str:
        # A date is compared with the caller's own clock, so it follows the wall clock, not the simulator's.
        return formatdate(time.time() + seconds, usegmt=True) if self.as_date else f"{seconds:g}"


class FaultPlan:
    """Decide which request meets which fault: the first one added that matches."""

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}
        self._faults: list[Fault] = []

    def add(self, *faults: Fault) -> None:
        """Put faults behind those already planned."""
        self._faults.extend(faults)

    def clear(self) -> None:
        """Forget every fault."""
        self._faults.clear()
        self._seen.clear()

    def strike(self, request: Request) -> Fault | None:
        """Return the fault this request meets, and count it."""
        for i, fault in enumerate(self._faults):
            if not fault.strikes(request):
                continue
            seen = self._seen.get(i, 0)
            if fault.times is not None and seen >= fault.skip + fault.times:
                continue
            self._seen[i] = seen + 1
            if seen >= fault.skip:
                return fault
        return None


_FLAGS = ("after", "html", "as-date")


def parse_fault(text: str) -> Fault:
    """Read a fault as the command line writes it.

    For example `create-phone-call:503,after,times=2`, `list-calls:429,retry-after=10`, `get-call:delay=40`,
    `*:drop,times=all`.

    Raises:
        ValueError: It cannot be read.
    """
    endpoint, _, rest = text.partition(":")
    options: dict[str, Any] = {}
    for word in filter(None, rest.split(",")):
        name, has_value, value = word.partition("=")
        if word.isdigit():
            options["answer"] = int(word)
        elif word in get_args(Damage):
            options["answer"] = word
        elif word in _FLAGS:
            options[word.replace("-", "_")] = True
        elif has_value and name in ("delay", "retry-after"):
            options[name.replace("-", "_")] = float(value)
        elif has_value and name in ("times", "skip"):
            options[name] = None if value == "all" else int(value)
        elif has_value and name == "message":
            options[name] = value
        else:
            raise ValueError(f"{word!r} is not part of a fault.")
    if "as_date" in options and "retry_after" not in options:
        raise ValueError("as-date says how to write retry-after, which is missing.")
    return Fault(endpoint=endpoint, **options)
