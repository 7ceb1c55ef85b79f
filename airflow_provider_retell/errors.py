"""The errors of this package: what each one concerns, and whether a retry of the task helps.

::

    RetellError
    ├── RetellInputError            an invalid argument or connection setting                  final
    │   └── RetellTimeZoneError         a person's time zone is not known                      final
    ├── RetellConnectionError       no response; may_have_arrived says what is known           transient
    ├── RetellStatusError           a response with an error status                            transient
    │   ├── RetellInvalidRequestError   400, and any other 4xx                                 final
    │   ├── RetellAuthenticationError   401                                                    final
    │   ├── RetellPaymentError          402                                                    final
    │   ├── RetellPermissionError       403                                                    final
    │   ├── RetellNotFoundError         404, 422                                               final
    │   ├── RetellRateLimitError        429                                                    transient
    │   └── RetellServerError           5xx, 408, 409, 425                                     transient
    ├── RetellResponseError         an unreadable response                                     transient
    ├── RetellCallError             the call itself went wrong                                 transient
    │   ├── RetellCallTimeoutError      it was not over, or could not be placed, in time       transient
    │   └── RetellCallFinalError        a retry would not help, or people must decide          final
    └── RetellExportError           an export that cannot be complete                          transient
        └── RetellExportOvertakenError  another run, begun later, writes to the same place     final

*Final* errors are ``AirflowFailException`` too: the task fails without an Airflow retry, even a user's own that
calls the hook. After a *transient* error Airflow's ``retries`` apply.

``RetellError.concerns`` says what a failure is about. A wait for calls decides by it as follows, and a campaign as
``campaign.run.campaign_run`` and ``campaign.run.sender`` do:

=========================  ==========================  ================================================
failure                    concerns                    while waiting for calls
=========================  ==========================  ================================================
no response                nothing                     waited out until the deadline
429, 5xx, 408, 409, 425    nothing                     waited out until the deadline
unreadable response        nothing                     waited out for ten minutes from the first, unless
                                                       a read succeeds in between (``api.patience``)
404, 422                   the call the request names  waited out for a minute from the first, but not
                                                       at the end of the wait; then this call's waiters
                                                       fail (``api.sweeps``)
400, any other 4xx         this request                this call's waiters fail
403 for a list             the account                 its calls are read one by one
401, 402, any other 403    the account                 all waiters fail, unless the connection holds
                                                       another key by now
no connection found        (no ``RetellError``)        in a triggerer repeated for half a minute, then
                                                       all waiters fail; one found before is kept
=========================  ==========================  ================================================

408, 409 and 425 are lost responses: a gateway gave up, or a request with the same key is still being carried out.
Another 4xx with an HTML page, but for 429, comes from a gateway, and counts as an unreadable response.

Messages hold no API key, and only the last four digits of phone numbers.
"""

from __future__ import annotations

from enum import StrEnum

from airflow.providers.common.compat.sdk import AirflowFailException


class Concerns(StrEnum):
    """The thing that a failure is about."""

    NOTHING = "nothing"
    """Trouble on the way: the same request may succeed later."""
    CALL = "call"
    """The call, agent or number that the request names."""
    REQUEST = "request"
    """This request as it was written."""
    ACCOUNT = "account"
    """The key or the account: every other request fails as well."""


class RetellError(Exception):
    """The base of all errors that this package raises about Retell.

    Attributes:
        concerns: What the failure is about.
        may_have_arrived: Whether Retell may have carried out the request, or an earlier attempt at it, although
            it failed: True after a lost or unreadable response, a 5xx, 408, 409 or 425.
    """

    concerns: Concerns = Concerns.REQUEST
    may_have_arrived: bool = False


class RetellInputError(RetellError, AirflowFailException, ValueError):
    """An argument or a setting of the connection is invalid. Nothing was sent."""


class RetellTimeZoneError(RetellInputError):
    """The person's time zone is not known, so the calling hours cannot be checked. Nothing was sent."""


