from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import airflow_provider_retell

PACKAGE = Path(airflow_provider_retell.__file__).parent
MODULES = [
    name.replace("/", ".")
    for name in re.findall(r"^    ([\w/]+)\.py ", (PACKAGE.parent / "CONTRIBUTING.md").read_text(), re.MULTILINE)
]
"""From the lowest to the highest."""


def imported(path: Path) -> set[str]:
    """Return the full names of what a file imports, wherever in the file it does."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_every_module_is_listed() -> None:
    """CONTRIBUTING.md has every module of the package in its list, and nothing else."""
    paths = {path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py")}
    assert sorted(".".join(path.parts) for path in paths if path.parts[0] != "simulator") == sorted(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module: str) -> None:
    """A module knows those listed above it; only what tests are made with knows the simulator."""
    path = PACKAGE / f"{module.replace('.', '/')}.py"
    for name in imported(path):
        package, *parts = name.split(".")
        if package != PACKAGE.name:
            continue
        assert parts[0] != "simulator" or module == "testing"
        (known, *_) = [each for each in (".".join(parts[:2]), parts[0]) if each in MODULES] or ["__init__"]
        assert MODULES.index(known) < MODULES.index(module), name


@pytest.mark.parametrize(("library", "module"), [("httpx", "client"), ("pydantic", "models")])
def test_a_heavy_library_is_the_business_of_one_module(library: str, module: str) -> None:
    """What is sent goes through the client's rules, and who needs no models does not pay for them."""
    users = {path for path in PACKAGE.rglob("*.py") if any(n.split(".")[0] == library for n in imported(path))}
    assert {path for path in users if "simulator" not in path.parts} == {PACKAGE / f"{module}.py"}


def run(code: str) -> None:
    """Run some code in a Python that has imported nothing yet."""
    subprocess.run([sys.executable, "-c", f"import sys; {code}"], check=True)  # noqa: S603 (the code stands below)


def test_the_pytest_plugin_costs_nothing_until_it_is_used() -> None:
    """Every run of pytest loads it, in projects that have nothing to do with calls too."""
    heavy = {"airflow", "httpx", "pydantic", f"{PACKAGE.name}.simulator"}
    run(f"import {PACKAGE.name}.testing; sys.exit(bool({heavy} & set(sys.modules)))")


@pytest.mark.parametrize("module", ["__init__", "provider_info", "connection", "asset_uris"])
def test_what_airflow_reads_first_imports_nothing_of_airflow(module: str) -> None:
    """Airflow loads the provider's metadata in every process, while it is being imported itself."""
    run(f"import {PACKAGE.name}.{module}; sys.exit('airflow' in sys.modules)")


@pytest.mark.parametrize("module", ["operators", "sensors", "hooks", "transfers"])
def test_a_dag_file_costs_little(module: str) -> None:
    """Parsing a DAG loads neither models nor client, trigger or extras: the DAG processor does so all day."""
    late = [f"{PACKAGE.name}.{name}" for name in ("client", "models", "triggers")] + ["pyarrow", "duckdb", "s3fs"]
    run(f"import {PACKAGE.name}.{module}; sys.exit([name for name in {late} if name in sys.modules] or 0)")
