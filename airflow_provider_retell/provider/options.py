"""The options in the section ``[retell]`` of Airflow's configuration. Loading it imports nothing of Airflow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from airflow_provider_retell.api.settings import NumericSetting

SECTION: Final = "retell"


@dataclass(frozen=True, kw_only=True)
class TextOption:
    """An option that holds text.

    Attributes:
        help: An explanation for users.
        default: Its value if nothing is given.
    """

    help: str
    default: str = ""

    def read(self, given: Any) -> str:
        """Return the text that was given, without white space around it."""
        return str(given or self.default).strip()


OPTIONS: Final[Mapping[str, NumericSetting | TextOption]] = {
    "shortest_poll_interval": NumericSetting(
        default=0.5,
        minimum=0.01,
        help="Minimum seconds between two polls, whatever a task asks for.",
    ),
    "shortest_deferral": NumericSetting(
        default=20,
        minimum=0,
        help="Minimum seconds between the moment a task defers and the moment it continues. Within them the "
        "scheduler must notice that the deferring process has ended; else Airflow fails the task.",
    ),
    "namespace": TextOption(
        help="Keeps apart the calls of two Airflows that use one Retell account and have DAGs of the same names: "
        "give each its own name here. It is part of every idempotency key and of the metadata airflow_call, so "
        "set it on every component alike, and before Airflow 3.3 only while no task runs or is between two tries.",
    ),
}
"""The options by name."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options as read.

    Attributes:
        shortest_poll_interval: Minimum seconds between two polls.
        shortest_deferral: Minimum seconds between a deferral and its event.
        namespace: Keeps apart the calls of two Airflows that share an account.
    """

    shortest_poll_interval: float = 0.5
    shortest_deferral: float = 20
    namespace: str = ""

    @classmethod
    def read(cls, get: Callable[..., Any]) -> Self:
        """Return the options, asking ``get(section, name, fallback=...)`` for each.

        Raises:
            ValueError: An option holds a value that cannot be used.
        """
        return cls(
            **{name: _read(name, get(SECTION, name, fallback=option.default)) for name, option in OPTIONS.items()}
        )

    def pause(self, poll_interval: float, *, left: float) -> float:
        """Return the seconds to sleep before the next poll.

        Args:
            poll_interval: The task's interval in seconds.
            left: Seconds until the deadline, after which there is no poll.
        """
        return max(0.0, min(max(poll_interval, self.shortest_poll_interval), left))


def read_options() -> Options:
    """Return the options of this process, from Airflow's configuration.

    Raises:
        RetellInputError: An option holds a value that cannot be used.
    """
    # Imported here: Airflow reads the provider's metadata, which needs OPTIONS, while it is being imported.
    from airflow.providers.common.compat.sdk import conf  # noqa: PLC0415

    from airflow_provider_retell.errors import RetellInputError  # noqa: PLC0415 (which imports Airflow)

    try:
        return Options.read(conf.get)
    except ValueError as error:
        raise RetellInputError(f"{error} Nothing was sent.") from None


def _read(name: str, given: Any) -> Any:
    try:
        return OPTIONS[name].read(given)
    except ValueError as error:
        raise ValueError(f"The option {name} in section [{SECTION}] of Airflow's configuration {error}.") from None


def provider_config() -> dict[str, Any]:
    """Return the section as a provider's ``config``."""
    return {
        SECTION: {
            "description": "Settings of the tasks and triggers that talk to Retell AI.",
            "options": {
                name: {
                    "description": option.help,
                    "version_added": None,
                    "type": _type_name(option),
                    "example": None,
                    "default": option.default if isinstance(option, TextOption) else f"{option.default:g}",
                }
                for name, option in OPTIONS.items()
            },
        }
    }


def _type_name(option: NumericSetting | TextOption) -> str:
    if isinstance(option, TextOption):
        return "string"
    return "integer" if option.integer else "float"
