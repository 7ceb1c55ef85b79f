from __future__ import annotations

import pytest

from airflow_provider_retell.api.patience import UNREADABLE_FOR, Patience
from airflow_provider_retell.errors import (
    Concerns,
    RetellConnectionError,
    RetellError,
    RetellResponseError,
    RetellStatusError,
)

UNREADABLE = RetellResponseError("", status_code=200)


def status(code: int) -> RetellStatusError:
    """Return the error of a response with a status."""
    return RetellStatusError.kind(code)("", status_code=code, message="")


@pytest.mark.parametrize(
    "error", [RetellConnectionError("", may_have_arrived=True), *map(status, (408, 409, 425, 429, 500, 503))]
)
def test_trouble_is_borne_to_the_deadline(error: RetellError) -> None:
    """A failure that says nothing about a call ends no wait, however long it lasts."""
    patience = Patience()
    assert all(patience.bears(error, now=now) for now in (0, 1e3, 1e6))


@pytest.mark.parametrize("code", [400, 401, 402, 403, 404, 410, 422])
def test_a_refusal_is_not_borne(code: int) -> None:
    """A failure that concerns the call, the request or the account would be the same the next time."""
    assert not Patience().bears(status(code), now=0)


def test_unreadable_responses_are_borne_for_ten_minutes() -> None:
    """A maintenance page goes away; a wrong host does not, and is not polled for three hours."""
    patience = Patience()
    assert patience.bears(UNREADABLE, now=5)
    assert patience.bears(UNREADABLE, now=5 + UNREADABLE_FOR - 1)
    assert not patience.bears(UNREADABLE, now=5 + UNREADABLE_FOR)


def test_a_good_read_renews_the_patience() -> None:
    """One unreadable response an hour is no reason to give up."""
    patience = Patience()
    for hour in range(10):
        assert patience.bears(UNREADABLE, now=3600.0 * hour)
        patience.succeeded()


def test_other_trouble_in_between_does_not() -> None:
    """A gateway that alternates between its page and 503 has not answered either."""
    patience = Patience()
    assert patience.bears(UNREADABLE, now=0)
    assert patience.bears(status(503), now=300)
    assert not patience.bears(UNREADABLE, now=UNREADABLE_FOR)


@pytest.mark.parametrize("concerns", Concerns)
def test_every_kind_is_decided(concerns: Concerns) -> None:
    """Only what concerns nothing is borne, whatever the class."""
    error = RetellError("")
    error.concerns = concerns
    assert Patience().bears(error, now=0) is (concerns is Concerns.NOTHING)
