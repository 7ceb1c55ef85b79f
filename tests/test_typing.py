"""Test that the public types match what the code takes and returns; mypy checks user_code.py with them."""

from __future__ import annotations

import ast
import inspect
from enum import StrEnum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Required, Union, get_args, get_origin, get_type_hints

import pytest

from airflow_provider_retell import policy
from airflow_provider_retell._kwargs import CallFilters
from airflow_provider_retell.api import endpoints, models
from airflow_provider_retell.api.models import Call, CallAnalysis, CallCost
from airflow_provider_retell.campaign.people.identity import CampaignIdentity
from airflow_provider_retell.campaign.people.person import Person, Refusal
from airflow_provider_retell.campaign.plan.checks import Checks
from airflow_provider_retell.campaign.plan.pacing import Pace
from airflow_provider_retell.campaign.plan.plan import Plan
from airflow_provider_retell.campaign.plan.roster import Roster
from airflow_provider_retell.campaign.plan.state import CampaignState
from airflow_provider_retell.campaign.results.summary import people_rows, summarize
from airflow_provider_retell.campaign.run.dry_run import DryRun, dry_result, dry_rows
from airflow_provider_retell.campaign.run.eligibility import Eligible
from airflow_provider_retell.hooks import RetellHook
from airflow_provider_retell.operators import (
    RetellCampaignOperator,
    RetellCreatePhoneCallOperator,
    RetellRegisterPhoneCallOperator,
)
from airflow_provider_retell.outcomes import Outcome
from airflow_provider_retell.rows import Analysis, CampaignResult, Cost, OutcomeWord, PersonRow, RefusalWord, Row
from airflow_provider_retell.sensors import RetellCallSensor

USER_CODE = Path(__file__).with_name("user_code.py")


def parameters(function: Any) -> dict[str, inspect.Parameter]:
    """Return the named parameters of a function or constructor, with evaluated annotations."""
    # Some types are not there at run time: the modules that DAGs import load no models and no policies.
    names = {**vars(models), **vars(policy), "Eligible": Eligible, **inspect.unwrap(function).__globals__}
    found = list(inspect.signature(function, eval_str=True, globals=names).parameters.values())
    return {each.name: each for each in found if each.kind is not each.VAR_KEYWORD and each.name != "self"}


# -- arguments -----------------------------------------------------------------------------------------------


def test_both_operators_take_the_same_besides_the_fields_of_their_requests() -> None:
    """A shared argument has the same name, type and default in both."""
    register, create = (
        {
            name: (each.annotation, each.default)
            for name, each in parameters(operator.__init__).items()
            if name not in operator.request_fields
        }
        for operator in (RetellRegisterPhoneCallOperator, RetellCreatePhoneCallOperator)
    )
    del create["redial"]  # a registered call is dialed by the user's own telephony
    assert register == create


@pytest.mark.parametrize(
    "name",
    [
        "RetellRegisterPhoneCallOperator",
        "RetellCreatePhoneCallOperator",
        "RetellCampaignOperator",
        "RetellCallSensor",
    ],
)
def test_the_arguments_of_any_airflow_are_taken(name: str) -> None:
    """An argument that a newer Airflow has is no type error; the user code has some of today's."""
    (rest,) = [
        each
        for each in inspect.signature(globals()[name].__init__).parameters.values()
        if each.kind is each.VAR_KEYWORD
    ]
    assert rest.annotation in {Any, "Any"}
    assert used(name) & {"pool", "mode", "priority_weight"}


def test_the_filters_of_list_calls_are_the_endpoint_s() -> None:
    """Type checkers accept the arguments of the endpoint: the same names, the same types."""
    taken = {name: each.annotation for name, each in parameters(endpoints.list_calls).items()}
    named = parameters(RetellHook.list_calls)
    assert get_type_hints(CallFilters) == {name: hint for name, hint in taken.items() if name not in named}


def used(name: str) -> set[str]:
    """Return the keywords of all calls of a name in the user code."""
    calls = [node for node in ast.walk(ast.parse(USER_CODE.read_text())) if isinstance(node, ast.Call)]
    named = [each for each in calls if ast.unparse(each.func).rpartition(".")[2] == name]
    return {str(keyword.arg) for each in named for keyword in each.keywords}


@pytest.mark.parametrize(
    ("name", "takes"),
    [
        (
            "RetellRegisterPhoneCallOperator",
            [RetellRegisterPhoneCallOperator.__init__],
        ),
        ("RetellCreatePhoneCallOperator", [RetellCreatePhoneCallOperator.__init__]),
        ("RetellCallSensor", [RetellCallSensor.__init__]),
        ("RetellCampaignOperator", [RetellCampaignOperator.__init__]),
        ("list_calls", [RetellHook.list_calls, endpoints.list_calls]),
    ],
)
def test_every_argument_is_type_checked(name: str, takes: list[Any]) -> None:
    """The file that mypy reads names every argument: one that a checker would not know is found there."""
    assert {argument for each in takes for argument in parameters(each)} <= used(name)


# -- the row -------------------------------------------------------------------------------------------------


def in_a_row(annotation: Any) -> Any:
    """Return what stands in a row for a field of a model: JSON, and None not at all."""
    if get_origin(annotation) is Annotated:
        return in_a_row(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        (kept,) = {in_a_row(each) for each in get_args(annotation) if each is not type(None)}
        return kept
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return str
    return {CallAnalysis: Analysis, CallCost: Cost}.get(annotation, annotation)


@pytest.mark.parametrize(("row", "model"), [(Row, Call), (Analysis, CallAnalysis), (Cost, CallCost)])
def test_a_row_has_the_fields_of_a_call(row: Any, model: Any) -> None:
    """The type of the row has every field of the model, with the type that is left of it in JSON."""
    hints = get_type_hints(model, include_extras=True)
    expected = {name: in_a_row(hints[name]) for name in model.model_fields}
    assert {
        name: hint for name, hint in get_type_hints(row).items() if name not in ("outcome", "attempts")
    } == expected


def required(row: Any) -> set[str]:
    """Return the keys that are there in any case."""
    return {
        name for name, hint in get_type_hints(row, include_extras=True).items() if get_origin(hint) is Required
    }


def test_a_row_always_has_an_id_and_an_outcome() -> None:
    """These two may be read without asking; what else there is depends on the call."""
    assert required(Row) == {"call_id", "outcome"}
    assert get_type_hints(Row)["outcome"] == OutcomeWord | Literal["dry_run"] | None


def test_the_rows_and_the_result_of_a_campaign_have_the_keys_of_their_types() -> None:
    """The types of a campaign's results match its real results, also in a dry run."""
    roster = Roster(
        [Person(row=0, to_number="+14155550100", person_id="ada")],
        CampaignIdentity.of(dag_id="dag", run_id="run", task_id="call", map_index=-1),
    )
    plan = Plan(CampaignState(roster, checks=Checks(), pace=Pace(1)), lines=1)
    dry_run = DryRun(placed_at={0: 1.0}, ends_at=2.0, failure=None)
    (row,) = dry_rows(plan, dry_run)
    assert set(row) == set(PersonRow.__annotations__)
    assert required(PersonRow) == set(next(people_rows(roster)))
    result = dry_result(plan, dry_run, now=0.0)
    assert set(result) | {"paths", "rows"} == set(CampaignResult.__annotations__)
    assert required(CampaignResult) == {*summarize(roster), "paths"}
    assert get_args(RefusalWord) == tuple(Refusal)


def test_the_words_of_an_outcome_are_the_outcomes() -> None:
    """A type checker knows the words that there are, and no others."""
    assert get_args(OutcomeWord) == tuple(Outcome)
