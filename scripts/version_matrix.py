"""Run the tests on every supported Airflow, with each Python and the oldest and newest dependencies.

    version_matrix.py                 everything
    version_matrix.py 3.1.8 2.11.2    some versions of Airflow

Both write the tables of docs/versions.md; cells that are not run now keep their last result on this machine.

Airflow's dependencies are as old as that Airflow, as with the constraints that it is published with, because old
versions do not run with all newer dependencies. This package's dependencies are today's newest, or the oldest that
pyproject.toml and Airflow allow.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final, Literal
from xml.etree import ElementTree as ET

from version_page import Outcome, Outcomes, counted, environments_table, features_table, write

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = ROOT / ".airflow" / "matrix"
UV: Final = str(Path(sys.executable).with_name("uv"))
PYTHONS: Final = ("3.11", "3.12", "3.13")
TOOLS: Final = ("blockbuster", "hypothesis", "phonenumbers", "pytest", "retell-sdk", "tzdata")
OURS: Final = ("apache-airflow-providers-common-compat",)
"""The packages, besides the tools, that may be newer than Airflow."""

TOMORROW: Final = datetime.now(UTC).date() + timedelta(days=1)

Dependencies = Literal["lowest", "newest"]


@dataclass(frozen=True)
class Release:
    """A version of Airflow, the day of its release, and the newest Python that it supports."""

    airflow: str
    released: date
    python: str


RELEASES: Final = (
    Release("2.11.2", date(2026, 3, 14), "3.12"),
    Release("3.0.6", date(2025, 8, 29), "3.12"),
    Release("3.1.8", date(2026, 3, 11), "3.13"),
    Release("3.2.2", date(2026, 5, 29), "3.13"),
    Release("3.3.2", date(2026, 9, 17), "3.13"),
)


@dataclass(frozen=True)
class Cell:
    """One environment: an Airflow, a Python, and dependencies."""

    release: Release
    python: str
    dependencies: Dependencies

    @property
    def name(self) -> str:
        """The name of the environment and its reports."""
        return f"airflow-{self.release.airflow}-python-{self.python}-{self.dependencies}"

    def install(self) -> None:
        """Make the environment."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        uv("venv", "--clear", "--python", str(interpreter(self.python)), str(FOLDER / self.name))
        dates = ["--exclude-newer", str(self.release.released + timedelta(days=1))]
        dates += [f"--exclude-newer-package={name}={TOMORROW}" for name in (*TOOLS, *OURS)]
        pins = [f"{name}=={version}" for name, version in pinned() if name in TOOLS]
        airflow = f"apache-airflow=={self.release.airflow}"
        bounds = FOLDER / f"{self.name}.txt"
        bounds.write_text("")
        if self.dependencies == "lowest":
            # The oldest with a wheel for this Python: an older one needs a Rust compiler of its time.
            how = ["--resolution=lowest-direct", f"--python-version={self.python}", "--only-binary=pydantic-core"]
            uv("pip", "compile", *how, *dates, f"--output-file={bounds}", "pyproject.toml", "-", given=airflow)
        else:
            pins += [f"{name}=={version}" for name, version in pinned() if name in OURS]
        extras = ["apache-airflow-providers-common-sql", "apache-airflow-providers-sqlite", "--editable", "."]
        where = ["--python", str(FOLDER / self.name / "bin" / "python"), "--constraint", str(bounds)]
        uv("pip", "install", *where, *dates, airflow, *pins, *extras)

    def report(self, *, stack: bool = False) -> Path:
        """Return the file to which pytest writes the results."""
        return FOLDER / f"{self.name}{'-stack' * stack}.xml"

    def test(self, *, stack: bool = False) -> Outcomes:
        """Run the tests that need no Airflow stack, or those that do and the example DAGs."""
        report = self.report(stack=stack)
        report.unlink(missing_ok=True)
        command = [str(FOLDER / self.name / "bin" / "python"), "-m", "pytest", "-q", f"--junitxml={report}"]
        # Airflow 3 takes minutes over the examples: once per version is enough.
        examples = "tests/test_example_dags.py"
        command += (
            ["-m", "", "tests/test_any_airflow.py", examples] if stack else [f"--ignore={examples}", "tests"]
        )
        command += ["-W", "default"]  # Airflow and its libraries issue many warnings of their own
        home = FOLDER / f"{self.name}-home"
        with report.with_suffix(".log").open("w") as log:
            environ = os.environ | {"AIRFLOW_HOME": str(home)}
            subprocess.run(command, cwd=ROOT, env=environ, stdout=log, stderr=log, check=False)  # noqa: S603 (our own words)
        shutil.rmtree(home, ignore_errors=True)
        return outcomes(report) or {"pytest itself": "failed"}


