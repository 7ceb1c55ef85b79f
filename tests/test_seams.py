"""Tests use what the package offers them: what they replace in it has a public seam."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for folder in ("tests", "scripts", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
OURS = {"airflow_provider_retell", "benchmarks", *(path.stem for path in (ROOT / "scripts").glob("*.py"))}
"""The modules, by the first part of their names, that are never patched."""
SETTERS = {"setattr", "delattr", "getattr", "setitem"}
PATCHES = {"setattr", "delattr", "patch", "object", "multiple"}  # the last two of mock.patch


def is_private(name: str) -> bool:
    """Return whether a name begins with one underscore."""
    return name.startswith("_") and not name.startswith("__")


def is_ours(module: str) -> bool:
    """Return whether a dotted name begins with a module of ours."""
    return module.partition(".")[0] in OURS


def private_uses(source: str) -> Iterator[str]:
    """Yield each private attribute of something else that a file reads, sets, names or overrides."""
    tree = ast.parse(source)
    packaged = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("airflow_provider_retell")
        for alias in node.names
    }
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls") | ast.Call(func=ast.Name(id="super"))):
                pass
            case ast.Attribute(attr=name) if is_private(name):
                yield ast.unparse(node)
            case ast.Call(func=ast.Name(id=function) | ast.Attribute(attr=function)) if function in SETTERS:
                names = [each.value for each in node.args if isinstance(each, ast.Constant)]
                yield from (n for n in names if isinstance(n, str) and is_private(n.rpartition(".")[2]))
            case ast.ClassDef(bases=[*bases]) if packaged & {ast.unparse(base) for base in bases}:
                defined = {
                    each.name for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
                }
                defined |= {
                    t.id
                    for e in node.body
                    if isinstance(e, ast.Assign)
                    for t in e.targets
                    if isinstance(t, ast.Name)
                }
                yield from (f"{node.name}.{name}" for name in sorted(defined) if is_private(name))


def patches(source: str) -> Iterator[str]:
    """Yield each call or assignment of a file that replaces an attribute of a module or class of ours."""
    tree = ast.parse(source)
    imported = set[str]()
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module)) if is_ours(module):
                imported |= {alias.asname or alias.name for alias in node.names}
            case ast.Import():
                names = {alias.asname or alias.name.partition(".")[0]: alias.name for alias in node.names}
                imported |= {name for name, module in names.items() if is_ours(module)}

    def is_imported(target: ast.expr) -> bool:
        while isinstance(target, ast.Attribute):
            target = target.value
        return isinstance(target, ast.Name) and target.id in imported

    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[target, *_]) if name in PATCHES:
                by_name = (
                    isinstance(target, ast.Constant) and isinstance(target.value, str) and is_ours(target.value)
                )
                if by_name or is_imported(target):
                    yield ast.unparse(node)
            case ast.Attribute(ctx=ast.Store() | ast.Del()) if is_imported(node):
                yield ast.unparse(node)


def test_no_test_script_or_benchmark_knows_what_is_private() -> None:
    """They only use public attributes, so that the inside of a class can change."""
    assert {path.name: uses for path in FILES if (uses := [*private_uses(path.read_text())])} == {}


def test_nothing_of_ours_is_patched() -> None:
    """Not even what is public: a test of a module that was changed proves nothing about the one that users get."""
    assert {path.name: found for path in FILES if (found := [*patches(path.read_text())])} == {}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("operator._clock = clock", "operator._clock"),
        ("made.simulator._service.list_registered = True", "made.simulator._service"),
        ("assert zones._clock.cache_clear()", "zones._clock"),
        ("monkeypatch.setattr(operator, '_clock', clock)", "_clock"),
        (
            "monkeypatch.setattr('airflow_provider_retell.triggers._stopping', ())",
            "airflow_provider_retell.triggers._stopping",
        ),
        ("from airflow_provider_retell.triggers import T\nclass Late(T):\n    _fired = True", "Late._fired"),
        ("from airflow_provider_retell.triggers import T\nclass Late(T):\n    def _wait(self): ...", "Late._wait"),
    ],
)
def test_each_way_to_what_is_private_is_seen(source: str, found: str) -> None:
    """Attributes, names given as text, and what a subclass overrides."""
    assert [*private_uses(source)] == [found]


@pytest.mark.parametrize("source", ["self._clock = clock", "from airflow_provider_retell._clock import CLOCK"])
def test_what_is_a_test_s_own_is_allowed(source: str) -> None:
    """A fake has a state of its own; and a private module is tested as such."""
    assert not [*private_uses(source)]


@pytest.mark.parametrize(
    ("imports", "act"),
    [
        (
            "from airflow_provider_retell.simulator import filters",
            "monkeypatch.setattr(filters, 'encode_cursor', encode)",
        ),
        ("from airflow_provider_retell.sensors import Sensor as S", "monkeypatch.delattr(S, 'poke')"),
        ("import airflow_provider_retell", "setattr(airflow_provider_retell.hooks.RetellHook, 'get_call', get)"),
        ("import airflow_provider_retell.hooks as hooks", "mock.patch.object(hooks.RetellHook, 'get_call')"),
        ("from unittest.mock import patch", "patch('airflow_provider_retell.hooks.RetellHook')"),
        ("import processes", "monkeypatch.setattr(processes, 'GRACE', 1)"),
        ("from airflow_provider_retell import triggers", "triggers.LONGEST"),
    ],
)
def test_each_way_to_patch_is_seen(imports: str, act: str) -> None:
    """By a module, by a class, by a name given as text, or by plain assignment."""
    assignment = f"{act} = 1" if "(" not in act else act
    assert [*patches(f"{imports}\n{assignment}")] == [act]


@pytest.mark.parametrize(
    ("imports", "act"),
    [
        ("import httpx", "monkeypatch.setattr(httpx, 'Client', Counted)"),
        ("from airflow_provider_retell.simulator import Simulator", "simulator.recording_link_seconds = 600"),
        ("from airflow_provider_retell.simulator import Simulator", "client.patch('/v2/update-call/call_1')"),
        ("from airflow_provider_retell import triggers", "seconds = triggers.LONGEST"),
    ],
)
def test_what_is_no_patch_is_allowed(imports: str, act: str) -> None:
    """A library may be replaced, a public attribute of an object set, and a constant read."""
    assert not [*patches(f"{imports}\n{act}")]
