from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import airflow_provider_retell

PACKAGE = Path(airflow_provider_retell.__file__).parent
# Each module imports from lines above its own only.
LAYERS = """
    __init__ clock errors metrics number versions
    asset_uris assets connection identifiers intent options outcomes
    models provider_info retry_policy
    endpoints limits rows waiting
    answers arguments details flows repeating
    client key_check
    renewing
    poller
    hooks
    ending links
    triggers
    tasks placing
    phone_call sensors
    operators
    export.__init__ export.columns export.files export.interval export.listing export.privacy export.tally
    export.contents export.formats export.progress export.recordings export.settling
    export.exporting export.journal
    transfers
    testing
"""
LEVEL = {module: level for level, line in enumerate(LAYERS.split("\n")) for module in line.split()}


def imported(path: Path) -> set[str]:
    """Return the full names of what a file imports, wherever in the file it does."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_every_module_has_its_place() -> None:
    """A new module is put into a layer."""
    paths = {path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py")}
    assert {".".join(path.parts) for path in paths if path.parts[0] != "simulator"} == set(LEVEL)


@pytest.mark.parametrize("module", LEVEL)
def test_imports_point_one_way(module: str) -> None:
    """A module knows the layers below its own; only what tests are made with knows the simulator."""
    path = PACKAGE / f"{module.replace('.', '/')}.py"
    for name in imported(path):
        package, *parts = name.split(".")
        if package != PACKAGE.name:
            continue
        assert parts[0] != "simulator" or module == "testing"
        (below, *_) = [known for known in (".".join(parts[:2]), parts[0]) if known in LEVEL] or ["__init__"]
        assert LEVEL[below] < LEVEL[module], name


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
