"""WebSockets of the HTTP client: messages, handshakes, and how a link ends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import pytest
import websockets
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Close, CloseCode
from websockets.http11 import Request, Response

from connectors.base.contract import Closed, NotConnected, Refused
from connectors.base.reach.http import ClientHttp
from tests.unit.connectors.base.reach.talking import HERE, for_ever, raw


@asynccontextmanager
async def sockets(talk: Callable[[ServerConnection], Awaitable[None]], **options: Any) -> AsyncIterator[str]:
    async with serve(talk, "127.0.0.1", 0, **options) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def test_messages_go_both_ways_as_text_and_as_bytes(http: ClientHttp) -> None:
    async with sockets(echo) as url, http.websocket(url) as connection:
        await connection.send("hé")
        await connection.send(b"\x00\xff")

        assert ["hé", b"\x00\xff"] == [await connection.receive(), await connection.receive()]


async def test_the_handshake_carries_headers_credentials_and_subprotocols(http: ClientHttp) -> None:
    async def tells(connection: ServerConnection) -> None:
        assert connection.request is not None
        headers = connection.request.headers
        await connection.send(f"{headers['X-A']} {headers['Authorization']} {connection.subprotocol}")

    async with sockets(tells, subprotocols=["v2"]) as url:
        url = url.replace("//", "//me:pw@")
        async with http.websocket(url, headers={"X-A": "b"}, subprotocols=["v1", "v2"]) as connection:
            assert "b Basic bWU6cHc= v2" == await connection.receive()
            assert "v2" == connection.subprotocol


@pytest.mark.parametrize("compress", [True, False])
async def test_compression_is_only_offered_when_it_is_asked_for(http: ClientHttp, compress: bool) -> None:
    async def tells(connection: ServerConnection) -> None:
        assert connection.request is not None
        await connection.send(connection.request.headers.get("Sec-WebSocket-Extensions", "none") + " " * 1000)

    async with sockets(tells) as url, http.websocket(url, compress=compress) as connection:
        assert ("none" not in str(await connection.receive())) == compress


async def test_a_pong_is_heard() -> None:
    heard: list[int] = []

    async def waits(connection: ServerConnection) -> None:
        await connection.send("hello")
        await connection.wait_closed()

    async with sockets(waits) as url, ClientHttp(HERE, heard=heard.append) as http, http.websocket(url) as connection:
        await connection.receive()
        heard.clear()
        receiving = asyncio.create_task(connection.receive())
        await connection.ping()
        async with asyncio.timeout(10):
            while not heard:  # noqa: ASYNC110 bytes tell nobody
                await asyncio.sleep(0.001)
        receiving.cancel()

    assert [2] == heard[:1]


async def test_pings_of_the_server_are_answered(http: ClientHttp) -> None:
    async def pings(connection: ServerConnection) -> None:
        answered = await connection.ping()
        await answered
        await connection.send("answered")

    async with sockets(pings) as url, http.websocket(url) as connection:
        assert "answered" == await connection.receive()


@pytest.mark.parametrize(("code", "text"), [(1000, ""), (1001, "restart"), (4004, "bad token")])
async def test_a_close_frame_ends_receiving_with_its_code(http: ClientHttp, code: int, text: str) -> None:
    async def closes(connection: ServerConnection) -> None:
        await connection.close(code, text)

    async with sockets(closes) as url, http.websocket(url) as connection:
        for _ in range(2):
            with pytest.raises(Closed) as caught:
                await connection.receive()
            assert (code, text, f"close_{code}") == (caught.value.code, caught.value.text, caught.value.reason)
        with pytest.raises(Closed):
            await connection.send("too late")


async def test_a_close_frame_without_a_code_is_1006(http: ClientHttp) -> None:
    async def closes(connection: ServerConnection) -> None:
        connection.transport.write(b"\x88\x00")

    async with sockets(closes) as url, http.websocket(url) as connection:
        with pytest.raises(Closed) as caught:
            await connection.receive()

    assert 1006 == caught.value.code


async def test_a_link_that_breaks_has_no_code(http: ClientHttp) -> None:
    async def breaks(connection: ServerConnection) -> None:
        connection.transport.abort()

    async with sockets(breaks) as url, http.websocket(url) as connection:
        with pytest.raises(NotConnected, match="without a close frame") as caught:
            await connection.receive()
        assert type(caught.value) is NotConnected
        with pytest.raises(NotConnected):
            await connection.ping()


async def test_our_close_has_the_code_that_was_asked_for(http: ClientHttp) -> None:
    codes = asyncio.Queue[Close | None]()

    async def watches(connection: ServerConnection) -> None:
        try:
            await connection.recv()
        except websockets.ConnectionClosed as closed:
            codes.put_nowait(closed.rcvd)

    async with sockets(watches) as url:
        async with http.websocket(url) as connection:
            await connection.close(4321)
        closed = await codes.get()

    assert closed is not None
    assert 4321 == closed.code


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"\x82\x7f" + (1 << 30).to_bytes(8, "big"), "message_too_big"),
        (b"\x81\x01\xff", "protocol"),
        (b"\x83\x00", "protocol"),
    ],
)
async def test_frames_that_are_wrong_here_break_the_link(http: ClientHttp, frame: bytes, reason: str) -> None:
    codes = asyncio.Queue[int]()

    async def sends(connection: ServerConnection) -> None:
        connection.transport.write(frame)
        try:
            await connection.recv()
        except websockets.ConnectionClosed as closed:
            codes.put_nowait(closed.rcvd.code if closed.rcvd else 0)

    async with sockets(sends) as url, http.websocket(url) as connection:
        with pytest.raises(NotConnected) as caught:
            await connection.receive()
        assert reason == caught.value.reason
        assert await codes.get() in (CloseCode.MESSAGE_TOO_BIG, CloseCode.INVALID_DATA, CloseCode.PROTOCOL_ERROR)


@pytest.mark.parametrize(
    ("status", "error", "reason", "wait"),
    [
        (401, Refused, "unauthorized", None),
        (403, Refused, "unauthorized", None),
        (404, Refused, "http_404", None),
        (410, Refused, "http_410", None),
        (426, Refused, "http_426", None),
        (429, NotConnected, "http_429", 9.0),
        (503, NotConnected, "http_503", 9.0),
        (500, NotConnected, "http_500", 9.0),
        (200, NotConnected, "http_200", 9.0),
        (301, Refused, "redirected", None),
        (307, Refused, "redirected", None),
    ],
)
async def test_the_status_of_a_handshake_decides(
    http: ClientHttp, status: int, error: type[NotConnected | Refused], reason: str, wait: float | None
) -> None:
    def answers(connection: ServerConnection, request: Request) -> Response:
        answer = connection.respond(HTTPStatus(status), "no")
        answer.headers["Retry-After"] = "9"
        answer.headers["Location"] = "ws://127.0.0.1:1/"
        return answer

    async with sockets(echo, process_request=answers) as url:
        with pytest.raises(error) as caught:
            async with http.websocket(url):
                raise AssertionError("connected")

    assert reason == getattr(caught.value, "reason", None)
    assert wait == getattr(caught.value, "retry_after_seconds", None)
    assert ("check the URL" in str(caught.value)) == (status in (200, 404, 410, 426))


async def test_a_server_that_accepts_and_says_nothing_is_a_timeout(http: ClientHttp) -> None:
    async with raw(for_ever) as place:
        with pytest.raises(NotConnected) as caught:
            async with http.websocket(f"ws://{place}/", timeout_seconds=0.05):
                raise AssertionError("connected")

    assert "timeout" == caught.value.reason


async def test_a_handshake_with_the_wrong_key_is_no_websocket(http: ClientHttp) -> None:
    answered = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: wrong\r\n\r\n"
    )
    async with raw(answered) as place:
        with pytest.raises(NotConnected) as caught:
            async with http.websocket(f"ws://{place}/"):
                raise AssertionError("connected")

    assert "protocol" == caught.value.reason


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "ws:///x", "ws://user@/", "file:///etc/passwd"])
async def test_a_websocket_has_a_url_of_its_own(http: ClientHttp, url: str) -> None:
    with pytest.raises(Refused):
        async with http.websocket(url):
            raise AssertionError("connected")
