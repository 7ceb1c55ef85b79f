"""How Sphinx makes a site of the pages: `make docs`.

The pages are Markdown that reads as well where the repository is browsed. The source folder is therefore the
repository itself: a link from page to page works here and there.
"""

from __future__ import annotations

from airflow_provider_retell import __version__

project = "airflow-provider-retell"
version = release = __version__
root_doc = "docs/index"
include_patterns = ["docs/*.md", "benchmarks/*.md", "example_dags/README.md", "CHANGELOG.md", "CONTRIBUTING.md"]

extensions = ["myst_parser"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"{project} {version}"
html_copy_source = False
html_show_copyright = False
html_extra_path = ["site"]  # the root of the site leads to the first page
