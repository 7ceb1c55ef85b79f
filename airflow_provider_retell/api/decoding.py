"""Decode the JSON in the bodies of responses. Pure: no I/O."""

from __future__ import annotations

import json
from typing import Any


def decode_json(content: bytes) -> Any:
    """Decode JSON to what ``json.loads`` returns, in half the time.

    Raises:
        ValueError: It is not JSON.
    """
    # Imported here: a process that parses a DAG file reads no response.
    from msgspec import DecodeError  # noqa: PLC0415
    from msgspec.json import decode  # noqa: PLC0415 (as above)

    try:
        return decode(content)
    except (DecodeError, ValueError):  # the standard library reads a little more, such as half of a surrogate pair
        return json.loads(content)
