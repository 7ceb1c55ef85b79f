"""Retell's requests as pydantic models, with Retell's own field names. Strict, because what is sent rings a phone.

Pages: https://docs.retellai.com/api-references/register-phone-call,
https://docs.retellai.com/api-references/create-phone-call,
https://docs.retellai.com/api-references/update-call
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from enum import StrEnum
from math import isnan
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from airflow_provider_retell._argument_checks import truth
from airflow_provider_retell._masking import NUMBER_FIELDS, shown
from airflow_provider_retell.errors import RetellInputError
from airflow_provider_retell.outcomes import Direction

METADATA_LIMIT: Final = 50_000
"""Bytes of JSON that Retell keeps as ``metadata``."""

_AGENT_VERSION = re.compile(r"latest|latest_published|(?!v\d+$)[a-z][a-z0-9_-]{0,19}")


def _text(value: object) -> object:
    # Jinja renders a missing XCom as the text "None", which is no agent id and no number.
    if value is None or (isinstance(value, str) and value.strip() in {"", "None"}):
        raise ValueError("must be given")
    if not isinstance(value, str):
        raise ValueError(f"must be a string, not {type(value).__name__}")  # noqa: TRY004 (pydantic's protocol)
    return value


def _phone_number(value: object) -> object:
    if value is None or isinstance(value, str):
        return _text(value)
    if isinstance(value, float) and isnan(value):
        raise ValueError("must be given: NaN is how pandas reads an empty cell")
    # The digits may be a national number: with a plus added, a phone in another country would ring.
    raise ValueError(
        f"must be text such as '+14155550100', not {type(value).__name__}: a number has no plus. Read the column "
        "as text (dtype=str in pandas, a VARCHAR in SQL), with the plus and the country code"
    )


def _version(value: object) -> object:
    # A template renders the number 3 as "3", and no tag begins with a digit.
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if not whole and not (isinstance(value, str) and _AGENT_VERSION.fullmatch(value)):
        raise ValueError("must be a version number, latest, latest_published or a tag such as prod")
    return value


def _strings(value: object) -> object:
    if not isinstance(value, Mapping):
        raise ValueError("must be an object of strings")  # noqa: TRY004 (pydantic's protocol)
    _check_keys(value)
    for key, item in value.items():
        if isinstance(item, str):
            continue
        problem = f"of type {type(item).__name__}"
        if item is None:
            problem = "None: leave it out, or give a text"
        elif isinstance(item, float) and isnan(item):
            problem = "NaN, as pandas reads an empty cell: leave it out, or give a text"
        raise ValueError(f"must hold strings only, but {shown(key)} is {problem}")
    return value


def _json_object(value: object) -> object:
    if not isinstance(value, Mapping):
        raise ValueError("must be an object")  # noqa: TRY004 (pydantic's protocol)
    _check_keys(value)
    for key, item in value.items():
        try:
            json.dumps(item, allow_nan=False, ensure_ascii=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"must be JSON, but {shown(key)} {_not_json(item, error)}") from error
    return value


def _not_json(value: object, error: Exception) -> str:
    """Return why a value is not JSON, without the value: it may be personal data."""
    match value:
        case float():
            return "is NaN, as pandas reads an empty cell" if isnan(value) else "is infinite"
        case Mapping() | list() | tuple():
            return f"holds something else ({str(error).partition(':')[0]})"
        case str():
            return "is not valid Unicode text"
    return f"is of type {type(value).__name__}"


def _check_keys(value: Mapping[Any, Any]) -> None:
    for key in value:
        if not isinstance(key, str):
            raise ValueError(f"must have strings as keys, but {shown(key)} is of type {type(key).__name__}")  # noqa: TRY004


def _metadata(value: Mapping[str, Any]) -> Mapping[str, Any]:
    size = len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())
    if size > METADATA_LIMIT:
        raise ValueError(f"must be at most {METADATA_LIMIT} bytes of JSON, not {size}")
    return value


def _attributes(value: object) -> object:
    if not isinstance(value, Mapping):
        raise ValueError("must be an object")  # noqa: TRY004 (pydantic's protocol)
    for key, item in value.items():
        if not isinstance(item, str | int | float):
            text = (
                f"must hold strings, numbers and booleans only, but {shown(key)} is of type {type(item).__name__}"
            )
            raise ValueError(text)  # noqa: TRY004 (pydantic's protocol)
    return _json_object(value)


Text = Annotated[str, BeforeValidator(_text)]
Flag = Annotated[bool, BeforeValidator(truth)]
PhoneNumber = Annotated[str, BeforeValidator(_phone_number)]
AgentVersion = Annotated[int | str, BeforeValidator(_version)]
Strings = Annotated[dict[str, str], BeforeValidator(_strings)]
JsonObject = Annotated[dict[str, Any], BeforeValidator(_json_object)]
Attributes = Annotated[dict[str, Any], BeforeValidator(_attributes)]
Metadata = Annotated[JsonObject, AfterValidator(_metadata)]


class _Request(BaseModel):
    """A request's body. Fields left out, or None, are not sent; unknown ones are sent as given."""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True, hide_input_in_errors=True)

    @classmethod
    def read(cls, fields: Self | Mapping[str, Any]) -> Self:
        """Return the request in a model or a plain mapping.

        Raises:
            RetellInputError: A field cannot be sent; the message names the field and the value.
        """
        if isinstance(fields, cls):
            return fields
        if not isinstance(fields, Mapping):
            raise RetellInputError(f"A request must be a {cls.__name__} or a mapping, got {shown(fields)}.")
        given = {name: value for name, value in fields.items() if value is not None}
        try:
            _json_object({name: given[name] for name in given.keys() - cls.model_fields})
            return cls.model_validate(given)
        except ValidationError as error:
            raise RetellInputError(_explain(error)) from None
        except ValueError as error:
            raise RetellInputError(f"A request {error}. Nothing was sent.") from None

    def body(self) -> dict[str, Any]:
        """Return the body as a JSON-able dict."""
        return self.model_dump(mode="json", exclude_none=True)


