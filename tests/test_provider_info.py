from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest

from airflow_provider_retell import __version__
from airflow_provider_retell.api.settings import SETTINGS, ConnectionSettings
from airflow_provider_retell.hooks import RetellHook
from airflow_provider_retell.provider.info import get_provider_info

INFO = get_provider_info()
(CONNECTION,) = INFO["connection-types"]
FIELDS: dict[str, Any] = CONNECTION["conn-fields"]


def schema(name: str) -> dict[str, Any]:
    """Return a JSON schema that Airflow brings along."""
    return json.loads((Path(airflow.__path__[0]) / name).read_text())


def test_airflow_can_read_it() -> None:
    """It is what Airflow's own schema asks for, or Airflow would leave the provider out with a warning."""
    jsonschema.validate(INFO, schema("provider_info.schema.json"))


def test_airflow_can_draw_the_form_from_the_hook() -> None:
    """Airflow up to 3.1 asks the hook, and checks the answer against this schema."""
    behaviour = RetellHook.get_ui_field_behaviour()
    jsonschema.validate(behaviour, schema("customized_form_field_behaviours.schema.json"))


def test_form_and_hook_agree() -> None:
    """Airflow from 3.2 on reads the form here, earlier ones from the hook: both say the same."""
    assert RetellHook.get_ui_field_behaviour() == {
        name.replace("-", "_"): value for name, value in CONNECTION["ui-field-behaviour"].items()
    }
    assert (CONNECTION["connection-type"], CONNECTION["hook-name"]) == (RetellHook.conn_type, RetellHook.hook_name)


def test_both_forms_have_the_same_fields() -> None:
    """Labels, explanations and defaults of the extra fields, if Airflow draws forms with wtforms."""
    wtforms = pytest.importorskip("wtforms")
    pytest.importorskip("flask_appbuilder")
    form = type("Form", (wtforms.Form,), RetellHook.get_connection_form_widgets())()
    drawn = {field.name: (field.label.text, field.description, str(field.default)) for field in form}
    assert drawn == {
        name: (field["label"], field["description"], str(field["schema"]["default"]))
        for name, field in FIELDS.items()
    }


def test_the_form_offers_what_a_connection_takes() -> None:
    """Each number of the extra has a field, with the default and the minimum that count."""
    assert set(FIELDS) == set(SETTINGS)
    defaults = ConnectionSettings(api_key="key_1")
    for name, field in FIELDS.items():
        assert field["schema"]["default"] == getattr(defaults, name, False)
        jsonschema.validate(field["schema"]["default"], field["schema"])
        assert field["schema"]["default"] is False or str(field["schema"]["default"]) in field["description"]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_form_refuses_what_a_connection_refuses(name: str) -> None:
    """The form rejects a number that is too small and letters while typing; an empty field is the default."""
    field = FIELDS[name]["schema"]
    jsonschema.validate(None, field)
    for rubbish in ("5", field["minimum"] - 1 if "minimum" in field else 1):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(rubbish, field)


def named(info: Any) -> Iterator[str]:
    """Return every dotted path into this package, wherever it stands."""
    match info:
        case dict():
            for value in info.values():
                yield from named(value)
        case list():
            for value in info:
                yield from named(value)
        case str() if info.startswith("airflow_provider_retell."):
            yield info


@pytest.mark.parametrize("path", [*named(INFO)])
def test_every_path_leads_somewhere(path: str) -> None:
    """A renamed class or module is found here, and not first in a user's Airflow."""
    module, _, name = path.rpartition(".")
    assert getattr(importlib.import_module(module), name, None) or importlib.import_module(path)


def test_the_version_is_the_package_s() -> None:
    """There is one place to change it."""
    assert INFO["versions"] == [__version__]
