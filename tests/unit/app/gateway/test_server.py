"""The entrance: the token, the bounds, and one form of error for everything."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from app.gateway import server
from app.gateway.limits import MOST_REQUESTS
from app.kafka.producer import Outgoing
from app.settings import GatewaySettings

EVENT = {"topic": "a", "data": 1}
OPEN = ["/healthz", "/readyz", "/metrics", "/api/v1/openapi.json"]


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Bearer wrong", "Basic test-token", "test-token", "Bearer test-token2", "Bearer \xff"],
)
@pytest.mark.parametrize("path", ["/api/v1/events", "/api/v1/runs", "/api/v1/nowhere"])
async def test_without_the_token_everything_below_api_is_401(serve: Any, path: str, authorization: str) -> None:
    async with serve() as served:
        headers = {"authorization": authorization.encode("latin-1")}
        answer = await served.client.request("POST" if "events" in path else "GET", path, headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert answer.json()["error"]["code"] == "unauthorized"


async def test_the_token_is_checked_before_the_body_is_asked_for(serve: Any) -> None:
    asked = []

    async def body() -> AsyncIterator[bytes]:
        asked.append(1)
        yield b"{}"

    async with serve() as served:
        answer = await served.client.post("/api/v1/events", content=body(), headers={"authorization": "Bearer no"})
        assert (answer.status_code, asked) == (401, [])


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_read_in_any_case(serve: Any, scheme: str) -> None:
    async with serve() as served:
        answer = await served.client.get("/api/v1/runs", headers={"authorization": f"{scheme} test-token"})
        assert answer.status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", 200),
        ("localhost", 200),
        ("LOCALHOST:8080", 200),
        ("api.localhost:8080", 200),
        ("[::1]:8080", 200),
        ("[::ffff:127.0.0.1]", 200),
        ("evil.example:8080", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("evil.example\xff", 403),
        ("", 403),
    ],
)
async def test_with_the_token_that_everybody_knows_only_this_machines_names_are_answered(
    serve: Any, host: str, status: int
) -> None:
    async with serve(own_names_only=True) as served:
        answer = await served.client.get("/api/v1/runs", headers={"host": host.encode("latin-1")})
        assert answer.status_code == status
        if status == 403:
            error = answer.json()["error"]
            assert (error["code"], "HEADGATE_GATEWAY_TOKEN" in error["remedy"]) == ("foreign_name", True)


async def test_webhooks_are_taken_under_every_name_and_a_token_of_ones_own_is_enough(serve: Any) -> None:
    async with serve(own_names_only=True) as served:
        answer = await served.client.post("/webhooks/none/x", headers={"host": "tunnel.example"})
        assert answer.json()["error"]["code"] == "webhook_not_found"
    async with serve() as served:
        answer = await served.client.get("/api/v1/runs", headers={"host": "gate.example"})
        assert answer.status_code == 200


@pytest.mark.parametrize("path", OPEN)
async def test_health_metrics_and_the_description_need_no_token(serve: Any, path: str) -> None:
    async with serve() as served:
        assert (await served.client.get(path, headers={"authorization": ""})).status_code == 200


async def test_an_announced_body_above_the_bound_is_413(serve: Any) -> None:
    async with serve(max_body_bytes=100) as served:
        answer = await served.post({"topic": "a", "data": "x" * 100})
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
        assert "connection" not in answer.headers


async def test_a_chunked_body_above_the_bound_is_413(serve: Any) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 10

    async with serve(max_body_bytes=100) as served:
        answer = await served.client.post("/api/v1/events", content=chunks())
        assert (answer.status_code, answer.headers["connection"]) == (413, "close")
        assert served.gateway.flight.body_bytes == 0


async def test_a_full_gateway_is_503_at_once(serve: Any) -> None:
    async with serve() as served:
        served.gateway.flight.requests = MOST_REQUESTS
        answer = await served.post(EVENT)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert served.gateway.flight.requests == MOST_REQUESTS


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_a_full_gateway_is_neither_dead_nor_without_figures(serve: Any, path: str) -> None:
    async with serve() as served:
        served.gateway.flight.requests = MOST_REQUESTS
        assert (await served.client.get(path)).status_code == 200
        assert served.gateway.flight.requests == MOST_REQUESTS


async def test_nothing_stays_in_flight(serve: Any) -> None:
    async with serve() as served:
        for body in (EVENT, b"{", {"topic": 1}):
            await served.post(body)
        assert (served.gateway.flight.requests, served.gateway.flight.body_bytes) == (0, 0)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_another_method_is_405(serve: Any, method: str) -> None:
    async with serve() as served:
        answer = await served.client.request(method, "/api/v1/events")
        assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize("path", ["/", "/api", "/api/v1/nowhere", "/docs"])
async def test_another_path_is_404(serve: Any, path: str) -> None:
    async with serve() as served:
        answer = await served.client.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "path_not_found")


async def test_an_unknown_error_is_500_in_the_same_form(serve: Any) -> None:
    async with serve() as served:

        async def broken(**_asked: Any) -> None:
            raise ZeroDivisionError

        served.read_model.runs = broken
        answer = await served.client.get("/api/v1/runs")
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")


async def test_an_unknown_error_of_the_event_route_is_500_in_the_same_form(serve: Any) -> None:
    async with serve() as served:

        async def broken(_events: list[Outgoing]) -> None:
            raise ZeroDivisionError

        served.producer.produce = broken
        answer = await served.post(EVENT)
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
        assert served.gateway.flight.requests == 0


async def test_serving_ends_with_stop_after_the_request_in_flight_is_answered(serve: Any) -> None:
    stop, arrived, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
    async with serve() as served:

        async def slow(_events: list[Outgoing]) -> None:
            arrived.set()
            await go_on.wait()

        served.producer.produce = slow
        with server.bind(GatewaySettings(port=0)) as listener:
            serving = asyncio.create_task(server.serve(served.app, listener, stop=stop))
            url = "http://{}:{}/api/v1/events".format(*listener.getsockname())
            async with httpx.AsyncClient(headers={"authorization": "Bearer test-token"}) as client:
                asking = asyncio.create_task(client.post(url, json=EVENT))
                await arrived.wait()
                stop.set()
                go_on.set()
                answer = await asking
            await serving
    assert answer.status_code == 202


async def test_a_body_that_is_too_large_is_answered_while_its_rest_is_not_there(serve: Any) -> None:
    """Over a real socket: the client has sent the head and nothing else."""
    stop = asyncio.Event()
    async with serve() as served:
        with server.bind(GatewaySettings(port=0)) as listener:
            serving = asyncio.create_task(server.serve(served.app, listener, stop=stop))
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            head = "POST /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer test-token\r\n"
            writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 99999999\r\n\r\n".encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            writer.close()
            await writer.wait_closed()
            stop.set()
            await serving
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_port_that_is_taken_is_an_error_of_the_system() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            server.bind(GatewaySettings(port=taken.getsockname()[1]))


async def test_the_error_body_is_json(serve: Any) -> None:
    async with serve() as served:
        answer = await served.client.get("/api/v1/nowhere")
        assert answer.headers["content-type"] == "application/json"
        assert set(orjson.loads(answer.content)["error"]) == {"code", "message", "remedy", "details"}


@pytest.mark.parametrize("path", ["/api/v1/events/", "/api/v1/dead-letters/", "/healthz/"])
async def test_a_slash_too_many_is_404_in_the_form_of_every_error(serve: Any, path: str) -> None:
    async with serve() as served:
        answer = await served.client.request("POST" if "events" in path else "GET", path, json=EVENT)
        assert (answer.status_code, answer.json()["error"]) == (
            404,
            {
                "code": "path_not_found",
                "message": f"There is no {path}.",
                "remedy": "The paths are listed in /api/v1/openapi.json; leave out the slash at the end.",
                "details": [],
            },
        )
        assert served.producer.written == []
