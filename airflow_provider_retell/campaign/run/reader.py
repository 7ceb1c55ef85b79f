"""Read a campaign's calls: all of them by tag, the live ones by their ids, single ones with get-call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from airflow_provider_retell.api.endpoints import get_call, list_tagged_calls
from airflow_provider_retell.api.pages import PageWalk
from airflow_provider_retell.api.sweeps import Projection, list_many
from airflow_provider_retell.calls.intent import TAG, tag_of
from airflow_provider_retell.campaign.people.identity import CampaignIdentity, TaggedAttempt
from airflow_provider_retell.errors import (
    RetellError,
    RetellNotFoundError,
    RetellPermissionError,
    RetellResponseError,
)

if TYPE_CHECKING:
    from airflow_provider_retell.api.call_rows import CallRow
    from airflow_provider_retell.api.client import RetellClient


class Reader:
    """Read the calls of one task.

    Args:
        client: Sends the requests, and repeats them if that is harmless.
        identity: The campaign's identity.
        projection: The fields to read of the calls.
    """

    def __init__(self, client: RetellClient, identity: CampaignIdentity, projection: Projection[CallRow]) -> None:
        self._client = client
        self._projection = projection
        self._identity = identity

    def list_all(self) -> Iterator[tuple[CallRow, TaggedAttempt]]:
        """Yield all calls of this task, over all its map indexes, with the contents of their tags.

        Raises:
            RetellPermissionError: The key may not list calls; without the list no call may be placed.
            RetellResponseError: A part of the list cannot be read: a person in it might be called twice.
        """
        walk = PageWalk(self._projection.page(list_tagged_calls(TAG, self._identity.beginning, op="sw")))
        while (request := walk.request) is not None:
            try:
                page = self._client.send(request)
            except RetellPermissionError as error:
                error.add_note("A campaign lists its calls before it places one: let this API key list calls.")
                raise
            for call in walk.take(page):
                if (tagged := self._identity.read(tag_of(call))) is not None:
                    yield call, tagged
            if walk.unreadable:
                raise RetellResponseError(
                    f"{request}: {walk.unreadable} calls of the list cannot be read, so it is not known who was "
                    "called.",
                    status_code=200,
                )

    def look(self, call_ids: Sequence[str]) -> list[CallRow] | RetellError:
        """Return those calls that are listed, or the error of the list. Thread-safe."""
        try:
            return self._client.run(list_many(call_ids, self._projection))
        except RetellError as error:
            return error

    def get(self, call_id: str) -> CallRow | RetellError | None:
        """Return one call, None if Retell does not know its id, or the error of the read. Thread-safe."""
        try:
            return self._client.send(self._projection.one(get_call(call_id)))
        except RetellNotFoundError:
            return None
        except RetellError as error:
            return error
