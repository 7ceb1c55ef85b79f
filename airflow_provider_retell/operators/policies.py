"""Check the policies given to an operator, when the DAG is parsed or when a template is rendered."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_retell._argument_checks import rendered_flag
from airflow_provider_retell._masking import shown
from airflow_provider_retell.errors import RetellInputError

if TYPE_CHECKING:
    # Imported when one is given: most tasks have no policies, and each process of a task would load them.
    from airflow_provider_retell.policy import AttemptLimit, CallingHours, Redial

log = logging.getLogger(__name__)


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
    """Return the rules by which a task calls one person again, else raise ``RetellInputError``."""
    rules = check_rules(given)
    if rules and wait_for is None:
        raise RetellInputError(
            'redial needs wait_for="ended" or "analyzed": without it the task does not see how its call ends.'
        )
    if rules and not durable:
        raise RetellInputError("redial needs durable=True: a retry must know which calls were placed.")
    return rules


def check_rules(redial: Redial | Sequence[Redial]) -> tuple[Redial, ...]:
    """Return the rules of ``redial``, which takes one or several, else raise ``RetellInputError``."""
    rules: tuple[object, ...] = tuple(redial) if isinstance(redial, list | tuple) else (redial,)
    if not rules:
        return ()
    from airflow_provider_retell.policy import Redial  # noqa: PLC0415 (see above)

    for rule in rules:
        if not isinstance(rule, Redial):
            raise RetellInputError(
                'redial takes rules such as Redial("no_answer", after=timedelta(hours=2), times=2), '
                f"not {shown(rule)}."
            )
    return cast("tuple[Redial, ...]", rules)


def check_attempts(given: object, *, history: object) -> AttemptLimit | None:
    """Return the limit of attempts, else raise ``RetellInputError``; it needs ``history``, or False instead."""
    if given is None:
        return None
    from airflow_provider_retell.policy import AttemptLimit  # noqa: PLC0415 (see above)

    if not isinstance(given, AttemptLimit):
        raise RetellInputError(
            f"attempts takes an AttemptLimit, such as AttemptLimit(3, per=timedelta(days=7)), not {shown(given)}."
        )
    if history is None:
        raise RetellInputError(
            "attempts needs history, a folder of earlier results; say history=False if there is none."
        )
    return given


def check_eligible(given: object) -> None:
    """Raise ``RetellInputError`` if ``eligible`` is neither a function nor text."""
    if given is not None and not callable(given) and not isinstance(given, str):
        raise RetellInputError(f"eligible takes a function, or its dotted path, not {shown(given)}.")


def warn_if_forgetful(*, honor_internal_dnc: Any, history: Any) -> None:
    """Warn if a person's request never to be called again would be forgotten after this campaign."""
    if not history and not rendered_flag("honor_internal_dnc", honor_internal_dnc or False):
        log.warning(
            "The next campaign will call people who ask in this one never to be called again: "
            "give honor_internal_dnc=True, so that Retell remembers, or history, a folder of earlier results."
        )


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
