"""Functions that swallow every stop, again and again, and tasks that outlive their run."""

import asyncio
import threading
from typing import Any

import pytest

from app.engine.inputs import Evicted
from app.runtime import attempt
from headgate import DuplicateStepKey
from tests.unit.app.runtime.standin import Engines


@pytest.mark.parametrize("step", ["suspend", "uuid", "publish_event"])
@pytest.mark.parametrize("stop", ["cancel", "evict"])
async def test_a_loop_that_swallows_every_stop_is_told_once_and_then_waits_until_its_task_is_cancelled(
    engines: Engines, step: str, stop: str, caplog: pytest.LogCaptureFixture
) -> None:
    raised: list[str] = []
    over = False

    async def stubborn(ctx: Any) -> None:
        await swallow(ctx.step.suspend, "wait")
        while not over:
            await swallow(getattr(ctx.step, step), "more", *(("told", 1) if step == "publish_event" else ()))

    async def swallow(step: Any, *args: Any) -> None:
        try:
            await step(*args)
        except BaseException as error:  # noqa: BLE001 that is what it is for
            raised.append(type(error).__name__)

    engine = engines(stubborn, limits={"suspended": 0 if stop == "evict" else 1})
    await engine.start()
    await engine.until_asked("wait")
    if stop == "cancel":
        engine.driver.cancel([engine.run])
    else:
        await engine.until(lambda: engine.evicted)
    for _ in range(10):
        await asyncio.sleep(0)

    first = "CancelledError" if stop == "cancel" else "Pause"
    assert raised == [first, "HeadgateError"]
    assert [one.getMessage() for one in caplog.records].count("pause_swallowed") == 1
    live_ = engine.driver._live
    assert (live_.tasks, live_.attempts, live_._soon, live_._long) == ({}, {}, {}, {})
    (task,) = engine.driver._runners
    engine.driver.close()
    for _ in range(5):
        await asyncio.sleep(0)
    assert raised == [first, "HeadgateError", "CancelledError"]
    over = True
    task.cancel()
    await asyncio.wait([task], timeout=10)
    assert task.done()
    assert [type(one) for one in engine.reported[1:]] == ([] if stop == "cancel" else [Evicted])


async def test_a_plain_function_that_swallows_every_stop_is_told_and_named_once_and_stopped_again_each_time(
    engines: Engines, caplog: pytest.LogCaptureFixture
) -> None:
    raised: list[str] = []
    over = threading.Event()

    def stubborn(ctx: Any) -> None:
        while len(raised) < 6:
            try:
                ctx.step.suspend("wait")
            except BaseException as error:  # noqa: BLE001 as above
                raised.append(type(error).__name__)
        over.set()

    engine = engines(stubborn)
    await engine.start()
    await engine.until_asked("wait")
    engine.driver.cancel([engine.run])
    assert await asyncio.to_thread(over.wait, 10)
    assert raised == ["Pause", "HeadgateError", "Pause", "Pause", "Pause", "Pause"]
    assert [one.getMessage() for one in caplog.records].count("pause_swallowed") == 1


async def test_a_task_that_a_run_left_behind_is_told_again_only_after_a_while(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "_PATIENCE_SECONDS", 0.01)
    told: list[str] = []
    tasks: list[asyncio.Task[None]] = []

    async def leaves(ctx: Any) -> None:
        ctx.step.uuid("id")
        tasks.append(asyncio.create_task(behind(ctx)))

    async def behind(ctx: Any) -> None:
        while len(told) < 3:
            try:
                await ctx.step.sleep("a while", 5)
            except Exception as error:  # noqa: BLE001 as authors write it
                told.append(str(error))

    engine = engines(leaves)
    await engine.start()
    await engine.until_ended()
    await asyncio.sleep(0)
    assert len(told) == 1
    await asyncio.wait(tasks, timeout=10)
    words = f"step 'a while' was called after run {engine.run.id!r} had returned; await every step before returning"
    assert told == [words] * 3


@pytest.mark.parametrize("name", ["suspend", "uuid", "random", "publish_event"])
async def test_a_loop_that_swallows_what_speaks_against_its_steps_lets_others_go_on(
    engines: Engines, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(attempt, "_PATIENCE_SECONDS", 0.01)
    refused = 0

    async def polling(ctx: Any) -> str:
        nonlocal refused
        await ctx.step.run("same", int)
        while refused < attempt._MOST_WRONG + 3:
            try:
                await getattr(ctx.step, name)("same", *(("told", 1) if name == "publish_event" else ()))
            except DuplicateStepKey:
                refused += 1
        return "out"

    engine = engines(polling)
    await engine.start()
    await engine.until(lambda: refused >= attempt._MOST_WRONG)
    assert refused == attempt._MOST_WRONG, "the loop had its turn before the next one"
    assert (await engine.until_ended()).result == b'"out"'
