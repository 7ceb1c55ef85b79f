"""The form in which Airflow asks for a connection of type ``retell``. Imports nothing of Airflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from airflow_provider_retell.api.settings import DEFAULT_BASE_URL, SETTINGS

FIELD_BEHAVIOUR: Final[Mapping[str, Any]] = {
    # Port stays: Airflow 3.3.1 and 3.3.2 test no connection that has none (apache/airflow pull request 73298).
    "hidden-fields": ["schema", "login"],
    "relabeling": {"password": "API key", "host": "Base URL", "port": "Port"},
    "placeholders": {"host": DEFAULT_BASE_URL, "port": "443", "password": "key_..."},
}
"""How the standard fields of a connection show. Keys as in a provider's ``ui-field-behaviour``."""


def form_fields() -> dict[str, Any]:
    """Return the form's own fields, as a provider's ``conn-fields``."""
    return {
        name: {
            "label": setting.label,
            "description": f"{setting.help} Default: {setting.default:g}.",
            "schema": {
                "type": ["integer" if setting.whole else "number", "null"],
                "minimum": setting.minimum,
                "default": setting.default,
            },
        }
        for name, setting in SETTINGS.items()
    }
