"""When Airflow's next try of a failed task makes sense (Airflow 3.3 and later)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from airflow_provider_retell.errors import RetellCallError, RetellRateLimitError
from airflow_provider_retell.outcomes import Outcome
from airflow_provider_retell.provider.version_compat import HAS_RETRY_POLICIES, RetryDecision, RetryPolicy


class RetellRetryPolicy(RetryPolicy):
    """Wait as long as Retell asks, or ever longer, where the account is at its limit.

    The default of the operators. A 429 waits for Retry-After; without one, and after a call that found no free
    line (outcome ``capacity``), the pause doubles from try to try. Every other failure is left to the task's own
    ``retry_delay``; final errors are never retried, whatever the policy.

    Args:
        first_delay: The first pause where Retell names none.
        longest_delay: The longest pause.
    """

    def __init__(
        self,
        *,
        first_delay: timedelta = timedelta(minutes=1),
        longest_delay: timedelta = timedelta(minutes=15),
    ) -> None:
        self.first_delay = first_delay
        self.longest_delay = longest_delay

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
                return self._retry(timedelta(seconds=asked), "Retell asks for a pause (429)")
            case RetellRateLimitError():
                return self._retry(self._backoff(try_number), "Retell has too many requests or calls (429)")
            case RetellCallError(outcomes=outcomes) if Outcome.CAPACITY in outcomes:
                return self._retry(self._backoff(try_number), "The account had no free line for the call")
        return RetryDecision.default()

    def _backoff(self, try_number: int) -> timedelta:
        return timedelta(seconds=self.first_delay.total_seconds() * 2 ** (max(try_number, 1) - 1))

    def _retry(self, delay: timedelta, reason: str) -> RetryDecision:
        delay = min(delay, self.longest_delay)
        return RetryDecision.retry(delay=delay, reason=f"{reason}: next try in {delay.total_seconds():.0f} s.")


DEFAULT_RETRY_POLICY: Final = RetellRetryPolicy() if HAS_RETRY_POLICIES else None
"""What the operators use unless told otherwise; None where Airflow has no retry policies."""
