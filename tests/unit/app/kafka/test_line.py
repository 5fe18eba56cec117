"""Answers on a line, whatever pieces they come in. The broker's side is a socket of the test."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from aiokafka import errors
from hypothesis import example, given, settings
from hypothesis import strategies as some

from app.kafka.line import LARGEST_ANSWER_BYTES, Line


class Ask:
    """A request whose answer is its bytes."""

    def __init__(self, text: bytes = b"?", api: tuple[int, int] = (1, 11)) -> None:
        self.text = text
        self.api = api

    def parts(self) -> list[bytes | bytearray]:
        return [self.text[:1], self.text[1:]]

    def decode(self, data: memoryview, at: int) -> bytes:
        (length,) = struct.unpack_from(">i", data, at)
        return bytes(data[at + 4 : at + 4 + length])


class Connection:
    """What aiokafka hands over."""

    host, port, _client_id, _versions = "broker", 9092, "me", {1: (4, 17)}
    _idle_handle = None

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._read_task = asyncio.ensure_future(reader.read(1))

    def close(self) -> None:
        self._writer.close()


def framed(correlation_id: int, body: bytes) -> bytes:
    return struct.pack(">iii", len(body) + 8, correlation_id, len(body)) + body


@asynccontextmanager
async def connected(*, timeout_seconds: float = 30.0) -> AsyncIterator[tuple[Line, asyncio.StreamReader, Any]]:
    """Yield a line and the broker's two ends."""
    accepted: asyncio.Queue[Any] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accepted.put((reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    connection = Connection(*await asyncio.open_connection(*server.sockets[0].getsockname()))
    reader, writer = await accepted.get()
    line = Line(cast(Any, connection), timeout_seconds=timeout_seconds)
    try:
        yield line, reader, writer
    finally:
        line.close()
        writer.close()
        server.close()


async def test_request_carries_size_api_correlation_and_client() -> None:
    async with connected() as (line, reader, _):
        line.ask(Ask(b"what"))
        line.ask(Ask(b"else"))
        assert await reader.readexactly(20) == struct.pack(">ihhih", 16, 1, 11, 1, 2) + b"me" + b"what"
        assert await reader.readexactly(20) == struct.pack(">ihhih", 16, 1, 11, 2, 2) + b"me" + b"else"


@settings(deadline=None)  # a machine may be busy
@given(
    bodies=some.lists(some.integers(0, 200_000), min_size=1, max_size=4),
    cut=some.sampled_from([1, 3, 7, 4_096, 65_536, 70_000, 10**9]),
)
@example(bodies=[150_000, 90_000, 200_000, 5, 120_000], cut=65_536)  # large ones share a buffer
def test_answers_come_whole_and_in_order_whatever_pieces_they_are_sent_in(bodies: list[int], cut: int) -> None:
    contents = [bytes([at]) * size for at, size in enumerate(bodies)]
    stream = b"".join(framed(at + 1, one) for at, one in enumerate(contents))
    cut = max(cut, len(stream) // 200)

    async def play() -> list[bytes]:
        async with connected() as (line, _, writer):
            answers = [line.ask(Ask()) for _ in bodies]
            for start in range(0, len(stream), cut):
                writer.write(stream[start : start + cut])
                await writer.drain()
                await asyncio.sleep(0)
            return await asyncio.wait_for(asyncio.gather(*answers), 10)

    assert asyncio.run(play()) == contents


async def test_who_no_longer_waits_disturbs_nobody() -> None:
    async with connected() as (line, _, writer):
        first, second = line.ask(Ask()), line.ask(Ask())
        first.cancel()
        writer.write(framed(1, b"a") + framed(2, b"b"))
        assert await asyncio.wait_for(second, 10) == b"b"


def _hang_up(writer: Any) -> None:
    writer.close()


def _wrong_number(writer: Any) -> None:
    writer.write(framed(9, b""))


def _too_large(writer: Any) -> None:
    writer.write(struct.pack(">i", LARGEST_ANSWER_BYTES + 1))


def _negative(writer: Any) -> None:
    writer.write(struct.pack(">i", -5))


@pytest.mark.parametrize(
    ("does", "error"),
    [
        (_hang_up, errors.KafkaConnectionError),
        (_wrong_number, errors.CorrelationIdError),
        (_too_large, errors.CorrelationIdError),
        (_negative, errors.CorrelationIdError),
    ],
)
async def test_broken_line_fails_everything_that_waits_and_all_that_comes(
    does: Callable[[Any], None], error: type[Exception]
) -> None:
    async with connected() as (line, _, writer):
        waiting = [line.ask(Ask()), line.ask(Ask())]
        does(writer)
        found = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 10)
        assert [type(one) for one in found] == [error, error]
        assert line.closed
        with pytest.raises(errors.KafkaConnectionError):
            await line.ask(Ask())


async def test_answer_that_is_none_fails_its_request_alone() -> None:
    async with connected() as (line, _, writer):
        first, second = line.ask(Ask()), line.ask(Ask())
        writer.write(struct.pack(">ii", 4, 1) + framed(2, b"b"))
        with pytest.raises(errors.KafkaProtocolError):
            await asyncio.wait_for(first, 10)
        assert await asyncio.wait_for(second, 10) == b"b"


async def test_broker_that_does_not_answer_is_given_up() -> None:
    async with connected(timeout_seconds=0.05) as (line, _, _):
        with pytest.raises(errors.RequestTimedOutError, match="broker:9092 has not answered within"):
            await asyncio.wait_for(line.ask(Ask()), 10)
        assert line.closed


async def test_version_that_the_broker_does_not_speak_is_refused_before_it_is_sent() -> None:
    async with connected() as (line, _, _):
        with pytest.raises(errors.IncompatibleBrokerVersion, match=r"versions 4 to 17 .* Kafka 4\.0 or newer"):
            line.ask(Ask(api=(1, 18)))
        with pytest.raises(errors.IncompatibleBrokerVersion):
            line.ask(Ask(api=(77, 0)))
