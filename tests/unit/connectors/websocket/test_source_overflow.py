"""WebSocket sources that get more than can be taken: a flood, a full buffer, a message of a gigabyte."""

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from connectors.base.contract import Closed, NotConnected, Received
from tests.unit.connectors.standing import StandIn, reading, until
from tests.unit.connectors.websocket.peer import serving, source, url_of


def counts_up(to: int) -> Any:
    async def handle(connection: ServerConnection) -> None:
        for number in range(to):
            await connection.send(str(number))
        await connection.close(1001)

    return handle


async def test_a_flood_comes_through_complete_and_in_order(site: StandIn) -> None:
    async with serving(counts_up(20_000)) as server, reading(source(url_of(server), site), site) as read:
        end = await read.to_its_end()
    assert isinstance(end, Closed)
    assert [int(item.data) for item in read.taken if isinstance(item, Received)] == list(range(20_000))


async def came(site: StandIn) -> None:
    """Far more than the buffer holds has come, and the reader has had its turn."""
    await until(lambda: site.heard_bytes > 1000 * 4)
    for _ in range(10):
        await asyncio.sleep(0)


async def test_the_oldest_are_dropped_and_counted(site: StandIn) -> None:
    options = {"overflow": "drop_oldest", "buffer_messages": 10}
    async with serving(counts_up(1000)) as server, reading(source(url_of(server), site, **options), site) as read:
        assert (await read.event()).data == "0"
        await came(site)
        end = await read.to_its_end()
        seen = [int(item.data) for item in read.taken if isinstance(item, Received)]
    assert isinstance(end, Closed)
    assert seen[-10:] == list(range(990, 1000))
    assert len(seen) + site.notes["dropped"] == 1000


@pytest.mark.parametrize(
    ("options", "dropped"),
    [
        ({}, 99),
        ({"overflow": "drop_oldest", "buffer_messages": 10}, 99),
        ({"ack": {"ack": "{{ data.n }}"}}, 0),
        ({"resume": {"pointer": "/n", "query": "after"}}, 0),
    ],
)
async def test_what_was_read_and_is_not_told_again_is_counted_when_reading_ends(
    site: StandIn, options: dict[str, Any], dropped: int
) -> None:
    all_came = asyncio.Event()

    async def handle(connection: ServerConnection) -> None:
        for number in range(100):
            await connection.send(json.dumps({"n": number}))
        await connection.close(1001)  # it is answered behind all that came before
        all_came.set()

    options = {"id_pointer": "/n", **options}
    async with serving(handle) as server, reading(source(url_of(server), site, **options), site) as read:
        assert (await read.event()).data == {"n": 0}
        await all_came.wait()
    assert site.notes["dropped"] == dropped


async def test_a_full_buffer_ends_the_connection_after_what_it_has(site: StandIn) -> None:
    options = {"overflow": "disconnect", "buffer_messages": 10}
    async with serving(counts_up(1000)) as server, reading(source(url_of(server), site, **options), site) as read:
        assert (await read.event()).data == "0"
        await came(site)
        end = await read.to_its_end()
        seen = [int(item.data) for item in read.taken if isinstance(item, Received)]
    assert isinstance(end, NotConnected)
    assert end.reason == "overflow"
    assert seen == list(range(len(seen)))
    assert 10 <= len(seen) < 1000


async def test_a_message_of_a_gigabyte_is_refused_by_its_head(site: StandIn) -> None:
    sent = 0

    async def handle(connection: ServerConnection) -> None:
        nonlocal sent
        await connection.send("1")
        connection.transport.write(b"\x81\x7f" + (1 << 30).to_bytes(8, "big"))
        try:
            while not connection.transport.is_closing() and sent < 1 << 30:
                connection.transport.write(b"x" * 65536)
                sent += 65536
                await asyncio.sleep(0.001 if connection.transport.get_write_buffer_size() > 1 << 20 else 0)
        finally:
            connection.transport.abort()

    async with serving(handle) as server, reading(source(url_of(server), site), site) as read:
        end = await read.to_its_end()
    assert [item.data for item in read.taken if isinstance(item, Received)] == ["1"]
    assert isinstance(end, NotConnected)
    assert (end.reason, end.retry_after_seconds) == ("message_too_big", 60.0)
    assert site.said == [("websocket_fault", {"reason": "message_too_big"})]
    assert site.heard_bytes < 16 << 20
