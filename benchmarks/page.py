"""Write the page: each part's figures have their place in README.md."""

from __future__ import annotations

import importlib
import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psutil

PAGE: Final = Path(__file__).parent / "README.md"
VERSIONS: Final = ("apache-airflow", "apache-airflow-task-sdk", "httpx", "pydantic", "retell-sdk")
PARTS: Final = ("imports", "throughput", "history", "waiting", "stack")
HEAD: Final = (
    "| figure | measured | goal | reached | beside it, in the same run |\n| --- | --- | --- | --- | --- |"
)
HEAD_WITH_FLOOR: Final = HEAD.replace("|\n", "| Airflow alone |\n") + " --- |"


def write(part: str) -> None:
    """Measure one part, and put its figures into its place on the page."""
    lines: list[str] = []
    head = HEAD
    for figure in importlib.import_module(f"benchmarks.{part}").figures():
        print(figure.line, flush=True)
        lines.append(figure.line)
        head = HEAD if figure.floor is None else HEAD_WITH_FLOOR
    lines.insert(0, head)
    begin, end = marks(part)
    text = "\n".join([begin, "", *lines, "", machine(), "", end])
    page, places = re.subn(
        f"{re.escape(begin)}.*{re.escape(end)}", lambda _: text, PAGE.read_text(), flags=re.DOTALL
    )
    if places != 1:
        raise RuntimeError(f"{PAGE.name} has no place for {part}.")
    PAGE.write_text(page)


def marks(part: str) -> tuple[str, str]:
    """Return the lines between which a part's figures stand."""
    return f"<!-- {part}: written by make bench -->", f"<!-- end of {part} -->"


def machine() -> str:
    """Return one sentence on the day, the machine and the versions."""
    memory = psutil.virtual_memory().total / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in VERSIONS)
    return (
        f"Measured {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores ({_processor()}, {platform.machine()}), "
        f"{memory:.0f} GiB, {platform.system()}.\n"
        f"Python {platform.python_version()}, {versions}."
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else None
    return found[1].strip() if found else platform.processor() or "unknown processor"