def interpreter(python: str) -> str | None:
    """Return the path of a Python, None if it is not installed."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for path in (shutil.which(f"python{python}"), *map(str, pyenv.glob(f"{python}.*/bin/python"))):
        # pyenv has shims for versions that are not active, too; those fail.
        if path and subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0:  # noqa: S603 (as above)
            return path
    return None


def pinned() -> list[tuple[str, str]]:
    """Return the names and versions in constraints.txt."""
    return re.findall(r"(?m)^([\w.-]+)==([\w.+-]+)", (ROOT / "constraints.txt").read_text())


def uv(*arguments: str, given: str = "") -> None:
    """Run uv; raise with its message if it fails."""
    done = subprocess.run(  # noqa: S603 (as above)
        [UV, "--quiet", *arguments], cwd=ROOT, input=given, text=True, capture_output=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"uv {' '.join(arguments)}\n{done.stderr}")


def outcomes(report: Path) -> Outcomes:
    """Return the outcome of each test, empty without a report; an expected failure counts as skipped."""
    if not report.exists():
        return {}
    found: dict[str, Outcome] = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 (pytest wrote it a moment ago)
        kinds = {child.tag for child in case}
        name = f"{case.get('classname')}::{case.get('name')}"
        found[name] = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
    return found


def run(cell: Cell) -> Outcomes:
    """Make a cell's environment, run its tests and print the results; skip it without its Python."""
    result: Outcomes = {}
    if interpreter(cell.python):
        cell.install()
        result = cell.test()
    say(cell.name, result)
    return result


def run_stack(cell: Cell) -> Outcomes:
    """Run the tests on a real Airflow."""
    result = cell.test(stack=True)
    say(f"{cell.name}, real Airflow", result)
    return result


def say(what: str, result: Outcomes) -> None:
    """Print a line, and another for each test that failed."""
    print(
        f"{what}: {counted(result)}",
        *[name for name, outcome in result.items() if outcome == "failed"],
        sep="\n  ",
    )


def main(asked: Sequence[str]) -> int:
    """Run the cells of some versions of Airflow, or of all; return how many have failed."""
    cells = [
        Cell(release, python, dependencies)
        for release in RELEASES
        for python in PYTHONS
        if tuple(map(int, python.split("."))) <= tuple(map(int, release.python.split(".")))
        for dependencies in ("newest", "lowest")
    ]
    # On the first Python, with the dependencies that people have.
    stacks = [cell for cell in cells if cell.python == PYTHONS[0] and cell.dependencies == "newest"]
    now = [cell for cell in cells if not asked or cell.release.airflow in asked]
    results = {cell: outcomes(cell.report()) for cell in cells}
    stack_results = {cell: outcomes(cell.report(stack=True)) for cell in stacks}
    # Twice as many as processors, because the tests wait half of their time.
    with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        results |= zip(now, pool.map(run, now), strict=True)
    stack_results |= {cell: run_stack(cell) for cell in stacks if cell in now}  # one at a time
    write(
        environments_table(
            {(cell.release.airflow, cell.dependencies, cell.python): it for cell, it in results.items()}, PYTHONS
        ),
        features_table({cell.release.airflow: {**results[cell], **it} for cell, it in stack_results.items()}),
    )
    return sum("failed" in result.values() for result in (*results.values(), *stack_results.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
