"""The buffer between the reader of a socket and the broker: in order, bounded, and with a rule for when it is full."""

import asyncio

import pytest

from connectors.base.contract import NotConnected
from connectors.websocket.inbox import Inbox, Overflow
from tests.unit.connectors.standing import until


async def filled(overflow: Overflow, messages: str, *, max_messages: int = 3, max_bytes: int = 100) -> Inbox:
    inbox = Inbox(overflow, max_messages=max_messages, max_bytes=max_bytes)
    for message in messages:
        await inbox.put(message)
    return inbox


async def taken(inbox: Inbox, count: int) -> str:
    return "".join([str(await inbox.take()) for _ in range(count)])


async def test_messages_are_taken_in_order() -> None:
    inbox = await filled(Overflow.BLOCK, "abc")
    assert await taken(inbox, 3) == "abc"
    assert (inbox.came, inbox.taken, inbox.dropped) == (3, 3, 0)


async def test_whoever_takes_waits_for_the_next() -> None:
    inbox = await filled(Overflow.BLOCK, "")
    taking = asyncio.create_task(inbox.take())
    await asyncio.sleep(0)
    assert not taking.done()
    await inbox.put("a")
    assert await taking == "a"


async def test_the_reader_waits_for_room() -> None:
    inbox = await filled(Overflow.BLOCK, "abc")
    putting = asyncio.create_task(inbox.put("d"))
    await until(lambda: inbox.blocked)
    assert await inbox.take() == "a"
    await putting
    assert not inbox.blocked
    assert await taken(inbox, 3) == "bcd"


async def test_a_reader_that_is_ended_while_it_waits_leaves_nothing_behind() -> None:
    inbox = await filled(Overflow.BLOCK, "abc")
    putting = asyncio.create_task(inbox.put("d"))
    await until(lambda: inbox.blocked)
    putting.cancel()
    await asyncio.wait([putting])
    assert not inbox.blocked
    assert await taken(inbox, 3) == "abc"


async def test_the_oldest_make_room_and_are_counted() -> None:
    inbox = await filled(Overflow.DROP_OLDEST, "abcdef")
    assert await taken(inbox, 3) == "def"
    assert (inbox.came, inbox.taken, inbox.dropped) == (6, 6, 3)


async def test_nothing_is_dropped_while_somebody_takes_as_fast_as_it_can() -> None:
    inbox = await filled(Overflow.DROP_OLDEST, "")
    taking = asyncio.create_task(taken(inbox, 9))
    for message in "abcdefghi":  # in one go, as the messages of one packet come
        await inbox.put(message)
    assert await taking == "abcdefghi"
    assert inbox.dropped == 0


async def test_more_than_is_kept_ends_the_connection_after_what_is_kept() -> None:
    inbox = await filled(Overflow.DISCONNECT, "abc")
    with pytest.raises(NotConnected) as full:
        await inbox.put("d")
    assert full.value.reason == "overflow"
    inbox.fail(full.value)
    assert await taken(inbox, 3) == "abc"
    with pytest.raises(NotConnected, match="3 messages wait for the broker, more are not kept"):
        await inbox.take()


@pytest.mark.parametrize("overflow", list(Overflow))
async def test_a_message_larger_than_the_buffer_is_kept_when_it_is_alone(overflow: Overflow) -> None:
    inbox = await filled(overflow, "", max_bytes=2)
    await inbox.put("four")
    assert await inbox.take() == "four"


async def test_bytes_are_bounded_as_well() -> None:
    inbox = await filled(Overflow.DROP_OLDEST, "", max_messages=100, max_bytes=4)
    for message in ("aa", "bb", "cc"):
        await inbox.put(message)
    assert inbox.dropped == 1
    assert await taken(inbox, 2) == "bbcc"


async def test_the_first_failure_counts_and_wakes_whoever_waits() -> None:
    inbox = await filled(Overflow.BLOCK, "")
    taking = asyncio.create_task(inbox.take())
    await asyncio.sleep(0)
    inbox.fail(NotConnected("first"))
    inbox.fail(NotConnected("second"))
    with pytest.raises(NotConnected, match="first"):
        await taking
