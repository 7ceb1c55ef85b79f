"""The operators: register a call, have Retell dial it, or call a list of people.

Each is loaded when it is asked for: a task process that places one call does not pay for campaigns.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from airflow_provider_retell.operators.campaign import RetellCampaignOperator
    from airflow_provider_retell.operators.phone_calls import (
        RetellCreatePhoneCallOperator,
        RetellRegisterPhoneCallOperator,
    )

__all__ = ["RetellCampaignOperator", "RetellCreatePhoneCallOperator", "RetellRegisterPhoneCallOperator"]

_MODULES: Final = {
    "RetellCampaignOperator": "campaign",
    "RetellCreatePhoneCallOperator": "phone_calls",
    "RetellRegisterPhoneCallOperator": "phone_calls",
}


def __getattr__(name: str) -> Any:
    """Return an operator; see https://peps.python.org/pep-0562/."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
