"""Connections to a server: to approved addresses alone, and every failure in words of the contract."""

import asyncio
import datetime as dt
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from connectors.base.contract import NotConnected, Refused
from connectors.redis import link
from connectors.redis.link import GroupExists, GroupMissing, Server
from tests.unit.connectors.redis.server import Answer, Failure, Nothing, Raw, resp_server
from tests.unit.connectors.standing import StandIn


def server_at(port: int, url: str = "redis://redis.test") -> Server:
    return Server.parse(f"{url}:{port}")


def site_with(*addresses: tuple[str, int]) -> StandIn:
    site = StandIn()
    site.addresses["redis.test"] = addresses
    return site


async def asked(answer: Answer, *words: str) -> Any:
    """What a server that answers like this is to whoever asks."""
    async with resp_server(lambda got: "PONG" if got == ["PING"] and words != ("PING",) else answer(got)) as port:
        made = await link.connect(server_at(port), site_with(("127.0.0.1", port)), wait_seconds=1)
        try:
            return await made.ask(*words)
        finally:
            await made.close()


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("redis://h", Server(host="h", port=6379, database=0, tls=False)),
        ("rediss://h:7/3", Server(host="h", port=7, database=3, tls=True)),
        ("redis://[::1]:7/", Server(host="::1", port=7, database=0, tls=False)),
        ("redis://u:p%40@h", Server(host="h", port=6379, database=0, tls=False, username="u", password="p@")),
        ("redis://:p@h", Server(host="h", port=6379, database=0, tls=False, password="p")),
    ],
)
def test_a_url_says_where_a_server_is(url: str, server: Server) -> None:
    assert Server.parse(url) == server


def test_options_win_over_the_url_and_no_password_is_shown() -> None:
    server = Server.parse("redis://u:canary1@h", username="v", password="canary2")
    assert (server.username, server.password) == ("v", "canary2")
    assert "canary" not in repr(server)


@pytest.mark.parametrize(
    "url",
    [
        "http://canary",
        "redis://",
        "redis://canary:x",
        "redis://canary:99999",
        "redis://canary/db",
        "redis://canary/0?ssl_cert_reqs=none",
        "redis://[canary",
        "unix:///canary",
    ],
)
def test_a_url_that_is_none_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"^url ") as error:
        Server.parse(url)
    assert "canary" not in str(error.value)


async def test_answers_come_as_they_are_and_count_as_heard() -> None:
    async with resp_server(lambda got: "PONG" if got == ["PING"] else [[b"s", [[b"1-0", [b"a", b"1"]]]]]) as port:
        site = site_with(("127.0.0.1", port))
        made = await link.connect(server_at(port), site, wait_seconds=1)
        heard = site.heard_bytes
        assert await made.ask("XREADGROUP", "GROUP") == [[b"s", [[b"1-0", [b"a", b"1"]]]]]
        assert site.heard_bytes == heard + 6
        await made.close()


async def test_the_first_address_that_answers_is_taken() -> None:
    async with resp_server(lambda _: "PONG") as port:
        site = site_with(("127.0.0.1", 1), ("127.0.0.1", port))
        made = await link.connect(server_at(port), site, wait_seconds=1)
        assert await made.ask("PING") is True
        await made.close()


async def test_a_server_that_is_not_there_is_tried_again() -> None:
    with pytest.raises(NotConnected) as end:
        await link.connect(server_at(1), site_with(("127.0.0.1", 1)), wait_seconds=1)
    assert end.value.reason == "closed"
    assert str(end.value).startswith("Redis redis.test:1 of source 'src' is not connected: ")


async def test_an_address_that_is_not_approved_is_not_connected() -> None:
    class Strict(StandIn):
        async def resolve(self, host: str, port: int) -> Any:
            raise Refused(f"{host} is not allowed")

    connected: list[list[str]] = []
    async with resp_server(connected.append) as port:
        with pytest.raises(Refused):
            await link.connect(server_at(port, "redis://127.0.0.1"), Strict(), wait_seconds=1)
    assert connected == []


