"""Handlers as authors write them: what ends at once, what waits, what fails in every way, and what is stopped."""

import asyncio
import contextvars
import threading
from typing import Any

import orjson
import pytest
from pydantic import BaseModel

from app.engine.inputs import Ended, StepAsked
from app.engine.values.asks import Note
from app.runtime.driver import Driver
from app.runtime.limits import StepLimits
from headgate import Met, Payload
from headgate.errors import HeadgateError
from tests.unit.app.runtime.standin import Report, drive, failure_in, run_of

# --- what ends at once ----------------------------------------------------------------------------------------------


async def test_handlers_that_end_at_once_have_ended_when_start_returns_and_share_a_task(driver: Driver) -> None:
    tasks: set[Any] = set()

    async def quick(ctx: Any, payload: Any) -> Any:
        tasks.add(asyncio.current_task())
        return payload["events"][0]["data"]

    reported: Report = []
    runs = [run_of(quick, n, n) for n in range(100)]
    await driver.start(runs, reported.append)

    assert reported == [Ended(run.id, 1, str(n).encode()) for n, run in enumerate(runs)]
    assert len(tasks) == 1


async def test_a_handler_of_ctx_alone_gets_its_events_there(driver: Driver) -> None:
    async def alone(ctx: Any) -> Any:
        return [ctx.run_id, ctx.workflow_id, ctx.attempt, ctx.events[0].data]

    run = run_of(alone, data="x")
    assert await drive(driver, run) == [Ended(run.id, 1, orjson.dumps([run.id, "alone", 1, "x"]))]


async def test_an_attempt_is_reported_as_the_one_that_was_started(driver: Driver) -> None:
    async def third(ctx: Any) -> int:
        number: int = ctx.attempt
        return number

    run = run_of(third)
    run.attempt = 3
    assert await drive(driver, run) == [Ended(run.id, 3, b"3")]


# --- what waits -----------------------------------------------------------------------------------------------------


async def test_a_handler_that_waits_does_not_hold_up_the_others(driver: Driver) -> None:
    gate = asyncio.Event()

    async def mixed(ctx: Any, payload: Any) -> Any:
        number = payload["events"][0]["data"]
        if number % 3 == 0:
            await gate.wait()
        return number

    reported: Report = []
    runs = [run_of(mixed, n, n) for n in range(9)]
    await driver.start(runs, reported.append)
    assert [one.run_id for one in reported if isinstance(one, Ended)] == [runs[n].id for n in (1, 2, 4, 5, 7, 8)]

    gate.set()
    await asyncio.gather(*(one for one in asyncio.all_tasks() if one.get_name() == "workflow"))
    assert {one.run_id for one in reported[6:] if isinstance(one, Ended)} == {runs[n].id for n in (0, 3, 6)}


async def test_handlers_that_wait_wait_at_the_same_time(driver: Driver) -> None:
    together = asyncio.Barrier(20)

    async def meets(ctx: Any) -> int:
        async with together:
            return asyncio.current_task() is not None

    for _ in range(2):  # the first time they are found to wait, the second time it is known
        assert len(await drive(driver, *(run_of(meets, n) for n in range(20)))) == 20


async def test_time_outs_and_task_groups_work_inside_handlers(driver: Driver) -> None:
    async def in_time(ctx: Any) -> str:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            async with asyncio.TaskGroup() as group:
                parts = [group.create_task(asyncio.sleep(0, n)) for n in range(3)]
            return str([one.result() for one in parts])
        return "never"

    runs = [run_of(in_time, n) for n in range(5)]
    assert {one.run_id: one.result for one in await drive(driver, *runs) if isinstance(one, Ended)} == {
        run.id: b'"[0, 1, 2]"' for run in runs
    }


async def test_a_failure_in_a_task_group_is_the_runs(driver: Driver) -> None:
    async def group(ctx: Any) -> None:
        async def bad() -> None:
            raise ValueError("inner")

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(bad())
            tasks.create_task(asyncio.Event().wait())

    failure = await failure_in(driver, group)
    assert (failure.type, failure.message) == ("ValueError", "inner")
    assert failure.traceback is not None
    assert "ExceptionGroup: unhandled errors in a TaskGroup" in failure.traceback


WHO: contextvars.ContextVar[str] = contextvars.ContextVar("WHO", default="nobody")


@pytest.mark.parametrize("waits", [False, True])
async def test_context_variables_stay_in_the_handler_that_set_them(driver: Driver, waits: bool) -> None:
    WHO.set("the worker")

    async def setter(ctx: Any) -> str:
        before = WHO.get()
        WHO.set(ctx.run_id)
        if waits:
            await asyncio.sleep(0)
        return before if WHO.get() == ctx.run_id else "another's"

    reported = await drive(driver, *(run_of(setter, n) for n in range(10)))

    assert [one.result for one in reported if isinstance(one, Ended)] == [b'"nobody"'] * 10
    assert WHO.get() == "the worker"


