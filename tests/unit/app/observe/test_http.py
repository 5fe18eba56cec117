"""The worker's own HTTP server, spoken to as a probe and as a stranger would."""

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry, Counter

from app.observe.health import Health
from app.observe.http import HealthServer


class Served:
    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.counter = Counter("things", "Things that happened.", registry=registry)
        self.health = Health("kafka")
        self.server = HealthServer(registry, self.health.report)

    async def ask(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body; status 0 when nothing was answered."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        writer.write(request)
        writer.write_eof()
        async with asyncio.timeout(20):
            answer = await reader.read()
        writer.close()
        if not answer:
            return 0, {}, b""
        head, _, body = answer.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        return int(first.split(" ")[1]), dict(line.split(": ", 1) for line in lines), body

    async def get(self, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        return await self.ask(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


@pytest_asyncio.fixture
async def served() -> AsyncIterator[Served]:
    made = Served()
    await made.server.start("127.0.0.1", 0)
    yield made
    await made.server.close()


async def test_a_client_that_stays_does_not_hold_up_the_end(served: Served) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", served.server.port)
    await asyncio.wait_for(served.server.close(), 4)  # less than its request is waited for
    writer.close()


async def test_a_process_that_answers_is_alive(served: Served) -> None:
    status, headers, body = await served.get("/healthz")

    assert (status, body) == (200, b'{"alive":true}')
    assert headers == {"Content-Type": "application/json", "Content-Length": "14", "Connection": "close"}


async def test_readiness_says_what_is_down_and_what_to_do(served: Served) -> None:
    served.health.down("kafka", "no broker", remedy="start one")
    status, _, body = await served.get("/readyz")
    assert status == 503
    assert orjson.loads(body) == {
        "ready": False,
        "checks": {"kafka": {"up": False, "detail": "no broker", "remedy": "start one"}},
    }

    served.health.up("kafka")
    status, _, body = await served.get("/readyz?verbose=1")
    assert (status, orjson.loads(body)) == (200, {"ready": True, "checks": {"kafka": {"up": True}}})


async def test_metrics_are_those_of_now(served: Served) -> None:
    served.counter.inc(3)

    status, headers, body = await served.get("/metrics")

    assert status == 200
    assert headers["Content-Type"].startswith("text/plain")
    assert b"\nthings_total 3.0\n" in body


async def test_head_has_the_headers_alone(served: Served) -> None:
    status, headers, body = await served.get("/healthz", "HEAD")

    assert (status, headers["Content-Length"], body) == (200, "14", b"")


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (b"GET /nowhere HTTP/1.1\r\n\r\n", 404),
        (b"GET / HTTP/1.0\r\n\r\n", 404),
        (b"POST /healthz HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 405),
        (b"GET\r\n\r\n", 405),
        (b"\r\n\r\n", 405),
        (b"\xff\xfe\x00 \x01 \x02\r\n\r\n", 405),
        (b"", 0),
        (b"GET /healthz HTTP/1.1\r\n", 0),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 0),
    ],
)
async def test_a_stranger_gets_an_answer_or_none_and_the_server_goes_on(
    served: Served, request_: bytes, expected: int
) -> None:
    try:
        status, _, _ = await served.ask(request_)
    except ConnectionError:
        status = 0

    assert status == expected
    assert (await served.get("/healthz"))[0] == 200


async def test_a_port_that_is_taken_is_an_error_of_the_system(served: Served) -> None:
    with pytest.raises(OSError, match="address already in use"):
        await Served().server.start("127.0.0.1", served.server.port)


async def test_a_server_that_never_started_can_be_closed() -> None:
    made = Served()
    await made.server.close()

    assert made.server.port == 0
