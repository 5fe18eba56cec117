"""What waits for the broker."""

import asyncio

import pytest

from connectors.discord.inbox import Inbox


async def test_what_is_put_in_is_got_in_order() -> None:
    inbox: Inbox[int] = Inbox()
    assert inbox.is_empty
    for number in range(3):
        inbox.put(number)
    assert [await inbox.get() for _ in range(3)] == [0, 1, 2]
    assert inbox.is_empty


async def test_who_gets_waits_for_who_puts() -> None:
    inbox: Inbox[int] = Inbox()
    getting = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)
    inbox.put(7)
    assert await getting == 7


async def test_there_is_room_again_once_something_is_got() -> None:
    for inbox in (Inbox[str](max_items=2), Inbox[str](max_bytes=10)):
        inbox.put("a", 5)
        inbox.put("b", 5)
        waiting = asyncio.create_task(inbox.room())
        await asyncio.sleep(0)
        assert inbox.is_full
        assert not waiting.done()
        await inbox.get()
        await waiting
        assert not inbox.is_full


async def test_a_failure_is_raised_after_all_that_came_before_it() -> None:
    inbox: Inbox[int] = Inbox()
    inbox.put(1)
    inbox.fail(KeyError("broken"))
    assert await inbox.get() == 1
    for _ in range(2):
        with pytest.raises(KeyError, match="broken"):
            await inbox.get()
