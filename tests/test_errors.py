from __future__ import annotations

import inspect
import re

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_retell import errors
from airflow_provider_retell.errors import (
    Concerns,
    RetellAuthenticationError,
    RetellCallError,
    RetellConnectionError,
    RetellError,
    RetellInputError,
    RetellInvalidRequestError,
    RetellNotFoundError,
    RetellPaymentError,
    RetellPermissionError,
    RetellRateLimitError,
    RetellResponseError,
    RetellServerError,
    RetellStatusError,
)

DRAWN = re.findall(r"(\w+Error) .*(final|transient)$", errors.__doc__ or "", re.MULTILINE)


@pytest.mark.parametrize(("name", "retries"), DRAWN)
def test_final_errors_end_the_task(name: str, retries: str) -> None:
    """Exactly the errors drawn as final are AirflowFailException, which Airflow does not retry."""
    assert issubclass(getattr(errors, name), AirflowFailException) is (retries == "final")


def test_the_tree_is_drawn_in_full() -> None:
    """Every error is in the drawing at the top of the module."""
    named = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, RetellError) and not name.startswith("_")
    }
    assert named == {"RetellError", *(name for name, _ in DRAWN)}


@pytest.mark.parametrize(
    ("status_code", "kind"),
    [
        (400, RetellInvalidRequestError),
        (401, RetellAuthenticationError),
        (402, RetellPaymentError),
        (403, RetellPermissionError),
        (404, RetellNotFoundError),
        (408, RetellServerError),
        (409, RetellServerError),
        (410, RetellInvalidRequestError),
        (422, RetellNotFoundError),
        (425, RetellServerError),
        (429, RetellRateLimitError),
        (500, RetellServerError),
        (503, RetellServerError),
        (599, RetellServerError),
    ],
)
def test_each_status_has_its_class(status_code: int, kind: type[RetellStatusError]) -> None:
    """Users catch a class; 422 is Retell's own word for "no such call", and counts as 404 does."""
    assert RetellStatusError.kind(status_code) is kind


def test_input_errors_are_value_errors() -> None:
    """A wrong argument is caught as Python's ValueError too."""
    assert issubclass(RetellInputError, ValueError)


def status(code: int) -> RetellStatusError:
    """Return the error of a response with a status."""
    return RetellStatusError.kind(code)("", status_code=code, message="")


@pytest.mark.parametrize(
    ("error", "concerns", "may_have_arrived"),
    [
        (RetellConnectionError("", may_have_arrived=False), Concerns.NOTHING, False),
        (RetellConnectionError("", may_have_arrived=True), Concerns.NOTHING, True),
        *((status(code), Concerns.NOTHING, True) for code in (408, 409, 425, 500, 501, 502, 503, 504, 599)),
        (status(429), Concerns.NOTHING, False),
        (RetellResponseError("", status_code=200), Concerns.NOTHING, True),
        *((status(code), Concerns.CALL, False) for code in (404, 422)),
        *((status(code), Concerns.REQUEST, False) for code in (400, 405, 410, 413, 415, 451, 499)),
        *((status(code), Concerns.ACCOUNT, False) for code in (401, 402, 403)),
        (RetellInputError(""), Concerns.REQUEST, False),
        (RetellCallError(""), Concerns.CALL, False),
        (RetellError(""), Concerns.REQUEST, False),
    ],
    ids=lambda given: str(getattr(given, "status_code", "")) + type(given).__name__,
)
def test_a_failure_says_something_about_one_thing(
    error: RetellError, concerns: Concerns, may_have_arrived: bool
) -> None:
    """The table of the module: what a failure concerns, and whether the request may have been carried out."""
    assert (error.concerns, error.may_have_arrived) == (concerns, may_have_arrived)


@pytest.mark.parametrize("code", range(400, 600))
def test_a_status_is_final_unless_it_concerns_nothing(code: int) -> None:
    """Airflow retries exactly those tasks whose failure may go away by itself."""
    error = status(code)
    assert isinstance(error, AirflowFailException) is (error.concerns is not Concerns.NOTHING)
