import asyncio
from inspect import signature
from typing import Any

from headgate import Context, Event, Sources, Step, workflow
from headgate.testing import Service


def documented(protocol: Any) -> dict[str, str]:
    return {name: found.__doc__ for name, found in vars(protocol).items() if not name.startswith("_")}


def test_an_author_finds_each_member_of_the_context_explained() -> None:
    assert set(documented(Context)) == {"run_id", "workflow_id", "attempt", "events", "log", "step", "sources"}
    assert all(documented(Context).values())
    assert all(documented(Step).values())
    assert set(documented(Sources)) == {"connect", "wait", "send", "disconnect", "status"}
    assert all(documented(Sources).values())


def test_publish_event_takes_what_the_documentation_shows() -> None:
    shown = signature(Step.publish_event)
    shown.bind(None, "announce", topic="orders/charged", data={"n": 1}, event_type="charged", event_key="c-7")
    assert list(shown.parameters) == ["self", "key", "topic", "data", "event_type", "event_key"]


@workflow(id="first", trigger_on_event="orders/created")
async def first_of(ctx: Context, payload: Any) -> list[Any]:
    """What an author may do with steps, in the eyes of a type checker too: this module has no word that stops it."""
    paid: asyncio.Task[Event[Any]] = asyncio.create_task(ctx.step.wait_for_event("paid", "orders/paid"))
    async with asyncio.TaskGroup() as group:
        name: asyncio.Task[str] = group.create_task(ctx.step.run("name", str.upper, "a"))
    number, when = await asyncio.gather(ctx.step.random("number"), ctx.step.now("when"))
    done, _ = await asyncio.wait({paid, asyncio.ensure_future(ctx.step.sleep("nap", 60))})
    return [paid.result().data, name.result(), number < 1, when.year, len(done)]


def plain(ctx: Context, payload: Any) -> None:
    ctx.step.publish_event("told", "orders/told", {})


def test_steps_are_awaited_alone_in_tasks_and_with_others() -> None:
    with Service(first_of, workflow(id="plain", trigger_on_event="orders/paid")(plain)) as service:
        service.send("orders/created", {})
        service.send("orders/paid", 7)
        service.advance(61)
        (result,) = service.results(first_of)
        assert result.result[:3] == [7, "A", True]
        assert result.result[4] == 2
        assert [one.topic for one in service.events("orders/told")] == ["orders/told"]
