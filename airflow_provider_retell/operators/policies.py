"""Check the policies given to an operator, when the DAG is parsed or when a template is rendered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from airflow_provider_retell._masking import shown
from airflow_provider_retell.errors import RetellInputError

if TYPE_CHECKING:
    # Imported when one is given: most tasks have no policies, and each process of a task would load them.
    from airflow_provider_retell.policy import CallingHours, Redial


def check_calling_hours(given: object) -> CallingHours | None:
    """Return the calling hours, else raise ``RetellInputError``."""
    if given is None:
        return None
    from airflow_provider_retell.policy import CallingHours  # noqa: PLC0415 (see above)

    if isinstance(given, CallingHours):
        return given
    raise RetellInputError(
        f'calling_hours takes CallingHours, such as CallingHours("09:00", "20:00"), not {shown(given)}.'
    )


def check_redial(given: Redial | Sequence[Redial], *, wait_for: str | None, durable: bool) -> tuple[Redial, ...]:
    """Return the rules of ``redial``, else raise ``RetellInputError``."""
    rules: tuple[object, ...] = tuple(given) if isinstance(given, list | tuple) else (given,)
    if not rules:
        return ()
    from airflow_provider_retell.policy import Redial  # noqa: PLC0415 (see above)

    for rule in rules:
        if not isinstance(rule, Redial):
            raise RetellInputError(
                'redial takes rules such as Redial("no_answer", after=timedelta(hours=2), times=2), '
                f"not {shown(rule)}."
            )
    if wait_for is None:
        raise RetellInputError(
            'redial needs wait_for="ended" or "analyzed": without it the task does not see how its call ends.'
        )
    if not durable:
        raise RetellInputError("redial needs durable=True: a retry must know which calls were placed.")
    return cast("tuple[Redial, ...]", rules)


def check_call_key(given: object, *, durable: bool) -> None:
    """Raise ``RetellInputError`` if ``call_key`` cannot work, whatever it renders to."""
    if given is not None and not durable:
        raise RetellInputError("call_key needs durable=True: the call is found by its metadata.")


def rendered_call_key(given: object) -> str | None:
    """Return the rendered ``call_key``; raise ``RetellInputError`` if it is empty, so that no calls share it."""
    if given is None:
        return None
    if not isinstance(given, str) or given.strip() in {"", "None"}:
        raise RetellInputError(
            f"call_key must be text that names the intended call, such as 'appointment-17', not {shown(given)}. "
            "Nothing was sent."
        )
    return given.strip()
