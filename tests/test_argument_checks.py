"""Test the checks of arguments, when the DAG is parsed or, for rendered templates, on the worker."""

from __future__ import annotations

from datetime import timedelta
from math import inf, nan
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import conf
from conftest import CREATE, place
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_retell._argument_checks import LONGEST_DURATION, flag, rendered_flag, seconds
from airflow_provider_retell.errors import RetellInputError
from airflow_provider_retell.sensors import RetellCallSensor
from airflow_provider_retell.transfers import RetellCallsToObjectStorageOperator

LONGEST = LONGEST_DURATION.total_seconds()


# -- durations -----------------------------------------------------------------------------------------------


@given(st.floats(min_value=0, max_value=LONGEST) | st.timedeltas(timedelta(0), LONGEST_DURATION))
def test_a_duration_is_seconds_or_a_timedelta(value: float | timedelta) -> None:
    """Both are read as seconds, from nothing to 366 days."""
    expected = value.total_seconds() if isinstance(value, timedelta) else value
    assert seconds("timeout", value) == expected


@given(
    st.floats(max_value=0, exclude_max=True)
    | st.floats(min_value=LONGEST, exclude_min=True)
    | st.sampled_from([nan, inf, -inf, 10**400])
    | st.timedeltas(max_value=timedelta(microseconds=-1))
    | st.timedeltas(min_value=LONGEST_DURATION + timedelta(microseconds=1))
    | st.booleans()
    | st.text()
    | st.none()
)
def test_what_no_wait_can_last_is_no_duration(value: Any) -> None:
    """A value that cannot be a wait is refused; the message names the argument."""
    with pytest.raises(RetellInputError, match=r"^timeout must be "):
        seconds("timeout", value)


@pytest.mark.parametrize("value", [inf, nan, -1, True, "60", timedelta(days=367)])
@pytest.mark.parametrize(
    ("make", "durations"),
    [
        (
            lambda **given: place(CREATE, **given),
            ["analysis_timeout", "limit_timeout", "poll_interval", "timeout"],
        ),
        (
            lambda **given: RetellCallSensor(task_id="wait", call_id="call_1", **given),
            ["analysis_timeout", "poke_interval", "timeout"],
        ),
        (
            lambda **given: RetellCallsToObjectStorageOperator(task_id="export", path="/x", **given),
            ["late_arrivals", "poll_interval"],
        ),
    ],
    ids=["operator", "sensor", "export"],
)
def test_a_bad_duration_fails_when_the_dag_is_parsed(make: Any, durations: list[str], value: Any) -> None:
    """An impossible wait is noticed before any phone rings."""
    for name in durations:
        with pytest.raises(RetellInputError, match=f"^{name} must be "):
            make(**{name: value})


# -- flags ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["False", "True", "", "{{ params.x }}", 0, 1, None, [], object()])
@pytest.mark.parametrize(
    ("make", "flags"),
    [
        (lambda **given: place(CREATE, **given), ["deferrable", "durable", "cancel_on_kill", "validate_e164"]),
        (lambda **given: RetellCallSensor(task_id="wait", call_id="call_1", **given), ["deferrable"]),
        (
            lambda **given: RetellCallsToObjectStorageOperator(task_id="export", path="/x", **given),
            ["deferrable", "undated", "scrubbed", "mask_numbers", "recordings"],
        ),
    ],
    ids=["operator", "sensor", "export"],
)
def test_a_flag_is_true_or_false(make: Any, flags: list[str], value: Any) -> None:
    """Python treats the text "False" as true, so these arguments, which are no templates, take no text."""
    for name in flags:
        with pytest.raises(RetellInputError, match=f"^{name} must be True or False, not "):
            make(**{name: value})


@pytest.mark.parametrize("word", ["true", "True", " TRUE\n", "t", "1", "false", "False", "f", "0"])
def test_a_rendered_flag_is_read_as_airflow_reads_its_own(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words for true and false in Airflow's configuration mean the same here."""
    monkeypatch.setenv("AIRFLOW__RETELL__SOME_FLAG", word)
    assert rendered_flag("dry_run", word) is conf.getboolean("retell", "some_flag")


@pytest.mark.parametrize("value", [True, False, 1, 0])
def test_a_rendered_flag_may_be_native(value: Any) -> None:
    """With native rendering a template gives booleans and integers."""
    assert rendered_flag("dry_run", value) is bool(value)


@pytest.mark.parametrize("value", ["", "None", "maybe", "yes please", "2", 2, -1, 0.0, None, [], {}])
def test_a_rendered_flag_is_never_guessed(value: Any) -> None:
    """A parameter that is missing or misspelt must not decide whether a phone rings."""
    with pytest.raises(RetellInputError, match=r"^dry_run must be True or False, or a template"):
        rendered_flag("dry_run", value)


def test_a_flag_is_the_flag() -> None:
    """True and False are taken as they are."""
    assert (flag("durable", True), flag("durable", False)) == (True, False)
