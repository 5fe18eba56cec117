import asyncio
import functools
from collections.abc import Iterator
from typing import Any

import pytest

from app.runtime.jobs import StepTimeout, job_of
from app.runtime.threads import Threads


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


async def test_arguments_that_do_not_fit_are_told_by_the_call(threads: Threads) -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'first'"):
        await run(threads, keyed)
