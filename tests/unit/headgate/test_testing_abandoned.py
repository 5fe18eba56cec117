"""A workflow that does not wait for a step any more: what comes for it then is the next one's, over every crash too."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from headgate import EventTimeout, Reject, StepError, workflow
from headgate.testing import Service, crashes


def never() -> None:
    raise Reject("never")


async def in_time(ctx: Any) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await ctx.step.wait_for_event("first", "orders/paid")


async def asleep(ctx: Any) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await ctx.step.sleep("first", 3600)


async def suspended(ctx: Any) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await ctx.step.suspend("first")


async def beside_another(ctx: Any) -> None:
    tasks = [asyncio.create_task(ctx.step.wait_for_event(f"on {one}", f"orders/{one}")) for one in ("paid", "sent")]
    _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for one in pending:
        one.cancel()


async def in_a_group(ctx: Any) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(ctx.step.wait_for_event("first", "orders/paid"))
            group.create_task(ctx.step.run("fails", never))
    except* StepError:
        pass


WAYS = [in_time, asleep, suspended, beside_another, in_a_group]


def paid_by(way: Callable[[Any], Any]) -> Any:
    @workflow(id="paid_by", trigger_on_event="orders/created")
    async def flow(ctx: Any, payload: Any) -> Any:
        await way(ctx)
        try:
            return (await ctx.step.wait_for_event("next", "orders/paid", timeout=3600)).data
        except EventTimeout:
            return "missed"

    return flow


def drive(service: Service) -> None:
    service.send("orders/created", {})
    service.send("orders/sent", {})
    service.advance(10)
    service.send("orders/paid", "now")
    service.advance(hours=2)


@pytest.mark.parametrize("way", WAYS)
def test_what_comes_after_a_wait_was_left_is_for_the_next(way: Callable[[Any], Any]) -> None:
    with Service(paid_by(way)) as service:
        drive(service)
        assert [one.result for one in service.results()] == ["now"]


@pytest.mark.parametrize("way", [beside_another, in_a_group])
def test_it_is_so_wherever_the_worker_dies(way: Callable[[Any], Any]) -> None:
    for service in crashes(paid_by(way)):
        drive(service)
        (result,) = service.results()
        assert (result.status, result.result) == ("completed", "now")
