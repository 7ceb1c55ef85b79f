"""The form in which Airflow asks for a connection of type ``retell``. Imports nothing of Airflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from airflow_provider_retell.api.settings import DEFAULT_BASE_URL, SETTINGS, FlagInExtra, Setting

FIELD_BEHAVIOUR: Final[Mapping[str, Any]] = {
    # Port stays: Airflow 3.3.1 and 3.3.2 test no connection that has none (apache/airflow pull request 73298).
    "hidden-fields": ["schema", "login"],
    "relabeling": {"password": "API key", "host": "Base URL", "port": "Port"},
    "placeholders": {"host": DEFAULT_BASE_URL, "port": "443", "password": "key_..."},
}
"""The labels and hidden fields of the form, in the format of a provider's ``ui-field-behaviour``."""


def form_fields() -> dict[str, Any]:
    """Return the additional fields of the form, in the form of a provider's ``conn-fields``."""
    return {
        name: {"label": setting.label, "description": _description(setting), "schema": _schema(setting)}
        for name, setting in SETTINGS.items()
    }


def _description(setting: Setting) -> str:
    return setting.help if isinstance(setting, FlagInExtra) else f"{setting.help} Default: {setting.default:g}."


def _schema(setting: Setting) -> dict[str, Any]:
    if isinstance(setting, FlagInExtra):
        return {"type": ["boolean", "null"], "default": setting.default}
    kind = "integer" if setting.integer else "number"
    return {"type": [kind, "null"], "minimum": setting.minimum, "default": setting.default}


def form_widgets() -> dict[str, Any]:
    """Return the additional fields of the form as wtforms fields, for Airflow 2.11 to 3.1, which ask the hook."""
    from flask_appbuilder.fieldwidgets import BS3TextFieldWidget  # noqa: PLC0415 (only such an Airflow has it)
    from wtforms import BooleanField, IntegerField, StringField  # noqa: PLC0415
    from wtforms.validators import Optional  # noqa: PLC0415

    def widget(setting: Setting) -> Any:
        if isinstance(setting, FlagInExtra):
            return BooleanField(setting.label, description=_description(setting), default=setting.default)
        return (IntegerField if setting.integer else StringField)(
            setting.label,
            description=_description(setting),
            default=int(setting.default) if setting.integer else f"{setting.default:g}",
            validators=[Optional()],
            widget=BS3TextFieldWidget(),
        )

    return {name: widget(setting) for name, setting in SETTINGS.items()}
