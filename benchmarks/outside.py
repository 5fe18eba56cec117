"""The world outside of the connectors, a process of its own: sockets, an event stream, things to poll, and clouds.

    GET /socket     a WebSocket (RFC 6455)
    GET /stream     server-sent events
    GET /items      JSON: records from the id in `from` on, in the order of their ids
    GET /feed       RSS of the run that was asked for last
    /slack          Slack's Web API and Socket Mode, /discord Discord's API and gateway (benchmarks.chats)
    any             with X-Amz-Target: SQS; /uploads S3, /storage Cloud Storage, /v1 Pub/Sub (benchmarks.clouds)
    GET /go         make the events of a run: `run`, `count`, and `rate` with `start_ns` for an open loop
    GET /           how many sockets are open, and how many events were acknowledged

/go answers once everything is handed to the sockets that are open; all that is asked for has it from then on. Many
messages of a flood go into one write, since what is measured is who reads them.
"""

import argparse
import asyncio
import base64
import hashlib
import itertools
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import orjson
import uvloop

from benchmarks import chats, clouds, events

PAGE: Final = 1_000
TOGETHER: Final = 64
"""Messages of a flood in one write."""
COMMENT_SECONDS: Final = 10.0
_JSON: Final = b"application/json"
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT: Final = 1
_CLOSE: Final = 8
_PING: Final = 9
_PONG: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Events to be made; with a rate event n is due at `start_ns + n / rate`."""

    name: str
    count: int
    rate: float = 0.0
    start_ns: int = 0

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Run":
        """Read what /go is asked."""
        rate, start_ns = float(query.get("rate", 0)), int(query.get("start_ns", 0))
        return cls(name=query["run"], count=int(query["count"]), rate=rate, start_ns=start_ns)

    def messages(self, first: int = 0) -> Iterator[bytes]:
        """Yield the messages: 1 KB of JSON each, with its id in it."""
        return (value for _, value in events.events(self.name, first, self.count - first))


def identity(run: str, number: int) -> str:
    """Return the id of an event, as `benchmarks.events` makes it."""
    return f"{run}{number:0{16 - len(run)}d}"


def frame(payload: bytes, *, opcode: int = 1) -> bytes:
    """Return a whole message as a server sends it: not masked."""
    size = len(payload)
    if size < 126:
        return bytes([128 | opcode, size]) + payload
    if size < 65_536:
        return bytes([128 | opcode, 126]) + size.to_bytes(2) + payload
    return bytes([128 | opcode, 127]) + size.to_bytes(8) + payload


def streamed(payload: bytes) -> bytes:
    """Return a message as an event of a stream, whose id is the message's own."""
    return b"id: %b\nevent: created\ndata: %b\n\n" % (events.identity_of(payload), payload)


def feed(run: Run) -> bytes:
    """Return a feed with all entries of a run, the newest first; each takes about 1 KB."""
    text = next(run.messages())[-820:-20] if run.count else b""
    entries = (
        b"<item><guid isPermaLink='false'>%b</guid><title>Order %d</title><link>/orders/%d</link>"
        b"<description>%b</description></item>" % (identity(run.name, number).encode(), number, number, text)
        for number in reversed(range(run.count))
    )
    head = b"<rss version='2.0'><channel><title>Shop</title><link>http://127.0.0.1/</link>"
    return head + b"".join(entries) + b"</channel></rss>"


def page(runs: list[Run], since: str) -> bytes:
    """Return the records from the id `since` on, that one included, at most PAGE of them."""
    found: list[bytes] = []
    for run in runs:
        if since > identity(run.name, run.count - 1):
            continue
        first = int(since.removeprefix(run.name)) if since.startswith(run.name) else 0
        found += itertools.islice(run.messages(first), PAGE - len(found))
        if len(found) == PAGE:
            break
    return b"[" + b",".join(found) + b"]"


@dataclass(slots=True)
class World:
    """What there is."""

    runs: list[Run] = field(default_factory=list)
    sockets: set["Socket"] = field(default_factory=set)
    queue: clouds.Queue = field(default_factory=clouds.Queue)
    bucket: clouds.Bucket = field(default_factory=clouds.Bucket)
    acknowledged: int = 0
    """Events, over sockets."""

    async def go(self, run: Run) -> dict[str, float]:
        """Make the events of a run; return how late the latest of an open loop was."""
        lateness = await asyncio.gather(*(one.send(run) for one in self.sockets))
        self.runs.append(run)
        self.queue.add(run.messages())
        self.bucket.add({f"{identity(run.name, number)}.json": (run.name, number) for number in range(run.count)})
        return {"sent": run.count, "sockets": len(lateness), "worst_lateness_ms": max(lateness, default=0.0) / 1e6}


