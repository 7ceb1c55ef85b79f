"""The page of calls in a browser: a live campaign of 200, filters, buttons, a viewer, hostile text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("playwright")
from page_walk import PEOPLE, Seen, walk

pytestmark = pytest.mark.ui

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 250_000  # bytes of a picture in the documentation


@pytest.fixture(scope="module")
def seen(images: Path) -> Seen:
    """Return what is seen on the way, once for all tests."""
    return walk(images)


def test_the_tab_is_live(seen: Seen) -> None:
    """Totals, outcomes and the list, on the run and on the task, while the campaign goes on."""
    for text in (seen.texts["live"], seen.texts["task"]):
        assert re.search(r"As of .*live", text)
        assert "lines in use" in text
        assert "Outcomes of" in text
    assert f"Outcomes of {PEOPLE} calls" in seen.texts["end"]
    assert seen.facts["state"] == "success"


def test_a_filter_works_by_keyboard_and_keeps_the_focus(seen: Seen) -> None:
    """Enter on an outcome filters the list; the page is drawn again, and the focus stays."""
    assert "calls: busy" in seen.texts["busy"]
    assert seen.facts["focus kept"].startswith("busy")


def test_the_link_leads_to_retell_although_the_frame_allows_no_pop_ups(seen: Seen) -> None:
    """It opens in a tab of its own, and nothing else asks for another host."""
    assert seen.opened.startswith("https://dashboard.retellai.com/call-history?history=call_")
    assert set(seen.outside) == {seen.opened}
    assert not seen.errors


def test_hanging_up_asks_first_and_leaves_a_line(seen: Seen) -> None:
    """Escape leaves the call alone; the button stops it."""
    assert seen.facts["after Escape"] != "manual_stopped"
    assert seen.facts["hung up"] == "manual_stopped"
    assert ["ada", "spring"] in [list(line) for line in seen.facts["audit"]]


def test_ten_open_pages_cost_no_more_than_one(seen: Seen) -> None:
    """Twelve requests in a minute, however many people look."""
    assert 1 <= seen.requests_in_a_minute <= 14


def test_a_paused_campaign_places_nothing(seen: Seen) -> None:
    """From five seconds after the button on; then it goes on."""
    assert seen.placed_while_paused == 0
    assert "Paused by ada at" in seen.texts["paused"]


def test_who_may_only_read_has_no_buttons_and_no_accounts(seen: Seen) -> None:
    """A viewer sees calls and campaigns, and can change nothing."""
    assert seen.facts["buttons of a viewer"] == []
    assert "retell_default" not in seen.texts["overview of a viewer"]
    assert "retell_default" in seen.texts["overview"]


def test_markup_is_shown_as_text(seen: Seen) -> None:
    """A name with a script in it is text, and runs nothing."""
    assert "<script>" in seen.texts["hostile"]
    assert seen.facts["injected"] == 0
    assert "stolen" not in seen.facts["title"]


def test_pictures_are_small_enough_for_the_documentation(seen: Seen, images: Path) -> None:
    """Each one that the documentation shows is made on the way."""
    sizes = {path.name: path.stat().st_size for path in images.glob("*.png")}
    assert {path.name for path in (ROOT / "docs" / "images").glob("page-*.png")} <= set(sizes)
    assert max(sizes.values()) < LIMIT
