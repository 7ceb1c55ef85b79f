"""Make a site of the pages with Sphinx: `make docs`.

The pages are Markdown that reads as well in the repository as on the site. The source folder is therefore the
repository itself: a link from page to page works here and there.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from airflow_provider_retell import __version__

# The API reference imports the hook, and with it Airflow, which writes its configuration into its home.
os.environ["AIRFLOW_HOME"] = str(Path(__file__).parent.parent / ".airflow" / "docs")
os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "WARNING"

project = "airflow-provider-retell"
version = release = __version__
root_doc = "docs/index"
include_patterns = ["docs/*.md", "benchmarks/*.md", "example_dags/README.md", "CHANGELOG.md", "CONTRIBUTING.md"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_use_ivar = True
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"{project} {version}"
html_copy_source = False
html_show_copyright = False
html_extra_path = ["site"]  # the root of the site leads to the first page
html_static_path = ["static"]
html_css_files = ["wide.css"]  # wide tables and long messages fit on a laptop's screen

EXAMPLES = "example_dags/README"


def show_examples(_: Any, page: str, source: list[str]) -> None:
    """Have links to an example DAG lead to its code, which the site shows below the list of the examples."""
    folder, readme = ("", "") if page == EXAMPLES else ("../example_dags/", "../example_dags/README.md")
    source[0] = re.sub(rf"\]\({re.escape(folder)}(\w+)\.py\)", rf"]({readme}#\1py)", source[0])
    if page == EXAMPLES:
        for path in sorted((Path(__file__).parent.parent / "example_dags").glob("*.py")):
            source[0] += f"\n## {path.name}\n\n```{{literalinclude}} {path.name}\n:language: python\n```\n"


def setup(app: Any) -> None:
    """Have Sphinx call what is defined here."""
    app.connect("source-read", show_examples)
