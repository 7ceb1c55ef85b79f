from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import AIRFLOW_2

import airflow_provider_retell

PACKAGE = Path(airflow_provider_retell.__file__).parent
WORDS = {"errors", "outcomes", "rows", "_argument_checks", "_clock", "_metrics", "_masking", "_number_search"}
"""The words that all rooms share."""
CALLING = WORDS | {"api", "calls", "policy", "files", "provider"}
IMPORTS = {
    **dict.fromkeys(WORDS, WORDS),
    "api": WORDS,
    "policy": WORDS,
    "provider": WORDS | {"api"},
    "calls": WORDS | {"api", "policy", "provider"},
    "polling": WORDS | {"api", "policy", "provider"},
    "files": WORDS | {"api"},
    "export": CALLING,
    "campaign": set(),
    "campaign.people": CALLING,
    "campaign.plan": CALLING | {"campaign.people"},
    "campaign.results": CALLING | {"campaign.people", "campaign.plan"},
    "campaign.run": CALLING | {"campaign.people", "campaign.plan", "campaign.results"},
    "page": CALLING,
    "simulator": set(),
}
"""The rooms that a room may import, besides itself; the files of the root and ``operators`` may import all."""


def room(module: str) -> str:
    """Return the room of a module, given by its name below the package; a campaign has rooms inside."""
    first, *rest = module.split(".")
    inside = ".".join([first, *rest[:1]])
    return inside if inside in IMPORTS else first


def imported(path: Path) -> set[str]:
    """Return the full names of what a file imports, wherever in the file it does."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own_imports(path: Path) -> set[str]:
    """Return what a file imports of this package, as names below it."""
    prefix = f"{PACKAGE.name}."
    return {name.removeprefix(prefix) for name in imported(path) if name.startswith(prefix)} - {"__version__"}


MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def test_imports_point_one_way() -> None:
    """A room imports only the rooms below it; calls, polling, export, campaign and page never each other."""
    wrong = {
        (module, name)
        for module, path in MODULES.items()
        for name in own_imports(path)
        if room(module) in IMPORTS and room(name) not in IMPORTS[room(module)] | {room(module)}
    }
    assert not wrong


def test_a_module_can_be_read_at_one_go() -> None:
    """A module that grows beyond 300 lines holds a second idea, which belongs into a module of its own."""
    lines = {module: len(path.read_text().splitlines()) for module, path in MODULES.items()}
    assert {module: count for module, count in lines.items() if count > 300} == {}


def test_only_what_tests_are_made_with_knows_the_simulator() -> None:
    """The simulator cannot share a mistake with the package, because neither imports the other."""
    users = {module for module, path in MODULES.items() if any(room(n) == "simulator" for n in own_imports(path))}
    assert {module for module in users if room(module) != "simulator"} == {"testing"}


def test_each_file_that_contributing_names_is_there() -> None:
    """A file that moved moves on the page as well."""
    root = PACKAGE.parent
    named = set(re.findall(r"`([\w/]+\.(?:py|md|txt|toml))`", (root / "CONTRIBUTING.md").read_text()))
    assert len(named) > 40
    places = [root, PACKAGE, PACKAGE / "simulator"]
    assert {name for name in named if not any((place / name).exists() for place in places)} == set()


def test_every_room_is_in_the_tree() -> None:
    """CONTRIBUTING draws the tree of the package with each room and each file of the root."""
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text()
    for path in PACKAGE.iterdir():
        if path.suffix == ".py" or (path.is_dir() and path.name != "__pycache__"):
            assert f"{path.name}/" in text if path.is_dir() else path.stem in text, path.name


@pytest.mark.parametrize(
    ("library", "modules"),
    [
        ("httpx", {"api.client", "api.response_limits", "api.wire"}),
        ("msgspec", {"api.call_rows", "api.decoding", "api.call_states", "files.columns"}),
        ("pydantic", {"api.models", "api.requests"}),
    ],
)
def test_a_heavy_library_is_the_business_of_few_modules(library: str, modules: set[str]) -> None:
    """Requests go through the client's rules, and code that needs no models does not import them."""
    users = {m for m, path in MODULES.items() if any(n.split(".")[0] == library for n in imported(path))}
    assert {user for user in users if room(user) != "simulator"} == modules


def run(code: str) -> None:
    """Run some code in a Python that has imported nothing yet."""
    subprocess.run([sys.executable, "-c", f"import sys; {code}"], check=True)  # noqa: S603 (the code stands below)


def test_the_pytest_plugin_costs_nothing_until_it_is_used() -> None:
    """Every run of pytest loads it, in projects that have nothing to do with calls too."""
    heavy = {"airflow", "httpx", "pydantic", f"{PACKAGE.name}.simulator"}
    run(f"import {PACKAGE.name}.testing; sys.exit(bool({heavy} & set(sys.modules)))")


