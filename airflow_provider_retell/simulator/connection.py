"""Write the Airflow connection that leads to a simulator."""

from __future__ import annotations

import ipaddress
import json
from typing import Any
from urllib.parse import urlsplit


def airflow_connection(url: str, api_key: str) -> str:
    """Return a connection as JSON, as `AIRFLOW_CONN_RETELL_DEFAULT` holds it.

    If the URL leads to another machine, the extra of the connection says `simulator: true`. Without that, the
    provider refuses plain HTTP to another machine.
    """
    fields: dict[str, Any] = {"conn_type": "retell", "host": url, "password": api_key}
    if not _is_loopback(urlsplit(url).hostname):
        fields["extra"] = {"simulator": True}
    return json.dumps(fields)


def _is_loopback(host: str | None) -> bool:
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"
