"""Test that only texts in the DAG file are templates, with ``dag.test()`` against the simulator."""

from __future__ import annotations

import importlib.util
import inspect
import re
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, XComArg
from conftest import CREATE, DAGS, TickingTime, offered_tasks
from hypothesis import assume, given
from hypothesis import strategies as st
from jinja2 import Environment, TemplateSyntaxError

from airflow_provider_retell.errors import RetellInputError
from airflow_provider_retell.operators import RetellCampaignOperator, RetellCreatePhoneCallOperator
from airflow_provider_retell.provider.version_compat import TASKS_ASK_A_SUPERVISOR
from airflow_provider_retell.simulator import Simulator

HEAD = """
from airflow.providers.common.compat.sdk import DAG, task, task_group
from airflow_provider_retell.operators import RetellCreatePhoneCallOperator as Call
from airflow_provider_retell.sensors import RetellCallSensor

FROM, TO = "+14155550199", "+14155550100"
EVIL = "{{ conn.retell_default.password }}"
"""
EVIL = "{{ conn.retell_default.password }}"


@pytest.fixture
def time() -> TickingTime:
    """Calls end while they are polled."""
    return TickingTime()


@pytest.fixture
def run(
    database: None, simulator: Simulator, connect: object, request: pytest.FixtureRequest
) -> Iterator[Callable[..., SimpleNamespace]]:
    """Run a DAG of these lines; return its states, what was sent by task, and its rendered fields by task."""
    # Airflow 3.1 serializes a DAG for `dag.test()` once.
    dag_id = re.sub(r"\W", "_", request.node.name)
    path = DAGS / f"{dag_id}.py"

    def run(lines: str, **arguments: Any) -> SimpleNamespace:
        path.write_text(f"{HEAD}\nwith DAG('{dag_id}', schedule=None, **{arguments!r}) as dag:\n{lines}")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        dag_run = module.dag.test()
        tis = dag_run.get_task_instances()
        sent: dict[str, list[dict[str, Any]]] = {}
        for each in simulator.requests:
            if each.endpoint == CREATE:
                sent.setdefault(each.json["metadata"].get("case"), []).append(each.json)
        return SimpleNamespace(
            dag_id=dag_id,
            states={(ti.task_id, ti.map_index): str(ti.state) for ti in tis},
            sent=sent,
            shown={(ti.task_id, ti.map_index): rendered_fields(ti) for ti in tis},
        )

    yield run
    path.unlink(missing_ok=True)


def rendered_fields(ti: Any) -> dict[str, Any]:
    """Return what Airflow's tab of rendered templates, and its API, show of a task."""
    from airflow.models.renderedtifields import RenderedTaskInstanceFields  # noqa: PLC0415 (Airflow's home is set)

    return RenderedTaskInstanceFields.get_templated_fields(ti) or {}


def test_what_a_task_returned_is_never_rendered(run: Callable[..., SimpleNamespace]) -> None:
    """A name with braces in a table is that name, whichever way it comes; what the DAG file says is rendered."""
    done = run("""
    @task
    def names():
        return [EVIL]

    @task
    def variables():
        return [{"name": EVIL}]

    @task
    def people():
        return [{"to_number": TO, "retell_llm_dynamic_variables": {"name": EVIL}}]

    @task
    def one():
        return {"name": EVIL}

    @task
    def name():
        return EVIL

    def common(case):
        return {"task_id": case, "from_number": FROM, "metadata": {"case": case, "dag": "{{ dag.dag_id }}"}}

    class Greeting(Call):
        def __init__(self, *, customer, **kwargs):
            super().__init__(retell_llm_dynamic_variables={"name": customer, "text": f"Hi {customer}"}, **kwargs)

    Call.partial(**common("kwargs")).expand_kwargs(people())
    Call.partial(**common("filtered")).expand_kwargs(people().map(lambda person: {**person}))
    Call.partial(**common("overridden"), retell_llm_dynamic_variables={"name": "{{ dag.dag_id }}"}).expand_kwargs(
        people(), strict=False
    )
    Call.partial(**common("listed")).expand_kwargs([{"to_number": TO, "retell_llm_dynamic_variables": one()}])
    Call.partial(**common("field"), to_number=TO).expand(retell_llm_dynamic_variables=variables())
    Call.partial(**common("partial"), retell_llm_dynamic_variables=one()).expand(to_number=[TO])
    Greeting.partial(**common("subclass"), to_number=TO).expand(customer=names())
    Call(**common("plain"), to_number=TO, retell_llm_dynamic_variables=one())
    Call(**common("nested"), to_number=TO, retell_llm_dynamic_variables={"name": name()}, agent_override={
        "agent": {"texts": [name()], "mapped": names()}
    })

    @task_group
    def group(variables):
        Call(**common("call"), to_number=TO, retell_llm_dynamic_variables=variables)

    group.expand(variables=variables())
""")
    assert set(done.states.values()) == {"success"}
    assert set(done.sent) == {
        "kwargs",
        "filtered",
        "overridden",
        "listed",
        "field",
        "partial",
        "subclass",
        "plain",
        "nested",
        "call",
    }
    for case, ((body,)) in done.sent.items():
        assert body["retell_llm_dynamic_variables"]["name"] == EVIL, case
        assert body["metadata"]["dag"] == done.dag_id, case
    assert done.sent["subclass"][0]["retell_llm_dynamic_variables"]["text"] == f"Hi {EVIL}"
    assert done.sent["nested"][0]["agent_override"] == {"agent": {"texts": [EVIL], "mapped": [EVIL]}}


