"""Make the request that calls a person: the campaign's fields, the person's own, the tag and the key. Pure.

===============================================================  ================================================
a field that both have                                           is sent as
===============================================================  ================================================
``retell_llm_dynamic_variables``, ``metadata``,                  the keys of both; for a key that both have, the
``custom_sip_headers``                                           person's own value
any other                                                        the person's own
===============================================================  ================================================

The request contains no time and nothing about the process, because the same key must mean the same request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_retell._masking import mask_numbers
from airflow_provider_retell.api.endpoints import Request, create_phone_call
from airflow_provider_retell.calls.intent import TAG, is_tag
from airflow_provider_retell.campaign.people.columns import OBJECTS, REQUEST_FIELDS
from airflow_provider_retell.campaign.people.identity import CampaignIdentity
from airflow_provider_retell.campaign.people.person import Person, request_fields
from airflow_provider_retell.campaign.plan.trouble import CALLERS, Rejection
from airflow_provider_retell.errors import RetellInputError, RetellStatusError

if TYPE_CHECKING:
    from airflow_provider_retell.api.models import Call

_BY_KEYS: Final = OBJECTS - {"agent_override"}
_PERHAPS_OF_THE_ROW: Final = frozenset({400, 404, 422})
_EXAMPLE_NUMBER: Final = "+14155550100"


class CallRequests:
    """Make the requests of a campaign.

    Args:
        identity: The campaign's identity.
        defaults: The request fields for all people, without ``to_number``.
    """

    def __init__(self, identity: CampaignIdentity, defaults: Mapping[str, Any]) -> None:
        self.identity = identity
        self.defaults = {name: value for name, value in defaults.items() if value is not None}

    def check(self, *, needs: tuple[str, ...] = ()) -> None:
        """Raise ``RetellInputError`` if the fields for all people are invalid.

        Args:
            needs: Required fields that the people's rows supply, so that they are not missed here.
        """
        create_phone_call({**dict.fromkeys(needs, _EXAMPLE_NUMBER), **self.defaults, "to_number": _EXAMPLE_NUMBER})
        self._refuse_tag(self.defaults)

    def check_callers(self, people: Iterable[Person]) -> None:
        """Raise ``RetellInputError`` if neither the task nor any of the people has a ``from_number``."""
        if "from_number" in self.defaults:
            return
        own = ("from_number" in request_fields(person) for person in people)
        if next(own, True) or any(own):
            return
        raise RetellInputError(
            "from_number is missing: neither the task nor any of the people has one. Nothing was sent."
        )

    def of(self, person: Person, attempt: int) -> Request[Call]:
        """Return the request for an attempt.

        Raises:
            RetellInputError: One of the person's fields cannot be sent.
        """
        own = request_fields(person)
        self._refuse_tag(own)
        body = {**self.defaults, **own}
        for name in _BY_KEYS:
            if isinstance(own.get(name), Mapping) and isinstance(self.defaults.get(name), Mapping):
                body[name] = {**self.defaults[name], **own[name]}
        key = self.identity.person(to_number=person.to_number, person_id=person.person_id)
        if isinstance(body.get("metadata", {}), Mapping):
            body["metadata"] = {**body.get("metadata", {}), TAG: self.identity.tag(key, attempt)}
        return create_phone_call(body, idempotency_key=self.identity.key(key, attempt))

    @staticmethod
    def _refuse_tag(fields: Mapping[str, Any]) -> None:
        metadata = fields.get("metadata")
        if isinstance(metadata, Mapping) and TAG in metadata and not is_tag(metadata[TAG]):
            raise RetellInputError(
                f"metadata must not have the key {TAG!r}: a campaign finds its calls by it. Nothing was sent."
            )


def unsendable(error: RetellInputError) -> Rejection:
    """Return the rejection of a person for whom no request can be made."""
    message = mask_numbers(str(error))
    return Rejection(status=None, message=message, field="to_number" if "to_number" in message else "person")


def rejection(error: RetellStatusError, person: Person, defaults: Mapping[str, Any]) -> Rejection:
    """Return the rejection that an error status means.

    Its field is the first field of the person's row that Retell's message names. If the message names none at all
    and the status is 400, 404 or 422, it is the row's own caller or agent.

    Args:
        error: The error.
        person: The person of the request.
        defaults: The request fields for all people.
    """
    own = request_fields(person)
    named = [name for name in REQUEST_FIELDS if re.search(rf"\b{name}\b", error.message)]
    whose = named if named or error.status_code not in _PERHAPS_OF_THE_ROW else CALLERS
    return Rejection(
        status=error.status_code,
        message=mask_numbers(error.message),
        field=next((name for name in whose if name in own), None),
        shared=any(name in defaults and name not in own for name in named),
    )
