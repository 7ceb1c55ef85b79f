"""Let a test look at the simulated calls, and change them without sending requests."""

from __future__ import annotations

from collections.abc import Mapping
from threading import RLock
from typing import Any

from airflow_provider_retell.simulator.book import CallBook
from airflow_provider_retell.simulator.call import SimulatedCall
from airflow_provider_retell.simulator.contacts import Contact
from airflow_provider_retell.simulator.numbers import OWN_NUMBER, checked
from airflow_provider_retell.simulator.scenarios import scenario_named
from airflow_provider_retell.simulator.script import Play, Script


class Controls:
    """Read and change calls and contacts. Several threads may do so at once.

    Args:
        book: The calls and contacts.
        script: Chooses the scenario of each call.
    """

    def __init__(self, *, book: CallBook, script: Script) -> None:
        self.clock = book.clock
        self._book = book
        self._script = script
        self._lock = RLock()

    @property
    def calls(self) -> dict[str, SimulatedCall]:
        """Return every call by its id, in the order in which they were made."""
        with self._lock:
            return dict(self._book.calls)

    @property
    def placed(self) -> list[SimulatedCall]:
        """Return the calls that create-phone-call placed: with Retell, each would have rung a phone."""
        return [call for call in self.calls.values() if call.endpoint == "create-phone-call"]

    def call(self, call_id: str) -> dict[str, Any]:
        """Return the call object as get-call shows it now.

        Raises:
            KeyError: There is no such call.
        """
        with self._lock:
            return self._book.calls[call_id].full(self.clock())

    def play(self, number: str, *scenarios: Play) -> None:
        """Set what the next calls to a number play, in turn; the last scenario applies to all further calls.

        Raises:
            ValueError: The number is not in E.164 form (`+12025550177`), a scenario has an unknown name, or there
                is none.
        """
        with self._lock:
            self._script.play(number, scenarios)

    def register(self, request: Mapping[str, Any]) -> str:
        """Register a call as register-phone-call does, but without checking or recording a request.

        Args:
            request: The body of the request, such as `{"agent_id": "agent_1", "to_number": "+12025550100"}`.

        Returns:
            The call's id.
        """
        with self._lock:
            return self._book.register(request).call_id

    def create(self, request: Mapping[str, Any]) -> str:
        """Place a call as create-phone-call does, but without checking or recording a request.

        Args:
            request: The body of the request, with `from_number` and `to_number`.

        Returns:
            The call's id: with an `idempotency_key` of the last hour, that of the call placed under it.

        Raises:
            ValueError: A limit of the account would have the request answered 429.
        """
        with self._lock:
            call = self._book.create(request)
        if call is None:
            raise ValueError("The account is at its limit: the request would be answered 429.")
        return call.call_id

    def ring_in(
        self,
        from_number: str,
        *,
        to_number: str = OWN_NUMBER,
        agent_id: str = "agent_reception",
        scenario: Play | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> str:
        """Let a person call one of the account's numbers. The call is answered at once.

        Args:
            from_number: The person's number, in E.164 form.
            to_number: The account's number.
            agent_id: The agent that answers.
            scenario: What happens on the call; by default, what calls to the person's number play.
            metadata: The metadata of the call.

        Returns:
            The call's id.

        Raises:
            ValueError: A number is not in E.164 form, or no scenario has that name.
        """
        request = {
            "agent_id": agent_id,
            "from_number": checked(from_number),
            "to_number": checked(to_number),
            "direction": "inbound",
            **({"metadata": metadata} if metadata is not None else {}),
        }
        with self._lock:
            return self._book.ring_in(request, scenario_named(scenario) if scenario else None).call_id

    def put_contact(
        self,
        phone_number: str,
        *,
        do_not_call: bool = False,
        first_name: str | None = None,
        last_name: str | None = None,
        custom_fields: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a contact, or replace the one with the same number, as in Retell's dashboard.

        Args:
            phone_number: The person's number, in E.164 form.
            do_not_call: True: create-phone-call refuses the number if the request sets `honor_internal_dnc`.
            first_name: The person's first name.
            last_name: The person's last name.
            custom_fields: Further fields.

        Raises:
            ValueError: The number is not in E.164 form.
        """
        contact = Contact(
            phone_number=checked(phone_number),
            created_at=self.clock(),
            do_not_call=do_not_call,
            first_name=first_name,
            last_name=last_name,
            custom_fields=custom_fields or {},
        )
        with self._lock:
            self._book.contacts.put(contact)

    def dial(self, call_id: str) -> None:
        """Dial a registered call now, as the user's telephony would.

        Raises:
            KeyError: There is no such call.
            ValueError: The call has been dialed already, or is over.
        """
        with self._lock:
            self._book.dial(call_id)

    def seed(self, count: int, *, days: float = 2.0) -> None:
        """Add calls of the past days, all of them over. The same count and days give the same calls.

        Args:
            count: The number of calls.
            days: The days that they go back. The latest began two hours ago.

        Raises:
            ValueError: The count is negative, or the days are too few for calls that began two hours ago.
        """
        with self._lock:
            self._book.seed(count, days=days)

    def delete(self, call_id: str) -> None:
        """Delete a call, as delete-call does.

        Raises:
            KeyError: There is no such call.
        """
        with self._lock:
            self._book.delete(call_id)
