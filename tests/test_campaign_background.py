"""The threads of a campaign."""

from __future__ import annotations

from threading import Event, get_ident

from airflow_provider_retell.campaign.run.background import Background


def test_large_responses_are_read_by_one_thread_and_hold_up_no_small_ones() -> None:
    """All large work shares a thread, so that its memory is held once; small work has other threads."""
    background, released, reports = Background(1), Event(), list[object]()

    def large() -> int:
        released.wait(60)
        return get_ident()

    try:
        background.begin_large(large, reports.append)
        background.begin_large(large, reports.append)
        background.begin(lambda: "small", reports.append)
        background.collect(wait=60)
        assert reports == ["small"]
        released.set()
        while len(background):
            background.collect(wait=60)
    finally:
        released.set()
        background.close()
    first, second = reports[1:]
    assert first == second
