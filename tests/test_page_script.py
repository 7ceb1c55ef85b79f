"""Test what the page's script does with answers that are not Airflow's, and how soon it asks again, in Node."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import airflow_provider_retell

NODE = shutil.which("node")
SCRIPT = Path(airflow_provider_retell.__file__).parent / "page" / "assets" / "page.js"

pytestmark = pytest.mark.skipif(NODE is None, reason="there is no Node")

BROWSER = """
const listeners = [];
const delays = [];
globalThis.document = { hidden: false, addEventListener: (_, act) => listeners.push(act) };
globalThis.localStorage = { getItem: () => '"token_1"' };
globalThis.setTimeout = (_, delay) => delays.push(delay);
globalThis.clearTimeout = () => {};
const requests = [];
const answers = (...all) => {
  globalThis.fetch = async (path, options) => {
    requests.push({ path, ...structuredClone(options) });
    const { status, body } = all.shift();
    return { status, ok: status < 400, json: async () => JSON.parse(body) };
  };
};
const page = await import(process.argv[1]);
const failed = ({ message, status }) => ({ error: message, status });
const tried = (promise) => promise.then((answer) => ({ answer }), failed);
const turn = () => new Promise((resolve) => setImmediate(resolve));
"""


def run(tmp_path: Path, script: str) -> Any:
    """Return what a script prints that uses the page's script in a browser with nothing in it."""
    module = tmp_path / "page.mjs"
    shutil.copy(SCRIPT, module)
    command = [str(NODE), "--input-type=module", "--eval", BROWSER + script, module.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 (our own words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("status", "body", "result"),
    [
        (200, '{"ask_again_in": 5}', {"answer": {"ask_again_in": 5}}),
        (
            200,
            "<html>Log in</html>",
            {"error": "The answer is not from Airflow's API. This page tries again.", "status": 200},
        ),
        (502, "<html>Bad gateway</html>", {"error": "Airflow answered 502.", "status": 502}),
        (403, '{"detail": "You may not."}', {"error": "You may not.", "status": 403}),
        (422, '{"detail": [{"loc": ["query"]}]}', {"error": "Airflow answered 422.", "status": 422}),
    ],
)
def test_what_is_not_airflow_s_answer_is_an_error(tmp_path: Path, status: int, body: str, result: Any) -> None:
    """A proxy may answer in Airflow's place, with a page of its own and any status."""
    answer = json.dumps({"status": status, "body": body})
    script = f"answers({answer}); console.log(JSON.stringify(await tried(page.ask('api/calls'))));"
    assert run(tmp_path, script) == result


def test_a_request_without_a_cookie_is_repeated_with_airflow_s_token(tmp_path: Path) -> None:
    """Airflow 3.1 keeps its token in the browser's storage."""
    script = """
    answers({ status: 401, body: "{}" }, { status: 200, body: '{"seen": true}' });
    console.log(JSON.stringify([await page.ask("api/pause", { paused: true }), ...requests]));
    """
    answer, first, second = run(tmp_path, script)
    assert answer == {"seen": True}
    assert "Authorization" not in first["headers"]
    assert second["headers"]["Authorization"] == "Bearer token_1"
    assert second["body"] == first["body"] == '{"paused":true}'


@pytest.mark.parametrize(
    ("seconds", "delay"),
    [("5", 5000), ("0.2", 1000), ("-3", 1000), ("0", 15_000), ("undefined", 15_000), ("NaN", 15_000)],
)
def test_the_page_asks_at_most_once_a_second(tmp_path: Path, seconds: str, delay: int) -> None:
    """An answer without a usable time to wait once made an open page ask hundreds of times a second."""
    script = (
        f"page.keepAsking(async () => {seconds}); await turn(); await turn(); console.log(JSON.stringify(delays));"
    )
    assert run(tmp_path, script) == [delay]


def test_a_page_that_is_not_seen_asks_nothing(tmp_path: Path) -> None:
    """It asks once it is seen, and not twice at the same time."""
    script = """
    let asked = 0;
    document.hidden = true;
    page.keepAsking(async () => { asked += 1; await turn(); return 5; });
    const before = asked;
    document.hidden = false;
    listeners.forEach((act) => { act(); act(); });
    console.log(JSON.stringify([before, asked]));
    """
    assert run(tmp_path, script) == [0, 1]
