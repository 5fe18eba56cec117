"""Which runs leave memory while they wait, and how they are stopped and called again."""

import asyncio
import gc
import threading
import traceback
from functools import partial
from typing import Any

import pytest

from app.engine.inputs import StepAsked
from app.engine.values.asks import Fault, Kind, Outcome, Recorded
from app.runtime import limits, live
from app.runtime.attempt import Attempt
from headgate.errors import EventTimeout, HeadgateError, Pause
from tests.unit.app.engine.partition import NOW
from tests.unit.app.runtime.standin import Engine, Engines, run_of, value


@pytest.mark.parametrize("how", ["alone", "gather", "group", "group of steps", "task", "nested"])
async def test_beyond_the_bound_the_run_that_waited_longest_is_dropped_and_goes_on_from_its_journal(
    engines: Engines, how: str
) -> None:
    unwound: list[BaseException] = []

    async def patient(ctx: Any) -> Any:
        try:
            if how == "alone":
                return await ctx.step.suspend("wait")
            if how == "gather":
                return (await asyncio.gather(ctx.step.suspend("wait"), ctx.step.suspend("other")))[0]
            if how == "task":
                return await asyncio.create_task(ctx.step.suspend("wait"))
            if how == "nested":
                return await asyncio.create_task(asyncio.wait_for(asyncio.create_task(ctx.step.suspend("wait")), None))
            async with asyncio.TaskGroup() as group:
                asked = ctx.step.suspend if how == "group of steps" else partial(wait, ctx)
                tasks = [group.create_task(asked(key)) for key in ("wait", "other")]
            return tasks[0].result()
        except Exception:  # noqa: BLE001 what an author may write is the case in question
            pytest.fail("swallowed")
        except BaseException as error:
            unwound.append(error)
            raise

    async def wait(ctx: Any, key: str) -> Any:
        return await ctx.step.suspend(key)

    first = engines(patient, limits={"suspended": 1})
    second = Engine(run_of(patient, 1), first.driver)
    await first.start()
    await first.until_asked("wait")
    await second.start()
    await second.until_asked("wait")
    await first.until(lambda: first.evicted)
    for _ in range(5):  # a task group takes some turns to come to its end
        await asyncio.sleep(0)

    assert (first.evicted, second.evicted, len(unwound)) == (1, 0, 1)
    assert isinstance(unwound[0], Pause | BaseExceptionGroup)
    first.asked.clear()
    await first.rise()
    await first.until_asked("wait")
    for key in ("wait", "other"):
        if key in first.recorded:
            await first.resolve(key, value("there"))
    assert (await first.until_ended()).result == b'"there"'
    second.driver.cancel([second.run])


@pytest.mark.parametrize("plain", [False, True])
async def test_what_was_dropped_leaves_nothing_to_the_cyclic_collector_which_looks_seldom(
    engines: Engines, plain: bool
) -> None:
    async def patient(ctx: Any) -> None:
        await ctx.step.suspend("wait")

    def plainly(ctx: Any) -> None:
        ctx.step.suspend("wait")

    one = engines(plainly if plain else patient, limits={"suspended": 0})
    gc.collect()
    gc.disable()
    try:
        await one.start()
        await one.until(lambda: one.evicted)
        await asyncio.gather(*one.driver._runners)  # it unwinds
        await asyncio.sleep(0)
        left = [each for each in gc.get_objects() if isinstance(each, Attempt) and each.run is one.run]
    finally:
        gc.enable()
    assert left == []


async def test_a_wait_whose_time_is_over_leaves_nothing_to_the_cyclic_collector(engines: Engines) -> None:
    async def patient(ctx: Any) -> str:
        try:
            await ctx.step.wait_for_event("wait", "orders/paid", timeout=1)
        except EventTimeout:
            return "over"
        return "in time"

    one = engines(patient)
    gc.collect()
    gc.disable()
    try:
        await one.start()
        await one.until_asked("wait")
        await one.resolve("wait", Outcome(None, Fault("EventTimeout", "over")))
        assert (await one.until_ended()).result == b'"over"'
        await asyncio.gather(*one.driver._runners)
        await asyncio.sleep(0)
        left = [each for each in gc.get_objects() if isinstance(each, Attempt) and each.run is one.run]
    finally:
        gc.enable()
    assert left == []


