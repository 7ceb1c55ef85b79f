"""Render the templates of a task that are in its DAG file, and never those in the output of another task.

Airflow (2.11 to 3.3) renders the values of ``.expand_kwargs(people())``: a person named
``{{ conn.retell_default.password }}`` in the table would make the agent say the API key. Here a field of a mapped
task is a template only if its value is in the DAG file: in ``.partial()``, or as a literal in ``.expand()``.

What a template becomes depends on the field:

============  ====================================  =============================================
kind          a text for the complete field         a text inside an object or a list
============  ====================================  =============================================
``TEXT``      a template that renders to text       a template that renders to text
``STRINGS``   a template that renders to an object  a template that renders to text
``OBJECT``    a template that renders to an object  a template, native if the DAG says so
``VERBATIM``  a template that renders to an object  no template: Retell's own ``{{name}}`` stays
(none)        a template, native if the DAG says so the same
============  ====================================  =============================================

The outputs of other tasks (XComArgs) are resolved everywhere, at any depth, and are not rendered. A field that is
given in the DAG file and becomes nothing fails the task, because it would count as left out, unless its operator
takes it for that (``left_out_if_empty``).

See https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/operators.html#jinja-templating
"""

from __future__ import annotations

import json
import re
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from enum import Enum, auto
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Final, assert_never

from airflow.providers.common.compat.sdk import BaseOperator, Context, XComArg

from airflow_provider_retell._masking import NUMBER_FIELDS, shown
from airflow_provider_retell.errors import RetellInputError
from airflow_provider_retell.provider.version_compat import is_resumed, mask_secret

if TYPE_CHECKING:
    import jinja2

_NUMBER: Final = re.compile(r"\+[1-9][0-9]{6,14}(?![0-9])")
_RETURN_KEY: Final = "return_value"
"""Airflow's XCOM_RETURN_KEY, whose import loads its database models: 0.4 s in every process that parses a DAG."""
_LEAST_DIGITS: Final = 7
_SHOWN_DIGITS: Final = 4
_SHORTEST_SECRET: Final = 5
"""Airflow 2 would mask a single letter everywhere; Airflow 3 ignores secrets that are shorter than this."""


class FieldKind(Enum):
    """The rendering of a templated field, by the table of this module."""

    TEXT = auto()
    STRINGS = auto()
    OBJECT = auto()
    VERBATIM = auto()


class TemplatedOperator(BaseOperator):
    """A task whose templates are those of its DAG file, and whose rendered fields show no phone number."""

    field_kinds: ClassVar[Mapping[str, FieldKind]] = {"retell_conn_id": FieldKind.TEXT}
    """The kinds of the templated fields; a field that is missing is rendered as in any other operator."""

    hidden_fields: ClassVar[tuple[str, ...]] = ()
    """Fields whose values are secrets; their keys are not."""

    left_out_if_empty: ClassVar[tuple[str, ...]] = ()
    """Fields that a template may leave out by rendering to nothing."""

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        # The only method that Airflow calls for plain and for mapped tasks, in all versions.
        if parent is not self:
            super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
            return
        for field in [field for field in template_fields if self._is_template(field, context)]:
            given = getattr(self, field)
            if (kind := self.field_kinds.get(field)) is None:
                super()._do_render_template_fields(self, [field], context, jinja_env, seen_oids)
            else:
                try:
                    rendered = self._rendered(given, kind, context, jinja_env)
                except Exception as error:
                    error.add_note(f"Raised while rendering the field {field!r} of the task {self.task_id!r}.")
                    raise
                setattr(self, field, rendered)
            if given is not None and field not in self.left_out_if_empty:
                check_given(field, getattr(self, field))
        self._mask()
        # Airflow shows and stores each of these fields at a cost, even those that the DAG does not give.
        given = tuple(field for field in type(self).template_fields if getattr(self, field) is not None)
        self.template_fields = () if is_resumed(context) else given

    def _is_template(self, field: str, context: Context) -> bool:
        """Return whether a field's value is from the DAG file; False if that cannot be known."""
        dag: Any = self.dag if self.has_dag() else None  # type: ignore[no-untyped-call]
        mapped: Any = dag.task_dict.get(self.task_id) if dag else None
        expand_input = getattr(mapped, "expand_input", None)
        if expand_input is None or (listed := _listed(expand_input.value, context["ti"].map_index)) is None:
            return True
        literals = [*listed]
        for given in (
            mapped.partial_kwargs,
            mapped.partial_kwargs.get("default_args"),
            getattr(self.task_group, "default_args", None),
            dag.default_args,
        ):
            literals += (given or {}).values()
        value = getattr(self, field)
        return any(value is literal for literal in literals)

    def _rendered(
        self, value: Any, kind: FieldKind, context: Context, jinja_env: jinja2.Environment, *, inside: bool = False
    ) -> Any:
        match value:
            case str():
                return self._rendered_text(value, kind, context, jinja_env, inside=inside)
            case Mapping():
                return {
                    key: self._rendered(item, kind, context, jinja_env, inside=True) for key, item in value.items()
                }
            case list() | tuple():
                return [self._rendered(item, kind, context, jinja_env, inside=True) for item in value]
        return _plain(value.resolve(context)) if _is_reference(value) else value

    def _rendered_text(
        self, text: str, kind: FieldKind, context: Context, jinja_env: jinja2.Environment, *, inside: bool
    ) -> Any:
        if kind is not FieldKind.TEXT and not inside:
            return _object(_nodes(text, context, jinja_env))
        match kind:
            case FieldKind.TEXT | FieldKind.STRINGS:
                return "".join(map(str, _nodes(text, context, jinja_env)))
            case FieldKind.OBJECT:
                return self.render_template(text, context, jinja_env)
            case FieldKind.VERBATIM:
                return text
        assert_never(kind)

    def _mask(self) -> None:
        """Mask the phone numbers and secrets of the fields in Airflow's UI, its API and the task's log."""
        for field in self.template_fields:
            value = getattr(self, field, None)
            if field in NUMBER_FIELDS and isinstance(value, int | float) and not isinstance(value, bool):
                value = str(value)
                setattr(self, field, value)  # Airflow masks only text
            for text in _texts(value):
                for secret in [text] if field in self.hidden_fields else _beginnings(field, text):
                    if len(secret) >= _SHORTEST_SECRET:
                        mask_secret(secret)