@pytest.mark.parametrize(
    "module", ["provider.info", "provider.connection_form", "provider.asset_uris", "api.settings", "policy"]
)
def test_what_airflow_reads_first_imports_nothing_of_airflow(module: str) -> None:
    """Airflow loads the provider's metadata in every process, while it is being imported itself."""
    if module in MODULES:
        run(f"import {PACKAGE.name}.{module}; sys.exit('airflow' in sys.modules)")


def test_a_task_that_defers_loads_no_poller() -> None:
    """Only a triggerer polls: the task hands over the arguments of its trigger, under the name Airflow stores."""
    late = {f"{PACKAGE.name}.polling.shared", f"{PACKAGE.name}.api.models"}
    load = f"from {PACKAGE.name}._call_triggers import RetellTimeTrigger as trigger"
    path = f"trigger(deadline=0).serialize()[0] == '{PACKAGE.name}.triggers.RetellTimeTrigger'"
    run(f"{load}; sys.exit(bool({late} & set(sys.modules)) or not {path})")
    run(f"import {PACKAGE.name}.triggers; sys.exit(not {late} <= set(sys.modules))")


def test_a_task_that_places_a_call_loads_no_model_of_one() -> None:
    """A task hands on rows; pydantic would take 7 ms to build a model of a call in each process."""
    modules = ("api.requests", "api.rotating_key_client", "calls.placing", "calls.task_wait", "_call_triggers")
    load = "; ".join(f"import {PACKAGE.name}.{module}" for module in modules)
    run(f"{load}; sys.exit('{PACKAGE.name}.api.models' in sys.modules)")


@pytest.mark.parametrize("module", ["operators", "sensors", "hooks", "transfers"])
def test_a_dag_file_costs_little(module: str) -> None:
    """Parsing a DAG loads nothing that only a running task needs: the DAG processor does so all day."""
    late = [f"{PACKAGE.name}.{name}" for name in ("api.client", "api.models", "api.requests", "_call_triggers")]
    late += [f"{PACKAGE.name}.{name}" for name in ("calls.placing", "calls.task_wait", "campaign.people.person")]
    late += ["pyarrow", "duckdb", "s3fs", "phonenumbers"]
    late += [] if AIRFLOW_2 else ["airflow.models.xcom", "airflow.utils.db"]  # and SQLAlchemy's, with them
    run(f"import {PACKAGE.name}.{module}; sys.exit([name for name in {late} if name in sys.modules] or 0)")


@pytest.mark.parametrize("name", ["RetellCreatePhoneCallOperator", "RetellRegisterPhoneCallOperator"])
def test_a_task_of_one_call_loads_neither_campaigns_nor_policies(name: str) -> None:
    """Each process of each task loads its DAG file: with a thousand tasks, a millisecond is a second."""
    unused = [f"{PACKAGE.name}.{unused}" for unused in ("operators.campaign", "campaign", "files", "policy")]
    make = f"from {PACKAGE.name}.operators import {name} as it; it.partial(task_id='call', dry_run=True)"
    run(f"{make}; sys.exit([name for name in {unused} if name in sys.modules] or 0)")


@pytest.mark.skipif(find_spec("boto3") is None, reason="only the newest versions come with Amazon's provider")
def test_a_local_folder_loads_no_other_storage() -> None:
    """To find that of a scheme, Airflow imports the storages of all providers, boto3 too: half a second of CPU."""
    use = f"import {PACKAGE.name}.transfers; from {PACKAGE.name}.files.storage import Storage; Storage('/calls')"
    run(f"{use}; sys.exit('boto3' in sys.modules)")


def test_a_file_system_that_a_user_attached_stays() -> None:
    """A user may have given Airflow another file system for the local disk."""
    own = "from fsspec.implementations.memory import MemoryFileSystem; disk = MemoryFileSystem()"
    attach = f"sys.path.insert(0, 'tests'); from failing_storage import attach; {own}; attach('file', fs=disk)"
    write = f"from {PACKAGE.name}.files.storage import Storage; Storage('file:///calls').write('/calls/1', b'1')"
    run(f"{attach}; {write}; sys.exit(disk.cat('/calls/1') != b'1')")


def test_a_task_that_defers_loads_no_watcher() -> None:
    """It only writes down the trigger that waits for its call; a triggerer finds the other one where it was."""
    unused = [f"{PACKAGE.name}.{name}" for name in ("events", "polling.watcher", "polling.finished")]
    run(f"import {PACKAGE.name}.triggers; sys.exit([name for name in {unused} if name in sys.modules] or 0)")
    watcher = f"import {PACKAGE.name}.triggers as it; it.RetellFinishedCallsTrigger"
    run(f"{watcher}; sys.exit({unused[1]!r} not in sys.modules)")