@pytest.mark.parametrize("plain", [False, True])
async def test_no_traceback_is_written_of_a_function_that_is_dropped(
    engines: Engines, plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def patient(ctx: Any) -> None:
        await ctx.step.suspend("wait")

    def plainly(ctx: Any) -> None:
        ctx.step.suspend("wait")

    written: list[object] = []

    def formatted(error: BaseException) -> list[str]:
        written.append(error)
        return ["written"]

    monkeypatch.setattr(traceback, "format_exception", formatted)
    one = engines(plainly if plain else patient, limits={"suspended": 0})
    await one.start()
    await one.until(lambda: one.evicted)
    await asyncio.gather(*one.driver._runners)
    assert written == []  # it took a third of the time in which a million runs come to rest


async def test_what_the_events_of_those_that_wait_weigh_is_bounded_as_their_number_is(engines: Engines) -> None:
    async def patient(ctx: Any) -> None:
        await ctx.step.suspend("wait")

    weight = sum(one.weight for one in run_of(patient, 0).events)
    first = engines(patient, limits={"suspended_bytes": 2 * weight})
    others = [Engine(run_of(patient, number), first.driver) for number in (1, 2)]
    for one in (first, *others):
        await one.start()
        await one.until_asked("wait")
    await first.until(lambda: first.evicted)
    assert [one.evicted for one in (first, *others)] == [1, 0, 0]
    assert first.driver._live._weight == 2 * weight
    assert first.driver.spare() == 0
    first.driver.cancel([one.run for one in others])
    assert first.driver._live._weight == 0
    assert first.driver.spare() == 10_000


async def test_when_more_rests_in_memory_fewer_functions_are_kept_and_a_few_at_a_time_are_dropped(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FEWEST", 2)
    monkeypatch.setattr(live, "AT_ONCE", 2)

    async def patient(ctx: Any) -> None:
        await ctx.step.suspend("wait", timeout=10)

    first = engines(patient, limits={"suspended": 6})
    kept = first.driver._live._soon
    all_ = [first, *(Engine(run_of(patient, number), first.driver) for number in range(1, 6))]
    for one in all_:
        await one.start()
        await one.until_asked("wait")
    first.driver.beside(limits.BESIDE_BYTES)
    await asyncio.sleep(0)
    assert len(kept) == 6

    first.driver.beside(limits.BESIDE_BYTES + 100 * limits.FUNCTION_BYTES)
    left: list[int] = []
    for _ in range(5):
        await asyncio.sleep(0)
        left.append(len(kept))
    assert left == [4, 2, 2, 2, 2]
    assert first.driver.spare() == 0
    for one in all_[:4]:
        await one.until(lambda one=one: one.evicted)  # type: ignore[misc]
    assert [one.evicted for one in all_] == [1, 1, 1, 1, 0, 0]

    first.driver.beside(0)  # and there is room again
    again = Engine(run_of(patient, 6), first.driver)
    await again.start()
    await again.until_asked("wait")
    await asyncio.sleep(0)
    assert len(kept) == 3
    assert first.driver.spare() == 3
    first.driver.cancel([one.run for one in (*all_[4:], again)])


async def test_of_functions_that_wait_for_long_fewer_are_kept_and_they_are_the_first_to_be_dropped(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FEWEST", 2)
    ends: dict[str, float | None] = {}

    async def patient(ctx: Any) -> None:
        await ctx.step.suspend("wait", timeout=ends[ctx.run_id])

    first = engines(patient, limits={"suspended": 4})
    live_ = first.driver._live
    evicted: list[str] = []

    async def begin(number: int, timeout: float | None) -> None:
        run = run_of(patient, number)
        ends[run.id] = timeout
        one = Engine(run, first.driver)
        await one.start()
        await one.until_asked("wait")
        for _ in range(3):
            await asyncio.sleep(0)
        there = {run_id.rpartition(":")[2].lstrip("0") for run_id in (*live_._long, *live_._soon)}
        evicted.append(" ".join(sorted(there)))

    for number, timeout in enumerate((None, 3_600, 30, None, 60, 61, 59, 58, 57), 1):
        await begin(number, timeout)
    assert evicted == ["1", "1 2", "1 2 3", "2 3 4", "2 3 4 5", "3 4 5 6", "3 5 6 7", "3 5 7 8", "5 7 8 9"]
    first.driver.close()


async def test_a_function_that_is_called_again_shortly_before_its_long_sleep_ends_counts_as_one_that_waits_briefly(
    engines: Engines,
) -> None:
    async def napping(ctx: Any) -> None:
        await ctx.step.sleep("nap", hours=1)

    one = engines(napping)
    await one.start()
    await one.until_asked("nap")
    live_ = one.driver._live
    assert (len(live_._long), len(live_._soon)) == (1, 0)
    about = one.asked[-1].about
    one.asked.clear()
    one.recorded["nap"] = Recorded(key="nap", kind=Kind.SLEEP, about=about, until_ms=NOW + 5_000)
    await one.rise()
    await one.until_asked("nap")
    assert (len(live_._long), len(live_._soon)) == (0, 1)
    one.driver.close()


async def test_a_run_that_does_more_than_wait_is_not_dropped(engines: Engines) -> None:
    gate = asyncio.Event()

    async def busy(ctx: Any) -> Any:
        waiting = ctx.step.suspend("wait")
        await gate.wait()
        return await waiting

    first = engines(busy, limits={"suspended": 0})
    await first.start()
    await first.until_asked("wait")
    for _ in range(3):
        await asyncio.sleep(0)
    assert first.evicted == 0
    gate.set()
    await first.resolve("wait", value(1))
    assert (await first.until_ended()).result == b"1"


async def test_plain_functions_that_wait_give_up_their_threads_to_others(engines: Engines) -> None:
    def patient(ctx: Any) -> Any:
        return ctx.step.suspend("wait")

    first = engines(patient, threads=1)
    others = [Engine(run_of(patient, n), first.driver) for n in (1, 2)]
    for one in (first, *others):
        await one.start()
        await one.until_asked("wait")
    await first.until(lambda: first.evicted)
    await others[0].until(lambda: others[0].evicted)
    await others[1].resolve("wait", value("last"))
    assert (await others[1].until_ended()).result == b'"last"'

    first.asked.clear()
    await first.rise()
    await first.until_asked("wait")
    await first.resolve("wait", value("first"))
    assert (await first.until_ended()).result == b'"first"'


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
async def test_a_workflow_that_swallows_its_stop_is_told_and_named_in_the_log(
    engines: Engines, plain: bool, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    over = threading.Event()

    async def stubborn(ctx: Any) -> None:
        try:
            await ctx.step.suspend("wait")
        except BaseException:  # noqa: BLE001 as above
            try:
                await ctx.step.run("more", int)
            except HeadgateError as error:
                told.append(str(error))
        over.set()

    def stubborn_plainly(ctx: Any) -> None:
        try:
            ctx.step.suspend("wait")
        except BaseException:  # noqa: BLE001 as above
            try:
                ctx.step.run("more", int)
            except HeadgateError as error:
                told.append(str(error))
        over.set()

    fn: Any = stubborn_plainly if plain else stubborn
    engine = engines(fn)
    await engine.start()
    await engine.until_asked("wait")
    engine.driver.cancel([engine.run])
    assert await asyncio.to_thread(over.wait, 10)

    place = f"{__file__}:{fn.__code__.co_firstlineno + 5}"
    (words,) = told
    assert words == (
        f"step 'more' was called at {place} after run {engine.run.id!r} was stopped here; let Pause and "
        "CancelledError through: catch Exception, not BaseException, and call no steps in `finally`"
    )
    (line,) = (vars(one)["fields"] for one in caplog.records if one.getMessage() == "pause_swallowed")
    assert line == {"workflow": fn.__name__, "run": engine.run.id, "step": "more", "place": place}
    assert engine.ended is None


@pytest.mark.parametrize("stop", ["cancel", "close"])
@pytest.mark.parametrize("before", ["nothing", "a value"])
async def test_a_plain_function_that_is_stopped_before_it_asked_for_anything_is_told_at_its_first_step(
    engines: Engines, stop: str, before: str
) -> None:
    gate, over = threading.Event(), threading.Event()
    raised: list[BaseException] = []

    def busy(ctx: Any) -> None:
        if before == "a value":
            ctx.step.uuid("id")
        gate.wait(10)
        try:
            ctx.step.suspend("wait")
        except BaseException as error:
            raised.append(error)
            raise
        finally:
            over.set()

    engine = engines(busy)
    await engine.start()
    if stop == "cancel":
        engine.driver.cancel([engine.run])
    else:
        engine.driver.close()
    gate.set()
    assert await asyncio.to_thread(over.wait, 10)

    assert [type(one) for one in raised] == [Pause]
    assert engine.reported == []


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
async def test_an_attempt_that_was_stopped_before_its_first_step_does_not_stand_in_for_the_next_one(
    engines: Engines, plain: bool
) -> None:
    gates = [threading.Event(), threading.Event()]
    swallowed, go_on = asyncio.Event(), asyncio.Event()
    told: list[str] = []

    async def stubborn(ctx: Any) -> Any:
        if not told:
            told.append("first")
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed.set()
                await go_on.wait()
            try:
                await ctx.step.suspend("wait")
            except HeadgateError as error:
                told.append(str(error))
                return None
        return await ctx.step.suspend("wait")

    def stubborn_plainly(ctx: Any) -> Any:
        if not told:
            told.append("first")
            gates[0].wait(10)
            try:
                ctx.step.suspend("wait")
            except Pause as error:
                told.append(type(error).__name__)
                return None
            finally:
                gates[1].set()
        return ctx.step.suspend("wait")

    engine = engines(stubborn_plainly if plain else stubborn)
    await engine.start()
    await asyncio.sleep(0)
    engine.driver.cancel([engine.run])
    await engine.rise()
    await engine.until_asked("wait")
    gates[0].set()
    if plain:
        assert await asyncio.to_thread(gates[1].wait, 10)
    else:
        await swallowed.wait()
        go_on.set()
        for _ in range(3):
            await asyncio.sleep(0)
    assert told[1] == "Pause" if plain else " was stopped here; let Pause and CancelledError through" in told[1]

    await engine.resolve("wait", value("there"))
    assert (await engine.until_ended()).result == b'"there"'
    assert [one.key for one in engine.asked] == ["wait"]


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
async def test_cancel_and_close_stop_a_run_that_waits_and_nothing_is_reported(engines: Engines, plain: bool) -> None:
    over = threading.Event()

    async def patient(ctx: Any) -> None:
        try:
            await ctx.step.suspend("wait")
        finally:
            over.set()

    def patient_plainly(ctx: Any) -> None:
        try:
            ctx.step.suspend("wait")
        finally:
            over.set()

    for stop in ("cancel", "close"):
        over.clear()
        engine = engines(patient_plainly if plain else patient)
        await engine.start()
        await engine.until_asked("wait")
        if stop == "cancel":
            engine.driver.cancel([engine.run])
        else:
            engine.driver.close()
        assert await asyncio.to_thread(over.wait, 10)
        await asyncio.sleep(0)
        assert len(engine.reported) == 1


async def test_the_function_of_a_step_is_stopped_with_its_run(engines: Engines) -> None:
    running, stopped = asyncio.Event(), asyncio.Event()

    async def endless() -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async def one(ctx: Any) -> None:
        await ctx.step.run("endless", endless)

    engine = engines(one)
    await engine.start()
    await engine.until(lambda: engine.attempts)
    async with asyncio.timeout(10):
        await running.wait()
        engine.driver.cancel([engine.run])
        await stopped.wait()
    assert [type(one) for one in engine.reported] == [StepAsked]
