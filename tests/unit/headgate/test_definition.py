import dataclasses
import functools
import inspect
from datetime import timedelta
from typing import Any

import pytest

from headgate import BatchBy, DefinitionError, Order, Workflow, workflow
from headgate.event import Event
from topics.codec import decode
from topics.envelope import Envelope
from topics.patterns import Pattern


async def charge(ctx: Any, payload: Any) -> Any:
    """Charge the card.

    And more.
    """
    return ctx, payload


def event(offset: int = 17) -> Envelope:
    value = b'{"topic": "orders/created", "data": {"n": 1}}'
    return decode(value, None, [], partition=3, offset=offset, timestamp_ms=0, max_bytes=None)


def test_defaults_are_those_of_the_design() -> None:
    made = workflow(charge)
    source = inspect.getsourcelines(charge)[1]
    assert {field.name: getattr(made, field.name) for field in dataclasses.fields(made)} == {
        "id": "charge",
        "fn": charge,
        "triggers": (),
        "patterns": (),
        "batch_size": 1,
        "batch_timeout_seconds": None,
        "batch_by": BatchBy.WORKFLOW,
        "filter": None,
        "order": Order.KEY,
        "max_retries": 3,
        "timeout_seconds": None,
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
def test_it_works_with_and_without_parentheses(decorate: Any) -> None:
    assert decorate(charge).id == "charge"


async def test_a_workflow_stays_callable_as_its_function() -> None:
    assert await workflow(charge)("ctx", payload=1) == ("ctx", 1)
    assert workflow(plain)("ctx") == "ctx"


def plain(ctx: Any) -> Any:
    return ctx


def test_plain_functions_and_functions_of_ctx_alone_are_told_apart() -> None:
    made = workflow(plain)
    assert (made.is_async, made.takes_payload, made.description) == (False, False, "")

    def anything(*args: Any, **kwargs: Any) -> None: ...
    def with_default(ctx: Any, payload: Any, retries: int = 3) -> None: ...

    assert workflow(anything).takes_payload
    assert workflow(with_default).takes_payload


def test_a_wrapped_async_function_is_async_and_keeps_its_place() -> None:
    @functools.wraps(charge)
    def wrapper(*args: Any) -> Any:
        return charge(*args)

    made = workflow(wrapper)
    assert (made.is_async, made.source_line) == (True, workflow(charge).source_line)


def test_a_workflow_does_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        workflow(charge).batch_size = 5  # type: ignore[misc]


def test_a_workflow_is_triggered_by_any_of_its_patterns() -> None:
    made = workflow(trigger_on_event=["orders/created", "refunds/*"])(charge)
    assert [made.matches(topic) for topic in ("orders/created", "refunds/x", "orders/x")] == [True, True, False]
    assert not workflow(charge).matches("orders/created")


def test_a_payload_always_holds_a_list_of_events() -> None:
    made = workflow(charge)
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


def keyword_only(ctx: Any, *, payload: Any) -> None: ...


SHAPE = "; write it as async def name(ctx, payload), or with ctx alone"


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (generator, "the function yields; return its result instead"),
        (async_generator, "the function yields; return its result instead"),
        (three, "the function's parameters are (ctx: Any, payload: Any, more: Any) -> None" + SHAPE),
        (none, "the function's parameters are () -> None" + SHAPE),
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
        workflow(id="twice")(workflow(charge))