@dataclass(eq=False, slots=True)
class Socket:
    """A connection over which messages are sent: `write` waits for room, `shape` makes bytes of a message."""

    write: Callable[[bytes], Awaitable[None]]
    shape: Callable[[bytes], bytes]

    async def send(self, run: Run) -> int:
        """Send all messages; return by how many ns the latest one was late."""
        made = map(self.shape, run.messages())
        if not run.rate:
            while part := b"".join(itertools.islice(made, TOGETHER)):
                await self.write(part)
            return 0
        gap, late, number = 1e9 / run.rate, 0, 0
        while number < run.count:
            now = time.monotonic_ns()
            due = min(int((now - run.start_ns) / gap) + 1, run.count) - number if now >= run.start_ns else 0
            if due <= 0:
                await asyncio.sleep(max(0.0005, (run.start_ns + number * gap - now) / 1e9))
                continue
            late = max(late, now - run.start_ns - int(number * gap))
            await self.write(b"".join(itertools.islice(made, due)))
            number += due
        return late


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """What is said over a WebSocket: at once, for each message, and to each text of the client."""

    greeting: bytes | None = None
    shape: Callable[[bytes], bytes] = bytes
    answers: Callable[[bytes], Sequence[bytes]] = lambda _text: ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request. Names of headers are in small letters."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class Server:
    """Answers each connection's requests one after the other, until one of them makes a socket of it."""

    def __init__(self) -> None:
        self.world = World()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests until the other side closes."""
        port = writer.get_extra_info("sockname")[1]
        try:
            while asked := await _request(reader):
                if (talk := self._talk(asked.path, port)) is not None:
                    return await self._socket(reader, writer, asked.headers, talk)
                if asked.path == "/stream":
                    return await self._stream(writer)
                kind, body = await self._answer(asked, port)
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (kind, len(body), body)
                )
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return None
        finally:
            writer.close()

    def _talk(self, path: str, port: int) -> Talk | None:
        match path:
            case "/socket":
                return Talk()
            case "/slack/socket":
                return Talk(greeting=chats.SLACK_HELLO, shape=chats.slack_delivery, answers=self._acknowledged)
            case "/discord/socket":
                session = chats.DiscordSession(port)
                return Talk(greeting=session.greeting, shape=session.dispatch, answers=session.answers)
        return None

    def _acknowledged(self, text: bytes) -> Sequence[bytes]:
        self.world.acknowledged += b"envelope_id" in text
        return ()

    async def _answer(self, asked: Asked, port: int) -> clouds.Answer:
        world, path, query = self.world, asked.path, asked.query
        if (target := asked.headers.get("x-amz-target")) is not None:
            return await clouds.sqs(world.queue, target.partition(".")[2], orjson.loads(asked.body))
        if path.startswith(clouds.SUBSCRIPTIONS):
            return await clouds.pubsub(world.queue, path, orjson.loads(asked.body))
        if path.startswith(clouds.GCS_BUCKET):
            return clouds.gcs(world.bucket, path, query)
        if path.startswith(clouds.S3_BUCKET):
            return clouds.s3(world.bucket, path, query)
        match path:
            case "/go":
                return _JSON, json.dumps(await world.go(Run.of(query))).encode()
            case "/items":
                return _JSON, page(world.runs, query.get("from", ""))
            case "/feed":
                return b"application/rss+xml", feed(world.runs[-1] if world.runs else Run(name="none", count=0))
            case "/slack/apps.connections.open":
                return _JSON, chats.slack_opened(port)
            case "/discord/gateway/bot":
                return _JSON, chats.discord_gateway(port)
        settled = world.acknowledged + world.queue.settled
        return _JSON, json.dumps({"sockets": len(world.sockets), "acknowledged": settled}).encode()

    async def _socket(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: Mapping[str, str], talk: Talk
    ) -> None:
        key = base64.b64encode(hashlib.sha1(headers["sec-websocket-key"].encode() + _GUID).digest())
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % key
        )
        if talk.greeting is not None:
            writer.write(frame(talk.greeting))
        one = Socket(_writing(writer), lambda payload: frame(talk.shape(payload)))
        self.world.sockets.add(one)
        try:
            while True:
                opcode, text = await _heard(reader)
                if opcode == _CLOSE:
                    return
                if opcode == _PING:
                    writer.write(frame(text, opcode=_PONG))
                for answer in talk.answers(text) if opcode == _TEXT else ():
                    writer.write(frame(answer))
        finally:
            self.world.sockets.discard(one)

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n:\n\n")
        one = Socket(_writing(writer), streamed)
        self.world.sockets.add(one)
        try:
            while not writer.is_closing():
                await asyncio.sleep(COMMENT_SECONDS)
                writer.write(b":\n\n")
                await writer.drain()
        finally:
            self.world.sockets.discard(one)


async def _request(reader: asyncio.StreamReader) -> Asked | None:
    """Read a request; None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *rest = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in rest)}
    target = urlsplit(first.split(" ")[1])
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Asked(path=target.path, query=dict(parse_qsl(target.query)), headers=headers, body=body)


async def _heard(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read a frame of a client; return its opcode, and what was masked."""
    first, size = await reader.readexactly(2)
    size &= 127
    if size > 125:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8))
    mask = await reader.readexactly(4)
    masked = int.from_bytes(await reader.readexactly(size))
    key = int.from_bytes((mask * (size // 4 + 1))[:size])
    return first & 15, (masked ^ key).to_bytes(size)


def _writing(writer: asyncio.StreamWriter) -> Callable[[bytes], Awaitable[None]]:
    async def write(data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    return write


async def run(port: int) -> None:
    """Serve until the harness ends this process."""
    server = await asyncio.start_server(Server().serve, "127.0.0.1", port)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


def main() -> None:
    """Entry of the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    uvloop.run(run(parser.parse_args().port))


if __name__ == "__main__":
    main()
