"""Differences between the versions of Airflow in event triggers.

Apart from ``version_compat``, which every DAG imports, because a DAG can do without Airflow's triggers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

try:
    from airflow.triggers.base import BaseEventTrigger
except ImportError:  # before 3.0
    if not TYPE_CHECKING:
        from airflow.triggers.base import BaseTrigger as BaseEventTrigger

try:
    from airflow.triggers.shared_stream import SharedStreamProducer
except ImportError:  # before 3.3
    if not TYPE_CHECKING:
        SharedStreamProducer = object

__all__ = ["HAS_ASSET_STATE", "HAS_ASSET_WATCHERS", "BaseEventTrigger", "SharedStreamProducer"]

HAS_ASSET_WATCHERS: Final = BaseEventTrigger.__name__ == "BaseEventTrigger"
"""True since 3.0."""

HAS_ASSET_STATE: Final = SharedStreamProducer is not object
"""True since 3.3, with the producers that learn when an event is stored."""
