"""Decide how long Airflow waits before a retry (3.3 and later); ``calls.next_step`` decides what it does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from airflow_provider_retell._argument_checks import seconds
from airflow_provider_retell.errors import RetellCallError, RetellRateLimitError
from airflow_provider_retell.outcomes import Outcome
from airflow_provider_retell.provider.version_compat import HAS_RETRY_POLICIES, RetryDecision, RetryPolicy

_MOST_DOUBLINGS: Final = 60
"""The longest pause allowed is reached earlier; more doublings would overflow a float."""


class RetellRetryPolicy(RetryPolicy):
    """Wait as long as Retell asks, or longer with each try, while the account is at its limit.

    This is the operators' default. After a 429 the pause is Retell's Retry-After; without one, and after a call
    that found no free line (outcome ``capacity``), it doubles with each try. After every other failure the task's
    own ``retry_delay`` applies. Final errors are never retried.

    See https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/tasks.html

    Args:
        first_delay: Seconds or a timedelta: the first pause if Retell names none.
        longest_delay: Seconds or a timedelta: no pause is longer, whatever Retell asks for.

    Raises:
        RetellInputError: A pause is negative, not finite, or longer than 366 days.
    """

    def __init__(
        self,
        *,
        first_delay: float | timedelta = timedelta(minutes=1),
        longest_delay: float | timedelta = timedelta(minutes=15),
    ) -> None:
        self.first_delay = timedelta(seconds=seconds("first_delay", first_delay))
        self.longest_delay = timedelta(seconds=seconds("longest_delay", longest_delay))

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,  # noqa: ARG002 (Airflow's signature)
        context: Any = None,  # noqa: ARG002
    ) -> RetryDecision:
        """Decide on the next try; Airflow calls it on the worker."""
        match exception:
            case RetellRateLimitError(retry_after=float(asked)):
                return self._retry(asked, "Retell asks for a pause (429)")
            case RetellRateLimitError():
                return self._retry(self._backoff(try_number), "Retell has too many requests or calls (429)")
            case RetellCallError(outcomes=outcomes) if Outcome.CAPACITY in outcomes:
                return self._retry(self._backoff(try_number), "The account had no free line for the call")
        return RetryDecision.default()

    def _backoff(self, try_number: int) -> float:
        doublings = min(max(try_number - 1, 0), _MOST_DOUBLINGS)
        return self.first_delay.total_seconds() * 2.0**doublings

    def _retry(self, delay: float, reason: str) -> RetryDecision:
        # Capped while it is a plain number: a timedelta holds no more than 2.7 million years.
        capped = min(delay, self.longest_delay.total_seconds())
        return RetryDecision.retry(
            delay=timedelta(seconds=capped), reason=f"{reason}: next try in {capped:.0f} s."
        )


DEFAULT_RETRY_POLICY: Final = RetellRetryPolicy() if HAS_RETRY_POLICIES else None
"""The operators' default; None if this Airflow has no retry policies."""


def with_retry_policy(arguments: Mapping[str, Any], retry_policy: Any) -> dict[str, Any]:
    """Return Airflow's arguments of an operator, with its retry policy unless that is None.

    Airflow before 3.3 does not know the argument.
    """
    return {**arguments} if retry_policy is None else {**arguments, "retry_policy": retry_policy}
