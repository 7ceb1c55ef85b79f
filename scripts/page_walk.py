"""Walk the page of calls in a headless browser: a campaign of 200, live, in Airflow's own UI, with two users.

Airflow's API server is a real one; the tasks run with `dag.test()`, in separate processes. The calls are at the
simulator; those of the DAG `hostile` are at a server whose names and metadata are markup. The screenshots go into
docs/images.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import quote

from airflow_api import AirflowError
from airflow_stack import AirflowStack
from another_server import serving
from new_user import say
from playwright.sync_api import Browser, FrameLocator, Page, expect, sync_playwright

from airflow_provider_retell.simulator import RealClock, Simulator

ROOT = Path(__file__).resolve().parent.parent
HOSTILE: Final = "<script>document.title='stolen'</script><img src=x onerror=\"document.title='stolen'\">"
USERS: Final = {"ada": "admin", "vic": "viewer"}
PATIENCE: Final = 180_000
PEOPLE: Final = 200
SPEED: Final = 4.0
WORTH_LOOKING: Final = 50  # calls
TALKER: Final = "+12065550120"
"""One of the first people, who is still on the line when the walk comes to hang up."""

DAGS: Final = f"""
from airflow.sdk import DAG
from airflow_provider_retell.operators import RetellCampaignOperator, RetellCreatePhoneCallOperator

PEOPLE = [{{"to_number": f"+1{{area}}555{{100 + n:04d}}"}} for area in (206, 415) for n in range({PEOPLE} // 2)]
with DAG("spring") as spring:
    RetellCampaignOperator(
        task_id="call", from_number="+14155550199", people=PEOPLE, lines=6, calls_per_second=6, poll_interval=2
    )

with DAG("hostile") as hostile:
    RetellCreatePhoneCallOperator(
        task_id="call", from_number="+14155550199", to_number="+12065550100", retell_conn_id="retell_hostile",
        metadata={{"note": {HOSTILE!r}}},
    )

with DAG("quiet") as quiet:
    RetellCreatePhoneCallOperator(
        task_id="call", from_number="+14155550199", to_number="+12065550100", dry_run=True
    )

if __name__ == "__main__":
    import sys

    {{"spring": spring, "hostile": hostile, "quiet": quiet}}[sys.argv[1]].test()
"""


@dataclass(kw_only=True)
class Seen:
    """Everything that was seen on the way.

    Attributes:
        texts: The text of the page, by step.
        outside: Requests to other hosts, of which there should be none.
        errors: The errors in the browser's console.
        requests_in_a_minute: The page's list requests per minute, while ten pages were open.
        placed_while_paused: Calls placed during the pause, from five seconds after its beginning on.
        opened: Where the link of a call led.
        facts: Other facts, by name.
    """

    texts: dict[str, str] = field(default_factory=dict)
    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    requests_in_a_minute: int = 0
    placed_while_paused: int = -1
    opened: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


class Pages(AirflowStack):
    """Airflow's API server alone, with users who log in, and DAGs that run without a scheduler."""

    components: ClassVar[tuple[str, ...]] = ("api-server",)

    def run(self, dag_id: str) -> subprocess.Popen[bytes]:
        """Run a DAG of the file in a separate process."""
        command = [self._python, str(self._dags / "spring.py"), dag_id]
        with (self.home / f"{dag_id}.log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 (our own words)
                command, env=self._env, cwd=self.home, stdout=log, stderr=subprocess.STDOUT
            )
        self._undo.callback(process.wait)
        self._undo.callback(process.terminate)
        return process

    def run_of(self, dag_id: str) -> str:
        """Return the id of a DAG's run."""
        self.wait_until(lambda: self._client.get(f"/api/v2/dags/{dag_id}/dagRuns").is_success, f"No DAG {dag_id}")
        return self.first_run(dag_id)

    def run_to_the_end(self, dag_id: str) -> str:
        """Run a DAG; return the id of its run."""
        if self.run(dag_id).wait(PATIENCE / 1000) != 0:
            raise AirflowError((self.home / f"{dag_id}.log").read_text(errors="replace"))
        return self.run_of(dag_id)

    def _healthy(self, name: str) -> bool:
        if self._commands[name][0] != "api-server":
            return super()._healthy(name)
        self.ask("GET", "/execution/health")
        self._client.headers["Authorization"] = f"Bearer {self.token('ada')}"
        return True

    def token(self, user: str) -> str:
        """Log a user in, and return the token."""
        return str(self.ask("POST", "/auth/token", json={"username": user, "password": user})["access_token"])


def walk(images: Path) -> Seen:
    """Do all steps; raise if one fails."""
    seen = Seen()
    with ExitStack() as undo:
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory()))
        (folder / "dags").mkdir()
        (folder / "dags" / "spring.py").write_text(DAGS)
        (folder / "passwords.json").write_text(json.dumps({user: user for user in USERS}))
        simulator = Simulator(
            clock=RealClock(speed=SPEED), talk_seconds=40, concurrency_limit=20, list_registered=True
        )
        script(simulator)
        url = undo.enter_context(simulator.serve())
        other = undo.enter_context(serving())
        other.fate = ((0, {"call_status": "ongoing", "agent_name": HOSTILE}),)
        hostile = {"conn_type": "retell", "password": "key_1", "host": f"http://127.0.0.1:{other.server_port}"}
        env = {
            "AIRFLOW_CONN_RETELL_DEFAULT": simulator.connection(url),
            "AIRFLOW_CONN_RETELL_HOSTILE": json.dumps(hostile),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{u}:{role}" for u, role in USERS.items()),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / "passwords.json"),
        }
        say("starting Airflow")
        airflow = undo.enter_context(Pages(folder / "dags", env=env))
        chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
        playwright = undo.enter_context(sync_playwright())
        browser = undo.enter_context(playwright.chromium.launch(executable_path=chromium))
        expect.set_options(timeout=PATIENCE)
        images.mkdir(parents=True, exist_ok=True)
        Walker(browser, airflow, simulator, images, seen).go()
    return seen


