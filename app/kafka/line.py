"""A connection to a broker for the requests that are made thousands of times a second.

aiokafka opens it, with TLS and SASL, and hands over the socket. From then on answers go from the socket into a buffer
of their own and, in the same turn of the loop, to whoever waits: no stream, no task, no timer for each of them.
"""

import asyncio
import struct
from collections import deque
from typing import Any, Final

from aiokafka import errors
from aiokafka.conn import AIOKafkaConnection

from app.kafka.requests import Request

_SIZE: Final = struct.Struct(">i")
_HEADER: Final = struct.Struct(">ihhih")
_SMALL_BYTES: Final = 64 * 1024
KEPT_BYTES: Final = 9 * 1024 * 1024
"""A buffer up to this is used again, until an answer comes that is small: then there is no backlog."""
LARGEST_ANSWER_BYTES: Final = 256 * 1024 * 1024
"""A larger one is no answer of Kafka's."""


class Line(asyncio.BufferedProtocol):
    """Requests and their answers, in order. Once `closed` it stays so."""

    def __init__(self, connection: AIOKafkaConnection, *, timeout_seconds: float) -> None:
        """Take over the socket of `connection`, on which nothing is on the way."""
        self.closed = False
        self._name = f"{connection.host}:{connection.port}"
        self._versions = connection._versions
        self._client_id = connection._client_id.encode()
        self._timeout = timeout_seconds
        self._loop = asyncio.get_running_loop()
        self._correlation_id = 0
        self._asked: deque[tuple[int, Request, asyncio.Future[Any], float]] = deque()
        self._small = bytearray(_SMALL_BYTES)
        self._held = 0
        """Bytes in `_small` that belong to no whole answer yet."""
        self._large: memoryview | None = None
        self._filled = 0
        self._spare = bytearray()
        """What the last large answer was read into, for the next one: a new one of 8 MB costs as much as reading it."""
        self._watch: asyncio.TimerHandle | None = None
        self._connection = connection  # its stream would close the socket when it is collected
        connection._read_task.cancel()
        if connection._idle_handle is not None:
            connection._idle_handle.cancel()
        self._transport: Any = connection._writer.transport
        # Both loops choose how to read when reading begins.
        self._transport.pause_reading()
        self._transport.set_protocol(self)
        self._transport.resume_reading()

    def ask(self, request: Request) -> "asyncio.Future[Any]":
        """Send `request` and return its answer's future, decoded. Its error is a KafkaError."""
        answer = self._loop.create_future()
        if self.closed:
            answer.set_exception(errors.KafkaConnectionError(f"the connection to {self._name} is closed"))
            return answer
        key, version = request.api
        lowest, highest = self._versions.get(key, (0, -1))
        if not lowest <= version <= highest:
            raise errors.IncompatibleBrokerVersion(
                f"{self._name} speaks versions {lowest} to {highest} of request {key}, not {version}: Headgate needs "
                "Kafka 4.0 or newer"
            )
        self._correlation_id = (self._correlation_id + 1) & 0x7FFFFFFF
        parts = request.parts()
        size = _HEADER.size - _SIZE.size + len(self._client_id) + sum(map(len, parts))
        head = _HEADER.pack(size, key, version, self._correlation_id, len(self._client_id)) + self._client_id
        self._transport.writelines([head, *parts])
        self._asked.append((self._correlation_id, request, answer, self._loop.time() + self._timeout))
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout, self._look)
        return answer

    def close(self) -> None:
        self._end(errors.KafkaConnectionError(f"the connection to {self._name} was closed"))

    # --- what the loop calls ----------------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 asyncio's signature
        if self._large is not None:
            return self._large[self._filled :]
        return memoryview(self._small)[self._held :]

    def buffer_updated(self, nbytes: int) -> None:
        if self._large is not None:
            self._filled += nbytes
            if self._filled == len(self._large):
                whole, self._large = self._large, None
                self._answered(whole)  # it is decoded there and then: nothing refers to it afterwards
                if len(self._spare) > KEPT_BYTES:
                    self._spare = bytearray()
            return
        held, at, small = self._held + nbytes, 0, self._small
        while held - at >= _SIZE.size:
            (size,) = _SIZE.unpack_from(small, at)
            if not 0 <= size <= LARGEST_ANSWER_BYTES:
                self._end(errors.CorrelationIdError(f"{self._name} sent an answer of {size} bytes"))
                return
            if held - at - _SIZE.size < size:
                break
            at += _SIZE.size
            if self._spare:
                self._spare = bytearray()
            self._answered(memoryview(small)[at : at + size])
            at += size
        self._held = held - at
        if at:
            small[: self._held] = small[at:held]
        if self._held >= _SIZE.size:
            (size,) = _SIZE.unpack_from(small, 0)
            if size > _SMALL_BYTES - _SIZE.size:
                self._filled = self._held - _SIZE.size
                if size > len(self._spare):
                    self._spare = bytearray(size)
                self._large = memoryview(self._spare)[:size]
                self._large[: self._filled] = small[_SIZE.size : self._held]
                self._held = 0

    def eof_received(self) -> None:
        self._end(errors.KafkaConnectionError(f"{self._name} closed the connection"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(errors.KafkaConnectionError(f"the connection to {self._name} broke: {exc or 'closed'}"))

    # ----------------------------------------------------------------------------------------------------------------

    def _answered(self, data: memoryview) -> None:
        if not self._asked:
            self._end(errors.CorrelationIdError(f"{self._name} answered what was not asked"))
            return
        correlation_id, request, answer, _ = self._asked.popleft()
        (found,) = _SIZE.unpack_from(data)
        if found != correlation_id:
            error = errors.CorrelationIdError(f"{self._name} answered request {found} where {correlation_id} was next")
            if not answer.done():
                answer.set_exception(error)
            self._end(error)
        elif not answer.done():  # the asker may have gone
            try:
                answer.set_result(request.decode(data, _SIZE.size))
            except errors.KafkaError as error:
                answer.set_exception(error)
            except (struct.error, ValueError, IndexError) as error:
                answer.set_exception(errors.KafkaProtocolError(f"{self._name} sent an answer that is none: {error}"))

    def _look(self) -> None:
        """End the line when the oldest request has waited too long; one timer for all of them."""
        self._watch = None
        if not self._asked or self.closed:
            return
        left = self._asked[0][3] - self._loop.time()
        if left <= 0:
            self._end(errors.RequestTimedOutError(f"{self._name} has not answered within {self._timeout:g} s"))
        else:
            self._watch = self._loop.call_later(left, self._look)

    def _end(self, error: errors.KafkaError) -> None:
        if self.closed:
            return
        self.closed = True
        if self._watch is not None:
            self._watch.cancel()
        self._transport.abort()
        self._connection.close()
        asked, self._asked = self._asked, deque()
        for _, _, answer, _ in asked:
            if not answer.done():
                answer.set_exception(error)
