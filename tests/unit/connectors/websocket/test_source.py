"""WebSocket sources before a server that others wrote: what comes, and what is subscribed to."""

import asyncio
import base64
import json

from websockets.asyncio.server import ServerConnection

from connectors.base.contract import UNMOVED, NotConnected, Received, Unreadable
from tests.unit.connectors.standing import StandIn, reading, until
from tests.unit.connectors.websocket.peer import Scripted, sends, serving, source, url_of

# ---- what comes ------------------------------------------------------------------------------------------------------


async def test_messages_are_events_in_order_with_the_type_that_they_name(site: StandIn) -> None:
    texts: list[str | bytes] = [
        '{"type":"trade","event":"x","p":1}',
        '{"event":"tick"}',
        '{"p":2}',
        "[1]",
        "pong",
        b"\x00\xff",
    ]
    async with serving(sends(*texts)) as server, reading(source(url_of(server), site), site) as read:
        events = [await read.event() for _ in texts]
    assert [(event.id, event.event_type, event.data, event.position) for event in events] == [
        ("e1-1", "trade", {"type": "trade", "event": "x", "p": 1}, UNMOVED),
        ("e1-2", "tick", {"event": "tick"}, UNMOVED),
        ("e1-3", "message", {"p": 2}, UNMOVED),
        ("e1-4", "message", [1], UNMOVED),
        ("e1-5", "message", "pong", UNMOVED),
        ("e1-6", "message", base64.b64encode(b"\x00\xff").decode(), UNMOVED),
    ]
    assert site.connections == 1


async def test_what_is_no_json_is_a_dead_letter_where_json_is_wanted(site: StandIn) -> None:
    options = {"form": "json", "binary": "raw"}
    async with (
        serving(sends("{", b'{"a":1}')) as server,
        reading(source(url_of(server), site, **options), site) as read,
    ):
        first, second = await read.next(), await read.next()
    assert isinstance(first, Unreadable)
    assert (first.id, first.raw) == ("e1-1", b"{")
    assert isinstance(second, Received)
    assert second.data == {"a": 1}


async def test_headers_and_subprotocols_are_offered(site: StandIn) -> None:
    service = Scripted()
    async with serving(service, subprotocols=["v2"]) as server:
        options = {"headers": {"X-Key": "k1"}, "subprotocols": ["v1", "v2"]}
        async with reading(source(url_of(server), site, **options), site) as read:
            item = asyncio.create_task(read.next())
            await until(lambda: bool(service.requests))
            item.cancel()
            await asyncio.wait([item])
    assert service.requests[0][1]["X-Key"] == "k1"
    assert service.connections[0].subprotocol == "v2"


async def test_an_id_of_the_service_is_the_same_on_every_connection(site: StandIn) -> None:
    async with serving(sends('{"data":{"id":7}}', '{"data":{}}', '{"data":{"id":"x"}}')) as server:
        one = source(url_of(server), site, id_pointer="/data/id")
        ids = []
        for epoch in ("e1", "e2"):
            site.epoch = epoch
            async with reading(one, site) as read:
                ids.append([(await read.event()).id for _ in range(3)])
    assert ids == [["7", "e1-2", "x"], ["7", "e2-2", "x"]]


# ---- subscribing -----------------------------------------------------------------------------------------------------


TWO = [
    {"message": {"op": "sub", "ch": "a"}, "answer": {"data.ok": "a"}},
    {"message": "sub b", "answer": {"data": "ok b"}},
]
FIRST, SECOND = '{"op":"sub","ch":"a"}', "sub b"


async def test_each_subscription_waits_for_the_answer_to_the_one_before(site: StandIn) -> None:
    service = Scripted(**{FIRST: '{"ok":"a"}', SECOND: "ok b"})
    async with serving(service) as server, reading(source(url_of(server), site, subscribe=TWO), site) as read:
        item = asyncio.create_task(read.next())
        await site.is_connected.wait()
        assert service.got == [FIRST, SECOND]
        await service.connections[0].send('{"n":1}')
        event = await item
    assert isinstance(event, Received)
    assert event.data == {"n": 1}
    assert [item for item in read.taken if isinstance(item, Received)] == [event]


async def test_what_comes_before_an_answer_that_is_late_is_an_event(site: StandIn) -> None:
    service = Scripted()
    async with serving(service) as server, reading(source(url_of(server), site, subscribe=TWO), site) as read:
        item = asyncio.create_task(read.next())
        await until(lambda: service.got == [FIRST])
        await service.connections[0].send('{"n":1}')
        await service.connections[0].send('{"ok":"other"}')
        assert [(await item), await read.next()] == read.taken
        assert site.connections == 0
        item = asyncio.create_task(read.next())
        await service.connections[0].send('{"ok":"a"}')
        await until(lambda: service.got == [FIRST, SECOND])
        await service.connections[0].send("ok b")
        await site.is_connected.wait()
        await service.connections[0].send('{"n":2}')
        await item
    assert [item.data for item in read.taken if isinstance(item, Received)] == [{"n": 1}, {"ok": "other"}, {"n": 2}]


async def test_a_subscription_that_nobody_answers_is_tried_again_and_ends_nothing(site: StandIn) -> None:
    subscribe = [{"message": "hello"}, {"message": "sub", "answer": {"data.ok": True}, "timeout": "100ms"}]
    service = Scripted()
    async with serving(service) as server:
        one = source(url_of(server), site, subscribe=subscribe)
        for _ in range(2):
            async with reading(one, site) as read:
                end = await read.to_its_end()
            assert isinstance(end, NotConnected)
            assert end.reason == "subscribe_timeout"
            assert str(end) == "message 2 of subscribe of source 'src' was not answered within 0.1 s"
    assert service.got == ["hello", "sub"] * 2


async def test_an_answer_counts_although_the_reader_was_too_slow_to_see_it_in_time(site: StandIn) -> None:
    """Time is up while the answer waits behind events that the broker has not taken yet."""
    subscribe = [{"message": "sub", "answer": {"data": "ok"}, "timeout": "50ms"}]

    async def handle(connection: ServerConnection) -> None:
        await connection.recv()
        for text in ("1", "2", "ok", "3"):
            await connection.send(text)
        await connection.wait_closed()

    async with serving(handle) as server, reading(source(url_of(server), site, subscribe=subscribe), site) as read:
        assert (await read.event()).data == "1"
        slept = len(site.slept)
        await until(lambda: len(site.slept) >= slept + 3)  # time was up, and it looked again
        assert [(await read.event()).data for _ in range(2)] == ["2", "3"]


async def test_a_position_is_sent_back_in_the_subscription_and_in_the_url(site: StandIn) -> None:
    subscribe = [{"message": {"op": "sub", "since": "{{ position }}", "token": 1}}]
    resume = {"pointer": "/seq", "query": "cursor"}
    service = Scripted()
    async with serving(service) as server:
        one = source(url_of(server) + "?a=b", site, subscribe=subscribe, resume=resume)
        for number in (1, 2):
            async with reading(one, site) as read:
                item = asyncio.create_task(read.next())
                await until(lambda: len(service.got) == number)  # noqa: B023
                await service.connections[-1].send(json.dumps({"seq": number * 10}))
                await item
    assert service.got == ['{"op":"sub","token":1}', '{"op":"sub","since":10,"token":1}']
    assert [path for path, _ in service.requests] == ["/?a=b", "/?a=b&cursor=10"]
    assert site.position == 20
