"""HTTP and WebSocket under the egress policy, on aiohttp: `connectors.base.contract.Http`.

No redirect is followed by aiohttp and no proxy is taken from the environment. Each connection goes to an address that
the policy has approved for it a moment before; the name stays in Host and SNI.
"""

import asyncio
import functools
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from multidict import CIMultiDict
from yarl import URL

from connectors.base.contract import Closed, NotConnected, Refused
from connectors.base.reach import targets
from connectors.base.reach.egress import Policy, literal_address

MAX_BODY_BYTES: Final = 16 * 1024 * 1024

_CONNECT_SECONDS: Final = 30.0
_CLOSE_SECONDS: Final = 2.0
_SECONDS: Final = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)

_approved: ContextVar[set[str]] = ContextVar("approved")
"""The addresses that the policy has approved for the connection that this task is making."""


def utc_now() -> datetime:
    return datetime.now(UTC)


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Read Retry-After (RFC 9110, 10.2.3), seconds or a date; None without one that can be read."""
    text = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        then = parsedate_to_datetime(text)
    except (ValueError, OverflowError, TypeError):
        return None
    then = then.replace(tzinfo=UTC) if then.tzinfo is None else then
    return max(0.0, (then - now).total_seconds())


class ClientHttp:
    """Asks over HTTP, and connects WebSockets. One per source; `heard` gets the bytes that come, all of them."""

    def __init__(
        self,
        policy: Policy,
        *,
        heard: Callable[[int], None] | None = None,
        now: Callable[[], datetime] = utc_now,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._policy, self._heard, self._now, self._tls = policy, heard, now, tls
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections. The next request opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        data: bytes | None = None,
        timeout_seconds: float | None = 30.0,
        idle_seconds: float | None = None,
    ) -> AsyncIterator["ClientAnswer"]:
        """Ask, following at most 5 redirects. See `connectors.base.contract.Http`."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout_seconds is None else loop.time() + timeout_seconds
        going = targets.Going.begin(method, url, headers, json=json, data=data)
        while True:
            where = going.where()
            left = None if deadline is None else max(0.001, deadline - loop.time())
            with _translated(where):
                response = await self._ask(going, left, idle_seconds)
            try:
                if response.status in targets.REDIRECTS and "Location" in response.headers:
                    going.redirect(response.status, response.headers["Location"])
                    continue
                yield ClientAnswer(response, where=where, moved_to=going.moved_to, now=self._now)
                return
            finally:
                response.release()

    @asynccontextmanager
    async def websocket(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        subprotocols: Sequence[str] = (),
        max_message_bytes: int = 4 * 1024 * 1024,
        compress: bool = False,
        timeout_seconds: float = 30.0,
    ) -> AsyncIterator["ClientConnection"]:
        """Connect. Redirects of the handshake are refused. See `connectors.base.contract.Http`."""
        target, asked = targets.target_of(url, {"ws", "wss"}), targets.headers_of(headers)
        target = targets.without_credentials(target, asked)
        where = targets.named(target)
        with _translated(where):
            async with asyncio.timeout(timeout_seconds):
                try:
                    await self._approve(target)
                    opened = await self._opened().ws_connect(
                        target,
                        headers=asked,
                        protocols=tuple(subprotocols),
                        max_msg_size=max_message_bytes + 1,  # aiohttp refuses what reaches its limit
                        compress=15 if compress else 0,
                        timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_SECONDS / 2),
                    )
                except aiohttp.WSServerHandshakeError as error:
                    raise _handshake(error, where, self._now()) from error
        connection = ClientConnection(opened, where=where)
        try:
            yield connection
        finally:
            await connection.close()

    async def _ask(self, going: targets.Going, left: float | None, idle: float | None) -> aiohttp.ClientResponse:
        await self._approve(going.url)
        return await self._opened().request(
            going.method,
            going.url,
            headers=going.headers,
            json=going.json,
            data=going.data,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=left, sock_read=idle, sock_connect=_CONNECT_SECONDS),
        )

    async def _approve(self, url: URL) -> None:
        """Approve an address that stands in the URL itself: aiohttp does not ask its resolver about it."""
        _approved.set(set())
        host = url.host or ""
        if literal_address(host) is not None:
            _approved.get().update(address for address, _ in await self._policy.resolve(host, url.port or 0))

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=_Resolver(self._policy),
                use_dns_cache=False,
                socket_factory=_socket,
                ssl=self._tls if self._tls is not None else True,
                limit=0,
            )
            # aiohttp has no hook for received bytes, and swallows pongs; liveness counts every byte.
            connector._factory = functools.partial(_counting, loop=connector._loop, heard=self._heard)
            self._session = aiohttp.ClientSession(
                connector=connector,
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
                headers={"User-Agent": "headgate", "Accept-Encoding": "gzip, deflate"},
                middlewares=(_no_redirected_handshake,),
            )
        return self._session


