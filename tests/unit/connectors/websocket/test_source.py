"""WebSocket sources before a server that others wrote: what comes, what is sent, and why a connection ends."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

import pytest
from aiohttp import web
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from connectors.base.contract import UNMOVED, Closed, NotConnected, Received, Refused, Sends, Unreadable
from tests.unit.connectors import serving as web_serving
from tests.unit.connectors.standing import StandIn, reading, until
from tests.unit.connectors.websocket.peer import serving, source, standing, url_of


@pytest.fixture
async def site() -> AsyncIterator[StandIn]:
    async with standing() as one:
        yield one


def sends(*messages: str | bytes) -> Any:
    """A service that sends messages and keeps the connection open."""

    async def handle(connection: ServerConnection) -> None:
        for message in messages:
            await connection.send(message)
        await connection.wait_closed()

    return handle


def closes(code: int, text: str = "") -> Any:
    async def handle(connection: ServerConnection) -> None:
        await connection.close(code, text)

    return handle


class Scripted:
    """A service that keeps what it gets, and answers as a test wants."""

    def __init__(self, **answers: str) -> None:
        self.got: list[str | bytes] = []
        self.requests: list[tuple[str, Headers]] = []
        self.connections: list[ServerConnection] = []
        self._answers = answers

    async def __call__(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.requests.append((connection.request.path, connection.request.headers))
        self.connections.append(connection)
        async for message in connection:
            self.got.append(message)
            if isinstance(message, str) and message in self._answers:
                await connection.send(self._answers[message])


async def ended(url: str, site: StandIn, **options: Any) -> Exception:
    async with reading(source(url, site, **options), site) as read:
        return await read.to_its_end()


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


# ---- tokens ----------------------------------------------------------------------------------------------------------


class TokenService:
    """Gives out tokens, each of which opens one connection."""

    def __init__(self) -> None:
        self.given: list[str] = []
        self.asked: list[tuple[str, str | None, Any]] = []
        self.valid: set[str] = set()

    async def give(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.asked.append((request.method, request.headers.get("X-Client"), body))
        token = f"canary-{len(self.given) + 1}"
        self.given.append(token)
        self.valid.add(token)
        return web.json_response({"data": {"token": token}})

    def admit(self, _: ServerConnection, request: Request) -> Response | None:
        used = request.headers.get("Authorization", "").removeprefix("Bearer ") or request.path.partition("t=")[2]
        if used not in self.valid:
            return Response(HTTPStatus.UNAUTHORIZED, "Unauthorized", Headers(), b"")
        self.valid.discard(used)
        return None


@pytest.mark.parametrize("place", [{}, {"put": "query", "name": "t"}])
async def test_each_connection_has_a_fresh_token(site: StandIn, place: dict[str, str]) -> None:
    """The old one has expired between two connections."""
    tokens = TokenService()
    token = {"headers": {"X-Client": "c"}, "body": {"secret": "s"}, "pointer": "/data/token", **place}
    async with (
        web_serving.serving(tokens.give) as where,
        serving(sends("1"), process_request=tokens.admit) as server,
    ):
        one = source(url_of(server), site, token={"url": f"http://{where}/token", **token})
        for _ in range(3):
            async with reading(one, site) as read:
                assert (await read.event()).data == "1"
    assert tokens.asked == [("POST", "c", {"secret": "s"})] * 3


async def test_a_token_may_stand_in_a_subscription(site: StandIn) -> None:
    tokens, service = TokenService(), Scripted()
    async with web_serving.serving(tokens.give) as where, serving(service) as server:
        token = {"url": f"http://{where}/", "method": "GET", "pointer": "/data/token", "put": "message"}
        subscribe = [{"message": {"auth": "{{ token }}"}}]
        async with reading(source(url_of(server), site, token=token, subscribe=subscribe), site) as read:
            item = asyncio.create_task(read.next())
            await until(lambda: bool(service.got))
            await service.connections[0].close(4001, "canary-1 is not known")
            with pytest.raises(Closed) as closed:
                await item
    assert service.got == ['{"auth":"canary-1"}']
    assert "canary" not in str(closed.value)
    assert "Authorization" not in service.requests[0][1]


async def test_fresh_tokens_that_are_refused_again_and_again_fail_the_source(site: StandIn) -> None:
    tokens = TokenService()
    async with web_serving.serving(tokens.give) as where, serving(sends(), process_request=tokens.admit) as server:
        one = source(url_of(server), site, token={"url": f"http://{where}/", "pointer": "/data/token", "name": "X"})
        ends = []
        for _ in range(3):
            async with reading(one, site) as read:
                ends.append(await read.to_its_end())
    assert [type(end) for end in ends] == [NotConnected, NotConnected, Refused]
    assert not any("canary" in str(end) for end in ends)


@pytest.mark.parametrize(
    ("status", "body", "kind", "reason"),
    [
        (401, b"", Refused, "unauthorized"),
        (503, b"", NotConnected, "http_503"),
        (200, b"no json", NotConnected, "no_token"),
        (200, b'{"token":""}', NotConnected, "no_token"),
        (200, b'{"tok":"t"}', NotConnected, "no_token"),
    ],
)
async def test_without_a_token_nothing_is_connected(
    site: StandIn, status: int, body: bytes, kind: type[NotConnected | Refused], reason: str
) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers={"Retry-After": "7"})

    async with web_serving.serving(answer) as where:
        service = Scripted()
        async with serving(service) as server:
            end = await ended(url_of(server), site, token={"url": f"http://{where}/"})
    assert isinstance(end, kind)
    assert end.reason == reason
    assert getattr(end, "retry_after_seconds", None) == (7.0 if reason == "http_503" else None)
    assert service.requests == []


# ---- keeping alive, or noticing that it is dead ----------------------------------------------------------------------

QUICK = {"ping_interval": "50ms", "idle_timeout": "400ms"}


async def test_a_server_that_accepts_and_says_nothing_is_given_up(site: StandIn) -> None:
    async def nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            writer.close()

    server = await asyncio.start_server(nothing, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        end = await ended(f"ws://127.0.0.1:{port}/", site, connect_timeout="200ms")
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


async def test_a_flood_comes_through_complete_and_in_order(site: StandIn) -> None:
    async with serving(counts_up(20_000)) as server, reading(source(url_of(server), site), site) as read:
        end = await read.to_its_end()
    assert isinstance(end, Closed)
    assert [int(item.data) for item in read.taken if isinstance(item, Received)] == list(range(20_000))


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


# ---- more than can be taken ------------------------------------------------------------------------------------------


def counts_up(to: int) -> Any:
    async def handle(connection: ServerConnection) -> None:
        for number in range(to):
            await connection.send(str(number))
        await connection.close(1001)

    return handle


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


# ---- why it ends -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1012, 1013, 1014, 3000, 4000, 4999])
async def test_a_close_code_is_tried_again_by_the_frame(site: StandIn, code: int) -> None:
    async with serving(closes(code, "why")) as server:
        end = await ended(url_of(server), site)
    assert isinstance(end, Closed)
    assert (end.code, end.reason, end.retry_after_seconds) == (code, f"close_{code}", None)
    assert str(end) == f"the other side closed the WebSocket with code {code} (why)"
    assert site.said == []


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1009, 1010])
async def test_a_broken_protocol_is_tried_again_slowly_and_said(site: StandIn, code: int) -> None:
    async with serving(closes(code)) as server:
        end = await ended(url_of(server), site)
    assert isinstance(end, Closed)
    assert (end.code, end.retry_after_seconds) == (code, 60.0)
    assert site.said == [("websocket_fault", {"reason": f"close_{code}"})]


async def test_a_fatal_close_code_fails_the_source(site: StandIn) -> None:
    async with serving(closes(4004, "no such key")) as server:
        end = await ended(url_of(server), site, fatal_close_codes=[4004])
    assert isinstance(end, Refused)
    assert str(end) == (
        "the other side closed source 'src' with code 4004 (no such key), which fatal_close_codes names"
    )


async def test_a_close_code_is_known_although_a_subscription_could_not_be_sent(site: StandIn) -> None:
    async with serving(closes(4004)) as server:
        subscribe = [{"message": {"n": number}} for number in range(100)]
        end = await ended(url_of(server), site, fatal_close_codes=[4004], subscribe=subscribe)
    assert isinstance(end, Refused)


async def test_a_link_that_breaks_without_a_close_frame_is_tried_again(site: StandIn) -> None:
    async def handle(connection: ServerConnection) -> None:
        connection.transport.abort()

    async with serving(handle) as server:
        end = await ended(url_of(server), site)
    assert isinstance(end, NotConnected)


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (401, Refused, "unauthorized"),
        (403, Refused, "unauthorized"),
        (404, Refused, "http_404"),
        (426, Refused, "http_426"),
        (429, NotConnected, "http_429"),
        (503, NotConnected, "http_503"),
    ],
)
async def test_the_status_of_the_handshake_decides(
    site: StandIn, status: int, kind: type[NotConnected | Refused], reason: str
) -> None:
    def refuse(_: ServerConnection, request: Request) -> Response:
        return Response(status, "no", Headers({"Retry-After": "9", "Content-Length": "0"}), b"")

    async with serving(sends(), process_request=refuse) as server:
        end = await ended(url_of(server), site)
    assert isinstance(end, kind)
    assert end.reason == reason
    assert getattr(end, "retry_after_seconds", None) == (9.0 if kind is NotConnected else None)


async def test_when_to_connect_again_is_left_to_the_frame(site: StandIn) -> None:
    service = Scripted()
    async with serving(service) as server:
        one = source(url_of(server), site)
        for _ in range(3):
            async with reading(one, site) as read:
                item = asyncio.create_task(read.next())
                await site.is_connected.wait()
                site.is_connected.clear()
                await service.connections[-1].close(1011)
                with pytest.raises(Closed) as closed:
                    await item
                assert closed.value.at_once is False
    assert len(service.requests) == 3
    assert set(site.slept) <= {15.0, 20.0}  # looking for silence, and pings


# ---- sending ---------------------------------------------------------------------------------------------------------


async def test_what_the_broker_has_is_acknowledged_with_the_ids_of_the_service(site: StandIn) -> None:
    service = Scripted(sub='{"id":7,"type":"order"}')
    options = {
        "id_pointer": "/id",
        "ack": {"ack": "{{ data.id }}", "of": "{{ type }}/{{ id }}"},
        "subscribe": [{"message": "sub"}],
    }
    async with serving(service) as server, reading(source(url_of(server), site, **options), site) as read:
        item = await read.next(settle=False)
        assert service.got == ["sub"]
        await read.settle(item)
        await until(lambda: len(service.got) == 2)
    assert json.loads(service.got[1]) == {"ack": 7, "of": "order/7"}


async def test_an_acknowledgement_after_its_connection_is_not_sent_over_another(site: StandIn) -> None:
    service = Scripted(sub='{"id":1}')
    options = {"id_pointer": "/id", "ack": {"ack": "{{ id }}"}, "subscribe": [{"message": "sub"}]}
    async with serving(service) as server:
        one = source(url_of(server), site, **options)
        async with reading(one, site) as read:
            old = await read.next(settle=False)
        async with reading(one, site) as read:
            new = await read.next(settle=False)
            await read.settle(old)
            await read.settle(new)
            await until(lambda: len(service.got) == 3)
    assert service.got == ["sub", "sub", '{"ack":"1"}']
    assert site.notes == {"ack_too_late": 1}


async def test_messages_are_sent_through_the_open_connection(site: StandIn) -> None:
    service = Scripted()
    async with serving(service) as server:
        one = source(url_of(server), site, subscribe=[{"message": "sub", "answer": {"data": "ok"}}])
        assert isinstance(one, Sends)
        with pytest.raises(NotConnected):
            await one.send({"op": "buy"}, key="k")
        async with reading(one, site) as read:
            item = asyncio.create_task(read.next())
            await until(lambda: service.got == ["sub"])
            with pytest.raises(NotConnected, match="source 'src' is not connected"):
                await one.send({"op": "buy"}, key="k")
            await service.connections[0].send("ok")
            await site.is_connected.wait()
            assert await one.send({"op": "buy"}, key="k") is None
            await until(lambda: service.got == ["sub", '{"op":"buy"}'])
            item.cancel()
            await asyncio.wait([item])
        with pytest.raises(NotConnected):
            await one.send({"op": "buy"}, key="k")


async def test_texts_are_sent_where_the_service_takes_texts(site: StandIn) -> None:
    service = Scripted()
    async with serving(service) as server:
        one = source(url_of(server), site, send_as="text")
        async with reading(one, site) as read:
            item = asyncio.create_task(read.next())
            await site.is_connected.wait()
            await one.send({"text": "buy"}, key="k")
            await until(lambda: service.got == ["buy"])
            with pytest.raises(Refused, match="needs a member `text`"):
                await one.send({"op": "buy"}, key="k")
            item.cancel()
            await asyncio.wait([item])
