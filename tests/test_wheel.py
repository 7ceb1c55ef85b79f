"""Test the released files, and what pip, Airflow and pytest make of them without the rest of this project."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uv
from test_public_names import PUBLIC

from airflow_provider_retell import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "airflow_provider_retell"


def run(*command: str | Path, env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(  # noqa: S603 - our own words
        command, check=False, capture_output=True, text=True, env=env
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with what `make build` makes: the sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (built,) = dist.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def page(wheel: Path) -> str:
    """Return what the package index shows."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name)).get_payload()


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def clean_airflow(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the `airflow` of an environment with the wheel and its dependencies, and nothing else."""
    venv = tmp_path_factory.mktemp("clean") / "venv"
    run(uv.find_uv_bin(), "venv", "--quiet", "--python", sys.executable, venv)
    install("--python", venv / "bin" / "python", wheel)
    return venv / "bin" / "airflow"


def install(*what: str | Path) -> None:
    constraints = ("--constraint", ROOT / "constraints.txt", "--build-constraint", ROOT / "constraints.txt")
    command = (uv.find_uv_bin(), "pip", "install", "--quiet", *constraints, *what)
    try:
        run(*command, "--offline")  # all versions are pinned, and this environment has just been made of them
    except AssertionError:
        run(*command)


def listed(airflow: Path, what: str, home: Path) -> list[dict[str, Any]]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "PYTHON"))}
    printed = run(airflow, "providers", what, "--output", "json", env=inherited | {"AIRFLOW_HOME": str(home)})
    return list(json.loads(printed))


def test_the_wheel_holds_every_module_of_the_package(names: set[str]) -> None:
    """The wheel has every file of the package, including ``py.typed``."""
    sources = {path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*.py")}
    assert sources | {"airflow_provider_retell/py.typed"} <= names


def test_the_wheel_holds_nothing_but_the_package_and_its_metadata(names: set[str]) -> None:
    """Tests, scripts and example DAGs would land in everybody's site-packages."""
    (metadata,) = {name.partition("/")[0] for name in names if ".dist-info/" in name}
    assert {name.partition("/")[0] for name in names} == {PACKAGE.name, metadata}
    assert f"{metadata}/licenses/LICENSE" in names


def test_the_sdist_installs_alone(dist: Path, names: set[str], tmp_path: Path) -> None:
    """A build from the source distribution gives the same files as the wheel."""
    (sdist,) = dist.glob("*.tar.gz")
    install("--no-deps", "--target", tmp_path, sdist)
    modules = {name for name in names if ".dist-info/" not in name}
    assert {path.relative_to(tmp_path).as_posix() for path in (tmp_path / PACKAGE.name).rglob("*.*")} >= modules


def test_the_package_index_takes_both(dist: Path) -> None:
    """Metadata and page are what the index accepts, without a warning."""
    run(sys.executable, "-m", "twine", "check", "--strict", *dist.iterdir())


def test_the_page_has_no_link_that_leads_nowhere(page: str) -> None:
    """The index shows one page: what is relative to the repository is text there, and no image is broken."""
    targets = re.findall(r"\]\(([^)]*)\)", re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE))
    assert targets
    assert all(target.startswith("https://") for target in targets)


def test_the_page_ends_with_the_changes_of_this_version(page: str) -> None:
    """The README, then the top section of the changelog."""
    assert page.startswith(f"{(ROOT / 'README.md').read_text().partition(chr(10))[0]}\n")
    (changes,) = re.findall(r"^# Changes\n\n(.*)", page, re.DOTALL | re.MULTILINE)
    assert re.findall(r"^## (\S+)", changes, re.MULTILINE) == [__version__]
    assert changes.strip() in (ROOT / "CHANGELOG.md").read_text()


def test_the_version_stands_in_one_place(wheel: Path) -> None:
    """The package says it, and nothing else does but the changelog."""
    assert wheel.name.split("-")[1] == __version__
    written = [path for path in ROOT.glob("*.toml") if f'"{__version__}"' in path.read_text()]
    written += [path for path in PACKAGE.rglob("*.py") if f'"{__version__}"' in path.read_text()]
    assert written == [PACKAGE / "__init__.py"]


def test_pytest_finds_the_plugin(clean_airflow: Path, tmp_path: Path) -> None:
    """Installed is enough: a project's tests have the fixture, and no key of theirs is asked for."""
    python = clean_airflow.with_name("python")
    install("--python", python, "pytest")
    test = tmp_path / "test_connection.py"
    test.write_text(
        "from airflow_provider_retell.hooks import RetellHook\n"
        "def test_connection(retell_simulator):\n"
        "    assert RetellHook().test_connection()[0]\n"
    )
    clean = {
        key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "PYTHON", "PYTEST"))
    }
    assert "1 passed" in run(
        python, "-m", "pytest", "-q", "-p", "no:cacheprovider", test, env=clean | {"AIRFLOW_HOME": str(tmp_path)}
    )


def test_the_public_names_are_in_the_wheel(clean_airflow: Path, tmp_path: Path) -> None:
    """They import with nothing but the declared dependencies; ``testing`` belongs to those who have pytest."""
    lines = [
        f"from {PACKAGE.name}.{module} import {', '.join(names)}"
        for module, names in PUBLIC.items()
        if module != "testing"
    ]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "PYTHON"))}
    python = clean_airflow.with_name("python")
    run(python, "-c", "\n".join(lines), env=inherited | {"AIRFLOW_HOME": str(tmp_path)})


def test_airflow_lists_the_provider(clean_airflow: Path, tmp_path: Path) -> None:
    """The entry point is found, and the dependencies in the metadata are enough to load it."""
    providers = {it["package_name"]: it for it in listed(clean_airflow, "list", tmp_path)}
    assert "airflow-provider-retell" in providers


def test_airflow_lists_the_connection_type(clean_airflow: Path, tmp_path: Path) -> None:
    """The hook imports with nothing but the declared dependencies."""
    hooks = {it["connection_type"]: it for it in listed(clean_airflow, "hooks", tmp_path)}
    assert hooks["retell"]["class"] == "airflow_provider_retell.hooks.RetellHook"
