"""What is kept of each request, for tests to look at."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_retell.simulator.answers import Reply, Request
from airflow_provider_retell.simulator.endpoints import endpoint_of


@dataclass(frozen=True, kw_only=True)
class RecordedRequest:
    """Hold a request the simulator has dealt with, and what came of it.

    Attributes:
        time: Seconds since the epoch by the machine's clock.
        clock: Seconds since the epoch by the simulator's clock.
        endpoint: The last word of the path, empty for an unknown path.
        headers: With lower-case names; the API key is masked.
        json: The body, `None` if there was none or it was not JSON.
        status: The HTTP status answered, `None` if there was no answer.
        fault: The name of the fault it met.
    """

    time: float
    clock: float
    method: str
    path: str
    endpoint: str
    headers: Mapping[str, str]
    json: Any
    status: int | None
    fault: str | None


def record(request: Request, reply: Reply | None, *, fault: str | None, now: float) -> RecordedRequest:
    """Return what is kept of a request.

    Args:
        request: The request.
        reply: How it was answered; `None` if its caller gave up.
        fault: The name of the fault it met.
        now: Seconds since the epoch by the simulator's clock.
    """
    target = endpoint_of(request.method, request.path)
    headers = dict(request.headers)
    if "authorization" in headers:
        headers["authorization"] = f"{headers['authorization'].partition(' ')[0]} ***"
    try:
        body = json.loads(request.body)
    except ValueError:
        body = None
    return RecordedRequest(
        time=time.time(),
        clock=now,
        method=request.method,
        path=request.path,
        endpoint=target[0].name if target else "",
        headers=headers,
        json=body,
        status=reply.status if reply and reply.cut is None else None,
        fault=fault,
    )
