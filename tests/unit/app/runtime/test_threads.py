import asyncio
import threading

import pytest

from app.runtime import threads
from app.runtime.threads import Threads
from headgate.errors import Pause


async def test_steps_have_threads_though_all_of_the_workflows_are_taken() -> None:
    made = Threads(1)
    gate = threading.Event()
    first = made.call_workflow(lambda: gate.wait(20))
    second = made.call_workflow(lambda: 2)
    assert (made.wanted, made.short) == (2, 1)
    assert await made.call_step(lambda: 3) == 3
    gate.set()

    assert [await first, await second] == [(True, None), (2, None)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert made.wanted == 0
    made.close()


async def test_what_a_call_raises_comes_back() -> None:
    made = Threads(1)
    error = StopIteration(1)

    def fails() -> None:
        raise error

    assert await made.call_workflow(fails) == (None, error)
    with pytest.raises(ZeroDivisionError):
        await made.call_step(lambda: 1 / 0)
    made.close()


@pytest.mark.parametrize("error", [Pause(), ValueError("no luck")])
async def test_a_thread_gets_what_became_of_a_future_of_the_loop(error: BaseException) -> None:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[int] = loop.create_future()
    waiting = asyncio.ensure_future(asyncio.to_thread(threads.wait_for, loop, lambda: future))
    loop.call_later(0.001, future.set_result, 5)
    assert await waiting == 5

    future = loop.create_future()
    loop.call_later(0.001, future.set_exception, error)
    with pytest.raises(type(error)):
        await asyncio.to_thread(threads.wait_for, loop, lambda: future)

    def begin() -> "asyncio.Future[int]":
        raise error

    with pytest.raises(type(error)):
        await asyncio.to_thread(threads.wait_for, loop, begin)
