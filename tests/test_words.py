"""Test the words of the project: openings of docstrings, and words that nobody says aloud."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path
    for folder in ("airflow_provider_retell", "benchmarks", "example_dags", "scripts", "tests")
    for path in (ROOT / folder).rglob("*.py")
)
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
OPENING = re.compile(r"(What|Whether|How|Who|Whose|Whom|Why|Say|Tell)\b")
"""The words with which no docstring begins: a function's is an imperative, all others name a thing."""
FORBIDDEN = re.compile(r"\b(whoever|anew|shall not|has not to)\b", re.IGNORECASE)
"""Words that cost a second reading."""


def docstrings(tree: ast.AST) -> list[str]:
    """Return the docstrings in a module: its own, and those of classes, functions and attributes."""
    return [
        statement.value.value
        for node in ast.walk(tree)
        if isinstance(body := getattr(node, "body", None), list)
        for statement in body
        if isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    ]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_begin_with_a_verb_or_a_noun(path: Path) -> None:
    """A docstring that begins with What, Whether or How is half a sentence."""
    wrong = [text.splitlines()[0] for text in docstrings(ast.parse(path.read_text())) if OPENING.match(text)]
    assert not wrong


@pytest.mark.parametrize("path", [*SOURCES, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_words_that_cost_a_second_reading_are_not_used(path: Path) -> None:
    """Not in docstrings, comments, messages, names of tests or pages."""
    if path != Path(__file__):
        lines = path.read_text().splitlines()
        assert not [line for line in lines if FORBIDDEN.search(line.replace("_", " "))]
