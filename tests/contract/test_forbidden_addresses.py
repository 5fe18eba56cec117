"""No URL leads a connector where nothing may connect: the corpus, redirects and rebinding, watched at the socket."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from ipaddress import IPv4Address
from itertools import cycle
from typing import Any, Final

import pytest

from connectors.base.contract import NotConnected, Refused
from connectors.base.reach.egress import Policy
from connectors.base.reach.http import ClientHttp
from tests.corpus.ssrf import urls

CODES: Final = (301, 302, 303, 307, 308)
PUBLIC: Final = {urls.PUBLIC, "2606:4700::1111"}


class Watch:
    """Sees every connect of this process, as the interpreter tells its auditors, and prevents it unless it may be."""

    def __init__(self, *, may_reach: set[tuple[str, int]]) -> None:
        self.may_reach = may_reach
        self.connects: list[tuple[str, int]] = []
        self.lookups: list[Any] = []

    def seen(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect":
            address = arguments[1]
            self.connects.append(address[:2])
            if address[:2] not in self.may_reach:
                raise ConnectionRefusedError("prevented by the test")
        elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
            self.lookups.append(arguments)


_watches: list[Watch] = []
_hooked: list[bool] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _watches and event.startswith("socket."):
        _watches[-1].seen(event, arguments)


@contextmanager
def watching(*may_reach: tuple[str, int]) -> Iterator[Watch]:
    if not _hooked:
        sys.addaudithook(_hook)  # there is no way to remove it: it looks away while nobody watches
        _hooked.append(True)
    watch = Watch(may_reach=set(may_reach))
    _watches.append(watch)
    try:
        yield watch
    finally:
        _watches.remove(watch)


async def lookup(host: str, port: int) -> Sequence[str]:
    return urls.NAMES.get(host, urls.ANY_NAME)


class Redirecting:
    """A server that may be reached; it redirects to what was asked for last, and answers 200 to anything else."""

    def __init__(self) -> None:
        self.code, self.location = 302, ""
        self.address = ("", 0)

    @property
    def place(self) -> str:
        return f"{self.address[0]}:{self.address[1]}"

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                await reader.readuntil(b"\r\n\r\n")
                if line.startswith(b"GET /redirect "):
                    where = self.location.encode("utf-8", "surrogatepass")
                    writer.write(b"HTTP/1.1 %d No\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (self.code, where))
                else:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def redirecting() -> AsyncIterator[Redirecting]:
    made = Redirecting()
    server = await asyncio.start_server(made.talk, "127.0.0.1", 0)
    made.address = server.sockets[0].getsockname()[:2]
    try:
        yield made
    finally:
        server.close()


@asynccontextmanager
async def listening(host: str = "127.0.0.1") -> AsyncIterator[tuple[int, list[object]]]:
    """A server that must not see anybody; yields its port and whom it saw."""
    seen: list[object] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peername"))
        writer.close()

    server = await asyncio.start_server(talk, host, 0)
    try:
        yield server.sockets[0].getsockname()[1], seen
    finally:
        server.close()


async def ask(http: ClientHttp, url: str) -> str:
    """Return what became of a request: `refused`, `not connected`, or where the answer came from."""
    try:
        async with http.request("GET", url, timeout_seconds=5) as answer:
            return answer.url
    except Refused:
        return "refused"
    except NotConnected:
        return "not connected"


async def connect(http: ClientHttp, url: str) -> str:
    try:
        async with http.websocket(url, timeout_seconds=5):
            return "connected"
    except Refused:
        return "refused"
    except NotConnected:
        return "not connected"


def test_the_corpus_is_large_and_has_each_url_once() -> None:
    assert len(urls.ALL) == len(set(urls.ALL))
    assert len(urls.ALL) >= 1500


async def test_no_url_of_the_corpus_connects_to_what_is_forbidden() -> None:
    ends = dict.fromkeys(["refused", "not connected"], 0)
    async with ClientHttp(Policy(lookup=lookup)) as http:
        with watching() as watch:
            for url in urls.ALL:
                ends[await ask(http, url)] += 1

    assert set() == {address for address, _ in watch.connects} - PUBLIC
    assert [] == watch.lookups
    assert ends["refused"] > 0.98 * len(urls.ALL)


async def test_no_url_of_the_corpus_connects_a_websocket_to_what_is_forbidden() -> None:
    async with ClientHttp(Policy(lookup=lookup)) as http:
        with watching() as watch:
            for url in urls.ALL:
                scheme, colon, rest = url.partition(":")
                await connect(http, {"http": "ws", "https": "wss"}.get(scheme.lower(), scheme) + colon + rest)

    assert set() == {address for address, _ in watch.connects} - PUBLIC
    assert [] == watch.lookups


async def test_no_host_of_the_corpus_resolves_to_what_is_forbidden() -> None:
    """As clients that are not HTTP ask: those of databases and brokers."""
    found: set[str] = set()
    hosts = {form for one in urls.V4 for form in urls.v4_forms(one)} | {
        form for one in urls.V6 for form in urls.v6_forms(one)
    }
    for host in [*hosts, *urls.NAMES, *urls.ALL]:
        try:
            found |= {address for address, _ in await Policy(lookup=lookup).resolve(host, 5432)}
        except (Refused, NotConnected):
            pass

    assert found <= PUBLIC


async def test_no_redirect_leads_to_what_is_forbidden() -> None:
    codes = cycle(CODES)
    async with redirecting() as server, ClientHttp(Policy(allowed=(server.place,), lookup=lookup)) as http:
        with watching(server.address) as watch:
            for url in urls.ALL:
                if not {"\r", "\n", "\0"} & set(url):  # they cannot be in a header
                    server.code, server.location = next(codes), url
                    end = await ask(http, f"http://{server.place}/redirect")
                    assert end in ("refused", "not connected") or end.startswith(f"http://{server.place}/"), url

    assert set() == {one for one in watch.connects if one != server.address and one[0] not in PUBLIC}
    assert [] == watch.lookups


@pytest.mark.parametrize("code", CODES)
async def test_a_server_of_this_machine_sees_nobody_by_any_redirect(code: int) -> None:
    """Nothing is prevented here but by the policy: the listener is there, and would be found."""
    async with redirecting() as server, listening() as (port, seen):
        places = [
            *(form for form in urls.v4_forms(IPv4Address("127.0.0.1"))),
            *(form for form in urls.v4_forms(IPv4Address("0.0.0.0"))),
            "[::1]",
            "localhost",
            "localhost.",
            "LOCALHOST",
        ]

        async def here(host: str, port: int) -> Sequence[str]:
            return ["127.0.0.1"]

        async with ClientHttp(Policy(allowed=(server.place,), lookup=here)) as http:
            server.code = code
            for place in places:
                server.location = f"http://{place}:{port}/"
                await ask(http, f"http://{server.place}/redirect")
                await ask(http, server.location)
                await connect(http, server.location.replace("http", "ws", 1))

        assert [] == seen
        async with ClientHttp(Policy(allowed=("*",))) as http:
            await ask(http, f"http://127.0.0.1:{port}/")
        assert seen


async def test_a_name_is_resolved_once_and_what_was_checked_is_connected() -> None:
    answers = [[urls.PUBLIC], ["127.0.0.1"], ["169.254.169.254"]]
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return answers[len(asked) - 1]

    async with ClientHttp(Policy(lookup=rebinding)) as http:
        with watching() as watch:
            ends = [await ask(http, "http://rebinding.example/") for _ in answers]

    assert ["not connected", "refused", "refused"] == ends
    assert [(urls.PUBLIC, 80)] == watch.connects
    assert ["rebinding.example"] * 3 == asked


async def test_a_name_that_rebinds_while_a_connection_is_kept_is_checked_again() -> None:
    """aiohttp repeats a request when a kept connection turns out to be closed: that is a new connection."""
    async with listening() as (port, seen):
        answers = ["127.0.0.2", "127.0.0.1"]

        async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            try:
                await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                pass
            writer.close()

        async def rebinding(host: str, port: int) -> Sequence[str]:
            return [answers.pop(0)]

        server = await asyncio.start_server(once, "127.0.0.2", port)
        async with server, ClientHttp(Policy(allowed=("127.0.0.2",), lookup=rebinding)) as http:
            first = await ask(http, f"http://rebinding.example:{port}/")
            second = await ask(http, f"http://rebinding.example:{port}/")

        assert (f"http://rebinding.example:{port}/", "refused") == (first, second)
        assert [] == answers
        assert [] == seen


@pytest.mark.parametrize("position", range(3))
async def test_one_forbidden_answer_among_several_connects_to_none(position: int) -> None:
    addresses = [urls.PUBLIC, "2606:4700::1111"]
    addresses.insert(position, "10.0.0.1")

    async def mixed(host: str, port: int) -> Sequence[str]:
        return addresses

    async with ClientHttp(Policy(lookup=mixed)) as http:
        with watching() as watch:
            assert "refused" == await ask(http, "http://mixed.example/")

    assert [] == watch.connects


async def test_a_redirect_back_and_forth_is_checked_at_each_step() -> None:
    """The name is public first, and private when the redirect comes back to it."""
    async with redirecting() as server, listening() as (port, seen):
        answers = ["127.0.0.1", "127.0.0.1"]

        async def rebinding(host: str, port: int) -> Sequence[str]:
            return [answers.pop(0)]

        policy = Policy(allowed=(f"127.0.0.1:{server.address[1]}",), lookup=rebinding)
        async with ClientHttp(policy) as http:
            server.location = f"http://rebinding.example:{port}/"
            end = await ask(http, f"http://rebinding.example:{server.address[1]}/redirect")

        assert ("refused", []) == (end, seen)


async def test_proxies_of_the_environment_see_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening() as (port, seen):
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "WS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        async with ClientHttp(Policy(lookup=lookup)) as http:
            with watching(("127.0.0.1", port)) as watch:
                await ask(http, "http://example.com/")
                await ask(http, "https://example.com/")
                await connect(http, "wss://example.com/")

        assert {(urls.PUBLIC, 80), (urls.PUBLIC, 443)} == set(watch.connects)
        assert [] == seen