class ClientAnswer:
    """`connectors.base.contract.Answer`."""

    def __init__(
        self, response: aiohttp.ClientResponse, *, where: str, moved_to: str | None, now: Callable[[], datetime]
    ) -> None:
        self._response, self._where, self._moved_to, self._now = response, where, moved_to, now
        joined: CIMultiDict[str] = CIMultiDict()
        for name in dict.fromkeys(name.lower() for name in response.headers):
            joined[name] = ", ".join(response.headers.getall(name))
        self._headers = joined

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        """Case-insensitive; the values of a repeated one are joined with commas (RFC 9110, 5.3)."""
        return self._headers

    @property
    def url(self) -> str:
        return str(self._response.url.with_user(None).with_fragment(None))

    @property
    def moved_to(self) -> str | None:
        return self._moved_to

    async def body(self, max_bytes: int = MAX_BODY_BYTES) -> bytes:
        """Read all of it, decompressed. Raises Refused when it is larger, NotConnected when it breaks off."""
        said = self._response.content_length
        if said is not None and said > max_bytes:
            raise self._too_large(max_bytes)
        taken, size = [], 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > max_bytes:
                raise self._too_large(max_bytes)
            taken.append(chunk)
        return b"".join(taken)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes, decompressed piece by piece. Raises NotConnected when it breaks off."""
        pieces = self._response.content.iter_any()
        while True:
            with _translated(self._where):
                piece = await anext(pieces, None)
            if piece is None:
                return
            yield piece

    def retry_after(self) -> float | None:
        return retry_after(self._headers, self._now())

    def _too_large(self, max_bytes: int) -> Refused:
        self._response.close()
        return Refused(f"{self._where} answered with more than {max_bytes} bytes", reason="too_large")


class ClientConnection:
    """`connectors.base.contract.Connection`. Pings are answered while somebody receives."""

    def __init__(self, opened: aiohttp.ClientWebSocketResponse, *, where: str) -> None:
        self._opened, self._where = opened, where
        protocol = None if opened._conn is None else opened._conn.protocol
        assert isinstance(protocol, _Counting)  # made by our connector
        self._protocol = protocol
        self._closed: Closed | None = None

    @property
    def subprotocol(self) -> str | None:
        return self._opened.protocol

    @property
    def received_bytes(self) -> int:
        return self._protocol.received_bytes

    async def receive(self) -> str | bytes:
        if self._closed is not None:
            raise self._closed
        message = await self._opened.receive()
        if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            received: str | bytes = message.data
            return received
        if message.type is aiohttp.WSMsgType.CLOSE:
            self._closed = Closed(message.data or aiohttp.WSCloseCode.ABNORMAL_CLOSURE, message.extra or "")
            raise self._closed
        if message.type is aiohttp.WSMsgType.ERROR and isinstance(message.data, aiohttp.WebSocketError):
            too_big = message.data.code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
            raise NotConnected(
                f"{self._where} sent what is no WebSocket message here: {message.data}",
                reason="message_too_big" if too_big else "protocol",
            )
        raise NotConnected(f"the link to {self._where} broke without a close frame", reason="closed")

    async def send(self, message: str | bytes) -> None:
        send: Awaitable[None]
        send = self._opened.send_str(message) if isinstance(message, str) else self._opened.send_bytes(message)
        await self._sent(send)

    async def ping(self) -> None:
        await self._sent(self._opened.ping())

    async def close(self, code: int = 1000) -> None:
        try:
            async with asyncio.timeout(
                _CLOSE_SECONDS
            ):  # the close frame waits behind what the other side does not read
                await self._opened.close(code=code)
        except TimeoutError:
            pass

    async def _sent(self, sending: Awaitable[None]) -> None:
        try:
            await sending
        except (aiohttp.ClientError, OSError) as error:
            message = f"the link to {self._where} is closed, nothing can be sent"
            raise self._closed or NotConnected(message, reason="closed") from error


class _Resolver(AbstractResolver):
    """Answers aiohttp with the addresses that the policy approves, and remembers them for `_socket`."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 part of the interface
    ) -> list[ResolveResult]:
        found = await self._policy.resolve(host, port)
        _approved.get().update(address for address, _ in found)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address, port in found
        ]

    async def close(self) -> None:
        pass


