"""Ends that nothing holds up."""

import asyncio
from contextlib import suppress

import pytest

from connectors.base import closing


async def test_a_client_that_does_not_close_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "CLOSE_SECONDS", 0.01)
    await asyncio.wait_for(closing.close(asyncio.sleep(3_600)), 5)


async def test_what_a_client_raises_at_its_end_is_nobodys() -> None:
    async def stop() -> None:
        raise OSError

    async def cancelled() -> None:
        raise asyncio.CancelledError

    await closing.close(stop())
    await closing.close(cancelled())


async def test_a_cancellation_of_whoever_closes_waits_for_the_end_and_is_not_swallowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(closing, "CLOSE_SECONDS", 0.05)
    task = asyncio.create_task(closing.close(asyncio.sleep(3_600)))
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_task_that_swallows_a_cancellation_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "_ASK_AGAIN_SECONDS", 0.01)
    asked = 0

    async def stubborn() -> None:
        nonlocal asked
        while asked < 2:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3_600)
            asked += 1

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await asyncio.wait_for(closing.end([task]), 5)

    assert asked == 2


async def test_whoever_ends_tasks_and_is_cancelled_itself_goes_after_them() -> None:
    closed = []
    began = asyncio.Event()

    async def slow_to_close() -> None:
        try:
            began.set()
            await asyncio.sleep(3_600)
        finally:
            await asyncio.sleep(0.05)
            closed.append(1)

    task = asyncio.create_task(slow_to_close())
    await began.wait()
    ending = asyncio.create_task(closing.end([task]))
    await asyncio.sleep(0)
    ending.cancel()

    with pytest.raises(asyncio.CancelledError):
        await ending
    assert closed == [1]


async def test_a_client_that_takes_longer_goes_on_to_close_when_nobody_waits_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(closing, "CLOSE_SECONDS", 0.01)
    back, closed = asyncio.Event(), asyncio.Event()

    async def stop() -> None:
        await back.wait()  # such as a broker that is away
        closed.set()

    await closing.close(stop())
    assert not closed.is_set()
    back.set()

    await asyncio.wait_for(closed.wait(), 5)


async def test_what_is_ended_by_one_who_is_being_ended_is_asked_again_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(closing, "_ASK_AGAIN_SECONDS", 0.02)
    began = asyncio.Event()

    async def hangs_while_it_closes() -> None:
        try:
            began.set()
            await asyncio.sleep(3_600)
        finally:
            await asyncio.sleep(3_600)

    async def owner() -> None:
        task = asyncio.create_task(hangs_while_it_closes())
        try:
            await asyncio.sleep(3_600)
        finally:
            await closing.end([task])

    owned = asyncio.create_task(owner())
    await began.wait()

    await asyncio.wait_for(closing.end([owned]), 5)
    assert owned.cancelled()


async def test_who_never_ends_is_left_behind_once_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "_ASK_AGAIN_SECONDS", 0.01)
    done = asyncio.Event()

    async def stubborn() -> None:
        while not done.is_set():
            with suppress(asyncio.CancelledError):
                await done.wait()

    task, other = asyncio.create_task(stubborn()), asyncio.create_task(asyncio.sleep(3_600))
    await asyncio.sleep(0)
    left = await asyncio.wait_for(closing.end([task, other], within_seconds=0.05), 5)

    assert ({task}, True) == (left, other.cancelled())
    done.set()
    await asyncio.wait_for(task, 5)
