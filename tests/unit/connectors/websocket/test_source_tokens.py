"""Tokens of WebSocket sources: a fresh one for each connection, shown nowhere."""

import asyncio
from http import HTTPStatus
from typing import Any

import pytest
from aiohttp import web
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from connectors.base.contract import Closed, NotConnected, Refused
from tests.unit.connectors import serving as web_serving
from tests.unit.connectors.standing import StandIn, reading, until
from tests.unit.connectors.websocket.peer import Scripted, ended, sends, serving, source, url_of


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
