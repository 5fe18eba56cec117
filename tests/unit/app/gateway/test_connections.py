"""What bounds a connection, over real sockets: bytes of a head, time, open connections."""

import asyncio
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from app.gateway import connections, server
from app.gateway.connections import Bounds
from app.kafka.producer import Outgoing
from app.settings import GatewaySettings

EVENT = b'{"topic":"a","data":1}'
POST = b"POST /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer test-token\r\n"
WHOLE = POST + b"Content-Length: 22\r\n\r\n" + EVENT
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@dataclass(frozen=True)
class Line:
    """A client that writes what it likes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def answer(self) -> tuple[int, dict[str, Any]]:
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return int(head.split()[1]), orjson.loads(await self.reader.readexactly(length))

    async def refusal(self) -> tuple[int, str]:
        """The status and code of the last answer; nothing may follow it."""
        status, body = await self.answer()
        assert await self.reader.read() == b""
        return status, body["error"]["code"]

    async def trickle(self, piece: bytes) -> bytes:
        """Write `piece` again and again until something is answered, or the connection ends."""
        reading = asyncio.create_task(self.reader.read(1))
        while not (await asyncio.wait({reading}, timeout=0.02))[0]:
            self.writer.write(piece)
        return await reading

    async def flood(self) -> None:
        """Write without end."""
        while True:
            self.writer.write(b"x")
            await self.writer.drain()
            await asyncio.sleep(0)


@dataclass(frozen=True)
class Open:
    """A gateway that listens."""

    served: Any
    connect: Callable[[], Any]

    async def send(self, raw: bytes) -> Line:
        line: Line = await self.connect()
        line.writer.write(raw)
        return line


Listening = Callable[..., AbstractAsyncContextManager[Open]]


@pytest.fixture
def listening(serve: Any) -> Listening:
    """`async with listening(head_seconds=0.2) as gateway`: its bounds; nothing may take longer than 10 s."""

    @asynccontextmanager
    async def listening(**bounds: Any) -> AsyncIterator[Open]:
        stop = asyncio.Event()
        lines: list[Line] = []
        async with asyncio.timeout(10), serve() as served:
            with server.bind(GatewaySettings(port=0)) as listener:
                given = Bounds(sweep_seconds=0.02, **bounds)
                serving = asyncio.create_task(server.serve(served.app, listener, stop=stop, bounds=given))

                async def connect() -> Line:
                    lines.append(Line(*await asyncio.open_connection(*listener.getsockname())))
                    return lines[-1]

                try:
                    yield Open(served, connect)
                finally:
                    for line in lines:
                        line.writer.transport.abort()
                    stop.set()
                    await serving

    return listening


@pytest.mark.parametrize(
    "endless",
    [
        pytest.param(GET + b"X: " + b"x" * 70_000, id="a header"),
        pytest.param(GET + b"X" * 70_000, id="a header's name"),
        pytest.param(b"GET /" + b"x" * 70_000, id="a path"),
        pytest.param(GET + b"X: 1\r\n" * 12_000, id="header lines"),
        pytest.param(b"\r\n" * 35_000, id="empty lines"),
        pytest.param(CHUNKED + b"1;" + b"x" * 600_000, id="an extension of a chunk"),
        pytest.param(CHUNKED + b"1\r\nx\r\n0\r\nX: " + b"x" * 600_000, id="a trailer"),
    ],
)
async def test_what_frames_a_request_and_has_no_end_is_431(listening: Listening, endless: bytes) -> None:
    async with listening() as gateway:
        line = await gateway.send(endless)
        assert await line.refusal() == (431, "head_too_large")


@pytest.mark.parametrize(
    "whole",
    [
        pytest.param(GET + b"X: " + b"x" * 70_000 + b"\r\n\r\n", id="a header"),
        pytest.param(b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", id="a path"),
        pytest.param(GET + b"X: 1\r\n" * 100 + b"\r\n", id="101 lines"),
    ],
)
async def test_a_head_above_the_bound_is_431_though_it_is_whole(listening: Listening, whole: bytes) -> None:
    async with listening() as gateway:
        line = await gateway.send(whole)
        assert await line.refusal() == (431, "head_too_large")


async def test_a_head_within_the_bounds_is_served(listening: Listening) -> None:
    async with listening() as gateway:
        line = await gateway.send(GET + b"X: 1\r\n" * 98 + b"Y: " + b"y" * 60_000 + b"\r\n\r\n")
        assert (await line.answer())[0] == 200


async def test_a_body_counts_nothing_towards_the_head(listening: Listening) -> None:
    async with listening() as gateway:
        body = b'{"topic":"a","data":"' + b"x" * 300_000 + b'"}'
        line = await gateway.send(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body + WHOLE)
        assert [(await line.answer())[0] for _ in range(2)] == [202, 202]


@pytest.mark.parametrize("begun", [b"", b"P", POST, b"\r\n"])
async def test_a_head_that_is_not_whole_in_time_is_408(listening: Listening, begun: bytes) -> None:
    async with listening(head_seconds=0.1) as gateway:
        line = await gateway.send(begun)
        assert await line.refusal() == (408, "too_slow")


async def test_bytes_that_come_slowly_give_a_head_no_more_time(listening: Listening) -> None:
    async with listening(head_seconds=0.1) as gateway:
        line = await gateway.send(GET + b"X: ")
        assert await line.trickle(b"x") == b"H"


async def test_the_next_head_on_a_connection_has_its_deadline_too(listening: Listening) -> None:
    async with listening(head_seconds=0.1) as gateway:
        line = await gateway.send(WHOLE)
        assert (await line.answer())[0] == 202
        assert await line.trickle(b"\r\n") == b"H"


@pytest.mark.parametrize("begun", [POST + b"Content-Length: 100000\r\n\r\n{", CHUNKED + b"1\r\n{\r\n"])
async def test_a_body_that_is_not_whole_in_time_is_408_and_no_longer_in_flight(
    listening: Listening, begun: bytes
) -> None:
    async with listening(body_seconds=0.1) as gateway:
        line = await gateway.send(begun)
        assert await line.refusal() == (408, "too_slow")
        assert (gateway.served.gateway.flight.requests, gateway.served.gateway.flight.body_bytes) == (0, 0)


async def test_bytes_that_come_slowly_give_a_body_no_more_time(listening: Listening) -> None:
    async with listening(body_seconds=0.1) as gateway:
        line = await gateway.send(POST + b"Content-Length: 100000\r\n\r\n")
        assert await line.trickle(b" ") == b"H"


async def test_a_body_that_comes_fast_enough_may_take_longer(listening: Listening) -> None:
    async with listening(body_seconds=0.05, body_bytes_per_second=1) as gateway:
        line = await gateway.send(WHOLE[:-1])
        other = await gateway.send(POST + b"Content-Length: 22\r\n\r\n")
        assert await other.refusal() == (408, "too_slow")
        line.writer.write(WHOLE[-1:])
        assert (await line.answer())[0] == 202


async def test_a_body_that_goes_on_after_its_answer_ends_with_the_connection(listening: Listening) -> None:
    async with listening(body_seconds=0.1) as gateway:
        line = await gateway.send(POST.replace(b"test-token", b"wrong") + b"Content-Length: 100000\r\n\r\n")
        assert (await line.answer())[0] == 401
        with suppress(ConnectionResetError):
            assert await line.trickle(b"x") == b""


async def test_a_connection_without_a_next_request_is_closed(listening: Listening) -> None:
    async with listening(idle_seconds=0.1) as gateway:
        line = await gateway.send(WHOLE)
        assert (await line.answer())[0] == 202
        assert await line.reader.read() == b""


async def test_it_is_closed_sooner_while_more_than_half_of_the_connections_are_open(listening: Listening) -> None:
    async with listening(idle_seconds=60, crowded_idle_seconds=0.1, connections=3) as gateway:
        first = await gateway.send(WHOLE)
        assert (await first.answer())[0] == 202
        reading = asyncio.create_task(first.reader.read())
        assert not (await asyncio.wait({reading}, timeout=0.3))[0], "alone it stays open"
        second = await gateway.connect()
        assert await reading == b""
        second.writer.close()


async def test_a_connection_whose_body_was_refused_and_came_whole_is_closed_too(listening: Listening) -> None:
    async with listening(idle_seconds=0.1) as gateway:
        line = await gateway.send(POST.replace(b"test-token", b"wrong") + b"Content-Length: 3\r\n\r\n")
        assert (await line.answer())[0] == 401
        line.writer.write(b"abc")
        assert await line.reader.read() == b""


async def test_an_answer_that_takes_long_is_no_fault_of_the_client(listening: Listening) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()
    async with listening(head_seconds=0.05, body_seconds=0.05, idle_seconds=0.05, answer_seconds=0.05) as gateway:

        async def slow(_events: list[Outgoing]) -> None:
            arrived.set()
            await go_on.wait()

        gateway.served.producer.produce = slow
        line = await gateway.send(WHOLE + b"GET /healthz HT")
        await arrived.wait()
        other = await gateway.connect()
        assert await other.refusal() == (408, "too_slow")
        go_on.set()
        assert (await line.answer())[0] == 202


async def test_a_client_that_does_not_take_its_answers_is_cut_off(listening: Listening) -> None:
    left = asyncio.Event()

    async def large(_scope: Any, _receive: Any, send: Any) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(100):
                await send({"type": "http.response.body", "body": b"x" * 1_000_000, "more_body": True})
        finally:
            left.set()

    async with listening(answer_seconds=0.1) as gateway:
        gateway.served.app.api = large
        line = await gateway.connect()
        line.writer.transport.pause_reading()
        line.writer.write(GET + b"\r\n")
        await left.wait()


async def test_one_connection_too_many_is_503_until_another_is_closed(listening: Listening) -> None:
    async with listening(connections=2) as gateway:
        first, second = await gateway.send(WHOLE), await gateway.send(WHOLE)
        assert [(await one.answer())[0] for one in (first, second)] == [202, 202]
        third = await gateway.connect()
        assert await third.refusal() == (503, "gateway_full")
        first.writer.write(WHOLE.replace(b"Host: x", b"Connection: close"))
        assert (await first.answer())[0] == 202
        assert await first.reader.read() == b""
        fourth = await gateway.send(WHOLE)
        assert (await fourth.answer())[0] == 202


async def test_one_address_does_not_take_the_connections_of_all(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = ["192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2", None, None, None, "192.0.2.1"]
    monkeypatch.setattr(connections, "counted_as", lambda _peer: addresses.pop(0))
    async with listening(per_address=2) as gateway:
        first, second = await gateway.send(WHOLE), await gateway.send(WHOLE)
        assert [(await one.answer())[0] for one in (first, second)] == [202, 202]
        assert await (await gateway.connect()).refusal() == (503, "address_full")
        for _ in range(4):  # another one, and this machine
            assert (await (await gateway.send(WHOLE)).answer())[0] == 202
        first.writer.write(WHOLE.replace(b"Host: x", b"Connection: close"))
        assert (await first.answer())[0] == 202
        assert await first.reader.read() == b""
        assert (await (await gateway.send(WHOLE)).answer())[0] == 202
        refused = gateway.served.gateway.metrics.registry.get_sample_value
        assert refused("headgate_gateway_connections_refused_total", {"code": "address_full"}) == 1


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        (("192.0.2.1", 5), "192.0.2.1"),
        (("::ffff:192.0.2.1", 5, 0, 0), "192.0.2.1"),
        (("2001:db8:1:2:3::4", 5, 0, 0), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 5, 0, 2), "fe80::/64"),
        (("127.0.0.1", 5), None),
        (("127.9.9.9", 5), None),
        (("::1", 5, 0, 0), None),
        (("::ffff:127.0.0.1", 5, 0, 0), None),
        (("", 5), None),
        ((), None),
        ("", None),
        (None, None),
    ],
)
def test_a_peer_is_counted_by_its_address_or_its_network_and_this_machine_is_not(
    peer: object, address: str | None
) -> None:
    assert connections.counted_as(peer) == address


async def test_each_refusal_is_counted_by_its_code(listening: Listening) -> None:
    def counted(gateway: Open, *codes: str) -> list[float | None]:
        read = gateway.served.gateway.metrics.registry.get_sample_value
        return [read("headgate_gateway_connections_refused_total", {"code": code}) for code in codes]

    async with listening(body_seconds=0.1) as gateway:
        await (await gateway.send(b"x\r\n\r\n")).refusal()
        await (await gateway.send(b"x\r\n\r\n")).refusal()
        await (await gateway.send(POST + b"Content-Length: 22\r\n\r\n")).refusal()
        assert counted(gateway, "not_http", "too_slow", "gateway_full") == [2, 1, None]
    async with listening(connections=1) as gateway:
        assert (await (await gateway.send(WHOLE)).answer())[0] == 202
        await (await gateway.connect()).refusal()
        assert counted(gateway, "not_http", "gateway_full") == [None, 1]


async def test_requests_that_wait_on_a_connection_are_bounded_and_those_taken_are_answered(
    listening: Listening,
) -> None:
    async with listening(pipelined=2) as gateway:
        line = await gateway.send(WHOLE * 5)
        assert [(await line.answer())[0] for _ in range(3)] == [202, 202, 202]
        assert await line.refusal() == (400, "too_many_pipelined")


@pytest.mark.parametrize(
    ("wrong", "refusal"),
    [
        (b"x\r\n\r\n", (400, "not_http")),
        (GET + b"X: " + b"x" * 70_000 + b"\r\n\r\n", (431, "head_too_large")),
        (POST + b"Content-Length: 22\r\n\r\n", (408, "too_slow")),
    ],
)
async def test_a_refusal_comes_after_the_answers_to_earlier_requests(
    listening: Listening, wrong: bytes, refusal: tuple[int, str]
) -> None:
    async with listening(body_seconds=0.1) as gateway:
        line = await gateway.send(WHOLE + WHOLE + wrong)
        assert [(await line.answer())[0] for _ in range(2)] == [202, 202]
        assert await line.refusal() == refusal


async def test_what_is_no_http_is_400_in_the_form_of_every_error(listening: Listening) -> None:
    async with listening() as gateway:
        line = await gateway.send(b"\x16\x03\x01\x02\x00\x01\x00")
        assert await line.refusal() == (400, "not_http")


async def test_a_refused_client_that_stays_is_cut_off(listening: Listening) -> None:
    async with listening(linger_seconds=0.1) as gateway:
        line = await gateway.send(b"x\r\n\r\n")
        assert await line.refusal() == (400, "not_http")
        with pytest.raises(ConnectionError):
            await line.flood()


@pytest.mark.parametrize(("files", "most"), [(1024, 768), (100, 50), (1_000_000, 4096), (resource.RLIM_INFINITY, 4096)])
def test_there_are_fewer_connections_than_open_files(monkeypatch: pytest.MonkeyPatch, files: int, most: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (files, files))
    found = connections.for_this_process()
    assert (found.connections, found.per_address) == (most, most // 4)
    assert connections.for_this_process(7).per_address == 7
