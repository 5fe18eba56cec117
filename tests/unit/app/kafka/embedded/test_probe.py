import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from app.kafka.embedded import probe

METADATA, COORDINATOR, GROUPS, PRODUCER = 3, 10, 15, 22


def text(value: str) -> bytes:
    return struct.pack(">h", len(value)) + value.encode()


def answers(
    *, brokers: int = 1, coordinators: tuple[int, int] = (0, 0), group: int = 0, producer: int = 0
) -> dict[int, list[bytes]]:
    """What a broker says to each request in turn, by its API key."""
    broker = struct.pack(">i", 1) + text("127.0.0.1") + struct.pack(">ih", 9092, -1)
    return {
        METADATA: [struct.pack(">i", brokers) + broker * brokers + text("the-cluster") + struct.pack(">ii", 1, 0)],
        COORDINATOR: [struct.pack(">ihh", 0, code, -1) for code in coordinators],
        GROUPS: [struct.pack(">iih", 0, 1, group)],
        PRODUCER: [struct.pack(">ihqh", 0, producer, 7, 0)],
    }


@pytest.fixture
def broker() -> Iterator[Callable[[dict[int, list[bytes]]], int]]:
    threads = []

    def serve(server: socket.socket, replies: dict[int, list[bytes]]) -> None:
        with server, server.accept()[0] as connection, connection.makefile("rb") as requests:
            while head := requests.read(4):
                request = requests.read(struct.unpack(">i", head)[0])
                key, _version, correlation = struct.unpack_from(">hhi", request)
                body = struct.pack(">i", correlation) + replies[key].pop(0)
                connection.sendall(struct.pack(">i", len(body)) + body)

    def start(replies: dict[int, list[bytes]]) -> int:
        server = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=serve, args=(server, replies))
        thread.start()
        threads.append(thread)
        return int(server.getsockname()[1])

    yield start
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    ("replies", "missing"),
    [
        (answers(), None),
        (answers(brokers=0), "the broker has not registered itself yet"),
        (answers(coordinators=(15, 0)), "no group coordinator yet (error 15)"),
        (answers(coordinators=(0, 15)), "no transaction coordinator yet (error 15)"),
        (answers(group=14), "groups are still loading (error 14)"),
        (answers(producer=51), "no producer ids yet (error 51)"),
    ],
)
def test_a_broker_is_ready_once_every_part_that_clients_need_answers(
    broker: Callable[[dict[int, list[bytes]]], int], replies: dict[int, list[bytes]], missing: str | None
) -> None:
    answer = probe.probe(broker(replies))

    assert probe.Answer(cluster_id="the-cluster", missing=missing) == answer
    assert (missing is None) == answer.ready


def test_nobody_there_is_not_ready() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    answer = probe.probe(port)

    assert answer.cluster_id is None
    assert not answer.ready


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"\x00\x00\x00\x08\x00\x00\x00\x09\x00\x00\x00\x00"]
)
def test_a_server_that_speaks_no_kafka_is_not_ready(said: bytes) -> None:
    def serve(server: socket.socket) -> None:
        with server.accept()[0] as connection:
            connection.recv(1000)
            connection.sendall(said)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        answer = probe.probe(server.getsockname()[1])
        thread.join()

    assert answer.cluster_id is None
    assert "does not answer as Kafka does" in (answer.missing or "")
