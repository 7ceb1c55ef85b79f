"""What Airflow's configuration says of this package: the section ``[retell]``. Imports nothing of Airflow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from airflow_provider_retell.api.settings import NumericSetting

SECTION: Final = "retell"


OPTIONS: Final[Mapping[str, NumericSetting]] = {
    "shortest_poll_interval": NumericSetting(
        default=0.5,
        minimum=0.01,
        help="Minimum seconds between two polls, whatever a task asks for.",
    ),
    "ids_per_request": NumericSetting(
        default=1000,
        minimum=1,
        whole=True,
        help="Maximum number of calls in one list-calls request. Retell lists up to 1000.",
    ),
    "connections": NumericSetting(
        default=20,
        minimum=1,
        whole=True,
        help="Maximum number of network connections to Retell, per process and Airflow connection.",
    ),
}
"""The options by name."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options as read.

    Attributes:
        shortest_poll_interval: Minimum seconds between two polls.
        ids_per_request: Maximum number of calls in one list-calls request.
        connections: Maximum number of network connections, per process and Airflow connection.
    """

    shortest_poll_interval: float = OPTIONS["shortest_poll_interval"].default
    ids_per_request: int = int(OPTIONS["ids_per_request"].default)
    connections: int = int(OPTIONS["connections"].default)

    @classmethod
    def read(cls, get: Callable[..., Any]) -> Self:
        """Return the options, asking ``get(section, name, fallback=...)`` for each.

        Raises:
            ValueError: One holds something that cannot be used.
        """
        values = {
            name: _read(name, get(SECTION, name, fallback=option.default)) for name, option in OPTIONS.items()
        }
        return cls(
            shortest_poll_interval=values["shortest_poll_interval"],
            ids_per_request=min(int(values["ids_per_request"]), int(OPTIONS["ids_per_request"].default)),
            connections=int(values["connections"]),
        )


def _read(name: str, given: Any) -> float:
    try:
        return OPTIONS[name].read(given)
    except ValueError as error:
        raise ValueError(f"The option {name} in section [{SECTION}] of Airflow's configuration {error}.") from None


def provider_config() -> dict[str, Any]:
    """Return the section as a provider's ``config``."""
    return {
        SECTION: {
            "description": "How tasks and triggers talk to Retell AI.",
            "options": {
                name: {
                    "description": option.help,
                    "version_added": None,
                    "type": "integer" if option.whole else "float",
                    "example": None,
                    "default": f"{option.default:g}",
                }
                for name, option in OPTIONS.items()
            },
        }
    }
