"""What was read and waits for the broker."""

import asyncio

from connectors.base.contract import Moved, Received, Unreadable
from connectors.base.instance import buffer
from connectors.base.instance.buffer import Buffer, Read, Room, weight


def read(number: int) -> Read:
    return Read(item=Moved(position=number), at=0.0, at_ms=0)


def large(size: int) -> Read:
    return Read(item=Unreadable(id="1", reason="", raw=bytes(size)), at=0.0, at_ms=0)


async def test_what_was_put_is_taken_in_order() -> None:
    one = Buffer()
    for number in range(5):
        await one.put(read(number))

    assert [read(number) for number in range(5)] == await one.take()


async def test_a_full_buffer_holds_up_the_reader_until_something_is_taken() -> None:
    one = Buffer()
    for number in range(buffer.MOST):
        await one.put(read(number))
    waiting = asyncio.ensure_future(one.put(read(-1)))
    await asyncio.sleep(0)
    assert not waiting.done()

    taken = await one.take()
    await asyncio.wait_for(waiting, 5)

    assert len(taken) == buffer.AT_ONCE
    assert len(one) == buffer.MOST + 1  # what is in hand counts until it is done


async def test_a_closed_buffer_gives_what_it_has_and_then_nothing() -> None:
    one = Buffer()
    await one.put(read(1))
    one.close()

    assert [read(1)] == await one.take()
    assert await one.take() == []


async def test_nothing_is_put_into_a_closed_buffer() -> None:
    one = Buffer()
    one.close()
    waiting = asyncio.ensure_future(one.put(read(1)))
    await asyncio.sleep(0)

    assert not waiting.done()
    assert len(one) == 0
    waiting.cancel()


async def test_it_is_empty_only_when_what_was_taken_is_done() -> None:
    one = Buffer()
    await one.put(read(1))
    await one.take()
    emptied = asyncio.ensure_future(one.empty())
    await asyncio.sleep(0)
    assert not emptied.done()

    one.done()

    await asyncio.wait_for(emptied, 5)


async def test_a_taker_and_one_who_waits_for_the_end_do_not_take_each_others_word() -> None:
    one = Buffer()
    taking = asyncio.ensure_future(one.take())
    await one.put(read(1))
    emptied = asyncio.ensure_future(one.empty())
    assert [read(1)] == await asyncio.wait_for(taking, 5)
    one.done()

    await asyncio.wait_for(emptied, 5)


async def test_large_items_fill_it_by_their_size_and_one_that_is_larger_waits_alone() -> None:
    one = Buffer()
    await one.put(large(buffer.MOST_BYTES // 2))
    await one.put(large(buffer.MOST_BYTES // 2))
    waiting = asyncio.ensure_future(one.put(large(2 * buffer.MOST_BYTES)))
    await asyncio.sleep(0)
    assert not waiting.done()

    assert len(await one.take()) == 1  # one batch is not larger than is good for a request
    await asyncio.sleep(0)
    assert not waiting.done()
    one.done()
    assert len(await one.take()) == 1
    await asyncio.wait_for(waiting, 5)


async def test_all_sources_share_one_room_and_each_may_have_one_that_waits() -> None:
    room = Room(1_000)
    greedy, other = Buffer(room), Buffer(room)
    await greedy.put(large(900))
    await other.put(large(900))
    waiting = asyncio.ensure_future(other.put(large(50)))
    await asyncio.sleep(0)
    assert not waiting.done()

    await greedy.take()
    greedy.done()
    await asyncio.wait_for(waiting, 5)
    assert room.used_bytes == 950

    other.discard()
    assert (room.used_bytes, len(other)) == (0, 0)
    await asyncio.wait_for(other.empty(), 5)


def test_the_weight_of_an_item_is_about_what_it_takes() -> None:
    def of(data: object) -> int:
        return weight(Received(id="1", event_type="t", data=data))

    assert of("x" * 1_000) > 1_000
    assert of({"name" * 1_000: None}) > 4_000
    assert of([[1] * 1_000]) > 8_000
    assert 0 < of({1: b"x"}) < 1_000
    assert weight(Moved(position="x" * 1_000)) == 0
