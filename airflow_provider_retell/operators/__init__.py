"""The operators: register a call, have Retell dial it, or call a list of people."""

from __future__ import annotations

from airflow_provider_retell.operators.campaign import RetellCampaignOperator
from airflow_provider_retell.operators.phone_calls import (
    RetellCreatePhoneCallOperator,
    RetellRegisterPhoneCallOperator,
)

__all__ = ["RetellCampaignOperator", "RetellCreatePhoneCallOperator", "RetellRegisterPhoneCallOperator"]
