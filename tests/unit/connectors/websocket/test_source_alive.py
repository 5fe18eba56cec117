"""Connections of WebSocket sources that are kept alive, and those that are noticed to be dead."""

import asyncio
import json

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from connectors.base.contract import NotConnected, Received
from tests.unit.connectors.standing import StandIn, reading, until
from tests.unit.connectors.websocket.peer import Scripted, ended, serving, source, url_of

QUICK = {"ping_interval": "50ms", "idle_timeout": "400ms"}


async def test_a_server_that_accepts_and_says_nothing_is_given_up(site: StandIn) -> None:
    over = asyncio.Event()

    async def nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    server = await asyncio.start_server(nothing, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        end = await ended(f"ws://127.0.0.1:{port}/", site, connect_timeout="200ms")
        over.set()
    assert isinstance(end, NotConnected)
    assert end.reason == "timeout"


async def test_a_quiet_link_whose_other_side_answers_pings_lives(site: StandIn) -> None:
    service = Scripted()
    async with serving(service) as server, reading(source(url_of(server), site, **QUICK), site) as read:
        item = asyncio.create_task(read.next())
        await until(lambda: site.slept.count(0.1) >= 10)  # many times as long as idle_timeout allows
        await service.connections[0].send("late")
        assert isinstance(await item, Received)


async def test_a_half_open_link_is_noticed(site: StandIn) -> None:
    """The other side is gone without a word: nothing comes any more, not even an answer to a ping."""

    over = asyncio.Event()

    async def handle(connection: ServerConnection) -> None:
        await connection.send("1")
        connection.transport.pause_reading()  # pings come to nobody
        await over.wait()
        connection.transport.abort()

    async with serving(handle) as server:
        async with reading(source(url_of(server), site, **QUICK), site) as read:
            end = await read.to_its_end()
            assert [item.data for item in read.taken if isinstance(item, Received)] == ["1"]
        over.set()
    assert isinstance(end, NotConnected)
    assert end.reason == "idle"
    assert str(end) == "nothing came to source 'src' for 0.4 s, not even an answer to a ping"


async def test_a_slow_broker_does_not_cost_a_healthy_link(site: StandIn) -> None:
    """Pongs stand behind messages that nobody reads: that they do not come says nothing about the link."""

    async def handle(connection: ServerConnection) -> None:
        try:
            for number in range(4000):
                await connection.send(json.dumps({"n": number, "pad": "x" * 2000}))
            await connection.wait_closed()
        except ConnectionClosed:
            pass

    options = {**QUICK, "buffer_messages": 5}
    async with serving(handle) as server, reading(source(url_of(server), site, **options), site) as read:
        for pause in range(3):
            assert (await read.event()).data["n"] == pause
            looks = site.slept.count(0.1)
            await until(lambda: site.slept.count(0.1) >= looks + 8)  # noqa: B023 twice what idle_timeout allows
        assert [(await read.event()).data["n"] for _ in range(3997)] == list(range(3, 4000))
    assert site.connections == 1


async def test_pings_of_the_application_are_sent_and_their_answers_are_no_events(site: StandIn) -> None:
    service = Scripted(**{'{"op":"ping"}': '{"op":"pong"}'})
    ping = {"message": {"op": "ping"}, "interval": "20ms", "pong": {"data.op": "pong"}}
    async with serving(service) as server, reading(source(url_of(server), site, ping=ping), site) as read:
        item = asyncio.create_task(read.next())
        await until(lambda: len(service.got) >= 3)
        await service.connections[0].send('{"n":1}')
        assert (await item) == read.taken[0]
    assert isinstance(read.taken[0], Received)
    assert read.taken[0].data == {"n": 1}
