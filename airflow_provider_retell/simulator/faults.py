"""Make requests fail on demand."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from email.utils import formatdate
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

from airflow_provider_retell.simulator import responses
from airflow_provider_retell.simulator.endpoints import ENDPOINTS, endpoint_of
from airflow_provider_retell.simulator.responses import Request, Response

_REDIRECTS = range(300, 400)
_STATUSES = range(200, 600)

Damage = Literal["drop", "reset", "truncate", "empty"]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Describe what goes wrong, and for which requests.

    Attributes:
        endpoint: A name from the path (`create-phone-call`, `get-call`, ...), or a pattern with `*` for a path or
            for a method and a path: `/v2/*`, `GET *`.
        answer: An HTTP status, sent with the body that Retell documents; `drop`: the connection is closed without
            a response; `reset`: it is reset; `truncate`: half of the right response is sent; `empty`: the right
            status is sent with the body `{}`; `None`: the right response is sent, after a `delay`.
        after: True: the request takes effect, and only the response is replaced. With `truncate`, `empty` and
            `None`, requests always take effect, unless the caller gives up during the delay.
        html: True: the response is an HTML page instead of JSON.
        message: The error message; by default the documented one.
        retry_after: The seconds in the header `Retry-After`.
        as_date: True: `Retry-After` is written as an HTTP date.
        delay: The seconds until the response is sent.
        times: The number of requests that meet the fault; `None`: all.
        skip: The number of matching requests that do not meet the fault before the first one does.

    Raises:
        ValueError: The fault would never be met, would do nothing, or would ignore one of its attributes.
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
        """Return the name of the fault in the record of a request."""
        return f"delay {self.delay:g}" if self.answer is None else str(self.answer)

    @property
    def lets_through(self) -> bool:
        """Return whether the request takes effect before the response is spoiled."""
        return self.after or self.answer in (None, "truncate", "empty")

    def strikes(self, request: Request) -> bool:
        """Return whether the fault matches a request."""
        target = endpoint_of(request.method, request.path)
        names = [request.path, f"{request.method} {request.path}", target[0].name if target else ""]
        return any(fnmatchcase(name, self.endpoint) for name in names)

    def spoil(self, request: Request, response: Response) -> Response:
        """Return the response that is sent in place of the right one."""
        match self.answer:
            case int(status):
                sent = responses.page(status) if self.html else responses.error(status, self.message)
                headers = dict(sent.headers)
                if status in _REDIRECTS:
                    headers["location"] = f"https://elsewhere.invalid{request.path}"
                if self.retry_after is not None:
                    headers["retry-after"] = self._retry_after(self.retry_after)
                return replace(sent, headers=headers)
            case "empty":
                return responses.ok({}, response.status)
            case "drop" | "reset" | "truncate":
                return replace(response, cut=self.answer)
            case None:
                return response

    def _retry_after(self, seconds: float) -> str:
        # The caller compares the date with its own clock, so it follows the wall clock, not the simulator's.
        return formatdate(time.time() + seconds, usegmt=True) if self.as_date else f"{seconds:g}"


class FaultPlan:
    """Decide which fault each request meets: of several that match, the one added first."""

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}
        self._faults: list[Fault] = []

    def add(self, *faults: Fault) -> None:
        """Add faults after those that are planned already."""
        self._faults.extend(faults)

    def clear(self) -> None:
        """Remove all faults."""
        self._faults.clear()
        self._seen.clear()

    def strike(self, request: Request) -> Fault | None:
        """Return the fault that a request meets, if any, and count the request."""
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
    """Read a fault that is written as on the command line.

    For example `create-phone-call:503,after,times=2`, `list-calls:429,retry-after=10`, `get-call:delay=40`,
    `*:drop,times=all`.

    Raises:
        ValueError: The text is not a fault.
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