def script(simulator: Simulator) -> None:
    """Let calls end in different ways, and one not before it is hung up."""
    endings = ["agent_hangup", "user_hangup", "voicemail_reached", "dial_no_answer", "dial_busy", "agent_hangup"]
    endings += ["user_declined", "call_transfer", "agent_hangup", "dial_no_answer"]
    for n in range(100):
        for area in ("206", "415"):
            simulator.play(f"+1{area}555{100 + n:04d}", endings[n % len(endings)])
    simulator.play(TALKER, "talks_forever")


class Walker:
    """Do the steps in one browser.

    Args:
        browser: The browser.
        airflow: Airflow.
        simulator: Retell.
        images: The folder for the screenshots.
        seen: Receives what is seen.
    """

    def __init__(self, browser: Browser, airflow: Pages, simulator: Simulator, images: Path, seen: Seen) -> None:
        self._browser, self._airflow, self._simulator = browser, airflow, simulator
        self._images, self._seen = images, seen

    def go(self) -> None:
        """Do all steps."""
        say("looking at a run without calls")
        ada = self._page("ada")
        quiet = self._airflow.run_to_the_end("quiet")
        frame = self._open(ada, "quiet", quiet)
        expect(frame.get_by_text("No calls of this run")).to_be_visible()
        self._picture(ada, "page-empty")

        say("running a campaign of 200")
        campaign = self._airflow.run("spring")
        run_id = self._airflow.run_of("spring")
        self._wait(lambda: len(self._simulator.placed) >= WORTH_LOOKING)
        self._live(ada, run_id)
        self._person_and_link(ada, run_id)
        self._hang_up(ada, run_id)
        self._ten_pages(run_id)
        self._pause(ada, run_id)
        self._without_rights(run_id)
        self._overview(ada)
        self._hostile(ada)
        say("waiting for the end of the campaign")
        campaign.wait(900)
        self._seen.facts["state"] = self._airflow.run_state("spring", run_id)
        frame = self._open(ada, "spring", run_id)
        expect(frame.get_by_text(re.compile(f"Outcomes of {PEOPLE}"))).to_be_visible()
        self._seen.texts["end"] = self._text(frame)
        self._picture(ada, "page-done")

    # -- steps ---------------------------------------------------------------------------------------------

    def _live(self, page: Page, run_id: str) -> None:
        say("looking at it, filtered and unfiltered, in light and dark, at 1280 and 1920")
        frame = self._open(page, "spring", run_id)
        expect(frame.get_by_role("button", name=re.compile("^answered"))).to_be_visible()
        self._seen.texts["live"] = self._text(frame)
        self._picture(page, "page-calls")
        frame.get_by_role("button", name=re.compile("^busy")).focus()
        page.keyboard.press("Enter")
        expect(frame.get_by_role("heading", name=re.compile("calls: busy"))).to_be_visible()
        self._seen.texts["busy"] = self._text(frame)
        self._seen.facts["focus kept"] = frame.locator(":focus").inner_text()
        page.keyboard.press("Enter")
        expect(frame.get_by_role("heading", name=re.compile("calls: busy"))).to_be_hidden()
        frame.get_by_role("button", name="Next").click()
        expect(frame.get_by_text(re.compile(r"^51 to "))).to_be_visible()
        page.set_viewport_size({"width": 1920, "height": 1080})
        self._theme(page, "dark")
        frame = self._open(page, "spring", run_id)
        expect(frame.get_by_role("button", name=re.compile("^answered"))).to_be_visible()
        self._picture(page, "page-dark")
        self._theme(page, "light")
        page.set_viewport_size({"width": 1280, "height": 900})
        task = self._open(page, "spring", run_id, "/tasks/call", "retell-task-calls")
        expect(task.get_by_role("button", name=re.compile("^answered"))).to_be_visible()
        self._seen.texts["task"] = self._text(task)

    def _person_and_link(self, page: Page, run_id: str) -> None:
        say("following the link of a call")
        frame = self._open(page, "spring", run_id)
        row = frame.locator("tbody tr").last
        with page.context.expect_page() as opened:
            row.get_by_role("link", name="Open in Retell").click()
        self._seen.opened = opened.value.url
        opened.value.close()
        row.locator("button.link").click()
        expect(frame.get_by_text(re.compile("^All attempts at"))).to_be_visible()
        self._seen.texts["person"] = self._text(frame)
        frame.get_by_role("button", name="Show all calls").click()

    def _hang_up(self, page: Page, run_id: str) -> None:
        say("hanging up")
        frame = self._open(page, "spring", run_id)
        call_id = next(call.call_id for call in self._simulator.placed if call.to_number == TALKER)
        hang_up = frame.locator(f'tr[data-call="{call_id}"]').get_by_role("button", name="Hang up")
        hang_up.click()
        expect(frame.get_by_role("dialog")).to_be_visible()
        self._picture(page, "page-hang-up")
        page.keyboard.press("Escape")
        expect(frame.get_by_role("dialog")).to_be_hidden()
        self._seen.facts["after Escape"] = self._simulator.call(call_id).get("disconnection_reason")
        hang_up.click()
        frame.get_by_role("dialog").get_by_role("button", name="Hang up").click()
        expect(frame.get_by_role("dialog")).to_be_hidden()
        self._wait(lambda: self._simulator.call(call_id).get("disconnection_reason") is not None)
        self._seen.facts["hung up"] = self._simulator.call(call_id)["disconnection_reason"]
        events = self._airflow.ask("GET", "/api/v2/eventLogs", params={"event": "retell_hang_up"})
        self._seen.facts["audit"] = [(line["owner"], line["dag_id"]) for line in events["event_logs"]]

    def _ten_pages(self, run_id: str) -> None:
        say("counting requests while ten pages are open for half a minute")
        pages = [self._page("ada") for _ in range(10)]
        for page in pages:
            page.goto(f"{self._airflow.url}/retell/calls?dag_id=spring&run_id={quote(run_id)}")
        pages[0].wait_for_timeout(2_000)
        before, began = self._lists(), time.monotonic()
        pages[0].wait_for_timeout(30_000)
        seconds = time.monotonic() - began  # a busy machine takes longer
        self._seen.requests_in_a_minute = round(60 * (self._lists() - before) / seconds)
        for page in pages:
            page.context.close()

    def _lists(self) -> int:
        """Count the page's list requests, which filter by the run's tag; the campaign's filter by its task's."""
        asked = 0
        for request in self._simulator.requests:
            if request.endpoint == "list-calls" and isinstance(request.json, dict):
                filters = request.json.get("filter_criteria", {}).get("metadata", [{}])
                asked += filters[0].get("op") == "sw" and str(filters[0].get("value")).count(".") == 1
        return asked

    def _pause(self, page: Page, run_id: str) -> None:
        say("pausing the campaign for a quarter of a minute")
        frame = self._open(page, "spring", run_id)
        frame.get_by_role("button", name="Pause").click()
        frame.get_by_role("dialog").get_by_role("button", name="Pause the campaign").click()
        expect(frame.get_by_text(re.compile("Paused by ada at"))).to_be_visible()
        page.wait_for_timeout(5_000)
        before = len(self._simulator.placed)
        page.wait_for_timeout(10_000)
        self._seen.placed_while_paused = len(self._simulator.placed) - before
        self._seen.texts["paused"] = self._text(frame)
        self._picture(page, "page-paused")
        frame.get_by_role("button", name="Continue").click()
        frame.get_by_role("dialog").get_by_role("button", name="Continue the campaign").click()
        expect(frame.get_by_text(re.compile("Paused by"))).to_be_hidden()
        self._wait(lambda: len(self._simulator.placed) > before)
        self._seen.facts["placed before the pause"] = before

    def _without_rights(self, run_id: str) -> None:
        say("looking as a user who may only read")
        page = self._page("vic")
        frame = self._open(page, "spring", run_id)
        expect(frame.get_by_role("button", name=re.compile("^answered"))).to_be_visible()
        self._seen.facts["buttons of a viewer"] = [
            text
            for text in frame.get_by_role("button").all_inner_texts()
            if text in {"Hang up", "Pause", "Continue"}
        ]
        page.goto(f"{self._airflow.url}/plugin/retell")
        overview = page.frame_locator("iframe")
        expect(overview.get_by_text("No accounts")).to_be_visible()
        self._seen.texts["overview of a viewer"] = self._text(overview)
        page.context.close()

    def _overview(self, page: Page) -> None:
        say("looking at the overview")
        page.goto(f"{self._airflow.url}/plugin/retell")
        frame = page.frame_locator("iframe")
        expect(frame.get_by_text(re.compile("lines in use")).first).to_be_visible()
        expect(frame.get_by_text(re.compile("^answered")).first).to_be_visible()
        self._seen.texts["overview"] = self._text(frame)
        self._picture(page, "page-overview")

    def _hostile(self, page: Page) -> None:
        say("looking at a call whose names are markup")
        run_id = self._airflow.run_to_the_end("hostile")
        frame = self._open(page, "hostile", run_id)
        expect(frame.get_by_text("<script>").first).to_be_visible()
        self._seen.texts["hostile"] = self._text(frame)
        self._seen.facts["title"] = page.title()
        self._seen.facts["injected"] = frame.locator("main script, main img").count()
        self._picture(page, "page-hostile")

    # -- the browser ---------------------------------------------------------------------------------------

    def _page(self, user: str) -> Page:
        context = self._browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
        context.add_cookies([{"name": "_token", "value": self._airflow.token(user), "url": self._airflow.url}])
        page = context.new_page()
        page.set_default_timeout(PATIENCE)

        def note(route: Any) -> None:
            self._seen.outside.append(route.request.url)
            route.fulfill()

        context.route(lambda address: not address.startswith((self._airflow.url, "data:", "blob:")), note)
        page.on("console", lambda message: self._complain(message.type, message.text))
        page.on("pageerror", lambda error: self._complain("error", str(error)))
        return page

    def _complain(self, kind: str, text: str) -> None:
        if kind == "error":
            self._seen.errors.append(text)

    def _open(
        self, page: Page, dag_id: str, run_id: str, task: str = "", tab: str = "retell-calls"
    ) -> FrameLocator:
        page.goto(f"{self._airflow.url}/dags/{dag_id}/runs/{run_id}{task}/plugin/{tab}")
        return page.frame_locator("iframe")

    def _theme(self, page: Page, theme: str) -> None:
        page.evaluate("theme => localStorage.setItem('theme', theme)", theme)
        page.reload()

    def _picture(self, page: Page, name: str) -> None:
        page.mouse.move(1, 1)
        page.wait_for_timeout(700)
        page.screenshot(path=self._images / f"{name}.png")

    @staticmethod
    def _text(frame: FrameLocator) -> str:
        return frame.locator("main").inner_text()

    def _wait(self, reached: Any) -> None:
        end = time.monotonic() + PATIENCE / 1000
        while not reached():
            self._airflow.check_alive()
            if time.monotonic() > end:
                raise TimeoutError
            time.sleep(0.2)


if __name__ == "__main__":
    # The signal must end Airflow too, as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    print(walk(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "docs" / "images"))