def check_given(field: str, rendered: object) -> None:
    """Refuse nothing as the value of a field that the DAG gives: it would count as left out.

    Without the agent, the end or the files that were meant, other calls would be placed.

    Raises:
        RetellInputError: It is None, blank, or ``None`` as Jinja writes it.
    """
    if rendered is None or (isinstance(rendered, str) and rendered.strip() in {"", "None"}):
        raise RetellInputError(
            f"{field.removeprefix('is_')} is given, and its template or task left nothing there: "
            f"{shown(rendered)}. Leave it out, or give None itself, if that is meant. Nothing was sent."
        )


def check_pushed(argument: str, value: Any) -> None:
    """Refuse the output of a task with ``do_xcom_push=False``, which is empty and would let this task succeed.

    Raises:
        RetellInputError: The message names the task, and what to use instead.
    """
    for operator, key in XComArg.iter_xcom_references(value):
        given = getattr(operator, "partial_kwargs", None)
        pushed = getattr(operator, "do_xcom_push", True) if given is None else _pushes(operator, given)
        if key == _RETURN_KEY and not pushed:
            raise RetellInputError(
                f"{argument} is the output of the task {operator.task_id!r}, which has do_xcom_push=False: "
                "nothing would arrive. Let the task push its result, or use its "
                'output["call_id"], which the operators of this package push in any case.'
            )


def _pushes(mapped: Any, given: Mapping[str, Any]) -> bool:
    defaults = mapped.dag.default_args if mapped.has_dag() else {}
    return bool(given.get("do_xcom_push", defaults.get("do_xcom_push", True)))


def _listed(expanded: Any, map_index: Any) -> list[Any] | None:
    """Return the values in the DAG file for a mapped task; None if its mapping has no other task's output.

    Args:
        expanded: The arguments of ``.expand()`` or ``.expand_kwargs()``.
        map_index: The index of the mapped task.

    >>> _listed({"to_number": ["+14155550100"]}, 0), _listed([{"to_number": "+14155550100"}], 0)
    (None, None)
    """
    if isinstance(expanded, Mapping):
        lists = [each for each in expanded.values() if not _is_reference(each)]
        return None if len(lists) == len(expanded) else [value for each in lists for value in each]
    return [] if _is_reference(expanded) or _is_reference(expanded[map_index]) else None


def _is_reference(value: Any) -> bool:
    """Return whether a value stands for the output of a task."""
    return callable(getattr(value, "resolve", None)) and not isinstance(value, PathLike)


def _nodes(text: str, context: Mapping[str, Any], jinja_env: jinja2.Environment) -> list[Any]:
    """Render a template; return its parts, which are texts or, for an expression alone, an object."""
    if not _has_markup(text, jinja_env):  # most numbers and ids, for which Jinja would build its lexer
        return [text] if text else []
    from jinja2.nativetypes import NativeCodeGenerator  # noqa: PLC0415 (no DAG that is parsed renders anything)

    native = jinja_env.overlay()
    native.code_generator_class = NativeCodeGenerator
    template = native.from_string(text)
    # As Airflow does: Jinja's own `render` would evaluate all of the context.
    variables: Any = ChainMap({}, context, template.globals)  # type: ignore[arg-type]
    return list(template.root_render_func(native.context_class(native, variables, template.name, template.blocks)))


def _has_markup(text: str, jinja_env: jinja2.Environment) -> bool:
    """Return whether Jinja may change a text; it also changes the ends of lines."""
    if jinja_env.line_statement_prefix or jinja_env.line_comment_prefix:
        return True
    marks = (jinja_env.block_start_string, jinja_env.variable_start_string, jinja_env.comment_start_string)
    return any(mark in text for mark in (*marks, "\n", "\r"))


def _object(nodes: Iterable[Any]) -> Any:
    from jinja2.nativetypes import native_concat  # noqa: PLC0415 (as above)

    value = native_concat(nodes)
    if isinstance(value, str):
        with suppress(ValueError):  # "{{ params.settings | tojson }}", with true, false or null
            return json.loads(value)
    return value


def _plain(value: Any) -> Any:
    """Return the outputs of a mapped task as a list, since only that is JSON."""
    lazy = isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | list | tuple)
    return list(value) if lazy else value


def _beginnings(field: str, text: str) -> set[str]:
    """Return the numbers in a text without their last digits, which stay readable: ``***0100``.

    The fields of numbers hold one in any notation, even a wrong one that fails the task.
    """
    numbers = set(_NUMBER.findall(text))
    digits = re.sub(r"\D", "", text)
    if field in NUMBER_FIELDS and text not in numbers and len(digits) >= _LEAST_DIGITS:
        numbers |= {text, digits}
    shortest = _SHORTEST_SECRET + _SHOWN_DIGITS
    return {number[:-_SHOWN_DIGITS] if len(number) >= shortest else number for number in numbers}


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case Mapping():
            for item in value.values():
                yield from _texts(item)
        case list() | tuple():
            for item in value:
                yield from _texts(item)
