"""The world outside: what it sends is read by clients that others wrote."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import feedparser
import pytest

from benchmarks import outside
from benchmarks.outside import Run, identity
from connectors.http_stream.parser import Event, Parser


@pytest.fixture
async def url() -> AsyncIterator[str]:
    server = await asyncio.start_server(outside.Server().serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def asked(session: aiohttp.ClientSession, url: str) -> Any:
    async with session.get(url) as answer:
        return await answer.json()


async def until_open(session: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(10):
        while not (await asked(session, f"{url}/"))["sockets"]:  # noqa: ASYNC110 the world tells nobody
            await asyncio.sleep(0.01)


async def test_a_socket_gets_each_message_of_a_run_and_answers_pings(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/socket", heartbeat=0.05) as socket:
        await until_open(session, url)
        going = asyncio.create_task(asked(session, f"{url}/go?run=b-&count=200"))
        found = [json.loads((await socket.receive(10)).data)["id"] for _ in range(200)]

        assert found == [identity("b-", number) for number in range(200)]
        assert (await going)["sockets"] == 1


async def test_an_open_loop_sends_everything_and_says_how_late_it_was(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/socket") as socket:
        await until_open(session, url)
        going = asyncio.create_task(asked(session, f"{url}/go?run=b-&count=50&rate=1000&start_ns=0"))
        found = [json.loads((await socket.receive(10)).data)["id"] for _ in range(50)]

        assert found == [identity("b-", number) for number in range(50)]
        assert (await going)["worst_lateness_ms"] > 0


async def test_a_stream_is_one_for_our_parser(url: str) -> None:
    parser, found = Parser(max_event_bytes=10_000), list[Event]()
    async with aiohttp.ClientSession() as session, session.get(f"{url}/stream") as answer:
        await until_open(session, url)
        await asked(session, f"{url}/go?run=b-&count=3")
        async for chunk in answer.content.iter_any():
            found += [one for one in parser.feed(chunk) if isinstance(one, Event)]
            if len(found) == 3:
                break

    assert [(one.event_type, one.own_id) for one in found] == [("created", identity("b-", n)) for n in range(3)]
    assert [json.loads(one.data)["id"] for one in found] == [one.own_id for one in found]


def test_pages_follow_each_other_over_runs_and_begin_with_what_was_asked_for() -> None:
    runs = [Run(name="a-", count=3), Run(name="b-", count=outside.PAGE)]

    first = [one["id"] for one in json.loads(outside.page(runs, ""))]
    second = [one["id"] for one in json.loads(outside.page(runs, first[-1]))]
    last = [one["id"] for one in json.loads(outside.page(runs, second[-1]))]

    assert first == [identity("a-", n) for n in range(3)] + [identity("b-", n) for n in range(outside.PAGE - 3)]
    assert second == [identity("b-", n) for n in range(outside.PAGE - 4, outside.PAGE)]
    assert last == second[-1:]


def test_a_feed_has_its_newest_entry_first() -> None:
    found = feedparser.parse(outside.feed(Run(name="b-", count=3)))

    assert not found["bozo"]
    assert [one["id"] for one in found["entries"]] == [identity("b-", n) for n in (2, 1, 0)]
    assert found["version"] == "rss20"
    assert feedparser.parse(outside.feed(Run(name="none", count=0)))["version"] == "rss20"


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_frames_say_how_long_they_are(size: int) -> None:
    found = outside.frame(b"x" * size)

    assert len(found) == size + (2 if size < 126 else 4 if size < 65_536 else 10)
    assert found[0] == 0x81
