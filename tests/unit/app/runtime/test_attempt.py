"""Steps of a run that goes on: asked for, executed, resolved, replayed, judged, and used wrongly."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
import pytest
from pydantic import BaseModel

from app.engine.effects import Go, Resolve
from app.engine.inputs import Ended, Failure, Judged, StepAsked, StepEnded
from app.engine.values.asks import Execute, Fault, Outcome, Sleep
from headgate import DuplicateStepKey, EventTimeout, StepError
from tests.unit.app.engine.partition import NOW, event
from tests.unit.app.runtime.standin import Engines, failure_of, met, result_of, value


class Order(BaseModel):
    total: int


@dataclass
class Receipt:
    number: int


# --- run ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain_step", [False, True], ids=["async step", "plain step"])
@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
async def test_three_steps_run_one_after_the_other_and_are_asked_for_as_said(
    engines: Engines, plain: bool, plain_step: bool
) -> None:
    async def double(number: int) -> int:
        return number * 2

    def double_plainly(number: int) -> int:
        return number * 2

    fn: Any = double_plainly if plain_step else double

    async def three(ctx: Any) -> list[int]:
        one = await ctx.step.run("one", fn, 1, max_retries=0)
        two = await ctx.step.run("two", fn, number=one, base_delay=timedelta(seconds=2), max_delay=5)
        return [one, two, await ctx.step.run("three", fn, two)]

    def three_plainly(ctx: Any) -> list[int]:
        one = ctx.step.run("one", fn, 1, max_retries=0)
        two = ctx.step.run("two", fn, number=one, base_delay=timedelta(seconds=2), max_delay=5)
        return [one, two, ctx.step.run("three", fn, two)]

    engine = engines(three_plainly if plain else three)
    assert await result_of(engine) == [2, 4, 8]
    run_id = engine.run.id
    assert engine.asked == [
        StepAsked(run_id, 1, "one", "run", Execute(max_retries=0, base_delay_ms=1_000, max_delay_ms=10_000)),
        StepAsked(run_id, 1, "two", "run", Execute(max_retries=2, base_delay_ms=2_000, max_delay_ms=5_000)),
        StepAsked(run_id, 1, "three", "run", Execute(max_retries=2, base_delay_ms=1_000, max_delay_ms=10_000)),
    ]


async def test_a_function_starts_when_the_engine_says_so_and_not_before(engines: Engines) -> None:
    called: list[int] = []

    async def one(ctx: Any) -> None:
        await ctx.step.run("one", called.append, 1)

    engine = engines(one)
    await engine.start()
    await asyncio.sleep(0)
    assert called == []
    await engine.until_ended()
    assert called == [1]


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
async def test_a_step_that_was_recorded_does_not_run_again_after_a_crash(engines: Engines, plain: bool) -> None:
    called: list[str] = []

    def pay(what: str) -> Order:
        called.append(what)
        return Order(total=len(called))

    async def twice(ctx: Any) -> list[int]:
        first = await ctx.step.run("first", pay, "first")
        await ctx.step.sleep("nap", 60)
        return [first.total, (await ctx.step.run("second", pay, "second")).total]

    def twice_plainly(ctx: Any) -> list[int]:
        first = ctx.step.run("first", pay, "first")
        ctx.step.sleep("nap", 60)
        return [first.total, ctx.step.run("second", pay, "second").total]

    engine = engines(twice_plainly if plain else twice)
    await engine.start()
    await engine.until_asked("nap")
    assert engine.asked[-1].ask == Sleep(until_ms=NOW + 60_000)
    await engine.crash()
    await engine.until_asked("nap")
    assert [one.key for one in engine.asked] == ["nap"]
    await engine.resolve("nap", value(None))
    ended = await engine.until_ended()

    assert (ended.result, called) == (b"[1,2]", ["first", "second"])


async def test_results_come_back_as_what_they_were_the_first_time_and_on_replay(engines: Engines) -> None:
    seen: list[Any] = []

    def model() -> Order:
        return Order(total=7)

    def receipt() -> Any:  # known by its class's name alone
        return Receipt(3)

    def pair() -> Any:
        return (1, {"a": 2.5})

    async def all_three(ctx: Any) -> None:
        seen.extend([await ctx.step.run(fn.__name__, fn) for fn in (model, receipt, pair)])
        await ctx.step.sleep("nap", 1)

    engine = engines(all_three)
    await engine.start()
    await engine.until_asked("nap")
    await engine.crash()
    await engine.until_asked("nap")

    assert seen == [Order(total=7), Receipt(3), [1, {"a": 2.5}]] * 2


async def test_steps_at_the_same_time_are_all_asked_for_at_once(engines: Engines) -> None:
    together = asyncio.Barrier(3)

    async def meet(number: int) -> int:
        async with together:
            return number

    async def gathered(ctx: Any) -> list[int]:
        found = await asyncio.gather(*(ctx.step.run(f"meet-{n}", meet, n) for n in range(3)))
        return list(found)

    assert await result_of(engines(gathered)) == [0, 1, 2]


# --- waits ----------------------------------------------------------------------------------------------------------


async def test_a_wait_returns_the_event_or_raises_its_timeout_also_on_replay(engines: Engines) -> None:
    caught: list[EventTimeout] = []

    async def waits(ctx: Any) -> Any:
        found = await ctx.step.wait_for_event("first", topic="approvals/42", timeout=60)
        try:
            await ctx.step.wait_for_event("second", topic="approvals/43", timeout=30)
        except EventTimeout as error:
            caught.append(error)
        await ctx.step.sleep("nap", 1)
        return [found.data, found.topic, found.id]

    engine = engines(waits)
    await engine.start()
    await engine.until_asked("first")
    await engine.resolve("first", met(event(9, "approvals/42", {"yes": True}, id="e-1")))
    await engine.until_asked("second")
    await engine.resolve("second", Outcome(None, Fault("EventTimeout", "over")))
    await engine.until_asked("nap")
    await engine.crash()
    await engine.until_asked("nap")
    await engine.resolve("nap", value(None))

    assert (await engine.until_ended()).result == b'[{"yes":true},"approvals/42","e-1"]'
    assert [(one.step_key, one.topic, one.timeout_seconds) for one in caught] == [("second", "approvals/43", 30)] * 2


async def test_a_step_that_ends_before_its_code_asks_for_it_again_has_ended_then(engines: Engines) -> None:
    async def waits(ctx: Any) -> Any:
        gate = asyncio.Event()
        asyncio.get_running_loop().call_later(0.01, gate.set)
        await gate.wait()
        return await ctx.step.suspend("approve", {"who": "boss"})

    engine = engines(waits)
    await engine.start()
    await engine.until_asked("approve")
    await engine.crash()
    await engine.resolve("approve", value("yes"))

    assert (await engine.until_ended()).result == b'"yes"'
    assert engine.asked == []


async def test_filters_are_judged_and_one_that_raises_fails_the_step(engines: Engines) -> None:
    async def waits(ctx: Any) -> Any:
        try:
            await ctx.step.wait_for_event("big", topic="orders/paid", filter=lambda one: one.data["total"] > 5)
        except StepError as error:
            return str(error)

    engine = engines(waits)
    await engine.start()
    await engine.until_asked("big")
    run_id = engine.run.id
    assert await engine.judge("big", 0, event(1, "orders/paid", {"total": 1})) == Judged(run_id, 1, "big", 0, False)
    assert await engine.judge("big", 0, event(2, "orders/paid", {"total": 9})) == Judged(run_id, 1, "big", 0, True)
    failed = await engine.judge("big", 0, event(3, "orders/paid", {}, id="e-3"))

    assert isinstance(failed, StepEnded)
    assert failed.failure is not None
    assert failed.failure.final
    assert "its filter failed on event 'e-3' of 'orders/paid': 'total'" in orjson.loads(
        (await engine.until_ended()).result or b""
    )


async def failed_by(engines: Engines, judge: Callable[[Any], Any]) -> Failure:
    """Return what a wait with this filter fails with once there is an event."""

    async def waits(ctx: Any) -> Any:
        await ctx.step.wait_for_event("big", topic="orders/paid", filter=judge)

    engine = engines(waits)
    await engine.start()
    await engine.until_asked("big")
    failed = await engine.judge("big", 0, event(1, "orders/paid", id="e-1"))

    assert isinstance(failed, StepEnded)
    assert failed.failure is not None
    return failed.failure


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError(), GeneratorExit()])
async def test_a_filter_that_raises_what_would_end_a_worker_fails_its_step_alone(
    engines: Engines, error: BaseException
) -> None:
    def hostile(_one: Any) -> bool:
        raise error

    failure = await failed_by(engines, hostile)
    assert (failure.type, failure.final) == (type(error).__name__, True)


async def test_a_filter_that_would_have_to_be_awaited_fails_its_step(engines: Engines) -> None:
    async def check(_one: Any) -> bool:
        raise NotImplementedError

    failure = await failed_by(engines, lambda one: check(one))  # noqa: PLW0108
    assert "it returned a coroutine, which nobody awaits" in failure.message


async def test_what_is_told_of_a_run_or_step_that_is_not_there_changes_nothing(engines: Engines) -> None:
    async def quick(ctx: Any) -> None: ...

    engine = engines(quick)
    await engine.start()
    await engine.until_ended()
    await engine.go_on(Resolve(engine.run, "a", value(1)), Go(engine.run, "a", 1))
    assert len(engine.reported) == 1


# --- wrong use ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
async def test_a_repeated_key_names_both_places(engines: Engines, plain: bool) -> None:
    caught: list[DuplicateStepKey] = []

    async def twice(ctx: Any) -> None:
        await ctx.step.run("a", int)
        try:
            await ctx.step.sleep("a", 1)
        except DuplicateStepKey as error:
            caught.append(error)

    def twice_plainly(ctx: Any) -> None:
        ctx.step.run("a", int)
        try:
            ctx.step.sleep("a", 1)
        except DuplicateStepKey as error:
            caught.append(error)

    fn: Any = twice_plainly if plain else twice
    await result_of(engines(fn))
    line = fn.__code__.co_firstlineno
    assert [(one.first_place, one.second_place) for one in caught] == [
        (f"{__file__}:{line + 1}", f"{__file__}:{line + 3}")
    ]


@pytest.mark.parametrize("plain_step", [False, True], ids=["async step", "plain step"])
@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
async def test_a_step_inside_the_function_of_another_is_refused(
    engines: Engines, plain: bool, plain_step: bool
) -> None:
    def nested_plainly(step: Any) -> None:
        step.sleep("inner", 1)

    async def nested(step: Any) -> None:
        await step.sleep("inner", 1)

    fn: Any = nested_plainly if plain_step else nested

    async def outer(ctx: Any) -> None:
        await ctx.step.run("outer", fn, ctx.step)

    def outer_plainly(ctx: Any) -> None:
        ctx.step.run("outer", fn, ctx.step)

    engine = engines(outer_plainly if plain else outer)
    failure = await failure_of(engine)
    assert "step 'outer' failed with Misuse: step 'inner' was called at " in failure.message
    assert "inside the function of step 'outer'; a step's function has no steps of its own" in failure.message
    assert engine.attempts == {"outer": 1}


async def test_a_step_from_a_thread_of_the_workflows_own_is_refused(engines: Engines) -> None:
    async def threaded(ctx: Any) -> None:
        await asyncio.to_thread(ctx.step.sleep, "nap", 1)

    failure = await failure_of(engines(threaded))
    assert (failure.type, failure.final) == ("Misuse", True)
    assert "was called at" in failure.message
    assert "in another thread than its workflow's" in failure.message


async def test_publishing_from_a_thread_of_the_workflows_own_is_refused(engines: Engines) -> None:
    async def threaded(ctx: Any) -> None:
        await asyncio.to_thread(ctx.step.publish_event, "tell", "told", 1)

    engine = engines(threaded)
    failure = await failure_of(engine)
    assert (failure.type, failure.final) == ("Misuse", True)
    assert "in another thread than its workflow's" in failure.message
    assert engine.asked == []


async def test_a_step_that_nobody_awaits_fails_the_run(engines: Engines) -> None:
    async def forgets(ctx: Any) -> None:
        ctx.step.run("pay", int)

    failure = await failure_of(engines(forgets))
    place = f"{__file__}:{forgets.__code__.co_firstlineno + 1}"
    assert (failure.type, failure.final) == ("StepNotAwaited", True)
    assert failure.message == (
        f"workflow 'forgets' returned though nobody awaited its step 'pay' ({place}); write await in front of it"
    )


async def test_a_result_that_cannot_be_kept_fails_the_step_at_once_with_the_remedy(engines: Engines) -> None:
    class Hidden(BaseModel):
        a: int

    def hidden() -> Any:
        return type("Odd", (Hidden,), {})(a=1)

    def large() -> str:
        return "x" * 2_000

    problems: list[str] = []

    async def three(ctx: Any) -> None:
        for fn in (hidden, object, large):
            try:
                await ctx.step.run(fn.__name__, fn)
            except StepError as error:
                problems.append(error.message)

    engine = engines(three, limits={"result_bytes": 1_000})
    await result_of(engine)
    assert engine.attempts == {"hidden": 1, "object": 1, "large": 1}
    assert problems[0].startswith("the result of step 'hidden' is a Odd, which is neither a name in the module of ")
    assert problems[0].endswith("hidden(...) -> Odd")
    assert problems[1].startswith("the result of step 'object' cannot be written as JSON")
    assert problems[2] == (
        "the result of step 'large' has 2002 bytes, more than the 1000 of limits.result_bytes; "
        "keep it elsewhere and return a reference to it"
    )


async def test_a_timeout_of_asyncios_around_a_step_leaves_the_step_open(engines: Engines) -> None:
    async def impatient(ctx: Any) -> str:
        try:
            async with asyncio.timeout(0.01):
                await ctx.step.suspend("wait")
        except TimeoutError:
            return "late"
        return "never"

    engine = engines(impatient)
    assert await result_of(engine) == "late"
    await engine.resolve("wait", value(1))


async def test_an_attempt_reports_its_own_number(engines: Engines) -> None:
    async def one(ctx: Any) -> int:
        return await ctx.step.run("a", int) + ctx.attempt  # type: ignore[no-any-return]

    engine = engines(one)
    engine.run.attempt = 3
    assert await result_of(engine) == 3
    assert [one.attempt for one in engine.reported] == [3, 3, 3]
    assert isinstance(engine.reported[-1], Ended)
