import os
import socket
from collections.abc import Iterator

import pytest

from app.cli.exits import Exit
from app.kafka.embedded import ports, probe
from app.kafka.embedded.errors import EmbeddedKafkaError


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_port_with_a_listener_is_taken_and_its_holder_named(listener: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "ANSWER_SECONDS", 0.1)  # ours never answers

    error = ports.taken(listener)

    assert not ports.is_free(listener)
    assert error.fact.startswith(f"Port {listener} of 127.0.0.1 is taken by ")
    assert error.fact.endswith(f"(pid {os.getpid()}).")
    assert "Stop what listens there, or choose another port with --kafka-port." == error.remedy
    assert Exit.USAGE == error.exit_code  # as for the gateway's port


def test_a_listener_on_all_interfaces_takes_the_port_as_well() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        assert not ports.is_free(server.getsockname()[1])


def test_a_free_port_can_be_listened_on_and_lies_below_those_of_outgoing_connections() -> None:
    port = ports.free_port()

    with socket.create_server(("127.0.0.1", port)):
        assert not ports.is_free(port)
    assert ports.is_free(port)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert port < server.getsockname()[1]


def test_an_address_that_this_machine_lacks_is_an_error_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "HOST", "192.0.2.1")

    with pytest.raises(EmbeddedKafkaError, match=r"Port 9092 of 192\.0\.2\.1 cannot be used: "):
        ports.is_free(9092)
