"""Is this broker ready? Asked over the wire, because an open port is not readiness and clients wait in silence.

Four requests of Kafka's protocol by hand (kafka.apache.org/protocol): a client library would take longer to give up
on a broker that is still starting than the broker takes to start, and log each attempt.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Final

HOST: Final = "127.0.0.1"
ANSWER_SECONDS: Final = 2.0
GROUP, TRANSACTION = 0, 1  # key types of FindCoordinator

_METADATA, _FIND_COORDINATOR, _DESCRIBE_GROUPS, _INIT_PRODUCER_ID = 3, 10, 15, 22
_NAME = "headgate-readiness"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the broker on a port said: its cluster, or None if no Kafka answered; and what is not ready yet, or None."""

    cluster_id: str | None
    missing: str | None

    @property
    def ready(self) -> bool:
        return self.cluster_id is not None and self.missing is None


def probe(port: int) -> Answer:
    """Ask the broker on `port` of this machine whether clients can work with it. Never raises for what it finds."""
    cluster_id: str | None = None
    try:
        with socket.create_connection((HOST, port), timeout=ANSWER_SECONDS) as connection:
            connection.settimeout(ANSWER_SECONDS)
            cluster_id, brokers = _metadata(connection)
            if not brokers:
                return Answer(cluster_id=cluster_id, missing="the broker has not registered itself yet")
            for key_type, name in ((GROUP, "group"), (TRANSACTION, "transaction")):
                if code := _find_coordinator(connection, key_type):
                    return Answer(cluster_id=cluster_id, missing=f"no {name} coordinator yet (error {code})")
            if code := _describe_group(connection):
                return Answer(cluster_id=cluster_id, missing=f"groups are still loading (error {code})")
            if code := _init_producer_id(connection):
                return Answer(cluster_id=cluster_id, missing=f"no producer ids yet (error {code})")
    except (OSError, struct.error, UnicodeDecodeError) as error:
        return Answer(cluster_id=cluster_id, missing=f"port {port} does not answer as Kafka does ({error})")
    return Answer(cluster_id=cluster_id, missing=None)


def _metadata(connection: socket.socket) -> tuple[str | None, int]:
    body = _ask(connection, _METADATA, version=2, body=struct.pack(">i", 0))
    for _ in range(brokers := body.int32()):
        body.int32(), body.string(), body.int32(), body.string()
    return body.string(), brokers


def _find_coordinator(connection: socket.socket, key_type: int) -> int:
    body = _ask(connection, _FIND_COORDINATOR, version=1, body=_string(_NAME) + struct.pack(">b", key_type))
    body.int32()
    return body.int16()


def _describe_group(connection: socket.socket) -> int:
    """The coordinator answers for a group once its partition of group offsets is loaded, known group or not."""
    body = _ask(connection, _DESCRIBE_GROUPS, version=1, body=struct.pack(">i", 1) + _string(_NAME))
    body.int32(), body.int32()
    return body.int16()


def _init_producer_id(connection: socket.socket) -> int:
    # With a transactional id, so that its coordinator must have loaded; the one entry expires by itself.
    body = _ask(connection, _INIT_PRODUCER_ID, version=0, body=_string(_NAME) + struct.pack(">i", 60_000))
    body.int32()
    return body.int16()


class _Body:
    """A response, read from its front."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def int16(self) -> int:
        return self._number(">h")

    def int32(self) -> int:
        return self._number(">i")

    def string(self) -> str | None:
        length = self.int16()
        if length < 0:
            return None
        self._at += length
        return self._data[self._at - length : self._at].decode()

    def _number(self, form: str) -> int:
        number: int = struct.unpack_from(form, self._data, self._at)[0]
        self._at += struct.calcsize(form)
        return number


def _ask(connection: socket.socket, api: int, *, version: int, body: bytes) -> _Body:
    request = struct.pack(">hhi", api, version, api) + _string(_NAME) + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    (length,) = struct.unpack(">i", _receive(connection, 4))
    if not 4 <= length <= 1_000_000:
        raise ConnectionError("something else than Kafka listens there")
    answer = _receive(connection, length)
    if struct.unpack_from(">i", answer)[0] != api:
        raise ConnectionError("the answer belongs to no request")
    return _Body(answer[4:])


def _receive(connection: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        chunk = connection.recv(count - len(data))
        if not chunk:
            raise ConnectionError("the connection was closed")
        data += chunk
    return bytes(data)


def _string(text: str) -> bytes:
    return struct.pack(">h", len(text.encode())) + text.encode()
