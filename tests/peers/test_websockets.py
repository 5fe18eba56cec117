"""WebSockets of npm's ws, the server that most services run: frames in pieces, compression, silence, all ends."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from connectors.base.contract import Closed, Item, NotConnected, Received, Refused
from tests.peers.programs import PEERS
from tests.unit.connectors.standing import Reading, StandIn, reading, until
from tests.unit.connectors.websocket.peer import source, standing

HERE: Final = Path(__file__).parent
NODE: Final = shutil.which("node")
pytestmark = pytest.mark.skipif(
    NODE is None or not (PEERS / "node_modules/ws").is_dir(),
    reason=f"ws is not installed in {PEERS.name}/node_modules; tools/connector_peers.sh does it",
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    assert NODE is not None
    process = subprocess.Popen(
        [NODE, str(HERE / "ws_server.cjs")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "NODE_PATH": str(PEERS / "node_modules")},
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield f"ws://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(10)


@pytest.fixture
async def site() -> AsyncIterator[StandIn]:
    async with standing() as one:
        yield one


async def first(read: Reading, count: int) -> list[Received]:
    return [await read.event() for _ in range(count)]


async def end_of(url: str, site: StandIn, **options: Any) -> tuple[list[Item], Exception]:
    async with reading(source(url, site, **options), site) as read:
        end = await read.to_its_end()
        return read.taken, end


async def test_a_burst_comes_through_complete_and_in_order(url: str, site: StandIn) -> None:
    async with reading(source(f"{url}/burst/5000", site, id_pointer="/id"), site) as read:
        events = await first(read, 5_000)

    assert [one.id for one in events] == [f"t-{number}" for number in range(5_000)]
    assert {one.event_type for one in events} == {"tick"}


@pytest.mark.parametrize("compress", [False, True])
async def test_messages_come_with_and_without_compression(url: str, site: StandIn, *, compress: bool) -> None:
    async with reading(
        source(f"{url}/protocol", site, compress=compress, subprotocols=["a", "prices.v2"]), site
    ) as read:
        (hello,) = await first(read, 1)

    extensions = "permessage-deflate" if compress else ""
    assert hello.data == {"type": "hello", "protocol": "prices.v2", "extensions": extensions}


async def test_a_message_in_fragments_with_a_ping_between_them_is_one(url: str, site: StandIn) -> None:
    async with reading(source(f"{url}/fragments", site), site) as read:
        assert [one.data for one in await first(read, 1)] == [{"type": "trade", "n": 1}]


async def test_binary_frames_are_base64(url: str, site: StandIn) -> None:
    async with reading(source(f"{url}/binary", site), site) as read:
        assert [one.data for one in await first(read, 1)] == ["AP8B"]


@pytest.mark.parametrize("compress", [False, True])
async def test_a_message_that_is_too_large_ends_the_connection_and_is_not_read(
    url: str, site: StandIn, *, compress: bool
) -> None:
    """Compressed it has a few hundred bytes: what counts is what it becomes."""
    taken, end = await end_of(f"{url}/big/200000", site, max_message_bytes=100_000, compress=compress)

    assert taken == []
    assert isinstance(end, NotConnected)
    assert end.reason == "message_too_big"


async def test_a_message_of_just_the_limit_is_taken(url: str, site: StandIn) -> None:
    async with reading(source(f"{url}/big/100000", site, max_message_bytes=100_000), site) as read:
        assert len((await first(read, 1))[0].data) == 100_000
    _, end = await end_of(f"{url}/big/100001", site, max_message_bytes=100_000)
    assert isinstance(end, NotConnected)


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 1013, 3000, 4001])
async def test_close_codes_are_told(url: str, site: StandIn, code: int) -> None:
    _, end = await end_of(f"{url}/close/{code}", site)

    assert isinstance(end, Closed)
    assert (end.code, end.text) == (code, "bye")


async def test_a_close_code_may_be_fatal(url: str, site: StandIn) -> None:
    _, end = await end_of(f"{url}/close/4001", site, fatal_close_codes=[4001])

    assert isinstance(end, Refused)


async def test_a_connection_that_is_cut_is_not_connected(url: str, site: StandIn) -> None:
    _, end = await end_of(f"{url}/terminate", site)

    assert isinstance(end, NotConnected)


@pytest.mark.parametrize(
    ("status", "error"), [(401, Refused), (404, Refused), (429, NotConnected), (503, NotConnected)]
)
async def test_a_handshake_that_is_denied_is_what_its_status_says(
    url: str, site: StandIn, status: int, error: type[Exception]
) -> None:
    _, end = await end_of(f"{url}/status/{status}", site)

    assert type(end) is error
    assert getattr(end, "retry_after_seconds", None) == (7.0 if error is NotConnected else None)


async def test_a_service_that_answers_pings_is_alive_and_one_that_does_not_is_dead(url: str, site: StandIn) -> None:
    quick = {"ping_interval": 0.1, "idle_timeout": 0.5}
    taken, end = await end_of(f"{url}/silent", site, **quick)
    assert [item.data for item in taken if isinstance(item, Received)] == [{"type": "hello"}]
    assert isinstance(end, NotConnected)

    one = source(f"{url}/echo", site, **quick)
    async with reading(one, site) as read:
        waiting = asyncio.create_task(read.event())
        pauses = len(site.slept)
        await until(lambda: len(site.slept) > pauses + 15)  # of pings and of looks for a sign of life
        await one.send({"still": "there"}, key="k")
        assert (await waiting).data == {"still": "there"}


async def test_what_is_subscribed_comes_after_its_answer(url: str, site: StandIn) -> None:
    options = {
        "subscribe": [
            {"message": {"op": "sub", "channel": channel}, "answer": {"data.result": "ok"}} for channel in ("a", "b")
        ],
        "id_pointer": "/id",
    }
    async with reading(source(f"{url}/subscribe", site, **options), site) as read:
        found = [one.data for one in await first(read, 4)]

    assert found == [{"type": "noise"}, {"type": "tick", "id": "a-1"}, {"type": "noise"}, {"type": "tick", "id": "b-1"}]
    assert site.connections == 1


async def test_what_is_repeated_until_it_is_acknowledged_is_acknowledged(url: str, site: StandIn) -> None:
    options = {"id_pointer": "/id", "ack": {"ack": "{{ id }}"}}
    async with reading(source(f"{url}/repeats", site, **options), site) as read:
        seen: list[Received] = []
        while not seen or seen[-1].id != "m-2":
            seen.append(await read.event())

    assert {one.id for one in seen[:-1]} == {"m-1"}
    assert seen[-1].data == {"id": "m-2", "heard": {"ack": "m-1"}}


async def test_messages_can_be_sent(url: str, site: StandIn) -> None:
    one = source(f"{url}/echo", site)
    async with reading(one, site) as read:
        waiting = asyncio.create_task(read.event())
        await until(lambda: site.connections == 1)
        await one.send({"text": "hello", "n": 1}, key="k")
        assert (await waiting).data == {"text": "hello", "n": 1}
