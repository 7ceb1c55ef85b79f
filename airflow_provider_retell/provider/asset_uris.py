"""Check URIs of the scheme ``retell``. Imports nothing of Airflow, which calls this while it parses DAGs."""

from __future__ import annotations

from urllib.parse import SplitResult


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Return a URI such as ``retell://retell_default/calls`` as Airflow keeps it.

    Raises:
        ValueError: It has no connection or no path.
    """
    if not uri.netloc or "@" in uri.netloc or uri.path in {"", "/"}:
        raise ValueError(
            "URI format retell:// must name a connection and a path, without a user or a key, "
            "such as retell://retell_default/calls"
        )
    return uri
