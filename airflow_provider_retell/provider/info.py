"""The provider's metadata, which Airflow reads before it is configured. Imports nothing of Airflow."""

from __future__ import annotations

from typing import Any

from airflow_provider_retell import __version__
from airflow_provider_retell.api.settings import CONN_TYPE
from airflow_provider_retell.provider.connection_form import FIELD_BEHAVIOUR, form_fields
from airflow_provider_retell.provider.options import provider_config

_PACKAGE = "airflow_provider_retell"
_INTEGRATION = "Retell AI"
_ASSET_URIS = {"schemes": ["retell"], "handler": f"{_PACKAGE}.provider.asset_uris.sanitize_uri"}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata, as Airflow's entry point ``apache_airflow_provider`` wants it."""
    return {
        "package-name": "airflow-provider-retell",
        "name": _INTEGRATION,
        "description": "Place Retell AI phone calls, wait until they are over, hand the result on.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://docs.retellai.com/",
                "tags": ["service"],
            }
        ],
        "hooks": [_modules("hooks")],
        "operators": [_modules("operators")],
        "sensors": [_modules("sensors")],
        "triggers": [_modules("triggers")],
        "notifications": [f"{_PACKAGE}.notifications.RetellPhoneCallNotifier"],
        "config": provider_config(),
        "transfers": [
            {
                "source-integration-name": _INTEGRATION,
                "target-integration-name": "Common IO",
                "python-module": f"{_PACKAGE}.transfers",
            }
        ],
        "asset-uris": [_ASSET_URIS],
        "dataset-uris": [_ASSET_URIS],  # Airflow 2
        "extra-links": [f"{_PACKAGE}.provider.links.RetellCallLink"],
        "connection-types": [
            {
                "connection-type": CONN_TYPE,
                "hook-name": _INTEGRATION,
                "hook-class-name": f"{_PACKAGE}.hooks.RetellHook",
                "conn-fields": form_fields(),
                "ui-field-behaviour": dict(FIELD_BEHAVIOUR),
            }
        ],
    }


def _modules(name: str) -> dict[str, Any]:
    return {"integration-name": _INTEGRATION, "python-modules": [f"{_PACKAGE}.{name}"]}
