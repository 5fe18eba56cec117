"""Why a connection of a WebSocket source ends, and what follows from it."""

import asyncio
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from connectors.base.contract import Closed, NotConnected, Refused
from tests.unit.connectors.standing import StandIn, reading
from tests.unit.connectors.websocket.peer import Scripted, ended, sends, serving, source, url_of


def closes(code: int, text: str = "") -> Any:
    async def handle(connection: ServerConnection) -> None:
        await connection.close(code, text)

    return handle


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
