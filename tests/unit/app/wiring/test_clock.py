import asyncio

from app.wiring.clock import SystemClock


async def test_a_wait_ends_with_its_event() -> None:
    clock, event = SystemClock(), asyncio.Event()
    waiting = [asyncio.create_task(clock.wait(event, until)) for until in (None, clock.now_ms() + 3_600_000)]
    await asyncio.sleep(0)
    assert [one.done() for one in waiting] == [False, False]

    event.set()
    async with asyncio.timeout(20):
        await asyncio.gather(*waiting)


async def test_a_wait_ends_at_its_time_and_not_before() -> None:
    clock, event = SystemClock(), asyncio.Event()
    until = clock.now_ms() + 5

    async with asyncio.timeout(20):
        await clock.wait(event, until)

    assert clock.now_ms() >= until - 1  # the two clocks of the system round differently


async def test_a_time_that_has_passed_is_not_waited_for() -> None:
    clock = SystemClock()
    waiting = asyncio.create_task(clock.wait(asyncio.Event(), clock.now_ms()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert waiting.done()


async def test_who_is_always_late_still_lets_others_go_on() -> None:
    clock = SystemClock()
    others: list[str] = []
    asyncio.get_running_loop().call_soon(others.append, "went on")

    await clock.wait(asyncio.Event(), 0)

    assert others == ["went on"]


async def test_a_wait_that_ended_early_sets_its_event_no_more() -> None:
    clock, event = SystemClock(), asyncio.Event()
    event.set()
    await clock.wait(event, clock.now_ms() + 20)
    event.clear()

    later = asyncio.Event()
    await clock.wait(later, clock.now_ms() + 40)

    assert not event.is_set()