def _explain(error: ValidationError) -> str:
    problems = []
    for problem in error.errors(include_url=False):
        field = str(problem["loc"][0])
        if problem["type"] == "missing":
            problems.append(f"{field} must be given, got None")
            continue
        text = problem["msg"].removeprefix("Value error, ")
        # Objects are described by their keys and types, because their values may be personal data.
        value = shown(problem["input"], is_number=field in NUMBER_FIELDS)
        given = "" if isinstance(problem["input"], Mapping) else f", got {value}"
        problems.append(f"{field} {text[0].lower()}{text[1:]}{given}")
    return "; ".join(problems) + ". Nothing was sent."


class RegisterPhoneCallRequest(_Request):
    """The body of ``POST /v2/register-phone-call``.

    See https://docs.retellai.com/api-references/register-phone-call
    """

    agent_id: Text
    agent_version: AgentVersion | None = None
    agent_override: JsonObject | None = None
    from_number: PhoneNumber | None = None
    to_number: PhoneNumber | None = None
    direction: Direction | None = None
    metadata: Metadata | None = None
    retell_llm_dynamic_variables: Strings | None = None


class CreatePhoneCallRequest(_Request):
    """The body of ``POST /v2/create-phone-call``.

    See https://docs.retellai.com/api-references/create-phone-call
    """

    from_number: PhoneNumber
    to_number: PhoneNumber
    override_agent_id: Text | None = None
    override_agent_version: AgentVersion | None = None
    agent_override: JsonObject | None = None
    metadata: Metadata | None = None
    retell_llm_dynamic_variables: Strings | None = None
    custom_sip_headers: Strings | None = None
    ignore_e164_validation: Flag | None = None
    honor_internal_dnc: Flag | None = None
    idempotency_key: Text | None = None


class StorageSetting(StrEnum):
    """The amount of data that Retell keeps of a call."""

    EVERYTHING = "everything"
    EVERYTHING_EXCEPT_PII = "everything_except_pii"
    BASIC_ATTRIBUTES_ONLY = "basic_attributes_only"


class UpdateCallRequest(_Request):
    """The body of ``PATCH /v2/update-call/{call_id}``.

    See https://docs.retellai.com/api-references/update-call
    """

    metadata: Metadata | None = None
    data_storage_setting: StorageSetting | None = None
    custom_attributes: Attributes | None = None
