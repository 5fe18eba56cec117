"""Steps of a run that goes on: asked for, executed, resolved, replayed, judged, dropped, and used wrongly."""

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import orjson
import pytest
import pytest_asyncio
from pydantic import BaseModel

from app.engine.effects import Go, Resolve
from app.engine.inputs import Ended, Judged, StepAsked, StepEnded
from app.engine.tables.recorded import Steps
from app.engine.values.asks import Execute, Fault, Kind, Outcome, Recorded, Sleep
from headgate import DuplicateStepKey, EventTimeout, Reject, StepError
from headgate.errors import HeadgateError, Pause
from tests.unit.app.engine.partition import NOW, event
from tests.unit.app.runtime.standin import Engine, driver, met, run_of, value


@pytest_asyncio.fixture
async def engines() -> AsyncIterator[Callable[..., Engine]]:
    made: list[Engine] = []

    def engine(
        fn: Callable[..., Any], *, threads: int = 4, limits: dict[str, Any] | None = None, **options: Any
    ) -> Engine:
        made.append(Engine(run_of(fn, **options), driver(threads=threads, **(limits or {}))))
        return made[-1]

    yield engine
    for one in made:
        one.driver.close()


Engines = Callable[..., Engine]


async def result_of(engine: Engine) -> Any:
    await engine.start()
    ended = await engine.until_ended()
    assert ended.failure is None, ended.failure
    return orjson.loads(ended.result or b"")


async def failure_of(engine: Engine) -> Any:
    await engine.start()
    ended = await engine.until_ended()
    assert ended.failure is not None
    return ended.failure


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


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
async def test_a_function_that_fails_is_tried_again_then_its_error_is_recorded_and_raised_on_every_replay(
    engines: Engines, plain: bool
) -> None:
    called: list[int] = []

    def fails() -> None:
        called.append(1)
        raise ValueError("no luck")

    caught: list[StepError] = []

    async def careful(ctx: Any) -> None:
        try:
            await ctx.step.run("pay", fails, max_retries=1)
        except StepError as error:
            caught.append(error)
        await ctx.step.sleep("nap", 1)

    def careful_plainly(ctx: Any) -> None:
        try:
            ctx.step.run("pay", fails, max_retries=1)
        except StepError as error:
            caught.append(error)
        ctx.step.sleep("nap", 1)

    engine = engines(careful_plainly if plain else careful)
    await engine.start()
    await engine.until_asked("nap")
    await engine.crash()
    await engine.until_asked("nap")

    assert len(called) == 2
    assert [(one.step_key, one.error_type, one.message) for one in caught] == [("pay", "ValueError", "no luck")] * 2


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
async def test_a_function_that_raises_a_generator_exit_has_failed(engines: Engines, plain: bool) -> None:
    async def closes() -> None:
        raise GeneratorExit

    def closes_plainly() -> None:
        raise GeneratorExit

    fn: Any = closes_plainly if plain else closes

    async def one(ctx: Any) -> None:
        await ctx.step.run("a", fn, max_retries=0)

    failure = await failure_of(engines(one))
    assert "step 'a' failed with GeneratorExit" in failure.message


async def test_a_function_that_rejects_is_not_tried_again(engines: Engines) -> None:
    called: list[int] = []

    async def rejects() -> None:
        called.append(1)
        raise Reject("never")

    async def one(ctx: Any) -> None:
        await ctx.step.run("pay", rejects)

    failure = await failure_of(engines(one))
    assert (failure.type, len(called)) == ("StepError", 1)
    assert "step 'pay' failed with Reject: never" in failure.message


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
async def test_an_attempt_that_takes_too_long_has_failed(engines: Engines, plain: bool) -> None:
    gate = threading.Event()

    async def slow() -> None:
        await asyncio.Event().wait()

    def slow_plainly() -> None:
        gate.wait(20)

    fn: Any = slow_plainly if plain else slow

    async def one(ctx: Any) -> None:
        await ctx.step.run("slow", fn, max_retries=1, timeout=0.01)

    engine = engines(one)
    failure = await failure_of(engine)
    gate.set()
    assert failure.message.startswith("step 'slow' failed with StepTimeout: it took longer than its timeout of 0.01 s")
    assert engine.attempts == {"slow": 2}


async def test_a_function_with_an_idempotency_key_gets_the_steps_id_unless_it_was_given_one(engines: Engines) -> None:
    async def pay(amount: int, idempotency_key: str) -> str:
        return idempotency_key

    async def both(ctx: Any) -> list[str]:
        return [await ctx.step.run("a", pay, 1), await ctx.step.run("b", pay, 1, idempotency_key="mine")]

    engine = engines(both)
    assert await result_of(engine) == [f"{engine.run.id}:a", "mine"]


WHO: contextvars.ContextVar[str] = contextvars.ContextVar("WHO", default="nobody")


async def test_a_function_sees_the_context_variables_of_its_caller_and_changes_them_for_itself(
    engines: Engines,
) -> None:
    async def look() -> str:
        before = WHO.get()
        WHO.set("the step")
        return before

    def look_plainly() -> str:
        before = WHO.get()
        WHO.set("the step")
        return before

    async def one(ctx: Any) -> list[str]:
        WHO.set("the workflow")
        return [await ctx.step.run("a", look), await ctx.step.run("b", look_plainly), WHO.get()]

    assert await result_of(engines(one)) == ["the workflow", "the workflow", "the workflow"]


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


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError(), GeneratorExit()])
async def test_a_filter_that_raises_what_would_end_a_worker_fails_its_step_alone(
    engines: Engines, error: BaseException
) -> None:
    def hostile(_one: Any) -> bool:
        raise error

    async def waits(ctx: Any) -> Any:
        await ctx.step.wait_for_event("big", topic="orders/paid", filter=hostile)

    engine = engines(waits)
    await engine.start()
    await engine.until_asked("big")
    failed = await engine.judge("big", 0, event(1, "orders/paid", id="e-1"))

    assert isinstance(failed, StepEnded)
    assert failed.failure is not None
    assert (failed.failure.type, failed.failure.final) == (type(error).__name__, True)


