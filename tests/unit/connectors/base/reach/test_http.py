"""The HTTP client against servers of this machine that behave, and that do not."""

import asyncio
import contextvars
import gzip
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import websockets
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Close, CloseCode
from websockets.http11 import Request, Response

from connectors.base.contract import Closed, NotConnected, Refused
from connectors.base.reach.egress import Policy
from connectors.base.reach.http import ClientHttp, _approved, _socket, retry_after
from tests.unit.connectors.serving import serving

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HERE = Policy(allowed=("127.0.0.0/8",))
Raw = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def http() -> AsyncIterator[ClientHttp]:
    async with ClientHttp(HERE, now=lambda: NOW) as client:
        yield client


async def mirror(request: web.Request) -> web.StreamResponse:
    body = await request.text()
    return web.json_response(
        {"method": request.method, "path": request.path_qs, "body": body, "headers": dict(request.headers)}
    )


@asynccontextmanager
async def raw(talk: Raw | bytes) -> AsyncIterator[str]:
    """Answer each connection with bytes as they are, or by a coroutine."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            if isinstance(talk, bytes):
                writer.write(talk)
                await writer.drain()
            else:
                await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def for_ever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def body_of(http: ClientHttp, url: str, **options: Any) -> bytes:
    async with http.request("GET", url, **options) as answer:
        return await answer.body()


# ---- requests ----------------------------------------------------------------------------------------------------


async def test_a_request_is_sent_as_it_was_asked(http: ClientHttp) -> None:
    async with (
        serving(mirror) as place,
        http.request("POST", f"http://me:pw@{place}/a%2Fb?c=d&e", headers={"X-A": "b"}, json={"n": 1}) as answer,
    ):
        seen = json.loads(await answer.body())

        assert (200, f"http://{place}/a%2Fb?c=d&e", None) == (answer.status, answer.url, answer.moved_to)
    assert ("POST", "/a%2Fb?c=d&e", '{"n": 1}') == (seen["method"], seen["path"], seen["body"])
    assert {"X-A": "b", "Authorization": "Basic bWU6cHc=", "Host": place}.items() <= seen["headers"].items()


async def test_headers_are_case_insensitive_and_repeated_ones_are_joined(http: ClientHttp) -> None:
    answered = b"HTTP/1.1 200 OK\r\nLink: <a>; rel=x\r\nLINK: <b>; rel=next\r\nX-One: 1\r\nContent-Length: 0\r\n\r\n"
    async with raw(answered) as place, http.request("GET", f"http://{place}/") as answer:
        assert "<a>; rel=x, <b>; rel=next" == answer.headers["link"]
        assert "1" == answer.headers["X-ONE"]


async def test_a_status_is_no_error(http: ClientHttp) -> None:
    async def gone(request: web.Request) -> web.StreamResponse:
        return web.Response(status=410)

    async with serving(gone) as place, http.request("GET", f"http://{place}/") as answer:
        assert 410 == answer.status


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        (" 1.5 ", 1.5),
        ("Mon, 01 Jun 2026 12:01:00 GMT", 60.0),
        ("Monday, 01-Jun-26 12:01:00 GMT", 60.0),
        ("Mon, 01 Jun 2026 11:00:00 GMT", 0.0),
        ("Mon, 01 Jun 2026 14:01:00 +0200", 60.0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("٣", None),
        ("99999999999999999999", None),
        ("Mon, 99 Jun 2026 12:01:00 GMT", None),
    ],
)
def test_retry_after_is_read_in_both_forms(text: str, seconds: float | None) -> None:
    assert seconds == retry_after({"Retry-After": text}, NOW)


async def test_an_answer_knows_its_retry_after(http: ClientHttp) -> None:
    async def busy(request: web.Request) -> web.StreamResponse:
        return web.Response(status=429, headers={"Retry-After": "7"})

    async with serving(busy) as place, http.request("GET", f"http://{place}/") as answer:
        assert 7.0 == answer.retry_after()


async def test_no_cookie_is_kept(http: ClientHttp) -> None:
    seen = []

    async def sets(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": "a=b; Path=/"})

    async with serving(sets) as place:
        await body_of(http, f"http://{place}/")
        await body_of(http, f"http://{place}/")

    assert [None, None] == seen


async def test_no_proxy_is_taken_from_the_environment(http: ClientHttp, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async with serving(mirror) as place:
        assert await body_of(http, f"http://{place}/")


async def test_the_client_works_again_after_it_was_closed(http: ClientHttp) -> None:
    async with serving(mirror) as place:
        await body_of(http, f"http://{place}/")
        await http.close()

        assert await body_of(http, f"http://{place}/")


async def test_every_received_byte_is_heard() -> None:
    answered = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    heard: list[int] = []
    async with raw(answered) as place, ClientHttp(HERE, heard=heard.append) as http:
        assert b"hello" == await body_of(http, f"http://{place}/")

    assert len(answered) == sum(heard)


# ---- redirects ---------------------------------------------------------------------------------------------------


async def test_redirects_are_followed_and_permanent_ones_are_told(http: ClientHttp) -> None:
    async def hops(request: web.Request) -> web.StreamResponse:
        if request.path == "/1":
            raise web.HTTPMovedPermanently("/2")
        if request.path == "/2":
            raise web.HTTPFound("3")
        return await mirror(request)

    async with serving(hops) as place, http.request("GET", f"http://{place}/1") as answer:
        assert (f"http://{place}/3", f"http://{place}/2") == (answer.url, answer.moved_to)
        assert 200 == answer.status


async def test_another_origin_gets_no_secret(http: ClientHttp) -> None:
    async with serving(mirror) as there:

        async def away(request: web.Request) -> web.StreamResponse:
            raise web.HTTPFound(f"http://{there}/")

        async with serving(away) as place:
            seen = await body_of(http, f"http://u:s3cret@{place}/", headers={"X-Token": "s3cret", "X-Plain": "1"})

    assert b"X-Plain" not in seen
    assert b"X-Token" not in seen
    assert b"Authorization" not in seen


async def test_a_redirect_to_a_forbidden_address_is_refused() -> None:
    async with serving(mirror) as inside:

        async def away(request: web.Request) -> web.StreamResponse:
            raise web.HTTPFound(f"http://{inside}/")

        async with serving(away) as place, ClientHttp(Policy(allowed=(place,))) as http:
            with pytest.raises(Refused) as caught:
                await body_of(http, f"http://{place}/")

    assert "forbidden_address" == caught.value.reason


async def test_redirects_in_a_circle_end(http: ClientHttp) -> None:
    asked = []

    async def again(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        raise web.HTTPFound("/again")

    async with serving(again) as place:
        with pytest.raises(NotConnected) as caught:
            await body_of(http, f"http://{place}/")

    assert "redirects" == caught.value.reason
    assert 6 == len(asked)


async def test_a_redirect_without_location_is_an_answer(http: ClientHttp) -> None:
    async with raw(b"HTTP/1.1 302 Found\r\nContent-Length: 2\r\n\r\nhi") as place:
        assert b"hi" == await body_of(http, f"http://{place}/")


def test_a_socket_is_made_for_an_approved_address_alone() -> None:
    """The last look, should aiohttp ever come by an address without asking its resolver."""
    approved = contextvars.copy_context()
    approved.run(_approved.set, {"127.0.0.1"})

    approved.run(_socket, (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 80))).close()
    with pytest.raises(Refused) as caught:
        approved.run(_socket, (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.2", 80)))
    assert "forbidden_address" == caught.value.reason


# ---- sizes -------------------------------------------------------------------------------------------------------


async def test_a_body_that_says_it_is_too_large_is_not_read(http: ClientHttp) -> None:
    async with (
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n") as place,
        http.request("GET", f"http://{place}/") as answer,
    ):
        with pytest.raises(Refused, match="more than 1000 bytes") as caught:
            await answer.body(1000)

    assert "too_large" == caught.value.reason


async def test_a_body_without_length_is_bounded_while_it_is_read(http: ClientHttp) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()

    async with raw(endless) as place, http.request("GET", f"http://{place}/") as answer:
        with pytest.raises(Refused):
            await answer.body(100_000)


async def test_a_body_of_exactly_the_limit_is_read(http: ClientHttp) -> None:
    async with (
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000) as place,
        http.request("GET", f"http://{place}/") as answer,
    ):
        assert 1000 == len(await answer.body(1000))


async def test_a_compressed_bomb_is_bounded_as_it_unfolds(http: ClientHttp) -> None:
    bomb = gzip.compress(gzip.compress(b"\0" * 200_000_000, compresslevel=1), compresslevel=1)
    inner = gzip.decompress(bomb)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(inner)}\r\n\r\n".encode()
    largest = 0
    async with raw(head + inner) as place:
        async with http.request("GET", f"http://{place}/") as answer:
            with pytest.raises(Refused):
                await answer.body(1_000_000)
        async with http.request("GET", f"http://{place}/") as answer:
            size = 0
            async for chunk in answer.chunks():
                largest, size = max(largest, len(chunk)), size + len(chunk)
                if size > 10_000_000:
                    break

    assert largest <= 1_000_000


async def test_gzip_is_unpacked(http: ClientHttp) -> None:
    packed = gzip.compress(b"hello" * 1000)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    async with raw(head + packed) as place:
        assert b"hello" * 1000 == await body_of(http, f"http://{place}/")


# ---- what goes wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answered", "reason"),
    [
        (b"", "closed"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhell", "broken"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "broken"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", "broken"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 5\r\n\r\nhello", "protocol"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000 + b"\r\n", "protocol"),
    ],
)
async def test_an_answer_that_is_none_is_not_connected(http: ClientHttp, answered: bytes, reason: str) -> None:
    async with raw(answered) as place:
        with pytest.raises(NotConnected) as caught:
            await body_of(http, f"http://{place}/")

    assert reason == caught.value.reason
    assert place in str(caught.value)


async def test_a_port_where_nobody_listens_is_refused_by_the_machine(http: ClientHttp) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(NotConnected) as caught:
            await body_of(http, f"http://127.0.0.1:{free.getsockname()[1]}/")

    assert "refused" == caught.value.reason


async def test_an_answer_that_does_not_come_is_a_timeout(http: ClientHttp) -> None:
    async with raw(for_ever) as place:
        with pytest.raises(NotConnected) as caught:
            await body_of(http, f"http://{place}/", timeout_seconds=0.05)

    assert "timeout" == caught.value.reason


async def test_the_time_is_for_the_body_as_well(http: ClientHttp) -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        await for_ever(reader, writer)

    async with raw(slow) as place, http.request("GET", f"http://{place}/", timeout_seconds=0.1) as answer:
        with pytest.raises(NotConnected) as caught:
            await answer.body()

    assert "timeout" == caught.value.reason


async def test_a_stream_that_falls_silent_is_a_timeout(http: ClientHttp) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nfirst")
        await for_ever(reader, writer)

    options: dict[str, Any] = {"timeout_seconds": None, "idle_seconds": 0.1}
    async with raw(silent) as place, http.request("GET", f"http://{place}/", **options) as answer:
        chunks = answer.chunks()
        assert b"first" == await anext(chunks)
        with pytest.raises(NotConnected) as caught:
            await anext(chunks)

    assert "timeout" == caught.value.reason


async def test_an_untrusted_certificate_is_not_connected(http: ClientHttp, tmp_path: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate(tmp_path))
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=tls)
    async with server:
        with pytest.raises(NotConnected) as caught:
            await body_of(http, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")

    assert "tls" == caught.value.reason


async def test_host_and_sni_keep_the_name_and_the_checked_address_is_connected(tmp_path: Path) -> None:
    names: list[str | None] = []
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    paths = certificate(tmp_path)
    tls.load_cert_chain(*paths)
    tls.sni_callback = lambda _, name, __: names.append(name)
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def lookup(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    trusting = ssl.create_default_context(cafile=str(paths[0]))
    async with server, ClientHttp(Policy(allowed=("inside.example",), lookup=lookup), tls=trusting) as http:
        await body_of(http, f"https://inside.example:{port}/")

    assert ["inside.example"] == names
    assert f"Host: inside.example:{port}".encode() in asked[0]


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for inside.example."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "inside.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("inside.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


async def test_a_url_in_an_error_has_no_path_query_or_password(http: ClientHttp) -> None:
    async with raw(b"") as place:
        with pytest.raises(NotConnected) as caught:
            await body_of(http, f"http://me:s3cret@{place}/s3cret?s3cret#s3cret")

    assert "s3cret" not in str(caught.value)


# ---- WebSocket ---------------------------------------------------------------------------------------------------


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
