"""The operators: register a call, or have Retell dial it."""

from __future__ import annotations

from airflow_provider_retell.operators.phone_calls import (
    RetellCreatePhoneCallOperator,
    RetellRegisterPhoneCallOperator,
)

__all__ = ["RetellCreatePhoneCallOperator", "RetellRegisterPhoneCallOperator"]
