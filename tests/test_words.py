"""Test the words of the project: openings of docstrings, and words that are not said aloud."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = [
    ROOT / "docs" / "conf.py",
    *sorted(
        path
        for folder in ("airflow_provider_retell", "benchmarks", "example_dags", "scripts", "tests")
        for path in (ROOT / folder).rglob("*.py")
    ),
]
OTHERS = [
    *(ROOT / name for name in (".ci/run", "Makefile", "lowest.in", "pyproject.toml")),
    *sorted(
        path for folder in ("", "docs", "benchmarks", "example_dags") for path in (ROOT / folder).glob("*.md")
    ),
]
OPENING = re.compile(r"(What|Whether|When|Where|Which|How|Who|Whose|Whom|Why|Say|Tell)\b")
"""The words with which no docstring begins: a function's is an imperative, all others name a thing."""
FORBIDDEN = re.compile(r"\b(whoever|anew|told|shall not|has not to)\b|^[<>]{7} ", re.IGNORECASE)
"""Words that cost a second reading, and the marks that a merge leaves behind."""


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


def test_docstrings_begin_with_a_verb_or_a_noun() -> None:
    """A docstring that begins with What, When or How is half a sentence."""
    texts = ((path, text) for path in SOURCES for text in docstrings(ast.parse(path.read_text())))
    assert not [f"{path.relative_to(ROOT)}: {text.splitlines()[0]}" for path, text in texts if OPENING.match(text)]


def test_words_that_cost_a_second_reading_are_not_used() -> None:
    """Docstrings, comments, messages, names of tests, pages and settings do without them."""
    files = (path for path in (*SOURCES, *OTHERS) if path != Path(__file__))
    lines = ((path, line) for path in files for line in path.read_text().splitlines())
    assert not [
        f"{path.relative_to(ROOT)}: {line}" for path, line in lines if FORBIDDEN.search(line.replace("_", " "))
    ]
