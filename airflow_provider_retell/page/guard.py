"""What protects the page: which requests may change something, and what a browser may do with a response. Pure.

Airflow's cookie is ``SameSite=Lax``: another site's form cannot send it in a POST, but a subdomain's can. So a
request that changes something must be JSON, which no form sends, and come from a page of this server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""Nothing but this server's own files, in a frame of this server alone."""

HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""Headers of each response."""

LONGEST_BODY: Final = 10_000
"""Bytes of a request's body at most."""


def why_refused(headers: Mapping[str, str], *, base_url: str) -> str | None:
    """Return why a request may change nothing, None if it may.

    Args:
        headers: Of the request, by their names in lower case.
        base_url: ``[api] base_url`` of Airflow's configuration; may be empty.
    """
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return "The request must be JSON."
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return "The request comes from another site."
    origin = headers.get("origin")
    if origin is None:
        # A program with a token of its own sends none; what a browser sends by itself is a cookie.
        return None if "authorization" in headers and "cookie" not in headers else "The request has no Origin."
    own = {urlsplit(base_url).netloc, headers.get("host", "")} - {""}
    return None if urlsplit(origin).netloc in own else "The request comes from another site."
