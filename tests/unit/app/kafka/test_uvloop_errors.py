"""A connection that breaks as it is written to is one that broke, also under uvloop."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import uvloop
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from app.kafka import uvloop_errors


@pytest.fixture
def _translated() -> Iterator[None]:
    before = AIOKafkaConnection.send, AIOKafkaConnection._send_sasl_token
    uvloop_errors.translate()
    yield
    AIOKafkaConnection.send, AIOKafkaConnection._send_sasl_token = before


def under_uvloop(call: Any) -> None:
    """Run what is given a connection whose transport is closed."""

    async def run(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.transport.abort()
        for _ in range(3):
            await asyncio.sleep(0)
        connection = AIOKafkaConnection("127.0.0.1", port)
        connection._reader, connection._writer = reader, writer
        connection._versions = {3: (0, 5)}
        connection._read_task = asyncio.create_task(reader.read())
        call(connection)

    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(run(server.getsockname()[1]))


@pytest.mark.usefixtures("_translated")
def test_a_request_and_a_token_that_cannot_be_written_any_more_find_the_connection_broken() -> None:
    def asks(connection: Any) -> None:
        with pytest.raises(KafkaConnectionError, match="broken"):
            connection.send(MetadataRequest([]))
        assert not connection.connected()

    def tells(connection: Any) -> None:
        with pytest.raises(KafkaConnectionError, match="broken"):
            connection._send_sasl_token(b"token")

    under_uvloop(asks)
    under_uvloop(tells)


@pytest.mark.usefixtures("_translated")
def test_any_other_error_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(uvloop_errors, "_SEND", fails)
    uvloop_errors.translate()
    with pytest.raises(RuntimeError, match="something else"):
        AIOKafkaConnection.send(None, None)


def test_without_it_aiokafka_hears_of_an_error_that_it_does_not_expect() -> None:
    def asks(connection: Any) -> None:
        with pytest.raises(RuntimeError, match="closed"):
            uvloop_errors._SEND(connection, MetadataRequest([]))  # aiokafka's own

    under_uvloop(asks)
