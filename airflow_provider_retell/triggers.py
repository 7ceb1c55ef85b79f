"""The import path of all triggers, which Airflow stores; ``_call_triggers`` and ``events`` have the classes."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Imported here already: otherwise a running trigger would import it on the triggerer's event loop.
import airflow_provider_retell.polling.shared  # noqa: F401
from airflow_provider_retell._call_triggers import RetellCallTrigger, RetellTimeTrigger

if TYPE_CHECKING:
    from airflow_provider_retell.events import RetellFinishedCallsTrigger

__all__ = ["RetellCallTrigger", "RetellFinishedCallsTrigger", "RetellTimeTrigger"]


def __getattr__(name: str) -> Any:
    """Return the trigger of asset watchers, which no deferring task needs (https://peps.python.org/pep-0562/)."""
    if name != "RetellFinishedCallsTrigger":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_module("airflow_provider_retell.polling.watcher")  # for the same reason
    return getattr(import_module("airflow_provider_retell.events"), name)