def test_literals_of_the_dag_file_are_rendered(run: Callable[..., SimpleNamespace]) -> None:
    """Values that stand in the DAG file are templates, mapped or not, also beside those of a task."""
    done = run("""
    text = "{{ dag.dag_id }}"

    @task
    def numbers():
        return [TO]

    dag.default_args["metadata"] = {"case": "{{ task.task_id }}"}
    Call(task_id="plain", from_number=FROM, to_number=TO, retell_llm_dynamic_variables={"text": text})
    Call.partial(task_id="listed", from_number=FROM, to_number=TO).expand(
        retell_llm_dynamic_variables=[{"text": text}]
    )
    Call.partial(task_id="kwargs", from_number=FROM).expand_kwargs(
        [{"to_number": TO, "retell_llm_dynamic_variables": {"text": text}}]
    )
    Call.partial(task_id="beside", from_number=FROM).expand(
        retell_llm_dynamic_variables=[{"text": text}], to_number=numbers()
    )
    Call.partial(task_id="partial", from_number=FROM, retell_llm_dynamic_variables={"text": text}).expand(
        to_number=numbers()
    )
    Call.partial(task_id="dry", from_number=FROM, dry_run="{{ dag.dag_id != 'another' }}").expand(
        to_number=numbers()
    )
""")
    assert set(done.states.values()) == {"success"}
    assert set(done.sent) == {"plain", "listed", "kwargs", "beside", "partial"}
    assert {body["retell_llm_dynamic_variables"]["text"] for (body,) in done.sent.values()} == {done.dag_id}


LINES = """
    @task
    def word():
        return "a {{word}}"

    Call(
        task_id="call",
        from_number="+14155550199",
        to_number="{{ params.to }}",
        metadata={"case": "call", "params": "{{ params.count }}"},
        retell_llm_dynamic_variables={"zip": "{{ params.count }}", "callback": "+14155550177", "name": word()},
        custom_sip_headers={"X-Count": "{{ params.count }}"},
        agent_override={"agent": {"begin_message": "Hi {{name}}, your {{task}} is due {{ ds }}", "word": word()}},
        ignore_e164_validation="{{ params.off }}",
        dry_run="{{ params.off }}",
    )
    Call(
        task_id="whole",
        from_number=FROM,
        to_number=TO,
        metadata="{{ params.metadata }}",
        agent_override="{{ params.override | tojson }}",
        retell_llm_dynamic_variables="{{ {'name': params.to} }}",
    )
    Call(task_id="dry", from_number=FROM, to_number=TO, dry_run="{{ params.on }}")
"""
PARAMS = {
    "to": "+14155550100",
    "count": 42,
    "on": True,
    "off": False,
    "metadata": {"case": "whole"},
    "override": {"agent": {"interruptible": True, "text": "{{name}}", "none": None}},
}