def _socket(address: tuple[Any, ...]) -> socket.socket:
    """Make the socket for an address: the last look before it connects, however aiohttp came by the address."""
    family, kind, protocol, _, (host, *_) = address
    if host not in _approved.get():
        raise Refused(f"the address {host} was not approved", reason="forbidden_address")
    return socket.socket(family, kind, protocol)


class _Counting(ResponseHandler):
    """Counts what is received, also what aiohttp keeps to itself: pongs, headers, parts of messages."""

    def __init__(self, loop: asyncio.AbstractEventLoop, heard: Callable[[int], None] | None) -> None:
        super().__init__(loop)
        self._heard = heard
        self.received_bytes = 0

    def data_received(self, data: bytes) -> None:
        self.received_bytes += len(data)
        if data and self._heard is not None:
            self._heard(len(data))
        super().data_received(data)


def _counting(loop: asyncio.AbstractEventLoop, heard: Callable[[int], None] | None) -> ResponseHandler:
    return _Counting(loop, heard)


async def _no_redirected_handshake(
    request: aiohttp.ClientRequest, ask: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Refuse redirects of WebSocket handshakes: `ws_connect` would follow them by itself."""
    response = await ask(request)
    if response.status in targets.REDIRECTS and request.url.scheme in ("ws", "wss"):
        response.close()
        raise Refused(f"{targets.named(request.url)} redirects; use the URL that it leads to", reason="redirected")
    return response


def _handshake(error: aiohttp.WSServerHandshakeError, where: str, now: datetime) -> Exception:
    status = error.status
    if status == 101:
        return NotConnected(f"{where} answers the handshake wrongly: {error.message}", reason="protocol")
    message = f"{where} answers the handshake with HTTP {status}"
    if status in (401, 403):
        return Refused(f"{message}; check the credentials", reason="unauthorized")
    if status in (404, 410, 426):
        return Refused(f"{message}; check the URL", reason=f"http_{status}")
    words = message if status >= 400 else f"{message}, which is no WebSocket; check the URL"
    return NotConnected(words, reason=f"http_{status}", retry_after_seconds=retry_after(error.headers or {}, now))


@contextmanager
def _translated(where: str) -> Iterator[None]:
    """Turn what aiohttp raises into the words of the contract."""
    try:
        yield
    except TimeoutError as error:
        raise NotConnected(f"{where} did not answer in time", reason="timeout") from error
    except aiohttp.InvalidURL as error:
        raise Refused(f"the URL of {where} cannot be asked", reason="invalid_url") from error
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
        raise NotConnected(f"no TLS with {where}: {error.args[-1]}", reason="tls") from error
    except aiohttp.ClientConnectorError as error:
        refused = isinstance(error.os_error, ConnectionRefusedError)
        reason = "refused" if refused else "unreachable"
        raise NotConnected(f"{where} cannot be reached: {error.os_error}", reason=reason) from error
    except aiohttp.ClientConnectionError as error:
        raise NotConnected(f"{where} closed the connection", reason="closed") from error
    except aiohttp.ClientPayloadError as error:
        raise NotConnected(f"the answer of {where} broke off or cannot be decoded", reason="broken") from error
    except aiohttp.ClientError as error:
        raise NotConnected(f"the answer of {where} is not HTTP: {type(error).__name__}", reason="protocol") from error
