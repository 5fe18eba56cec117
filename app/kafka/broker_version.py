"""The version of a broker. No client library tells it, so this speaks the one request that does: ApiVersions 3.

A broker answers it before it asks who is there (KIP-511, KIP-584), so it needs TLS where the listener has it, and never
a password. Called by `app.kafka.admin`.
"""

import socket
import ssl
from dataclasses import dataclass, field
from typing import Final

_API_VERSIONS: Final = 18
# Fetch before version 4 went with Kafka 4.0 (KIP-896): the floor tells a 4.x broker, whatever it calls itself.
_FETCH: Final = 1
_FETCH_FLOOR_SINCE_4_0: Final = 4
# The first level of `metadata.version` that each release knows (org.apache.kafka.server.common.MetadataVersion).
_RELEASES: Final = {
    "3.0": 1, "3.1": 2, "3.2": 3, "3.3": 4, "3.4": 8, "3.5": 9, "3.6": 12, "3.7": 15, "3.8": 20, "3.9": 21,
    "4.0": 22, "4.1": 26, "4.2": 28, "4.3": 30,
}  # fmt: skip


class BrokerAnswerError(Exception):
    """What came back is no answer of a Kafka broker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerVersion:
    """What a broker says of itself: the release it must at least be, and the highest level of each of its features."""

    release: str | None
    at_least_4_0: bool
    features: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.release is not None:
            return self.release
        return "4.0 or newer" if self.at_least_4_0 else "older than 4.0"


def ask(host: str, port: int, *, context: ssl.SSLContext | None = None, timeout_seconds: float = 5) -> BrokerVersion:
    """Ask one broker. Raises OSError where it cannot be reached, BrokerAnswerError where it answers something else."""
    with socket.create_connection((host, port), timeout_seconds) as plain:
        stream = plain if context is None else context.wrap_socket(plain, server_hostname=host)
        try:
            stream.sendall(_REQUEST)
            size = int.from_bytes(_exactly(stream, 4), "big")
            if size > 1 << 20:
                raise BrokerAnswerError(f"{host}:{port} does not speak Kafka's protocol")
            return parse(_exactly(stream, size))
        finally:
            stream.close()


def _exactly(stream: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = stream.recv(size - len(parts))
        if not part:
            raise BrokerAnswerError("the broker closed the connection in the middle of its answer")
        parts += part
    return bytes(parts)


def parse(body: bytes) -> BrokerVersion:
    """Read an ApiVersions 3 response behind its length: header 0, then compact arrays and tagged fields (KIP-482)."""
    reader = _Reader(body)
    reader.integer(4)  # correlation id
    if reader.integer(2) != 0:
        raise BrokerAnswerError("the broker does not know ApiVersions 3, so it is older than Kafka 2.4")
    floors = {}
    for _ in range(reader.varint() - 1):
        key, low, _high = reader.integer(2), reader.integer(2), reader.integer(2)
        floors[key] = low
        reader.skip_tags()
    reader.integer(4)  # throttle time
    features: dict[str, int] = {}
    for _ in range(reader.varint()):
        tag, size = reader.varint(), reader.varint()
        field_body = _Reader(reader.take(size))
        if tag == 0:  # supported features
            for _ in range(field_body.varint() - 1):
                name = field_body.take(field_body.varint() - 1).decode(errors="replace")
                field_body.integer(2)
                features[name] = field_body.integer(2)
                field_body.skip_tags()
    level = features.get("metadata.version")
    known = [release for release, first in _RELEASES.items() if level is not None and first <= level]
    return BrokerVersion(
        release=known[-1] if known else None,
        at_least_4_0=floors.get(_FETCH, 0) >= _FETCH_FLOOR_SINCE_4_0,
        features=features,
    )


class _Reader:
    def __init__(self, body: bytes) -> None:
        self._body, self._at = body, 0

    def take(self, size: int) -> bytes:
        if size < 0 or self._at + size > len(self._body):
            raise BrokerAnswerError("the broker's answer is shorter than it says")
        self._at += size
        return self._body[self._at - size : self._at]

    def integer(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big", signed=True)

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def skip_tags(self) -> None:
        for _ in range(self.varint()):
            self.varint()
            self.take(self.varint())


def _request() -> bytes:
    def compact(text: str) -> bytes:
        return bytes([len(text) + 1]) + text.encode()

    header = _API_VERSIONS.to_bytes(2, "big") + (3).to_bytes(2, "big") + bytes(4)
    client_id = len("headgate").to_bytes(2, "big") + b"headgate"
    body = header + client_id + b"\0" + compact("headgate") + compact("1") + b"\0"
    return len(body).to_bytes(4, "big") + body


_REQUEST: Final = _request()
