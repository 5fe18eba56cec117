"""A workflow that does not wait for a step any more: what comes for it then is the next one's, over every crash too."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from headgate import EventTimeout, Reject, RetryLater, StepError, workflow
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


@workflow(id="again", trigger_on_event="orders/created")
async def again(ctx: Any, payload: Any) -> Any:
    """Its first attempt fails beside a wait."""

    async def fails_once() -> None:
        if ctx.attempt == 1:
            raise RetryLater(1)

    async with asyncio.TaskGroup() as group:
        paid = group.create_task(ctx.step.wait_for_event("paid", "orders/paid"))
        nap = group.create_task(ctx.step.sleep("nap", 5))
        group.create_task(fails_once())
    return [paid.result().data, nap.done(), await ctx.step.run("then", str.upper, "done")]


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


def test_the_next_attempt_waits_for_what_the_last_one_left_wherever_the_worker_dies() -> None:
    for service in crashes(again):
        drive(service)
        (result,) = service.results()
        assert (result.result, result.attempts) == (["now", True, "DONE"], 2)


CALLS: list[int] = []


@workflow(id="flaky", trigger_on_event="orders/created")
async def flaky(ctx: Any, payload: Any) -> Any:
    """What fails beside its waits does so once, whatever the attempt is."""

    async def fails_once() -> None:
        CALLS.append(1)
        if len(CALLS) == 1:
            raise ConnectionError

    @asynccontextmanager
    async def client() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await asyncio.sleep(0.5)  # a connection takes its time to be closed

    async with client(), asyncio.TaskGroup() as group:
        paid = group.create_task(ctx.step.wait_for_event("paid", "orders/paid"))
        child = group.create_task(ctx.step.invoke_and_wait("child", "helps"))
        group.create_task(fails_once())
    return [paid.result().data, child.result()]


@workflow(id="helps")
async def helps(ctx: Any) -> str:
    await ctx.step.sleep("a while", 2)
    return "helped"


def test_what_failed_once_beside_waits_and_children_does_not_keep_them_wherever_the_worker_dies() -> None:
    for service in crashes(flaky, helps):
        CALLS.clear()
        drive(service)
        (result,) = service.results(flaky)
        assert result.result == ["now", "helped"]


def test_a_time_limit_that_was_over_before_another_step_is_over_when_the_function_is_called_anew() -> None:
    @workflow(id="reminds", trigger_on_event="orders/created")
    async def reminds(ctx: Any, payload: Any) -> Any:
        try:
            async with asyncio.timeout(5):
                await ctx.step.wait_for_event("first", "orders/paid")
        except TimeoutError:
            await ctx.step.run("remind", str.upper, "please")
        return (await ctx.step.wait_for_event("next", "orders/paid")).data

    with Service(reminds) as service:
        service.send("orders/created", {})
        service.advance(6)
        service.restart()
        service.send("orders/paid", "now")
        service.advance(6)
        assert [one.result for one in service.results()] == ["now"]


@workflow(id="once_more", trigger_on_event="orders/created", max_retries=5)
async def once_more(ctx: Any, payload: Any) -> Any:
    """Fails beside its waits, and takes its time for it."""

    async def fails_twice() -> None:
        if ctx.attempt <= 2:
            raise RetryLater(20)

    async def paid() -> Any:
        try:
            return (await ctx.step.wait_for_event("now", "orders/paid", since="now", timeout=30)).data
        except EventTimeout:
            return f"too late at {await ctx.step.now('at'):%M:%S}"

    try:
        async with asyncio.TaskGroup() as group:
            now = group.create_task(paid())
            group.create_task(fails_twice())
    finally:
        await asyncio.sleep(0.5)
    return now.result()


@pytest.mark.parametrize(("sent_after", "came_to"), [(10, "now"), (3600, "too late at 00:41")])
def test_a_wait_that_the_next_attempt_asks_for_again_is_as_it_was(sent_after: int, came_to: str) -> None:
    with Service(once_more) as service:
        service.send("orders/created", {})
        service.advance(sent_after)
        service.send("orders/paid", "now")
        service.advance(hours=2)
        assert [one.result for one in service.results()] == [came_to]


def test_a_wait_of_a_task_that_never_began_is_over_with_it() -> None:
    @workflow(id="hasty", trigger_on_event="orders/created")
    async def hasty(ctx: Any, payload: Any) -> Any:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(ctx.step.wait_for_event("first", "orders/paid"))
                raise ValueError
        except* ValueError:
            pass
        asyncio.ensure_future(ctx.step.wait_for_event("second", "orders/paid")).cancel()
        return (await ctx.step.wait_for_event("next", "orders/paid")).data

    with Service(hasty) as service:
        drive(service)
        assert [one.result for one in service.results()] == ["now"]


def test_a_run_that_is_stuck_goes_on_with_what_it_waited_for() -> None:
    def group_of(first: Callable[[Any], Any]) -> Any:
        @workflow(id="stuck", trigger_on_event="orders/created")
        async def flow(ctx: Any, payload: Any) -> Any:
            async def work() -> None:
                await first(ctx.step)
                await ctx.step.suspend("wait")

            async with asyncio.TaskGroup() as group:
                paid = group.create_task(ctx.step.wait_for_event("paid", "orders/paid"))
                group.create_task(work())
            return paid.result().data

        return flow

    right = group_of(lambda step: step.run("first", str.upper, "a"))
    with Service(right) as service:
        service.send("orders/created", {})
        service.restart(group_of(lambda step: step.sleep("first", 5)))
        (run,) = service.runs()
        assert run.status == "stuck", run
        service.restart(right)
        service.retry(run.run_id)
        service.send("orders/paid", "now")
        service.resume(run.run_id, "wait")
        assert [one.result for one in service.results()] == ["now"]


def test_a_function_that_waits_for_what_it_had_abandoned_is_in_the_log_with_its_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def waits_for(first: Callable[[Any], Any]) -> Any:
        @workflow(id="changed", trigger_on_event="orders/created")
        async def flow(ctx: Any, payload: Any) -> Any:
            await first(ctx)
            return (await ctx.step.wait_for_event("next", "orders/paid")).data

        return flow

    def told() -> list[Any]:
        return [vars(one)["fields"] for one in caplog.records if one.getMessage() == "waits_for_what_it_abandoned"]

    with Service(waits_for(in_time)) as service:
        service.send("orders/created", {})
        service.advance(6)
        service.restart(waits_for(lambda ctx: ctx.step.wait_for_event("first", "orders/paid")))
        (run,) = service.runs()
        service.send("orders/paid", "now")  # for its next wait; so the function is called anew
        service.advance(64)
        assert told() == []

        service.advance(2)

        (line,) = told()
        assert (line["workflow"], line["run"], line["step"]) == ("changed", run.run_id, "first")
        assert line["place"].startswith(f"{__file__}:")
        service.restart(waits_for(in_time))
        service.advance(hours=1)
        assert [one.result for one in service.results()] == ["now"]
        assert len(told()) == 1


@pytest.mark.parametrize("way", [beside_another, in_a_group])
def test_it_is_so_wherever_the_worker_dies(way: Callable[[Any], Any]) -> None:
    for service in crashes(paid_by(way)):
        drive(service)
        (result,) = service.results()
        assert (result.status, result.result) == ("completed", "now")
