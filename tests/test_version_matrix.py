"""Test that the compatibility matrix shows the results of its tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from version_matrix import RELEASES, outcomes
from version_page import FEATURES, PAGE, counted, support

REPORT = """<testsuites><testsuite name="pytest">
<testcase classname="tests.test_a" name="test_goes[1]" /><testcase classname="tests.test_a" name="test_goes[2]" />
<testcase classname="tests.test_a" name="test_lacks"><skipped type="pytest.xfail" message="since 3.3" /></testcase>
<testcase classname="tests.test_a" name="test_breaks[1]"><failure message="E">E</failure></testcase>
<testcase classname="tests.test_a" name="test_breaks[2]" />
<testcase classname="tests.test_a" name="test_errs"><error message="E">E</error></testcase>
</testsuite></testsuites>"""


@pytest.mark.parametrize(
    ("pattern", "shown"),
    [
        ("test_goes", "yes"),
        ("test_lacks", "no"),
        ("test_breaks", "**failed**"),
        ("test_errs", "**failed**"),
        ("test_absent", "not run"),
    ],
)
def test_a_feature_is_there_if_all_its_tests_passed(tmp_path: Path, pattern: str, shown: str) -> None:
    """`no` is a test that is known to fail; one that failed, or did not run, looks like neither."""
    (tmp_path / "report.xml").write_text(REPORT)
    assert support(outcomes(tmp_path / "report.xml"), pattern) == shown


def test_failures_are_counted(tmp_path: Path) -> None:
    """A cell with failures says so, and one without a report was not run."""
    (tmp_path / "report.xml").write_text(REPORT)
    assert counted(outcomes(tmp_path / "report.xml")) == "3 passed, **2 failed**"
    assert counted(outcomes(tmp_path / "none.xml")) == "not run"


@pytest.mark.parametrize("feature", FEATURES)
def test_a_feature_has_its_tests(feature: str) -> None:
    """A test that was renamed takes its line with it."""
    names = re.findall(r"(?m)^def (test_\w+)", "".join(p.read_text() for p in Path(__file__).parent.glob("*.py")))
    assert [name for name in names if re.match(FEATURES[feature], name)]


def test_the_page_shows_every_release_and_feature() -> None:
    """The page is of these versions and features, not of earlier ones, and nothing in it has failed."""
    lines = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    releases = [release.airflow for release in RELEASES]
    assert releases in lines, "the head of the features"
    assert [line[0] for line in lines if line[0] in FEATURES] == list(FEATURES)
    assert list(dict.fromkeys(line[0] for line in lines if line[1] in {"lowest", "newest"})) == releases
    assert "failed**" not in PAGE.read_text()
