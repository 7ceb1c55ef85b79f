"""Retries of a request within one task: whether, when and how often it is sent again. Pure."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar

from tenacity import RetryCallState, retry_if_exception, stop_after_attempt

from airflow_provider_retell import _metrics as metrics
from airflow_provider_retell.api.endpoints import Request
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.errors import Concerns, RetellError, RetellRateLimitError, RetellStatusError

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 0.5  # seconds; doubles from attempt to attempt, with jitter


def retrying(
    request: Request[Any], settings: ConnectionSettings, *, retry_rate_limits: bool = True
) -> dict[str, Any]:
    """Return the options with which tenacity repeats a request if that is harmless.

    Args:
        request: The request.
        settings: The number of attempts and the pauses between them.
        retry_rate_limits: Whether a 429 is retried too; False if the caller itself waits after a 429.
    """
    arrived = False

    def again(error: BaseException) -> bool:
        nonlocal arrived
        repeat = may_be_retried(error, request)
        repeat = repeat and (retry_rate_limits or not isinstance(error, RetellRateLimitError))
        if isinstance(error, RetellRateLimitError):
            metrics.count("retell.rate_limited")
        if isinstance(error, RetellError):
            # A lost response stays lost, whatever the next attempt brings.
            arrived = error.may_have_arrived = arrived or error.may_have_arrived
        return repeat

    def pause(state: RetryCallState) -> float:
        error = _error(state)
        asked = error.retry_after if isinstance(error, RetellStatusError) else None
        backoff = _FIRST_PAUSE * 2 ** (state.attempt_number - 1) * random.uniform(0.5, 1)  # noqa: S311 (jitter)
        return min(backoff if asked is None else asked, settings.max_retry_delay)

    def announce(state: RetryCallState) -> None:
        log.warning(
            "%s Trying again in %.1f s (attempt %d of %d).",
            _error(state),
            state.upcoming_sleep,
            state.attempt_number + 1,
            settings.max_attempts,
        )

    return {
        "retry": retry_if_exception(again),
        "stop": stop_after_attempt(settings.max_attempts),
        "wait": pause,
        "before_sleep": announce,
        "reraise": True,
    }


def after_failure(failed: Exception, send: Callable[P, T]) -> Callable[P, T]:
    """Return a sender for tenacity after a failed first attempt: it first raises that error, then sends.

    Most requests need no second attempt, so tenacity, a tenth of a request's cost, comes in only after a failure.
    """
    first = [failed]

    def send_again(*args: P.args, **kwargs: P.kwargs) -> T:
        if first:
            raise first.pop()
        return send(*args, **kwargs)

    return send_again


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def may_be_retried(error: BaseException, request: Request[Any]) -> bool:
    """Return whether a failed request is sent again.

    ===================================  ========================================
    the failure                          sent again
    ===================================  ========================================
    concerns nothing, never arrived      always
    concerns nothing, may have arrived   only if the request is idempotent
    any other                            never: the response would be the same
    ===================================  ========================================
    """
    if not isinstance(error, RetellError) or error.concerns is not Concerns.NOTHING:
        return False
    return request.idempotent or not error.may_have_arrived
