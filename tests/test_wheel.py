"""What is in the wheel, and what Airflow makes of it where nothing else of this project is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uv

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
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def clean_airflow(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the `airflow` of an environment with the wheel and its dependencies, and nothing else."""
    venv = tmp_path_factory.mktemp("clean") / "venv"
    uv_command = uv.find_uv_bin()
    run(uv_command, "venv", "--quiet", "--python", sys.executable, venv)
    install = [
        *(uv_command, "pip", "install", "--quiet", "--python", venv / "bin" / "python"),
        *("--constraint", ROOT / "constraints.txt", wheel),
    ]
    try:
        run(*install, "--offline")  # all versions are pinned, and this environment has just been made of them
    except AssertionError:
        run(*install)
    return venv / "bin" / "airflow"


def listed(airflow: Path, what: str, home: Path) -> list[dict[str, Any]]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "PYTHON"))}
    printed = run(airflow, "providers", what, "--output", "json", env=inherited | {"AIRFLOW_HOME": str(home)})
    return list(json.loads(printed))


def test_the_wheel_holds_every_module_of_the_package(names: set[str]) -> None:
    """What is in the folder is in the wheel, the mark of typed packages included."""
    sources = {path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*.py")}
    assert sources | {"airflow_provider_retell/py.typed"} <= names


def test_the_wheel_holds_nothing_but_the_package_and_its_metadata(names: set[str]) -> None:
    """Tests, scripts and example DAGs would land in everybody's site-packages."""
    (metadata,) = {name.partition("/")[0] for name in names if ".dist-info/" in name}
    assert {name.partition("/")[0] for name in names} == {PACKAGE.name, metadata}
    assert f"{metadata}/licenses/LICENSE" in names


def test_airflow_lists_the_provider(clean_airflow: Path, tmp_path: Path) -> None:
    """The entry point is found, and the dependencies in the metadata are enough to load it."""
    providers = {it["package_name"]: it for it in listed(clean_airflow, "list", tmp_path)}
    assert "airflow-provider-retell" in providers


def test_airflow_lists_the_connection_type(clean_airflow: Path, tmp_path: Path) -> None:
    """The hook imports with nothing but the declared dependencies."""
    hooks = {it["connection_type"]: it for it in listed(clean_airflow, "hooks", tmp_path)}
    assert hooks["retell"]["class"] == "airflow_provider_retell.hooks.RetellHook"