# --- plain functions ------------------------------------------------------------------------------------------------


async def test_plain_functions_run_in_threads_at_the_same_time(driver: Driver) -> None:
    together = threading.Barrier(4)
    here = threading.get_ident()

    def plain(ctx: Any, payload: Any) -> bool:
        together.wait(20)
        return threading.get_ident() != here

    reported = await drive(driver, *(run_of(plain, n) for n in range(4)))

    assert [one.result for one in reported if isinstance(one, Ended)] == [b"true"] * 4


async def test_a_plain_function_publishes_before_it_ends(driver: Driver) -> None:
    def tells(ctx: Any) -> str:
        published: str = ctx.step.publish_event("tell", topic="told", data=1)
        return published

    run = run_of(tells)
    published, ended = await drive(driver, run)

    assert isinstance(published, StepAsked)
    assert (published.run_id, published.attempt, published.key) == (run.id, 1, "tell")
    assert isinstance(published.ask, Note)
    assert published.ask.value == orjson.dumps(f"{run.id}:tell")
    assert ended == Ended(run.id, 1, orjson.dumps(f"{run.id}:tell"))


async def test_context_variables_of_plain_functions_stay_in_them_too(driver: Driver) -> None:
    def plain(ctx: Any) -> str:
        before = WHO.get()
        WHO.set(ctx.run_id)
        return before

    reported = [one for n in range(12) for one in await drive(driver, run_of(plain, n))]
    assert [one.result for one in reported if isinstance(one, Ended)] == [b'"nobody"'] * 12


# --- what it returns --------------------------------------------------------------------------------------------------


class Order(BaseModel):
    total: int


async def typed(ctx: Any, payload: Payload[Order]) -> int:
    return payload["events"][0].data.total


async def test_data_of_the_wrong_type_is_rejected_with_the_place(driver: Driver) -> None:
    right, wrong = run_of(typed, 0, {"total": 7}), run_of(typed, 1, {"total": "x"})

    first, second = await drive(driver, right, wrong)

    assert first == Ended(right.id, 1, b"7")
    assert isinstance(second, Ended)
    assert second.failure is not None
    assert second.failure.rejected
    assert "/data/total" in second.failure.message


@pytest.mark.parametrize("result", [object(), {1: object()}, {"x": "\ud800"}, 2**80, {(1, 2): 3}])
async def test_a_result_that_is_no_json_fails_the_run_for_good(driver: Driver, result: Any) -> None:
    async def odd(ctx: Any) -> Any:
        return result

    failure = await failure_in(driver, odd)

    assert (failure.type, failure.final) == ("ResultNotJson", True)
    assert failure.message.startswith("workflow 'odd': the result cannot be written as JSON: ")
    failure.message.encode()


async def test_a_workflow_that_returns_what_its_wait_met_is_told_what_to_return(driver: Driver) -> None:
    async def met(ctx: Any) -> Any:
        return Met(0, None)

    failure = await failure_in(driver, met)

    assert failure.type == "ResultNotJson"
    assert failure.message.endswith("; return its parts, for example met.event.data or met.number")


async def test_a_result_with_a_broken_fragment_fails_the_run_for_good(driver: Driver) -> None:
    async def broken(ctx: Any) -> Any:
        return {"a": orjson.Fragment(b"{")}

    async def whole(ctx: Any) -> Any:
        return {"a": orjson.Fragment(b"{}")}

    failure = await failure_in(driver, broken)

    assert (failure.type, failure.final) == ("ResultNotJson", True)
    assert failure.message.startswith("workflow 'broken': the result has an orjson.Fragment that is not JSON: ")
    run = run_of(whole)
    assert await drive(driver, run) == [Ended(run.id, 1, b'{"a":{}}')]


@pytest.mark.parametrize(("size", "fits"), [(98, True), (99, False)])
async def test_a_result_that_is_too_large_fails_the_run_for_good(driver: Driver, size: int, fits: bool) -> None:
    async def large(ctx: Any) -> str:
        return "x" * size

    (ended,) = await drive(driver, run_of(large))

    assert isinstance(ended, Ended)
    assert (ended.failure is None) == fits
    if not fits:
        assert ended.failure is not None
        assert (ended.failure.type, ended.failure.final) == ("ResultTooLarge", True)
        assert "has 101 bytes, more than the 100 of limits.result_bytes" in ended.failure.message