@pytest.mark.parametrize("native", [False, True], ids=["text", "native"])
def test_each_field_becomes_what_retell_takes(run: Callable[..., SimpleNamespace], native: bool) -> None:
    """A number keeps its plus, a variable is text, an override is left as it is, native rendering or not."""
    done = run(LINES, params=PARAMS, render_template_as_native_obj=native)
    assert set(done.states.values()) == {"success"}
    assert set(done.sent) == {"call", "whole"}, "a dry run sends nothing"
    ((call,), (whole,)) = done.sent["call"], done.sent["whole"]
    assert (call["from_number"], call["to_number"]) == ("+14155550199", "+14155550100")
    assert call["metadata"]["params"] == (42 if native else "42")
    assert call["retell_llm_dynamic_variables"] == {"zip": "42", "callback": "+14155550177", "name": "a {{word}}"}
    assert call["custom_sip_headers"] == {"X-Count": "42"}
    assert call["agent_override"] == {
        "agent": {"begin_message": "Hi {{name}}, your {{task}} is due {{ ds }}", "word": "a {{word}}"}
    }
    assert call["ignore_e164_validation"] is False
    assert whole["agent_override"] == PARAMS["override"]
    assert whole["retell_llm_dynamic_variables"] == {"name": "+14155550100"}


def test_rendered_fields_show_no_numbers(run: Callable[..., SimpleNamespace]) -> None:
    """Airflow's API shows a number by its last digits and of a SIP header its name; mapped sensors show ids."""
    done = run(
        """
    @task
    def people():
        return [{"to_number": TO, "custom_sip_headers": {"X-Auth": "s3cr3t-value"}}]

    called = Call.partial(
        task_id="call", from_number=FROM, metadata={"case": 1, "also": ["+14155550142"]},
        retell_llm_dynamic_variables={"name": "Ada", "callback": "+14155550142"},
    ).expand_kwargs(people())
    RetellCallSensor.partial(task_id="each", wait_for="ended", poke_interval=0).expand(call_id=called.output)
    dry = Call(task_id="dry", from_number=FROM, to_number=TO, dry_run=True)
    RetellCallSensor(task_id="dry_wait", call_id=dry.output)
    quiet = Call.partial(task_id="quiet", from_number=FROM, metadata={"case": 2}, do_xcom_push=False).expand(
        to_number=[TO]
    )
    RetellCallSensor(task_id="quiet_wait", call_id=quiet.output["call_id"], poke_interval=0)
""",
        params={},
    )
    assert {state for (task_id, _), state in done.states.items() if task_id != "each"} == {"success"}
    call, sensor = done.shown["call", 0], done.shown["each", 0]
    assert "415555" not in str(done.shown)
    assert "s3cr3t" not in str(done.shown)
    assert (call["from_number"], call["to_number"]) == ("***0199", "***0100")
    assert call["custom_sip_headers"] == {"X-Auth": "***"}
    assert call["metadata"]["also"] == ["***0142"]
    assert call["retell_llm_dynamic_variables"] == {"name": "Ada", "callback": "***0142"}
    assert str(sensor["call_id"]).startswith("call_")
    assert set(done.shown["dry", -1]) == {"retell_conn_id", "is_dry_run", "from_number", "to_number"}, "if given"
    assert done.shown["dry_wait", -1]["call_id"] == "a dry run: no call to wait for"
    assert len(done.shown["quiet_wait", -1]["call_id"]) == 1
    assert done.sent[1][0]["to_number"] == "+14155550100"
    assert done.sent[1][0]["custom_sip_headers"] == {"X-Auth": "s3cr3t-value"}


WRITTEN = ("442079460958", "+44 20 7946 0958", "0044 20 7946 0958", "(212) 555-0158", "+6830958", 442079460958)


def test_rendered_fields_show_no_number_in_any_notation(run: Callable[..., SimpleNamespace]) -> None:
    """A number that is written wrongly fails the task, and Airflow's page shows just that task."""
    done = run(
        f"""
    Call.partial(task_id="call", from_number=FROM).expand(to_number={list(WRITTEN)!r})
""",
        params={},
    )
    for index in range(len(WRITTEN)):
        shown = str(done.shown["call", index]["to_number"])
        assert shown.endswith(("***0958", "***0158", "***"))
        assert sum(character.isdigit() for character in shown) <= 4


@pytest.mark.parametrize("task", offered_tasks())
def test_a_field_that_holds_an_object_is_shown_as_json(task: Any) -> None:
    """Airflow's page shows the object of a templated field as JSON; of a campaign's people it shows the count."""
    taken = inspect.signature(task.__init__).parameters
    objects = {name for name in {*task.template_fields} & {*taken} if "Mapping[" in taken[name].annotation}
    assert dict.fromkeys(objects - {"people"}, "json").items() <= task.template_fields_renderers.items()
    assert objects


def create(to_number: str, **arguments: Any) -> RetellCreatePhoneCallOperator:
    """Return an operator that calls what a template renders to."""
    return RetellCreatePhoneCallOperator(
        task_id="call", from_number="+14155550199", to_number=to_number, **arguments
    )


