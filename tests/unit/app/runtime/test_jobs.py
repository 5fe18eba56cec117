import asyncio
import contextvars
import functools
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import AsyncMock, Mock

import orjson
import pytest

from app.runtime.jobs import StepTimeout, job_of
from app.runtime.threads import Threads
from headgate import Reject, StepError
from tests.unit.app.runtime.standin import Engines, failure_of, result_of


@pytest.fixture
def threads() -> Iterator[Threads]:
    made = Threads(1)
    yield made
    made.close()


async def run(threads: Threads, fn: Any, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
    job = job_of("a", fn, args, kwargs, run_id="r:1", timeout_seconds=timeout)
    return await job.run(threads)


class Callee:
    async def __call__(self, number: int, idempotency_key: str = "") -> Any:
        return [number, idempotency_key]

    async def method(self, idempotency_key: str) -> str:
        return idempotency_key


async def keyed(first: str, idempotency_key: str | None = None) -> Any:
    return [first, idempotency_key]


@pytest.mark.parametrize(
    ("fn", "args", "kwargs", "expected"),
    [
        (int, ("5",), {}, 5),
        (lambda: keyed("x", "y"), (), {}, ["x", "y"]),
        (keyed, ("x",), {}, ["x", "r:1:a"]),
        (keyed, ("x", "mine"), {}, ["x", "mine"]),
        (keyed, ("x",), {"idempotency_key": None}, ["x", None]),
        (functools.partial(keyed, "x"), (), {}, ["x", "r:1:a"]),
        (functools.partial(keyed, idempotency_key="mine"), ("x",), {}, ["x", "r:1:a"]),
        (Callee(), (1,), {}, [1, "r:1:a"]),
        (Callee().method, (), {}, "r:1:a"),
    ],
)
async def test_whatever_can_be_called_is_called(
    threads: Threads, fn: Any, args: Any, kwargs: Any, expected: Any
) -> None:
    assert await run(threads, fn, *args, **kwargs) == expected


async def test_a_timeout_of_the_function_itself_is_not_the_steps(threads: Threads) -> None:
    async def own() -> None:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        await run(threads, own, timeout=60)
    with pytest.raises(StepTimeout, match=r"it took longer than its timeout of 0 s"):
        await run(threads, keyed_for_ever, timeout=0)


async def keyed_for_ever() -> None:
    await asyncio.Event().wait()


async def test_the_time_of_a_plain_function_begins_once_it_has_a_thread(threads: Threads) -> None:
    gate = threading.Event()
    first = asyncio.create_task(run(threads, gate.wait, 20))
    second = asyncio.create_task(run(threads, str, 5, timeout=0.01))
    with pytest.raises(StepTimeout):  # more time than it has goes by
        await run(threads, asyncio.Event().wait, timeout=0.05)
    gate.set()
    assert await second == "5"
    assert await first is True


async def test_what_a_plain_function_awaits_counts_as_its_time(threads: Threads) -> None:
    with pytest.raises(StepTimeout):
        await run(threads, lambda: asyncio.Event().wait(), timeout=0.01)


class Anything:
    """A proxy: it answers whatever it is asked for with another one."""

    def __getattr__(self, name: str) -> "Anything":
        return Anything()

    def __call__(self, *args: Any) -> list[Any]:
        return list(args)


@pytest.mark.parametrize(
    ("fn", "expected"),
    [(Mock(return_value={"a": 1}), {"a": 1}), (AsyncMock(return_value=[1]), [1]), (Anything().add, [3])],
)
async def test_a_mock_or_a_proxy_is_called_as_any_other_function(engines: Engines, fn: Any, expected: Any) -> None:
    async def one(ctx: Any) -> Any:
        return await ctx.step.run("k", fn, 3)

    engine = engines(one)
    await engine.start()
    ended = await engine.until_ended()
    assert (ended.failure, orjson.loads(ended.result or b"")) == (None, expected)


@pytest.mark.parametrize("how", ["closure", "default", "partial", "method", "object"])
async def test_nothing_of_a_function_that_is_made_anew_for_each_run_stays_after_it(engines: Engines, how: str) -> None:
    class Order:
        def charge(self) -> int:
            return 1

        def __call__(self) -> int:
            return 1

    def charged(order: Order) -> int:
        return order.charge()

    left: list[weakref.ref[Order]] = []

    async def one(ctx: Any) -> Any:
        order = Order()
        left.append(weakref.ref(order))

        def with_default(given: Order = order) -> int:
            return given.charge()

        makes: dict[str, Callable[[], int]] = {
            "closure": lambda: charged(order),
            "default": with_default,
            "partial": functools.partial(charged, order),
            "method": order.charge,
            "object": order,
        }
        return await ctx.step.run("k", makes[how])

    engine = engines(one)
    gc.disable()
    try:
        await engine.start()
        assert (await engine.until_ended()).result == b"1"
        await asyncio.gather(*engine.driver._runners)
        await asyncio.sleep(0)
        assert left[0]() is None
    finally:
        gc.enable()


async def test_arguments_that_do_not_fit_are_told_by_the_call(threads: Threads) -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'first'"):
        await run(threads, keyed)


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
