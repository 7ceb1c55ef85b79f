"""Protect the page: refuse changes by other sites, and limit what a browser may do with a response. Pure.

Airflow's cookie is ``SameSite=Lax``: another site's form cannot send it in a POST, but a subdomain's can. So a
request that changes something must be JSON, which forms do not send, and come from a page of this server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""The policy: only files of this server, and only in a frame of this server."""

HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""Headers of each response."""

LONGEST_BODY: Final = 10_000
"""The longest body of a request in bytes."""


OTHER_SITE: Final = (
    "The request comes from another site. If it does not, a proxy hides the address of this page: set [api] "
    "base_url in Airflow's configuration to the address that browsers use."
)


def why_refused(headers: Mapping[str, str], *, base_url: str) -> str | None:
    """Return why a request must not change anything, None if it may.

    Args:
        headers: The headers of the request, by their names in lower case.
        base_url: ``[api] base_url`` of Airflow's configuration; may be empty.
    """
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return "The request must be JSON."
    site = headers.get("sec-fetch-site")
    if site == "same-origin":
        return None  # browsers say so themselves, and no page can; a proxy may hide the host from this server
    if site is not None:
        return OTHER_SITE
    origin = headers.get("origin")
    if origin is None:
        # A program with a token sends no Origin; a browser, which sends the cookie by itself, does.
        return None if "authorization" in headers and "cookie" not in headers else "The request has no Origin."
    own = {urlsplit(base_url).netloc, headers.get("host", "")} - {""}
    return None if urlsplit(origin).netloc in own else OTHER_SITE
