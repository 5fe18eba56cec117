"""What was read and waits for the broker."""

import asyncio

from connectors.base import buffer
from connectors.base.buffer import Buffer, Read
from connectors.base.contract import Moved


def read(number: int) -> Read:
    return Read(item=Moved(position=number), at=0.0, at_ms=0)


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
