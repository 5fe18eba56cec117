"""Steps given to `asyncio.create_task` and to `TaskGroup.create_task`."""

import asyncio
from typing import Any

import orjson

from headgate import Reject, StepError
from tests.unit.app.runtime.standin import Engines, failure_of, result_of


async def test_tasks_are_made_of_steps(engines: Engines) -> None:
    async def one(ctx: Any) -> Any:
        step = ctx.step
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(step.run(key, str.upper, key), name=key) for key in "ab"]
            tasks += [group.create_task(step.uuid("id")), group.create_task(step.random("number"))]
            tasks += [group.create_task(step.publish_event("told", "told", 1)), group.create_task(step.now("now"))]
        assert [one.get_name() for one in tasks[:2]] == ["a", "b"]
        results = [str(task.result()) for task in tasks]
        results.append(await asyncio.create_task(step.run("c", str.upper, "c")))
        results.append(await asyncio.wait_for(asyncio.create_task(step.run("d", str.upper, "d")), 10))
        results.append(await asyncio.shield(asyncio.create_task(step.run("e", str.upper, "e"))))
        async with asyncio.timeout(10):
            results += await asyncio.gather(asyncio.create_task(step.run("f", str.upper, "f")), step.uuid("another"))
        waited, _ = await asyncio.wait([step.run("g", str.upper, "g"), asyncio.create_task(step.run("h", int))])
        return [*results, sorted(str(one.result()) for one in waited)]

    engine = engines(one)
    results = await result_of(engine)
    assert (results[:2], results[6:10], results[11]) == (["A", "B"], ["C", "D", "E", "F"], ["0", "G"])
    assert {one.key: one.aside for one in engine.asked} == dict.fromkeys(["a", "b", *"cdefgh", "told", "now"], False)
    again = engines(one)
    again.recorded = engine.recorded
    await again.rise()
    assert orjson.loads((await again.until_ended()).result or b"") == results


async def test_what_a_step_raises_leaves_its_task_and_its_group(engines: Engines) -> None:
    def fails() -> None:
        raise Reject("never")

    async def one(ctx: Any) -> Any:
        raised: list[str] = []
        try:
            await asyncio.create_task(ctx.step.run("alone", fails))
        except StepError as error:
            raised.append(error.step_key)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(ctx.step.run("grouped", fails))
                other = group.create_task(ctx.step.suspend("other"))
        except* StepError as errors:
            raised += [error.step_key for error in errors.exceptions if isinstance(error, StepError)]
        return [*raised, other.cancelled()]

    assert await result_of(engines(one)) == ["alone", "grouped", True]


async def test_a_task_of_a_step_is_cancelled_as_its_step_is_and_one_that_never_began_was_not_awaited(
    engines: Engines,
) -> None:
    async def one(ctx: Any) -> Any:
        task = asyncio.create_task(ctx.step.suspend("wait"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        try:
            await asyncio.wait_for(asyncio.create_task(ctx.step.suspend("another")), 0.01)
        except TimeoutError:
            return task.cancelled()

    assert await result_of(engines(one)) is True

    async def hasty(ctx: Any) -> None:
        tasks.append(asyncio.create_task(ctx.step.suspend("wait")))

    tasks: list[asyncio.Task[Any]] = []
    assert (await failure_of(engines(hasty))).type == "StepNotAwaited"
    await asyncio.wait(tasks, timeout=10)
    assert tasks[0].cancelled()
