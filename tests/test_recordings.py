"""Test links to recordings: followed without the key, never logged, requested again when they have expired."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import TickingTime

from airflow_provider_retell.api.client import RetellClient
from airflow_provider_retell.api.endpoints import Request
from airflow_provider_retell.api.settings import ConnectionSettings
from airflow_provider_retell.errors import RetellConnectionError, RetellInputError, RetellPermissionError
from airflow_provider_retell.export.listing import Selection
from airflow_provider_retell.export.recordings import save_recording
from airflow_provider_retell.files.contents import Contents
from airflow_provider_retell.files.destination import Destination
from airflow_provider_retell.simulator import Simulator

LINK = Request(method="GET", path="the recording", read=lambda _: None, idempotent=True)


@pytest.fixture
def simulator() -> Simulator:
    """A Retell whose clock advances by a second at each look, with links that are valid for a few seconds."""
    simulator = Simulator(clock=TickingTime(), recording_link_seconds=8)
    simulator.seed(20)
    return simulator


@pytest.fixture
def client(simulator: Simulator) -> Iterator[RetellClient]:
    with RetellClient(ConnectionSettings(api_key="key_simulator"), transport=simulator) as client:
        yield client


def test_a_link_is_followed_without_the_key_and_without_a_word(
    simulator: Simulator, client: RetellClient, caplog: pytest.LogCaptureFixture
) -> None:
    """A link is a permission, and so a secret: httpx's log line about it is dropped, whatever its host."""
    caplog.set_level(logging.INFO, logger="httpx")
    call_id = next(iter(simulator.calls))
    link = f"https://storage.invalid/recordings/{call_id}/99999999999999/recording.wav"
    with client.download(LINK, link) as content:
        assert b"".join(content).startswith(b"RIFF")
    assert "authorization" not in simulator.requests[-1].headers
    assert "storage.invalid" not in caplog.text


def test_an_error_does_not_quote_the_link(simulator: Simulator, client: RetellClient) -> None:
    """Messages say "the recording" in place of the link."""
    call_id = next(iter(simulator.calls))
    link = f"https://storage.invalid/recordings/{call_id}/1/recording.wav"
    with pytest.raises(RetellPermissionError) as raised, client.download(LINK, link):
        pass
    assert "the recording: 403" in str(raised.value)
    assert "storage.invalid" not in str(raised.value)


class DeadStorage(httpx.BaseTransport):
    """A network in which no storage answers."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("timed out", request=request)


def test_a_storage_that_does_not_answer_is_not_taken_for_retell() -> None:
    """The message blames the storage, and does not quote the link."""
    settings = ConnectionSettings(api_key="key_1", max_attempts=1)
    with RetellClient(settings, transport=DeadStorage()) as client:
        link = "https://storage.invalid/call_1.wav"
        with pytest.raises(RetellConnectionError) as raised, client.download(LINK, link):
            pass
    message = "no answer from the storage to which Retell's link leads (ConnectTimeout: timed out)."
    assert str(raised.value) == f"GET the recording: {message}"


@pytest.mark.parametrize("link", ["http://storage.invalid/a.wav", "file:///etc/passwd", "https:/a.wav", ""])
def test_a_link_that_is_none_is_not_followed(simulator: Simulator, client: RetellClient, link: str) -> None:
    """Only https links are followed, and links to the API itself."""
    with pytest.raises(RetellInputError, match=r"not an https:// link"), client.download(LINK, link):
        pass
    assert not simulator.requests


class OddLink(httpx.BaseTransport):
    """A Retell that gives a link to each recording which is none."""

    def __init__(self, link: Any) -> None:
        self.link = link

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"call_id": "call_1", "recording_url": self.link})


@pytest.mark.parametrize(
    "link",
    [
        {"url": "https://storage.invalid/a.wav"},
        7,
        True,
        "http://storage.invalid/a.wav",
        "/a.wav",
        "https://",
        "https://[a",
    ],
)
def test_a_call_with_a_link_that_is_none_has_no_recording(
    link: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One odd link does not stop an export; the warning names the call, and does not quote the link."""
    destination = Destination(str(tmp_path), token="run", holds="calls")
    destination.claim()
    with RetellClient(ConnectionSettings(api_key="key_1"), transport=OddLink(link)) as client:
        call = {"call_id": "call_1", "recording_url": link}
        assert save_recording(client, call, destination, link=Contents(recordings=True).link) is None
    assert "The recording of call_1 is left out" in caplog.text
    assert "a.wav" not in caplog.text


def test_an_expired_link_is_asked_for_again(simulator: Simulator, tmp_path: Path) -> None:
    """However late a page's recording is fetched, its link is valid or replaced by a new one."""
    with simulator.serve() as url:
        settings = ConnectionSettings(api_key="key_simulator", base_url=url)
        with RetellClient(settings) as client:
            listed = client.send(Selection(start=0, end=2**50, filters={}).dated())
            recorded = [call for call in listed.calls if "recording_url" in call]
            destination = Destination(str(tmp_path), token="run", holds="calls")
            destination.claim()
            kept = [
                save_recording(client, call, destination, link=Contents(recordings=True).link) for call in recorded
            ]
            destination.publish([str(name) for name in kept])
    assert len(recorded) > 10
    assert kept == [f"recordings/{call['call_id']}.wav" for call in recorded]
    assert {path.name for path in (tmp_path / "recordings").iterdir()} == {Path(str(name)).name for name in kept}
    statuses = [request.status for request in simulator.requests if request.endpoint == "recording"]
    assert statuses.count(200) == len(recorded)
    assert 403 in statuses
