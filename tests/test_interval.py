from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_retell.errors import RetellInputError
from airflow_provider_retell.export.interval import read_interval

NOW = datetime(2026, 1, 31, tzinfo=UTC).timestamp()
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = datetime(2026, 1, 2, tzinfo=UTC)
OF_THE_RUN = {"data_interval_start": FIRST, "data_interval_end": SECOND}


@pytest.mark.parametrize(
    ("start", "end", "context"),
    [
        (FIRST, SECOND, {}),
        (None, None, OF_THE_RUN),
        ("2026-01-01", "2026-01-02T00:00:00", {}),
        ("2026-01-01T00:00:00+00:00", " 2026-01-02T02:00:00+02:00 ", {}),
        (datetime(2026, 1, 1), datetime(2026, 1, 2, tzinfo=timezone(timedelta(0))), {}),  # noqa: DTZ001 (UTC is meant)
        (FIRST, None, {**OF_THE_RUN, "data_interval_start": None}),
    ],
)
def test_an_interval_is_read(start: Any, end: Any, context: dict[str, Any]) -> None:
    """Datetimes and text are read, in UTC without a zone; the run's interval is the default."""
    assert read_interval(start, end, context, now=NOW) == (1_767_225_600_000, 1_767_312_000_000)


@pytest.mark.parametrize(
    ("start", "end", "context", "complaint"),
    [
        (SECOND, FIRST, {}, "end must be later"),
        (FIRST, FIRST, {}, "end must be later"),
        (FIRST, datetime(2026, 2, 1, tzinfo=UTC), {}, "must not be in the future"),
        (None, None, {}, "start must be given"),
        (FIRST, None, {}, "end must be given"),
        ("soon", SECOND, {}, "got 'soon'"),
        ("31.01.2026", SECOND, {}, "got '31.01.2026'"),
        ("", SECOND, {}, "start must be a datetime"),
        (7, SECOND, {}, "start must be a datetime"),
        (None, None, {"data_interval_start": FIRST, "data_interval_end": FIRST}, "CronDataIntervalTimetable"),
    ],
)
def test_what_is_no_interval_is_refused(start: Any, end: Any, context: dict[str, Any], complaint: str) -> None:
    """The message says what to write instead."""
    with pytest.raises(RetellInputError, match=complaint):
        read_interval(start, end, context, now=NOW)
