"""Record requests, for tests to look at."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_retell.simulator.endpoints import endpoint_of
from airflow_provider_retell.simulator.responses import Request, Response


@dataclass(frozen=True, kw_only=True)
class RecordedRequest:
    """Hold a request that the simulator has dealt with, and its outcome.

    Attributes:
        time: Seconds since the epoch by the machine's clock.
        clock: Seconds since the epoch by the simulator's clock.
        endpoint: The last word of the path, empty for an unknown path.
        headers: With lower-case names; the API key is masked.
        json: The body, `None` if there was none or it was not JSON.
        status: The HTTP status of the response, `None` if there was none.
        fault: The name of the fault that the request met.
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


def record(request: Request, response: Response | None, *, fault: str | None, now: float) -> RecordedRequest:
    """Return the record of a request.

    Args:
        request: The request.
        response: The response; `None` if the caller gave up.
        fault: The name of the fault that the request met.
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
        status=response.status if response and response.cut is None else None,
        fault=fault,
    )