class RetellConnectionError(RetellError):
    """Retell gave no response.

    ``may_have_arrived`` is False if the request certainly never reached Retell (connection refused, no such
    host), True if it may have been carried out although the response was lost.

    Attributes:
        timed_out: Whether the response took longer than the connection's ``timeout``.
        reason: The words of the HTTP library or of the operating system.
    """

    concerns = Concerns.NOTHING

    def __init__(self, message: str, *, may_have_arrived: bool, timed_out: bool = False, reason: str = "") -> None:
        super().__init__(message)
        self.may_have_arrived = may_have_arrived
        self.timed_out = timed_out
        self.reason = reason


class RetellStatusError(RetellError):
    """Retell sent a response with an error status.

    Attributes:
        status_code: The HTTP status.
        message: Retell's own words (``message`` or ``error_message`` of the body, else its first characters).
        retry_after: Seconds that Retell asks to wait before the next request, None if it does not say.
    """

    def __init__(self, text: str, *, status_code: int, message: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.status_code = status_code
        self.message = message
        self.retry_after = retry_after

    @classmethod
    def kind(cls, status_code: int) -> type[RetellStatusError]:
        """Return the class for a status."""
        if status_code in _BY_STATUS:
            return _BY_STATUS[status_code]
        return RetellServerError if status_code >= 500 else RetellInvalidRequestError  # noqa: PLR2004 (5xx)


# status_code is that of Retell's response here; Airflow's own classes have one for Airflow's REST API.
class _FinalStatusError(RetellStatusError, AirflowFailException):  # type: ignore[misc]
    """The same request would get the same response."""


class RetellInvalidRequestError(_FinalStatusError):
    """Retell refuses the request as it is (400, or a 4xx with no class of its own)."""


class RetellAuthenticationError(_FinalStatusError):
    """Retell does not know the API key (401)."""

    concerns = Concerns.ACCOUNT


class RetellPaymentError(_FinalStatusError):
    """The account has no valid payment or no credit left (402)."""

    concerns = Concerns.ACCOUNT


class RetellPermissionError(_FinalStatusError):
    """The API key may not do this (403)."""

    concerns = Concerns.ACCOUNT


class RetellNotFoundError(_FinalStatusError):
    """No such call, agent or number under this API key (404, and 422 as Retell documents it)."""

    concerns = Concerns.CALL


class RetellRateLimitError(RetellStatusError):
    """Too many requests, or calls, at once (429)."""

    concerns = Concerns.NOTHING


class RetellServerError(RetellStatusError):
    """Retell, or a gateway before it, did not finish the request (5xx, 408, 409, 425)."""

    concerns = Concerns.NOTHING
    may_have_arrived = True


_BY_STATUS: dict[int, type[RetellStatusError]] = {
    400: RetellInvalidRequestError,
    401: RetellAuthenticationError,
    402: RetellPaymentError,
    403: RetellPermissionError,
    404: RetellNotFoundError,
    408: RetellServerError,
    409: RetellServerError,
    425: RetellServerError,
    422: RetellNotFoundError,
    429: RetellRateLimitError,
}


class RetellResponseError(RetellError):
    """Retell's response cannot be read: not JSON, no ``call_id`` or another one, a redirect, a gateway's page.

    Attributes:
        status_code: The HTTP status of the response; 200 if it was too long, or not encoded as it says.
    """

    concerns = Concerns.NOTHING
    may_have_arrived = True

    def __init__(self, message: str, *, status_code: int) -> None:
        super().__init__(message)
        self.status_code = status_code


class RetellCallError(RetellError):
    """The call itself went wrong.

    Attributes:
        call_ids: The calls in question.
        outcomes: Their outcomes, words of ``Outcome``; empty while they are not over.
    """

    concerns = Concerns.CALL

    def __init__(
        self, message: str, *, call_ids: tuple[str, ...] = (), outcomes: frozenset[str] = frozenset()
    ) -> None:
        super().__init__(message)
        self.call_ids = call_ids
        self.outcomes = outcomes


class RetellCallTimeoutError(RetellCallError):
    """The call was not over within ``timeout`` or ``execution_timeout``, or there was no time left to place it."""


class RetellCallFinalError(RetellCallError, AirflowFailException):
    """A retry of the task would not help: the call cannot change any more, or a person must decide."""


class RetellExportError(RetellError):
    """An export cannot be completed: the files cannot be written, or Retell's list cannot be read to its end."""


class RetellExportOvertakenError(RetellExportError, AirflowFailException):
    """Another run of the same export began later; a retry would only get in its way."""
