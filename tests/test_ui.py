"""Test the steps of a new user: install the wheel, connect, run, and look at it in a browser."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("playwright")
from new_user import Seen, walk

from airflow_provider_retell.api.settings import DEFAULT_BASE_URL, SETTINGS
from airflow_provider_retell.provider.links import call_url

pytestmark = pytest.mark.ui

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 200_000  # bytes of a picture in the documentation


@pytest.fixture(scope="module")
def seen(images: Path) -> Seen:
    """Return what a new user sees, once for all tests."""
    return walk(images)


def test_the_form_asks_for_what_matters_in_its_words(seen: Seen) -> None:
    """Irrelevant fields are hidden, the others have the names that the documentation uses."""
    labels = [setting.label for setting in SETTINGS.values()]
    # A switch has a second label, without text.
    assert [label for label in seen.labels if label] == ["Description", "Base URL", "API key", "Port", *labels]
    assert seen.placeholders == {"Base URL": DEFAULT_BASE_URL, "Port": "443", "API key": "key_..."}


def test_the_form_mends_numbers(seen: Seen) -> None:
    """A number that is too small becomes the minimum, and letters cannot be typed."""
    assert {name: seen.corrected[name] for name in ("Time-out", "Attempts")} == {
        "Time-out": "0.1",
        "Attempts": "1",
    }
    assert seen.corrected["Longest pause"] in {"", "60"}


def test_the_test_button_tells_four_things_apart(seen: Seen) -> None:
    """Key accepted, key refused, host unreachable, time-out: each in a sentence that says what to do."""
    said = {name: answer.split("\n", 1) for name, answer in seen.answers.items()}
    assert {name: heading for name, (heading, _) in said.items()} == {
        "accepted": "Test Connection Successful",
        "refused": "Test Connection Failed",
        "unreachable": "Test Connection Failed",
        "late": "Test Connection Failed",
    }
    beginnings = {name: sentence.split(":")[0] for name, (_, sentence) in said.items()}
    assert beginnings == {
        "accepted": "Key accepted, workspace Simulated organisation, 0 of 20 concurrent calls in use.",
        "refused": "Key refused",
        "unreachable": "Host unreachable",
        "late": "Time-out",
    }


def test_the_dag_of_the_readme_runs_as_it_is(seen: Seen) -> None:
    """Pasted and triggered, it waits for both calls and hands on their rows in order."""
    assert [row["outcome"] for row in seen.rows] == ["answered", "no_answer"]
    assert seen.run.count("Success") == 5
    assert "2 calls: 1 " in seen.log


def test_mapped_tasks_say_whom_they_call(seen: Seen) -> None:
    """By the last four digits: enough to find a person by, and never the complete number."""
    assert "…0100" in seen.run
    assert "…0120" in seen.run
    assert "+1415555" not in seen.run + seen.log


@pytest.mark.parametrize("state", ["deferred", "success", "failed"])
def test_the_link_leads_to_the_call(seen: Seen, state: str) -> None:
    """While the task waits, after it succeeded, and after it failed, which is when one needs it."""
    assert seen.links[state] == call_url(seen.call_ids[state])


def test_rendered_fields_can_be_read(seen: Seen) -> None:
    """Objects are JSON, and the sensor shows the ids of the calls that it waits for."""
    text = {task: "".join(shown.split()) for task, shown in seen.rendered.items()}
    assert '"campaign":"spring"' in text["call"]
    assert '"name":"Ada"' in text["person"]
    for row in seen.rows:
        assert f'"{row["call_id"]}"' in text["wait"]


def test_pictures_are_small_enough_for_the_documentation(seen: Seen, images: Path) -> None:
    """Each one that the documentation shows is made on the way."""
    sizes = {path.name: path.stat().st_size for path in images.glob("*.png")}
    shown = {path.name for path in (ROOT / "docs" / "images").glob("*.png")}
    assert set(sizes) == {name for name in shown if not name.startswith("page-")}  # those have a walk of their own
    assert max(sizes.values()) < LIMIT
