"""Measure, and write what came out into README.md: `make bench`, or `make bench PARTS="imports waiting"`."""

from __future__ import annotations

import os
import sys
import tempfile

home = tempfile.TemporaryDirectory(prefix="airflow-benchmarks-")
# Before anything of Airflow is imported, here or in a process of a benchmark.
os.environ |= {
    "AIRFLOW_HOME": home.name,
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__SECRETS__BACKEND": "benchmarks.lookups.CountingBackend",
}

from benchmarks import page  # noqa: E402 (see above)


def main() -> None:
    """Run the parts named on the command line, or all."""
    for part in sys.argv[1:] or page.PARTS:
        page.write(part)


if __name__ == "__main__":
    with home:
        main()
