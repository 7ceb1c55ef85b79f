"""Tests use what the package offers them: whatever they replace in it has a public seam."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = sorted(Path(__file__).parent.rglob("*.py"))
SETTERS = {"setattr", "delattr", "getattr", "setitem"}


def is_private(name: str) -> bool:
    """Return whether a name begins with one underscore."""
    return name.startswith("_") and not name.startswith("__")


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
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
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


def test_no_test_knows_what_is_private() -> None:
    """Tests only replace public attributes, so that the inside of a class can change."""
    assert {path.name: uses for path in TESTS if (uses := [*private_uses(path.read_text())])} == {}


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
