import dataclasses
import functools
import inspect
from datetime import timedelta
from typing import Any

import pytest

from headgate import BatchBy, DefinitionError, Order, Workflow, workflow
from headgate.event import Event
from headgate.schedule import CatchUp, Schedule
from topics.codec import decode
from topics.envelope import Envelope
from topics.patterns import Pattern

made_of = workflow(trigger_on_event="orders/created")


async def charge(ctx: Any, payload: Any) -> Any:
    """Charge the card.

    And more.
    """
    return ctx, payload


def event(offset: int = 17) -> Envelope:
    value = b'{"topic": "orders/created", "data": {"n": 1}}'
    return decode(value, None, [], partition=3, offset=offset, timestamp_ms=0, max_bytes=None)


def test_defaults_are_those_of_the_design() -> None:
    made = made_of(charge)
    source = inspect.getsourcelines(charge)[1]
    assert {field.name: getattr(made, field.name) for field in dataclasses.fields(made)} == {
        "id": "charge",
        "fn": charge,
        "triggers": ("orders/created",),
        "patterns": (Pattern.parse("orders/created"),),
        "schedule": None,
        "batch_size": 1,
        "batch_timeout_seconds": None,
        "batch_by": BatchBy.WORKFLOW,
        "filter": None,
        "order": Order.KEY,
        "max_retries": 3,
        "timeout_seconds": None,
        "cancel_on": (),
        "cancel_filter": None,
        "cancel_patterns": (),
        "on_failure": None,
        "version": "1",
        "is_async": True,
        "takes_payload": True,
        "description": "Charge the card.",
        "source_file": __file__,
        "source_line": source,
        "typed_data": None,
    }
    assert (made.data_model, made.schema) == (None, None)


def test_everything_can_be_chosen() -> None:
    def large(found: Event[Any]) -> bool:
        return bool(found["data"]["total"] > 100)

    made = workflow(
        id="charge-2.0_x",
        trigger_on_event=["orders/*", "refunds/**", "orders/*"],
        batch_size=10,
        batch_timeout_seconds=timedelta(minutes=1),
        batch_by="partition",
        filter=large,
        order="none",
        max_retries=0,
        timeout=2.5,
        on_failure="tell",
        version="2",
    )(charge)
    assert (made.id, made.triggers, made.version) == ("charge-2.0_x", ("orders/*", "refunds/**"), "2")
    assert made.patterns == (Pattern.parse("orders/*"), Pattern.parse("refunds/**"))
    assert (made.batch_size, made.batch_timeout_seconds, made.batch_by) == (10, 60.0, BatchBy.PARTITION)
    assert (made.filter, made.order, made.max_retries, made.timeout_seconds) == (large, Order.NONE, 0, 2.5)


@pytest.mark.parametrize(
    "decorate",
    [workflow, workflow(), workflow(None), workflow("charge"), workflow("charge", None), workflow(id="charge")],
)
def test_a_workflow_without_trigger_is_started_by_name_alone(decorate: Any) -> None:
    made = decorate(charge)
    assert made.triggers == ()
    assert [topic for topic in ("headgate/start/charge", "headgate/start/mail", "charge") if made.matches(topic)] == [
        "headgate/start/charge"
    ]


def test_a_workflow_names_what_cancels_its_runs_and_what_looks_at_their_failures() -> None:
    tell = workflow("tell")(charge)
    made = workflow("charge", cancel_on=["orders/cancelled", "shops/*"], on_failure=tell)(charge)
    assert (made.cancel_on, made.on_failure) == (("orders/cancelled", "shops/*"), "tell")
    assert made.cancel_patterns == (Pattern.parse("orders/cancelled"), Pattern.parse("shops/*"))
    assert not made.matches("orders/cancelled")
    batched = workflow("charge", "a", cancel_on="b", batch_size=2, batch_by="key", on_failure="tell")(charge)
    assert (batched.cancel_on, batched.on_failure) == (("b",), "tell")


@pytest.mark.parametrize("triggers", [{}, {"trigger_on_event": "reports/wanted"}])
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        (" 0 9 * * mon ", Schedule(cron="0 9 * * mon", timezone="UTC", catch_up=CatchUp.ONCE)),
        (
            {"cron": "@daily", "timezone": "Europe/Berlin", "catch_up": "all"},
            Schedule(cron="@daily", timezone="Europe/Berlin", catch_up=CatchUp.ALL),
        ),
    ],
)
def test_a_schedule_is_text_or_a_dict_beside_triggers_or_alone(given: Any, expected: Any, triggers: Any) -> None:
    made: Workflow = workflow(schedule=given, **triggers)(charge)

    assert (made.schedule, made.triggers) == (expected, tuple(triggers.values()))


@pytest.mark.parametrize(
    ("id_", "triggers"), [({}, {"trigger_on_event": "a"}), ({"id": None}, {"trigger_on_event": ["a"]})]
)
def test_the_id_is_the_functions_name_unless_said(id_: dict[str, Any], triggers: dict[str, Any]) -> None:
    assert workflow(**id_, **triggers)(charge).id == "charge"


async def test_a_workflow_stays_callable_as_its_function() -> None:
    assert await made_of(charge)("ctx", payload=1) == ("ctx", 1)
    assert made_of(plain)("ctx") == "ctx"


def plain(ctx: Any) -> Any:
    return ctx


