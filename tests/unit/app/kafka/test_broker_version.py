import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kafka import broker_version
from app.kafka.broker_version import BrokerAnswerError, BrokerVersion

FETCH, METADATA_VERSION = 1, "metadata.version"


def number(value: int, size: int = 2) -> bytes:
    return value.to_bytes(size, "big", signed=True)


def varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def answer(*, fetch_floor: int = 4, level: int | None = 30, error: int = 0) -> bytes:
    """An ApiVersions 3 response with a tag that nobody knows before the one that counts."""
    keys = b"".join(
        number(key) + number(low) + number(high) + b"\0" for key, low, high in ((0, 0, 13), (FETCH, fetch_floor, 18))
    )
    features = (
        []
        if level is None
        else [varint(len(METADATA_VERSION) + 1) + METADATA_VERSION.encode() + number(7) + number(level) + b"\0"]
    )
    supported = varint(len(features) + 1) + b"".join(features)
    tags = varint(2) + varint(0) + varint(len(supported)) + supported + varint(9) + varint(1) + b"x"
    return number(7, 4) + number(error) + varint(3) + keys + number(0, 4) + tags


@pytest.mark.parametrize(
    ("level", "release"),
    [
        (7, "3.3"),
        (21, "3.9"),
        (22, "4.0"),
        (25, "4.0"),
        (27, "4.1"),
        (29, "4.2"),
        (30, "4.3"),
        (99, "4.3"),
        (None, None),
    ],
)
def test_the_highest_known_level_tells_the_release(level: int | None, release: str | None) -> None:
    assert broker_version.parse(answer(level=level)).release == release


@pytest.mark.parametrize(("floor", "at_least"), [(0, False), (3, False), (4, True), (13, True)])
def test_the_requests_that_are_gone_tell_a_4_x_broker(floor: int, at_least: bool) -> None:
    assert broker_version.parse(answer(fetch_floor=floor)).at_least_4_0 is at_least


def test_a_broker_that_names_no_level_is_told_by_what_it_speaks() -> None:
    versions = [broker_version.parse(answer(fetch_floor=floor, level=None)) for floor in (0, 4)]
    assert [str(version) for version in versions] == ["older than 4.0", "4.0 or newer"]


def test_a_very_old_broker_is_told() -> None:
    with pytest.raises(BrokerAnswerError, match=r"older than Kafka 2\.4"):
        broker_version.parse(answer(error=35))


@given(st.binary(max_size=200))
def test_no_answer_escapes_as_another_error(body: bytes) -> None:
    try:
        broker_version.parse(body)
    except BrokerAnswerError:
        pass


@given(st.integers(min_value=0, max_value=len(answer()) - 1))
def test_an_answer_that_was_cut_is_told(size: int) -> None:
    with pytest.raises(BrokerAnswerError, match="shorter than it says"):
        broker_version.parse(answer()[:size])


@contextmanager
def listening(reply: bytes) -> Iterator[int]:
    """A server that answers one connection with `reply`, whatever it is asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.recv(4096)
                client.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def test_a_broker_is_asked_over_the_wire() -> None:
    body = answer()
    with listening(number(len(body), 4) + body) as port:
        assert broker_version.ask("127.0.0.1", port) == BrokerVersion(
            release="4.3", at_least_4_0=True, features={METADATA_VERSION: 30}
        )


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "does not speak Kafka"),
        (number(100, 4) + b"x", "closed the connection"),
        (b"", "closed"),
    ],
)
def test_what_is_no_broker_is_told(reply: bytes, message: str) -> None:
    with listening(reply) as port, pytest.raises(BrokerAnswerError, match=message):
        broker_version.ask("127.0.0.1", port)
