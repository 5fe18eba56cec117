"""How the children of `headgate dev` are told of when they end."""

import asyncio
import os
import sys

import pytest

from app.wiring.roles import CONNECTORS, GATEWAY, WORKER, Kind, Role
from tests.unit.app.wiring.addresses import needs_ipv6


async def said_at_the_end(kind: Kind, code: int) -> list[str]:
    """What is said of a child that ends with `code`, until it would start again."""
    said: list[str] = []
    ended = asyncio.Event()

    def say(_who: str, line: str) -> None:
        said.append(line)
        if "it starts again in" in line:
            ended.set()

    launcher = [sys.executable, "-I", "-S", "-c", f"raise SystemExit({code})"]
    role = Role(kind, "child", [], launcher=launcher, environment=dict(os.environ), say=say)
    keeping = asyncio.create_task(role.keep())
    await asyncio.wait_for(ended.wait(), 30)
    keeping.cancel()
    await asyncio.wait({keeping})
    return said


async def test_a_worker_whose_id_another_has_gets_the_remedy_of_headgate_dev() -> None:
    assert await said_at_the_end(WORKER, 4) == [
        "every other `headgate dev` on this cluster needs a --data folder of its own",
        "ended with exit code 4; it starts again in 1 s",
    ]


@pytest.mark.parametrize(("kind", "code"), [(WORKER, 1), (GATEWAY, 4)])
async def test_every_other_end_is_told_with_its_code_alone(kind: Kind, code: int) -> None:
    assert await said_at_the_end(kind, code) == [f"ended with exit code {code}; it starts again in 1 s"]


SERVES = """
import socket, sys
host, line = sys.argv[1:3]
server = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
print(line.format(server.getsockname()[1]), flush=True)
while True:
    asked, _ = server.accept()
    asked.recv(4096)
    asked.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
    asked.close()
"""


@pytest.mark.parametrize(
    ("kind", "host", "line"),
    [
        pytest.param(GATEWAY, "::1", "headgate gateway: http://[::1]:{}", marks=needs_ipv6),
        (GATEWAY, "127.0.0.2", "headgate gateway: http://127.0.0.2:{}"),
        (WORKER, "127.0.0.2", "headgate worker: 4 partitions, metrics on port {}"),
        pytest.param(CONNECTORS, "[::1]", "headgate connectors: 4 partitions, metrics on port {}", marks=needs_ipv6),
    ],
)
async def test_a_child_is_asked_where_it_listens(kind: Kind, host: str, line: str) -> None:
    launcher = [sys.executable, "-I", "-S", "-c", SERVES, host.strip("[]"), line]
    role = Role(kind, "child", [], launcher=launcher, environment=dict(os.environ), host=host, say=lambda *_: None)
    keeping = asyncio.create_task(role.keep())
    try:
        assert await asyncio.wait_for(role.ready(), 30) == role.port
    finally:
        role.kill()
        await keeping