@given(text=st.text(st.sampled_from("{}%#[= +1a\n\r"), max_size=9))
def test_a_text_is_rendered_as_jinja_renders_it(text: str) -> None:
    """A text without marks is not given to Jinja, and comes out as it would."""
    try:
        expected = Environment(autoescape=False).from_string(text).render()  # noqa: S701 (no page is made of it)
    except (TemplateSyntaxError, TypeError):
        assume(False)
    assume(expected.strip())
    task = create(text)
    task.render_template_fields({})
    assert task.to_number == expected


(Resolved,) = (each for each in XComArg.__mro__ if each.__name__ == "ResolveMixin")


class Nothing(Resolved):
    """The output of a task that returned nothing."""

    def iter_references(self) -> Iterator[Any]:
        yield from ()

    def resolve(self, context: Any, *args: Any, **kwargs: Any) -> None:
        return None


NEEDED = {
    "to_number": "+14155550100",
    "from_number": "+14155550199",
    "agent_id": "a",
    "people": [],
    "call_id": "c",
    "path": "p",
}


@pytest.mark.parametrize("left", ["{{ '' }}", " ", "{{ none }}", Nothing()])
@pytest.mark.parametrize("task", offered_tasks())
def test_a_field_that_is_given_and_becomes_nothing_fails_the_task(task: Any, left: object) -> None:
    """It would count as left out: another agent would speak, or the results be in no file."""
    taken = inspect.signature(task.__init__).parameters
    needed = {name: value for name, value in NEEDED.items() if name in taken}
    for field in {*task.template_fields} - {*task.left_out_if_empty}:
        made = task(task_id="call", **needed)
        made.template_fields = (field,)
        setattr(made, field, left)
        with pytest.raises(
            RetellInputError, match=f"{field.removeprefix('is_')} is given, and .* Nothing was sent"
        ):
            made.render_template_fields({})
        setattr(made, field, None)
        made.render_template_fields({})


def test_the_limit_of_a_campaign_may_render_to_nothing() -> None:
    """A variable takes it out between two tries, without another version of the DAG."""
    task = RetellCampaignOperator(task_id="call", from_number="+1", people=[], limit="{{ '' }}")
    task.render_template_fields({})
    assert task.limit == ""


@pytest.mark.parametrize(
    ("marks", "text"),
    [
        ({"variable_start_string": "[[", "variable_end_string": "]]"}, "[[ '+14155550100' ]]"),
        ({"line_statement_prefix": "%%"}, "%% if True\n+14155550100\n%% endif"),
        ({"line_comment_prefix": "##"}, "+14155550100## the office"),
    ],
)
def test_a_dag_may_use_other_marks(marks: dict[str, str], text: str) -> None:
    """The marks are those of the DAG's own Jinja environment."""
    with DAG("dag", schedule=None, jinja_environment_kwargs=marks):
        task = create(text)
    task.render_template_fields({})
    assert task.to_number.strip() == "+14155550100"


@pytest.mark.skipif(not TASKS_ASK_A_SUPERVISOR, reason="Airflow 2 writes the fields down in any case")
@pytest.mark.parametrize("next_method", [None, "execute_complete", "__fail__"])
def test_rendered_fields_are_sent_once(next_method: str | None) -> None:
    """A task that continues after a deferral sends no fields: Airflow has them from the process that deferred."""
    server = SimpleNamespace(next_method=next_method)
    task = create("+14155550100")
    task.render_template_fields({"ti": SimpleNamespace(_ti_context_from_server=server)})
    assert ("to_number" in task.template_fields) is (next_method is None)


@pytest.mark.skipif(not TASKS_ASK_A_SUPERVISOR, reason="Airflow 2 writes the fields down in any case")
def test_a_task_that_deferred_shows_its_rendered_fields(run: Callable[..., SimpleNamespace]) -> None:
    """The fields stay those of the process that deferred, and the number stays hidden."""
    done = run("""
    Call(task_id="call", from_number=FROM, to_number="{{ '+1415555' }}0100", wait_for="ended", deferrable=True,
         poll_interval=0.5)
    """)
    assert done.states == {("call", -1): "success"}
    # How much of it is hidden depends on what else was hidden in this process before.
    shown = str(done.shown["call", -1]["to_number"])
    assert shown.startswith("***")
    assert sum(character.isdigit() for character in shown) <= 4
