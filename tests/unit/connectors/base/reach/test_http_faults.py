"""Servers of this machine that do not behave: what the HTTP client says of each."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from connectors.base.contract import NotConnected
from connectors.base.reach.egress import Policy
from connectors.base.reach.http import ClientHttp
from tests.unit.connectors.base.reach.talking import body_of, for_ever, raw
from tests.unit.connectors.certificates import certificate


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


async def test_a_url_in_an_error_has_no_path_query_or_password(http: ClientHttp) -> None:
    async with raw(b"") as place:
        with pytest.raises(NotConnected) as caught:
            await body_of(http, f"http://me:s3cret@{place}/s3cret?s3cret#s3cret")

    assert "s3cret" not in str(caught.value)
