"""Use the pages of Airflow 3 as a person does, in a headless browser."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from playwright.sync_api import Locator, Page, ViewportSize, expect, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WINDOW: ViewportSize = {"width": 1340, "height": 920}
PATIENCE = 30_000  # milliseconds; a page that a busy machine draws for the first time
LAST_SIGHT = Path(tempfile.gettempdir()) / "airflow-ui.png"
STANDARD, EXTRA = "Standard Fields", "Extra Fields"


class Browser:
    """Go through Airflow's pages as a person who only sees labels and buttons.

    Args:
        page: An open page.
        url: Where Airflow is.
        images: The folder for the screenshots.
    """

    def __init__(self, page: Page, url: str, images: Path) -> None:
        self._page = page
        self._url = url
        self._images = images

    @classmethod
    @contextmanager
    def open(cls, url: str, images: Path) -> Iterator[Self]:
        """Start Debian's Chromium, or the one in the environment variable CHROMIUM."""
        chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
        if chromium is None:
            raise FileNotFoundError("There is no chromium; Debian: apt-get install chromium")
        images.mkdir(parents=True, exist_ok=True)
        with sync_playwright() as playwright, playwright.chromium.launch(executable_path=chromium) as browser:
            page = browser.new_page(viewport=WINDOW, reduced_motion="reduce")
            page.set_default_timeout(PATIENCE)
            expect.set_options(timeout=PATIENCE)
            # Requests to other machines are blocked, and only recorded.
            page.context.route(lambda address: not address.startswith(url), lambda route: route.fulfill())
            try:
                yield cls(page, url, images)
            except Exception as error:
                page.screenshot(path=LAST_SIGHT)
                error.add_note(f"What was seen last is in {LAST_SIGHT}")
                raise

    def picture(self, name: str) -> None:
        """Save a screenshot, without the hints of the pointer."""
        self._page.mouse.move(WINDOW["width"] - 1, 1)
        self._page.wait_for_timeout(700)  # until menus and drawers have come to rest
        self._page.screenshot(path=self._images / f"{name}.png")

    # -- connections ---------------------------------------------------------------------------------------

    def open_connection_form(self, conn_id: str, kind: str) -> list[str]:
        """Open the form of a new connection; return the labels of the fields that it asks for."""
        self._goto("/connections")
        self._page.get_by_role("button", name="Add Connection").click()
        self._form.get_by_label("Connection ID").fill(conn_id)
        self._form.get_by_role("combobox", name="Connection Type").fill(kind)
        self._form.get_by_role("option", name=kind, exact=True).click()
        labels = self._labels(STANDARD)
        self._section(EXTRA).click()
        labels += self._labels(EXTRA)
        self._section(STANDARD).click()
        expect(
            self._form.get_by_label(labels[-1], exact=True)
        ).to_be_hidden()  # the sections take a moment to close
        return labels

    def fill_in(self, fields: Mapping[str, str]) -> None:
        """Type into fields of the open form, by their labels."""
        for label, value in fields.items():
            field = self._form.get_by_label(label, exact=True)
            if not field.is_visible():
                self._section(EXTRA).click()
            field.fill(value)
            field.blur()

    def value_of(self, label: str) -> str:
        """Return the value of a field in the open form."""
        return self._form.get_by_label(label, exact=True).input_value()

    def correction_of(self, label: str, typed: str) -> str:
        """Type what the form corrects, a moment later, and return what it makes of it."""
        self.fill_in({label: typed})
        expect(self._form.get_by_label(label, exact=True)).not_to_have_value(typed)
        return self.value_of(label)

    def placeholder_of(self, label: str) -> str | None:
        """Return the placeholder of a field in the open form."""
        return self._form.get_by_label(label, exact=True).get_attribute("placeholder")

    def save_connection(self) -> None:
        """Save the open form."""
        self._form.get_by_role("button", name="Save").click()
        expect(self._form).to_be_hidden()

    def press_test(self, conn_id: str) -> str:
        """Press the Test button of a connection; return the answer, with its heading."""
        self._goto("/connections")
        row = self._page.get_by_role("row").filter(has=self._page.get_by_role("cell", name=conn_id, exact=True))
        row.get_by_role("button", name="Test Connection").click()
        answer = self._page.get_by_role("region", name="Notifications").get_by_role("status")
        return answer.first.inner_text()

    # -- DAGs ----------------------------------------------------------------------------------------------

    def trigger(self, dag_id: str) -> str:
        """Start a run with the Trigger button; return its id."""
        self._goto(f"/dags/{dag_id}")
        self._page.get_by_role("button", name="Trigger Dag").click()
        self._page.get_by_role("dialog").get_by_role("button", name="Trigger").click()
        self._page.wait_for_url(f"**/dags/{dag_id}/runs/*")
        return self._page.url.rpartition("/")[2]

    def open_run(self, dag_id: str, run_id: str) -> str:
        """Open a run; return its table of tasks as text."""
        self._goto(f"/dags/{dag_id}/runs/{run_id}")
        table = self._page.get_by_role("table")
        self._read(table.locator("tbody"))  # its head is there before its rows are
        return self._read(table)

    def open_task(self, dag_id: str, run_id: str, task: str, tab: str = "") -> str:
        """Open a tab of a task (`wait`, or `call/mapped/0`); return its text."""
        self._goto(f"/dags/{dag_id}/runs/{run_id}/tasks/{task}/{tab}")
        heading = {"": "Logs", "details": "Details", "rendered_templates": "Rendered Templates"}[tab]
        expect(self._page.get_by_role("link", name=heading, exact=True)).to_be_visible()
        return self._read(self._page.get_by_role("code" if tab == "" else "table").first)

    def follow_in(self, dag_id: str, run_id: str, task: str, link: str) -> str:
        """Press the button of an extra link of a task; return where it leads."""
        self.open_task(dag_id, run_id, task, "details")
        return self.follow(link)

    def follow(self, link: str) -> str:
        """Press the button of an extra link, which the open tab Details shows; return where it leads."""
        with self._page.context.expect_page() as opened:
            self._page.get_by_role("link", name=link).click()
        address = opened.value.url
        opened.value.close()
        return address

    def _goto(self, path: str) -> None:
        self._page.goto(f"{self._url}{path}")

    def _read(self, part: Locator) -> str:
        expect(part).to_have_text(re.compile(r"\S"))
        return part.inner_text()

    @property
    def _form(self) -> Locator:
        return self._page.get_by_role("dialog")

    def _section(self, name: str) -> Locator:
        return self._form.get_by_role("button", name=name, exact=True)

    def _labels(self, section: str) -> list[str]:
        expect(self._section(section)).to_have_attribute("aria-expanded", "true")
        labels = self._form.locator("[role=region]:not([data-state=closed]) label")
        expect(labels.first).to_be_visible()
        return labels.all_inner_texts()