async def test_what_is_told_of_a_run_or_step_that_is_not_there_changes_nothing(engines: Engines) -> None:
    async def quick(ctx: Any) -> None: ...

    engine = engines(quick)
    await engine.start()
    await engine.until_ended()
    await engine.go_on(Resolve(engine.run, "a", value(1)), Go(engine.run, "a", 1))
    assert len(engine.reported) == 1


# --- replay ---------------------------------------------------------------------------------------------------------


def done(key: str, kind: Kind = Kind.RUN, about: str = "run", *, par: bool = False) -> Recorded:
    return Recorded(key=key, kind=kind, about=about, par=par, outcome=value(1))


@pytest.mark.parametrize(
    ("recorded", "words"),
    [
        ([done("a", Kind.SLEEP, "sleep")], "asks in step 'a' for run, recorded is sleep"),
        ([done("a"), done("gone")], "asks for step 'b' (run), which is not recorded, before steps that are"),
        ([done("a"), done("b"), done("gone")], "ended without asking for step 'gone' (run), which is recorded"),
    ],
)
@pytest.mark.parametrize("swallows", [False, True])
@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
async def test_code_that_does_not_fit_its_history_is_stuck_with_what_was_recorded_and_attempted(
    engines: Engines, recorded: list[Recorded], words: str, swallows: bool, plain: bool
) -> None:
    async def two(ctx: Any) -> str:
        try:
            await ctx.step.run("a", int)
            await ctx.step.run("b", int)
        except HeadgateError:
            if not swallows:
                raise
        return "done"

    def two_plainly(ctx: Any) -> str:
        try:
            ctx.step.run("a", int)
            ctx.step.run("b", int)
        except HeadgateError:
            if not swallows:
                raise
        return "done"

    engine = engines(two_plainly if plain else two)
    engine.recorded = {one.key: one for one in recorded}
    await engine.rise()
    failure = (await engine.until_ended()).failure

    assert failure is not None
    assert (failure.type, failure.stuck, failure.final) == ("HistoryMismatch", True, False)
    assert failure.message.startswith(f"the workflow {words}; ")


@pytest.mark.parametrize("annotated", [False, True])
async def test_a_result_that_does_not_fit_the_code_any_more_is_stuck(engines: Engines, annotated: bool) -> None:
    def unsaid() -> Any: ...
    def said() -> Order: ...  # type: ignore[empty-body]

    async def one(ctx: Any) -> Any:
        return (await ctx.step.run("a", said if annotated else unsaid)).total

    engine = engines(one)
    written = b'{"sum":1}' if annotated else b'{"headgate:type":"Order","value":{"sum":1}}'
    engine.recorded = {"a": replace(done("a"), outcome=Outcome(written))}
    await engine.rise()
    failure = (await engine.until_ended()).failure

    assert failure is not None
    assert (failure.type, failure.stuck) == ("NotStorable", True)
    assert "/total: Field required" in failure.message


async def test_a_run_that_returns_without_any_step_though_some_are_recorded_is_stuck(engines: Engines) -> None:
    async def nothing(ctx: Any) -> None: ...

    engine = engines(nothing)
    engine.recorded = {"a": done("a")}
    await engine.rise()
    failure = (await engine.until_ended()).failure
    assert failure is not None
    assert failure.stuck


async def test_concurrent_code_may_ask_for_new_steps_before_the_recorded_ones(engines: Engines) -> None:
    async def two(ctx: Any) -> list[int]:
        new = await ctx.step.run("new", int, 5)
        return [new, await ctx.step.run("a", int)]

    engine = engines(two)
    engine.recorded = {"a": done("a", par=True)}
    await engine.rise()
    assert (await engine.until_ended()).result == b"[5,1]"


async def test_tasks_of_a_run_that_publish_may_do_so_in_another_order_after_a_crash(engines: Engines) -> None:
    gates = {"a": asyncio.Event(), "b": asyncio.Event()}

    async def both(ctx: Any) -> Any:
        async def tell(key: str) -> Any:
            await gates[key].wait()
            return await ctx.step.publish_event(key, "told", key)

        return await asyncio.gather(tell("a"), tell("b"))

    engine = engines(both)
    await engine.start()
    gates["b"].set()
    await engine.until_asked("b")
    assert [(one.key, one.aside) for one in engine.asked] == [("b", True)]
    gates["a"].set()
    gates["b"].clear()
    await engine.crash()
    await engine.until_asked("a")
    gates["b"].set()

    assert (await engine.until_ended()).failure is None


async def test_the_first_of_several_steps_at_once_may_come_last_after_a_crash(engines: Engines) -> None:
    gates = {"a": asyncio.Event(), "b": asyncio.Event()}

    async def both(ctx: Any) -> Any:
        async def call(key: str) -> Any:
            await gates[key].wait()
            return await ctx.step.run(key, int)

        return await asyncio.gather(call("a"), call("b"))

    engine = engines(both)
    # As the journal has it when "b" was asked for while "a" was open, and only "a" has ended.
    engine.recorded = {"a": done("a")}
    engine.run.steps = Steps(engine.run.id)
    engine.run.steps.par = True
    gates["b"].set()
    await engine.rise()
    await engine.until_asked("b")
    gates["a"].set()

    assert (await engine.until_ended()).result == b"[1,0]"


# --- dropped and called again ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["alone", "gather", "group"])
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
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(wait(ctx, key)) for key in ("wait", "other")]
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
