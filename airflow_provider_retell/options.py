"""What Airflow's configuration says of this package: the section ``[retell]``. Imports nothing of Airflow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

SECTION: Final = "retell"


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option, as Airflow lists it and as this package reads it."""

    default: float
    minimum: float
    help: str
    whole: bool = False


OPTIONS: Final[Mapping[str, Option]] = {
    "shortest_poll_interval": Option(
        default=0.5,
        minimum=0.01,
        help="Seconds between two polls at the least, whatever a task asks for.",
    ),
    "ids_per_request": Option(
        default=1000,
        minimum=1,
        whole=True,
        help="Calls that one list-calls request asks for at the most. Retell lists up to 1000.",
    ),
    "connections": Option(
        default=20,
        minimum=1,
        whole=True,
        help="Network connections that one process keeps to Retell at the most, for each Airflow connection.",
    ),
}
"""The options by name."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options as read.

    Attributes:
        shortest_poll_interval: Seconds between two polls at the least.
        ids_per_request: Calls in one list-calls request at the most.
        connections: Network connections at the most, for each process and Airflow connection.
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
            name: _number(name, get(SECTION, name, fallback=option.default)) for name, option in OPTIONS.items()
        }
        return cls(
            shortest_poll_interval=values["shortest_poll_interval"],
            ids_per_request=min(int(values["ids_per_request"]), int(OPTIONS["ids_per_request"].default)),
            connections=int(values["connections"]),
        )


def _number(name: str, given: Any) -> float:
    option = OPTIONS[name]
    try:
        number = float(given)
    except (TypeError, ValueError):
        number = float("nan")
    if not option.minimum <= number < float("inf") or (option.whole and number % 1):
        kind = "whole number" if option.whole else "number"
        raise ValueError(
            f"The option {name} in section [{SECTION}] of Airflow's configuration must be a {kind} of at least "
            f"{option.minimum:g}, not {given!r}."
        )
    return number


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