@pytest.mark.parametrize(
    ("failure", "kind", "reason"),
    [
        ("NOAUTH Authentication required.", Refused, "credentials"),
        ("WRONGPASS invalid username-password pair", Refused, "credentials"),
        ("NOPERM this user has no permissions to run the 'xack' command", Refused, "credentials"),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", Refused, "refused"),
        ("MOVED 3999 127.0.0.1:6381", Refused, "refused"),
        ("ASK 3999 127.0.0.1:6381", Refused, "refused"),
        ("ERR unknown command 'XAUTOCLAIM', with args beginning with: ", Refused, "refused"),
        ("READONLY You can't write against a read only replica.", NotConnected, "read_only"),
        ("LOADING Redis is loading the dataset in memory", NotConnected, "loading"),
        ("MASTERDOWN Link with MASTER is down", NotConnected, "masterdown"),
        ("CLUSTERDOWN Hash slot not served", NotConnected, "clusterdown"),
        ("MISCONF Redis is configured to save RDB snapshots", NotConnected, "misconf"),
        ("OOM command not allowed when used memory > 'maxmemory'.", NotConnected, "oom"),
        ("ERR max number of clients reached", NotConnected, "closed"),
        ("ERR something else", NotConnected, "error"),
        ("lower case", NotConnected, "error"),
    ],
)
async def test_an_error_of_the_server_says_whether_it_passes(
    failure: str, kind: type[NotConnected | Refused], reason: str
) -> None:
    with pytest.raises((NotConnected, Refused)) as end:
        await asked(lambda _: Failure(failure), "XREADGROUP")
    assert isinstance(end.value, kind)
    assert end.value.reason == reason


@pytest.mark.parametrize(
    "failure",
    [
        "NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option",
        "NOGROUP the consumer group this client was blocked on no longer exists",
        "UNBLOCKED the stream key no longer exists",
        "ERR no such key",
    ],
)
async def test_a_group_that_is_gone_is_told_apart(failure: str) -> None:
    with pytest.raises(GroupMissing):
        await asked(lambda _: Failure(failure), "XREADGROUP")


async def test_a_group_that_exists_is_told_apart() -> None:
    with pytest.raises(GroupExists):
        await asked(lambda _: Failure("BUSYGROUP Consumer Group name already exists"), "XGROUP")


@pytest.mark.parametrize(
    "garbage", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"$abc\r\n", b"*1\r\n" * 5000, b"\x00\r\n", b":x\r\n"]
)
async def test_what_is_no_redis_is_tried_again(garbage: bytes) -> None:
    with pytest.raises(NotConnected):
        await asked(lambda _: Raw(garbage), "PING")


async def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "_SPARE_SECONDS", 0.1)
    with pytest.raises(NotConnected, match="did not answer in time") as end:
        await asked(lambda _: Nothing(), "XREADGROUP")
    assert end.value.reason == "timeout"


async def test_nothing_is_tried_again_here() -> None:
    got: list[list[str]] = []

    def answer(words: list[str]) -> Any:
        got.append(words)
        return Failure("LOADING Redis is loading the dataset in memory")

    with pytest.raises(NotConnected):
        await asked(answer, "XACK", "s")
    assert got == [["XACK", "s"]]


async def test_credentials_are_sent_and_the_database_is_chosen() -> None:
    got: list[list[str]] = []

    def answer(words: list[str]) -> str:
        got.append(words)
        return "OK"

    async with resp_server(answer) as port:
        server = Server.parse(f"redis://redis.test:{port}/3", username="u", password="p")
        made = await link.connect(server, site_with(("127.0.0.1", port)), wait_seconds=1)
        await made.close()
    assert got == [["AUTH", "u", "p"], ["SELECT", "3"], ["PING"]]


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of redis.test, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redis.test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("redis.test")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    no_password = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no_password)
    path = tmp_path / "certificate.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return path


async def test_tls_asks_for_the_name_and_not_for_the_address(certificate: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    names: list[str | None] = []
    context.sni_callback = lambda _, name, __: names.append(name)
    async with resp_server(lambda _: "PONG", tls=context) as port:
        site = site_with(("127.0.0.1", port))
        site.addresses["other.test"] = [("127.0.0.1", port)]
        server = Server.parse(f"rediss://redis.test:{port}", ca_file=str(certificate))
        made = await link.connect(server, site, wait_seconds=1)
        await made.close()
        for refused in (
            Server.parse(f"rediss://redis.test:{port}"),
            Server.parse(f"rediss://other.test:{port}", ca_file=str(certificate)),
        ):
            with pytest.raises(Refused) as end:
                await link.connect(refused, site, wait_seconds=1)
            assert end.value.reason == "certificate"
        await asyncio.sleep(0)
    assert names == ["redis.test", "redis.test", "other.test"]
