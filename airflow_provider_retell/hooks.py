"""The hook: Retell's API with the key of an Airflow connection."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, Unpack

from airflow.providers.common.compat.sdk import BaseHook, Connection

from airflow_provider_retell._kwargs import CallFilters, ContactFilters
from airflow_provider_retell.api import contacts, endpoints
from airflow_provider_retell.api.filters import MAX_PAGE_SIZE
from airflow_provider_retell.api.pages import Fields, PageWalk
from airflow_provider_retell.api.settings import CONN_TYPE, DEFAULT_CONN_ID, ConnectionSettings, SettingsError
from airflow_provider_retell.api.sweeps import read_calls
from airflow_provider_retell.calls.connection_pause import ConnectionPause
from airflow_provider_retell.calls.intent import TAG, tag_of, untagged
from airflow_provider_retell.errors import RetellInputError
from airflow_provider_retell.provider.connection_form import FIELD_BEHAVIOUR, form_widgets
from airflow_provider_retell.provider.key_check import try_key
from airflow_provider_retell.provider.version_compat import aget_connection

if TYPE_CHECKING:
    from airflow_provider_retell.api.client import AsyncRetellClient, RetellClient
    from airflow_provider_retell.api.endpoints import Request
    from airflow_provider_retell.api.models import Call
    from airflow_provider_retell.api.requests import CreatePhoneCallRequest, RegisterPhoneCallRequest

log = logging.getLogger(__name__)


class RetellHook(BaseHook):
    """Talk to Retell with the key of an Airflow connection.

    The connection is read when the first method needs it. Every method raises
    ``RetellError`` (see ``airflow_provider_retell.errors``), and Airflow's own not-found error for a connection
    that does not exist. While the connection is paused, the methods that place a call raise ``RetellCallError``.

    Args:
        retell_conn_id: A connection of type ``retell``.
    """

    conn_name_attr = "retell_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = CONN_TYPE
    hook_name = "Retell AI"

    def __init__(self, retell_conn_id: str = DEFAULT_CONN_ID) -> None:
        super().__init__()
        self.retell_conn_id = retell_conn_id
        self._client: RetellClient | None = None
        self._remarks: set[str] = set()
        self.pause = ConnectionPause(conn_id=retell_conn_id, look_up=self.is_paused)

    def register_phone_call(self, request: RegisterPhoneCallRequest | Mapping[str, Any]) -> Call:
        """Register a call, which the user's own telephony then dials within five minutes.

        The request is not repeated if the response is lost, because each one registers another call: look at
        ``may_have_arrived`` of the error before you try again.
        See https://docs.retellai.com/api-references/register-phone-call
        """
        return self._place(endpoints.register_phone_call(request))

    def create_phone_call(
        self, request: CreatePhoneCallRequest | Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Call:
        """Have Retell dial.

        See https://docs.retellai.com/api-references/create-phone-call

        Args:
            request: The call to place.
            idempotency_key: For one hour, a request with the same key places no second call. Without one, the
                request is not repeated if the response is lost.
        """
        return self._place(endpoints.create_phone_call(request, idempotency_key=idempotency_key))

    def _place(self, request: Request[Call]) -> Call:
        client = self.get_conn()
        self.pause.check()
        return client.send(untagged(request))

    def get_call(self, call_id: str) -> Call:
        """Read a call; raise ``RetellNotFoundError`` if Retell does not know it.

        See https://docs.retellai.com/api-references/get-call
        """
        return self.get_conn().send(endpoints.get_call(call_id))

    def list_calls(
        self,
        *,
        call_ids: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        page_size: int = MAX_PAGE_SIZE,
        **filters: Unpack[CallFilters],
    ) -> Iterator[Call]:
        """Read all calls that pass the filters, page by page, without their transcripts.

        Each page is requested when the iteration gets there. An item that cannot be read is left out with a
        warning. A list that cannot be read to its end raises ``RetellResponseError`` after the calls read so far.

        See https://docs.retellai.com/api-references/list-calls

        Args:
            call_ids: Only these.
            metadata: Only calls whose top-level metadata has these values.
            page_size: Calls in one request, 1 to 1000.
            **filters: ``agent_id``, ``call_status``, ``direction``, ``batch_call_id``, ``started_from``,
                ``started_before`` (milliseconds since the epoch), ``filter_criteria`` (in Retell's own form),
                ``sort_order``: see ``airflow_provider_retell.api.endpoints.list_calls``.

        Raises:
            RetellInputError: A filter is empty, or is given twice.
        """
        first = endpoints.list_calls(call_ids=call_ids, metadata=metadata, page_size=page_size, **filters)
        return self._walk(PageWalk(first))

    def _walk(self, walk: PageWalk[Any]) -> Iterator[Any]:
        while walk.request is not None:
            yield from walk.take(self.get_conn().send(walk.request))
        if walk.unreadable:
            log.warning("%d items of the list could not be read, and are left out.", walk.unreadable)

    def read_calls(self, call_ids: str | Sequence[str]) -> dict[str, Call]:
        """Read many calls with few requests, and return them by call id.

        Args:
            call_ids: The calls, or one call.

        Raises:
            RetellNotFoundError: Retell does not know one of them.
        """
        return self.get_conn().run(read_calls(call_ids))

    def stop_call(self, call_id: str) -> None:
        """Hang up on a call; Retell may refuse that (``RetellInvalidRequestError``) if the call is not ongoing.

        See https://docs.retellai.com/api-references/stop-call
        """
        self.get_conn().send(endpoints.stop_call(call_id))

    def update_call(
        self,
        call_id: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        data_storage_setting: str | None = None,
        custom_attributes: Mapping[str, str | float | bool] | None = None,
    ) -> Call:
        """Change the data that Retell keeps of a call that is over, and return the call.

        See https://docs.retellai.com/api-references/update-call

        Args:
            call_id: The call.
            metadata: Replaces the metadata, 50 kB at most; only the entry by which a task finds its call stays.
            data_storage_setting: ``everything``, ``everything_except_pii`` or ``basic_attributes_only``; it only
                ever gets stricter, in this order.
            custom_attributes: Values of attributes that are defined in the dashboard; Retell ignores others.
        """
        changes = {"data_storage_setting": data_storage_setting, "custom_attributes": custom_attributes}
        request = endpoints.update_call(call_id, {"metadata": metadata, **changes})
        if metadata is not None and (tag := tag_of(self.get_call(call_id))):
            request = endpoints.update_call(call_id, {"metadata": {**metadata, TAG: tag}, **changes})
        return self.get_conn().send(request)

    def delete_call(self, call_id: str) -> None:
        """Delete a call and all its data, for good.

        See https://docs.retellai.com/api-references/delete-call

        Raises:
            RetellNotFoundError: There is no such call, or (``may_have_arrived``) a lost attempt has deleted it.
        """
        self.get_conn().send(endpoints.delete_call(call_id))

    def rerun_call_analysis(self, call_id: str) -> Call:
        """Have Retell analyse a call again, which costs money, and return the call.

        See https://docs.retellai.com/api-references/rerun-call-analysis
        """
        return self.get_conn().send(endpoints.rerun_call_analysis(call_id))

    def list_contacts(
        self,
        *,
        do_not_call: bool | None = None,
        page_size: int = MAX_PAGE_SIZE,
        **filters: Unpack[ContactFilters],
    ) -> Iterator[Fields]:
        """Read all contacts that pass the filters, page by page, as Retell sends them.

        See https://docs.retellai.com/api-references/list-contacts

        Args:
            do_not_call: Only contacts who must not be called, or only those who may be.
            page_size: Contacts in one request, 1 to 1000.
            **filters: ``search_query``, ``filter_criteria`` (in Retell's own form), ``sort_order``: see
                ``airflow_provider_retell.api.contacts.list_contacts``.
        """
        first = contacts.list_contacts(do_not_call=do_not_call, page_size=page_size, **filters)
        return self._walk(PageWalk(first))

    def get_contact_by_phone(self, number: str) -> Fields:
        """Read the contact with a phone number in E.164 form, as Retell sends it.

        See https://docs.retellai.com/api-references/get-contact-by-phone

        Raises:
            RetellNotFoundError: There is no contact with this number.
        """
        return self.get_conn().send(contacts.get_contact_by_phone(number))

    def get_concurrency(self) -> dict[str, Any]:
        """Read how many calls are live and how many may be, under Retell's keys, such as ``concurrency_limit``.

        See https://docs.retellai.com/api-references/get-concurrency
        """
        return self.get_conn().send(endpoints.get_concurrency())

    def test_connection(self) -> tuple[bool, str]:
        """Try the key on read-only endpoints; return whether it works, and a message for people."""
        try:
            settings = ConnectionSettings.of(self.get_connection(self.retell_conn_id), conn_id=self.retell_conn_id)
        except SettingsError as error:
            # Without the connection's id, which is random while an unsaved form is tested.
            return False, f"{str(error)[0].upper()}{str(error)[1:]}."
        return try_key(settings)

    def get_conn(self) -> RetellClient:
        """Return the blocking client; ``close`` closes it, and so does dropping the hook."""
        if self._client is None:
            from airflow_provider_retell.api.rotating_key_client import RotatingKeyClient  # noqa: PLC0415 (DAG files)

            look_up = type(self)(self.retell_conn_id).get_settings  # of another hook, not to keep this one alive
            self._client = RotatingKeyClient(self.get_settings(), look_up=look_up)
            weakref.finalize(self, self._client.close)
        return self._client

    def get_settings(self) -> ConnectionSettings:
        """Look the connection up."""
        return self._settings(self.get_connection(self.retell_conn_id))

    async def aget_conn(self) -> AsyncRetellClient:
        """Return a new asynchronous client, which the caller closes (``async with``)."""
        # In a thread: a client reads certificates from disk, which would hold up the event loop for some 20 ms.
        return await asyncio.to_thread(async_client, await self.aget_settings())

    def is_paused(self) -> bool:
        """Look the connection up, and return whether it is paused."""
        return self.get_settings().paused

    async def aget_settings(self) -> ConnectionSettings:
        """Look the connection up without blocking the event loop."""
        return self._settings(await aget_connection(self.retell_conn_id))

    def _settings(self, connection: Connection) -> ConnectionSettings:
        try:
            settings = ConnectionSettings.of(connection, conn_id=self.retell_conn_id)
        except SettingsError as error:
            raise RetellInputError(f"Connection {self.retell_conn_id!r}: {error}. Nothing was sent.") from None
        for remark in (each for each in settings.remarks if each not in self._remarks):  # each is logged once
            log.warning("Connection %r: %s", self.retell_conn_id, remark)
        self._remarks.update(settings.remarks)
        self.pause.note(paused=settings.paused)
        return settings

    def close(self) -> None:
        """Close the client, if there is one."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how the connection form shows the standard fields (for Airflow 2.11 to 3.1)."""
        return {name.replace("-", "_"): value for name, value in FIELD_BEHAVIOUR.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the additional fields of the connection form (for Airflow 2.11 to 3.1)."""
        return form_widgets()


def async_client(settings: ConnectionSettings) -> AsyncRetellClient:
    """Return a new asynchronous client."""
    from airflow_provider_retell.api.client import AsyncRetellClient  # noqa: PLC0415 (as in RetellHook.get_conn)

    return AsyncRetellClient(settings)