# --- what is stopped ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stubborn", [False, True])
async def test_a_run_that_is_cancelled_is_stopped_and_nothing_is_reported_of_it(driver: Driver, stubborn: bool) -> None:
    stopped = asyncio.Event()

    async def endless(ctx: Any) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.set()
            if not stubborn:
                raise
        return "late"

    async def quick(ctx: Any) -> None: ...

    reported: Report = []
    cancelled, other = run_of(endless), run_of(quick)
    await driver.start([cancelled], reported.append)
    driver.cancel([cancelled, run_of(quick, 9)])
    async with asyncio.timeout(20):
        await stopped.wait()

    assert await drive(driver, other) == [Ended(other.id, 1, b"null")]
    assert reported == []


async def test_a_plain_function_that_is_cancelled_while_it_waits_for_a_thread_never_begins() -> None:
    gate = threading.Event()
    began: list[str] = []

    def first(ctx: Any) -> None:
        gate.wait(20)

    def second(ctx: Any) -> None:
        began.append("second")

    driver = Driver(limits=StepLimits(partitions=4), threads=1)
    reported: Report = []
    await driver.start([run_of(first), run_of(second)], reported.append)
    driver.cancel([run_of(second)])
    gate.set()
    await drive(driver, run_of(first, 1))
    driver.close()

    assert began == []
    assert [one.run_id for one in reported if isinstance(one, Ended)] == [run_of(first).id]


async def test_a_plain_function_that_is_cancelled_goes_on_unheard(driver: Driver) -> None:
    began, gate, over = threading.Event(), threading.Event(), threading.Event()

    def endless(ctx: Any) -> None:
        began.set()
        gate.wait(20)
        over.set()

    reported: Report = []
    run = run_of(endless)
    await driver.start([run], reported.append)
    assert await asyncio.to_thread(began.wait, 20)
    driver.cancel([run])
    gate.set()
    assert await asyncio.to_thread(over.wait, 20)

    async def quick(ctx: Any) -> None: ...

    await drive(driver, run_of(quick))
    assert reported == []


async def test_the_next_attempt_of_a_cancelled_run_is_its_own(driver: Driver) -> None:
    async def patient(ctx: Any) -> int:
        if ctx.attempt == 1:
            await asyncio.Event().wait()
        number: int = ctx.attempt
        return number

    reported: Report = []
    run = run_of(patient)
    await driver.start([run], reported.append)
    driver.cancel([run])
    again = run_of(patient)
    again.attempt = 2

    assert await drive(driver, again) == [Ended(run.id, 2, b"2")]
    assert reported == []


async def test_an_attempt_that_ends_though_it_was_cancelled_is_not_taken_for_the_next_one(driver: Driver) -> None:
    gates = {1: asyncio.Event(), 2: asyncio.Event()}

    async def stubborn(ctx: Any) -> int:
        try:
            await gates[ctx.attempt].wait()
        except asyncio.CancelledError:
            await gates[ctx.attempt].wait()
        number: int = ctx.attempt
        return number

    reported: Report = []
    run, again = run_of(stubborn), run_of(stubborn)
    again.attempt = 2
    await driver.start([run], reported.append)
    driver.cancel([run])
    await driver.start([again], reported.append)
    tasks = [one for one in asyncio.all_tasks() if one.get_name() == "workflow"]
    gates[1].set()
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert reported == []
    gates[2].set()
    await asyncio.gather(*tasks)

    assert reported == [Ended(run.id, 2, b"2")]


async def test_nothing_is_reported_once_the_driver_is_closed(driver: Driver) -> None:
    stopped = asyncio.Event()

    async def endless(ctx: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    reported: Report = []
    await driver.start([run_of(endless)], reported.append)
    driver.close()
    async with asyncio.timeout(20):
        await stopped.wait()
    await asyncio.sleep(0)

    assert reported == []


@pytest.mark.parametrize("first", [False, True], ids=["one of several", "the first of the run"])
@pytest.mark.parametrize("fails", [False, True])
async def test_a_step_that_a_handler_left_behind_comes_too_late(driver: Driver, fails: bool, first: bool) -> None:
    problems: list[str] = []
    gate = asyncio.Event()

    async def leaves(ctx: Any) -> None:
        if not first:
            ctx.step.uuid("id")

        async def behind() -> None:
            await gate.wait()
            try:
                await ctx.step.publish_event("late", topic="told", data=1)
            except HeadgateError as error:
                problems.append(str(error))

        tasks.append(asyncio.create_task(behind()))
        if fails:
            raise ValueError("no luck")

    tasks: list[asyncio.Task[None]] = []
    run = run_of(leaves)
    reported = await drive(driver, run)
    gate.set()
    await asyncio.gather(*tasks)

    assert problems == [f"step 'late' was called after run {run.id!r} had returned; await every step before returning"]
    assert [type(one) for one in reported] == [Ended]