def test_plain_functions_and_functions_of_ctx_alone_are_told_apart() -> None:
    made = made_of(plain)
    assert (made.is_async, made.takes_payload, made.description) == (False, False, "")

    def anything(*args: Any, **kwargs: Any) -> None: ...
    def with_default(ctx: Any, payload: Any, retries: int = 3) -> None: ...

    assert made_of(anything).takes_payload
    assert made_of(with_default).takes_payload


def test_a_wrapped_async_function_is_async_and_keeps_its_place() -> None:
    @functools.wraps(charge)
    def wrapper(*args: Any) -> Any:
        return charge(*args)

    made = made_of(wrapper)
    assert (made.is_async, made.source_line) == (True, made_of(charge).source_line)


def test_a_workflow_does_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        made_of(charge).batch_size = 5  # type: ignore[misc]


def test_a_workflow_is_triggered_by_any_of_its_patterns() -> None:
    made = workflow(trigger_on_event=["orders/created", "refunds/*"])(charge)
    assert [made.matches(topic) for topic in ("orders/created", "refunds/x", "orders/x")] == [True, True, False]


def test_a_payload_always_holds_a_list_of_events() -> None:
    made = made_of(charge)
    assert made.build_payload([event()]) == {"events": [event().payload()]}
    assert made.build_payload([event(1), event(2)]) == {"events": [event(1).payload(), event(2).payload()]}
    assert made.build_payload([event()])["events"][0].data == {"n": 1}
    assert made.build_payload([]) == {"events": []}


def generator(ctx: Any, payload: Any) -> Any:
    yield 1


async def async_generator(ctx: Any, payload: Any) -> Any:
    yield 1


def three(ctx: Any, payload: Any, more: Any) -> None: ...


def none() -> None: ...


async def payload_alone(payload: Any) -> None: ...


def event_alone(event: Any) -> None: ...


def other_order(payload: Any, ctx: Any) -> None: ...


def keyword_only(ctx: Any, *, payload: Any) -> None: ...


SHAPE = "; write it as async def name(ctx, payload), or with ctx alone"


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (generator, "the function yields; return its result instead"),
        (async_generator, "the function yields; return its result instead"),
        (three, "the function's parameters are (ctx: Any, payload: Any, more: Any) -> None" + SHAPE),
        (none, "the function's parameters are () -> None" + SHAPE),
        (payload_alone, "the function's first parameter is 'payload', and it would get ctx" + SHAPE),
        (event_alone, "the function's first parameter is 'event', and it would get ctx" + SHAPE),
        (other_order, "the function's first parameter is 'payload', and it would get ctx" + SHAPE),
        (keyword_only, "the function's parameters are (ctx: Any, *, payload: Any) -> None" + SHAPE),
    ],
)
def test_a_function_of_another_shape_is_refused_with_its_place(fn: Any, message: str) -> None:
    with pytest.raises(DefinitionError) as raised:
        workflow(fn)
    assert str(raised.value).startswith(
        f"workflow {fn.__name__!r} ({__file__}:{fn.__code__.co_firstlineno}): {message}"
    )


@pytest.mark.parametrize("thing", [5, len, Workflow, object()])
def test_what_is_no_function_is_refused(thing: Any) -> None:
    with pytest.raises(DefinitionError, match=r"@workflow was given .*; put it on a function"):
        workflow(thing)


def test_a_workflow_of_a_workflow_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"workflow 'twice' .* was given a workflow already"):
        workflow(id="twice")(made_of(charge))


def module(text: str, path: str) -> dict[str, Any]:
    """What a module of this text holds."""
    names: dict[str, Any] = {"__name__": path}
    exec(compile("from headgate import workflow\n" + text, path, "exec"), names)
    return names


def test_an_id_that_a_file_has_twice_is_refused_with_both_lines_though_the_second_takes_the_firsts_name() -> None:
    text = "@workflow(trigger_on_event='a')\ndef one(ctx): ...\n"
    with pytest.raises(DefinitionError) as raised:
        module(text + "@workflow('one', 'b')\ndef one(ctx): ...\n", "/twice.py")
    assert str(raised.value) == (
        "workflow 'one' (/twice.py:4): line 2 of the file has a workflow of this id already; "
        "give each workflow an id and a function name of its own"
    )
    assert module(text, "/twice.py")["one"].source_line == 2  # another time, nothing is left of it


def test_a_workflow_that_another_of_its_functions_name_would_hide_is_refused() -> None:
    first = "@workflow('a', 'a')\ndef one(ctx): ...\n"
    second = "@workflow('b', 'a')\ndef one(ctx): ...\n"
    with pytest.raises(
        DefinitionError,
        match=r"workflow 'b' \(/hidden.py:4\): its function has the name of workflow 'a' of line 2, which would be",
    ):
        module(first + second, "/hidden.py")
    names = module(first + "kept = one\n" + second, "/hidden.py")
    assert (names["kept"].id, names["one"].id) == ("a", "b")


def test_workflows_that_a_loop_or_a_function_makes_are_not_taken_for_repeats() -> None:
    loop = "made = []\nfor name in 'ab':\n    @workflow(name, 'a')\n    def one(ctx): ...\n    made.append(one)\n"
    inside = "def made_of(name):\n    @workflow('x', name)\n    def one(ctx): ...\n    return one\n"
    assert [one.id for one in module(loop, "/loop.py")["made"]] == ["a", "b"]
    assert module(inside + "y = made_of('y')\nz = made_of('z')\n", "/inside.py")["z"].triggers == ("z",)
