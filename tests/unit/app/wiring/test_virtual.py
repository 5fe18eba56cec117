"""app.wiring.virtual."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.wiring.virtual import Restless, VirtualLoop


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    made = VirtualLoop()
    yield made
    made.close()


def test_time_stands_still_until_it_is_told_to_pass(loop: VirtualLoop) -> None:
    fired: list[float] = []
    loop.call_later(10, lambda: fired.append(loop.time()))
    loop.settle()
    assert (loop.time(), fired) == (0.0, [])
    loop.run_to(9.5)
    assert (loop.time(), fired) == (9.5, [])
    loop.run_to(60)
    assert loop.time() == 60
    assert fired == [10.0]


@pytest.mark.parametrize("years", [1, 10, 100])
def test_timers_fire_however_long_ago_time_began(loop: VirtualLoop, years: int) -> None:
    moment = years * 365 * 86_400 + 0.3
    fired: list[float] = []
    loop.call_later(moment, lambda: loop.call_later(0.1, lambda: fired.append(loop.time())))
    loop.run_to(moment + 1)
    assert fired == [pytest.approx(moment + 0.1, abs=1e-6)]


def test_what_is_due_at_the_sum_of_many_advances_has_happened_with_all_that_follows(loop: VirtualLoop) -> None:
    happened: list[str] = []
    loop.call_later(0.8, lambda: loop.call_soon(lambda: happened.append("follows")))
    for _ in range(8):  # the sum is 0.7999999999999999
        loop.run_to(loop.time() + 0.1)
    assert happened == ["follows"]


def test_timers_fire_in_their_order_and_may_set_others(loop: VirtualLoop) -> None:
    fired: list[tuple[str, float]] = []
    loop.call_later(2, lambda: loop.call_later(1, lambda: fired.append(("third", loop.time()))))
    loop.call_later(1, lambda: fired.append(("first", loop.time())))
    loop.call_later(2.5, lambda: fired.append(("second", loop.time())))
    loop.run_to(5)
    assert fired == [("first", 1.0), ("second", 2.5), ("third", 3.0)]


def test_a_thread_is_waited_for_and_no_time_passes_meanwhile(loop: VirtualLoop) -> None:
    gate = threading.Event()
    loop.call_soon(gate.set)

    with ThreadPoolExecutor(1) as threads:

        async def work() -> tuple[bool, float]:
            done = await loop.run_in_executor(threads, gate.wait, 5)
            return done, loop.time()

        assert loop.finish(work()) == (True, 0.0)


def test_a_coroutine_that_waits_for_time_is_not_finished_at_once(loop: VirtualLoop) -> None:
    waiting = asyncio.sleep(1)
    with pytest.raises(Restless, match="waits for time to pass"):
        loop.finish(waiting)
    loop.run_to(1)


def test_what_goes_round_in_circles_is_named(loop: VirtualLoop) -> None:
    async def spin() -> None:
        while True:  # noqa: ASYNC110 that is the point
            await asyncio.sleep(0)

    task = loop.create_task(spin())
    with pytest.raises(Restless, match="goes round in circles"):
        loop.settle()
    task.cancel()
    loop.settle()
