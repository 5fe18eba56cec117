"""The client of a foreign cluster: to which addresses it connects, and what its errors are in our words."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import errors

from connectors.base.contract import NotConnected, Refused
from connectors.kafka.client import Client, translated
from connectors.kafka.config import Config, tls_context
from tests.unit.connectors.certificates import pem
from tests.unit.connectors.standing import StandIn


class Policed(StandIn):
    """A site that resolves every name to this machine, or refuses to."""

    def __init__(self, addresses: dict[str, Sequence[str]]) -> None:
        super().__init__(real_time=True)
        self.of = addresses
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int) -> Sequence[tuple[str, int]]:
        self.asked.append(host)
        if host not in self.of:
            raise Refused(f"{host} is not public", reason="forbidden_address")
        if not self.of[host]:
            raise NotConnected(f"{host} has no address", reason="dns")
        return [(address, port) for address in self.of[host]]


@asynccontextmanager
async def broker(*, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Takes a request and closes; yields its port, and what it was sent."""
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.read(1000))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1], requests
    finally:
        server.close()


async def end_of(site: StandIn, *bootstrap: str, **options: Any) -> NotConnected | Refused:
    config = Config(bootstrap=list(bootstrap), topics=["t"], **options)
    client = Client(config, site=site, tls=tls_context(config) if config.uses_tls else None)
    with pytest.raises((NotConnected, Refused)) as raised:
        await client.bootstrap()
    await client.close()
    assert isinstance(raised.value, NotConnected | Refused)
    return raised.value


async def test_it_connects_to_the_addresses_that_the_policy_gives() -> None:
    site = Policed({"broker.example": ["127.0.0.2", "127.0.0.1"]})
    async with broker() as (port, requests):
        end = await end_of(site, f"broker.example:{port}")

    assert len(requests) == 1  # ApiVersions, at the second of the two
    assert site.asked == ["broker.example"]
    assert isinstance(end, NotConnected)
    assert end.reason == "kafka_connection"


async def test_a_forbidden_broker_is_refused_and_not_reached() -> None:
    async with broker() as (port, requests):
        end = await end_of(Policed({}), f"localhost:{port}")

    assert isinstance(end, Refused)
    assert str(end) == f"localhost:{port}: localhost is not public"
    assert requests == []


async def test_the_next_broker_is_asked_where_one_is_away() -> None:
    site = Policed({"gone.example": [], "broker.example": ["127.0.0.1"], "[::1]": ["127.0.0.1"], "::1": ["127.0.0.1"]})
    async with broker() as (port, requests):
        await end_of(site, f"gone.example:{port}", f"broker.example:{port}", f"[::1]:{port}")

    assert site.asked == ["gone.example", "broker.example", "::1"]
    assert len(requests) == 2


async def test_tls_asks_for_the_name_and_not_for_the_address(tmp_path: Path) -> None:
    ours, key = pem("broker.example")
    names: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (file := tmp_path / "broker.pem").write_text(key + ours)
    context.load_cert_chain(file)
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    site = Policed({"broker.example": ["127.0.0.1"], "other.example": ["127.0.0.1"]})
    async with broker(tls=context) as (port, requests):
        good = await end_of(site, f"broker.example:{port}", security="SSL", tls_ca=ours)
        bad = await end_of(site, f"other.example:{port}", security="SSL", tls_ca=ours)

    assert names == ["broker.example", "other.example"]
    assert len([one for one in requests if one]) == 1
    assert isinstance(good, NotConnected)
    assert good.reason == "kafka_connection"
    assert isinstance(bad, NotConnected)
    assert bad.reason == "tls"
    assert str(bad) == f"no TLS with other.example:{port}: CERTIFICATE_VERIFY_FAILED"


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (errors.SaslAuthenticationFailed("no"), Refused, "unauthorized"),
        (errors.UnsupportedSaslMechanismError("no"), Refused, "unauthorized"),
        (errors.TopicAuthorizationFailedError("t"), Refused, "forbidden"),
        (errors.KafkaConnectionError("gone"), NotConnected, "kafka_connection"),
        (errors.CorruptRecordException("crc"), NotConnected, "corrupt_record_exception"),
        (errors.RequestTimedOutError(), NotConnected, "request_timed_out"),
        (TimeoutError(), NotConnected, "timeout"),
        (ConnectionRefusedError(), NotConnected, "refused"),
        (OSError("no route"), NotConnected, "unreachable"),
    ],
)
def test_errors_are_told_in_the_words_of_the_contract(error: Exception, kind: type[Exception], reason: str) -> None:
    found = translated(error, "b.example:9092")

    assert type(found) is kind
    assert found.reason == reason
    assert "b.example:9092" in str(found)


def test_our_own_words_are_left_as_they_are() -> None:
    for error in (NotConnected("x", reason="dns"), Refused("x", reason="forbidden_address")):
        assert translated(error, "b.example:9092") is error
