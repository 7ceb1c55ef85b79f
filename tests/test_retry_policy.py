"""Test when a failed try is followed by another one, on Airflow 3.3 and later."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_retell.errors import (
    RetellCallError,
    RetellInputError,
    RetellRateLimitError,
    RetellServerError,
)
from airflow_provider_retell.operators import RetellRegisterPhoneCallOperator
from airflow_provider_retell.provider.version_compat import HAS_RETRY_POLICIES, RetryDecision, RetryPolicy
from airflow_provider_retell.retry_policy import RetellRetryPolicy

pytestmark = pytest.mark.skipif(not HAS_RETRY_POLICIES, reason="Airflow has retry policies since 3.3")


def limited(retry_after: float | None) -> RetellRateLimitError:
    return RetellRateLimitError("429", status_code=429, message="", retry_after=retry_after)


FULL = RetellCallError("no line", outcomes=frozenset({"capacity"}))


@pytest.mark.parametrize(
    ("error", "try_number", "seconds"),
    [
        (limited(90.0), 1, 90),
        (limited(90.0), 3, 90),
        (limited(None), 1, 60),
        (limited(None), 3, 240),
        (FULL, 2, 120),
        (limited(7200.0), 1, 900),
        (FULL, 9, 900),
        (FULL, 0, 60),
        (FULL, 42, 900),
        (limited(None), 5000, 900),
        (limited(float("inf")), 1, 900),
    ],
)
def test_a_full_account_is_given_time(error: Exception, try_number: int, seconds: float) -> None:
    """Retry-After, or a pause that doubles from try to try, up to the longest."""
    decision = RetellRetryPolicy().evaluate(error, try_number, 9)
    assert (decision.action.name, decision.retry_delay) == ("RETRY", timedelta(seconds=seconds))
    assert f"next try in {seconds} s" in (decision.reason or "")


@pytest.mark.parametrize("delay", [-1, True, float("inf"), float("nan"), timedelta(days=367), "60"])
@pytest.mark.parametrize("argument", ["first_delay", "longest_delay"])
def test_a_pause_is_a_duration(argument: str, delay: Any) -> None:
    """A pause that is too long for a timedelta, or no time at all, is refused when the DAG is parsed."""
    with pytest.raises(RetellInputError, match=f"^{argument} must be "):
        RetellRetryPolicy(**{argument: delay})


def test_a_pause_may_be_seconds() -> None:
    """Seconds and a timedelta mean the same, as in every duration of the operators."""
    policy = RetellRetryPolicy(first_delay=30, longest_delay=timedelta(minutes=1))
    assert (policy.first_delay, policy.longest_delay) == (timedelta(seconds=30), timedelta(seconds=60))


@pytest.mark.parametrize(
    "error",
    [
        RetellServerError("500", status_code=500, message=""),
        RetellCallError("busy", outcomes=frozenset({"busy"})),
        KeyError("x"),
    ],
)
def test_everything_else_is_left_to_the_task(error: Exception) -> None:
    """The task's own retries and retry_delay apply unless the account is at its limit."""
    assert RetellRetryPolicy().evaluate(error, 1, 3) == RetryDecision.default()


def test_the_users_own_policy_wins() -> None:
    """The policy is a default of the operators: one of the task or of default_args wins, and so does None."""

    class Own(RetryPolicy):
        def evaluate(self, *_: Any, **__: Any) -> RetryDecision:
            return RetryDecision.fail()

    own = Own()
    none = RetellRegisterPhoneCallOperator(task_id="c", agent_id="agent_1", retry_policy=None)
    with DAG("dag", schedule=None, default_args={"retry_policy": own}):
        inherited = RetellRegisterPhoneCallOperator(task_id="d", agent_id="agent_1")
    default = RetellRegisterPhoneCallOperator(task_id="a", agent_id="agent_1")
    chosen = RetellRegisterPhoneCallOperator(task_id="b", agent_id="agent_1", retry_policy=own)
    assert isinstance(default.retry_policy, RetellRetryPolicy)
    assert chosen.retry_policy is inherited.retry_policy is own
    assert none.retry_policy is None
