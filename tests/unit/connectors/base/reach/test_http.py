"""Requests of the HTTP client, the redirects that it follows, and the bodies that it reads."""

import asyncio
import contextvars
import gzip
import json
import socket

import pytest
from aiohttp import web

from connectors.base.contract import NotConnected, Refused
from connectors.base.reach.egress import Policy
from connectors.base.reach.http import ClientHttp, _approved, _socket, retry_after
from tests.unit.connectors.base.reach.talking import HERE, NOW, body_of, mirror, raw
from tests.unit.connectors.serving import serving

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
