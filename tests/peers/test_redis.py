"""Streams of a real Redis: owners that die, servers that are killed, streams that go and come back, trimmed entries."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from connectors import redis as connector
from connectors.base.contract import NotConnected, Received, Refused, Unreadable
from connectors.redis.group import _DELETE_IF_EMPTY
from tests.peers.redis_server import PROGRAM, Server
from tests.unit.connectors.standing import Reading, StandIn, reading

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="redis-server is not installed: apt-get install redis-server")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    one = Server(tmp_path)
    one.start()
    yield one
    one.kill()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Redis]:
    """A client of whoever adds entries."""
    async with Redis(port=server.port, protocol=2, decode_responses=True) as one:
        yield one


def site_of(server: Server, *, epoch: str = "e1", **options: Any) -> StandIn:
    site = StandIn(real_time=True, **options)
    site.epoch = epoch
    site.addresses["redis.test"] = [("127.0.0.1", server.port)]
    return site


def source(server: Server, site: StandIn, **options: Any) -> connector.Source:
    made = connector.Config(**{"url": server.url, "streams": ["orders"], "block": 0.1, **options})
    return connector.Source(made, site)


@asynccontextmanager
async def owner(
    server: Server, *, epoch: str = "e1", instance_id: str = "src", **options: Any
) -> AsyncIterator[tuple[Reading, StandIn]]:
    site = site_of(server, epoch=epoch, instance_id=instance_id)
    async with reading(source(server, site, **options), site) as read:
        yield read, site


async def add(client: Redis, count: int, *, first: int = 0, stream: str = "orders") -> list[str]:
    return [str(await client.xadd(stream, {"number": str(first + number)})) for number in range(count)]


async def is_blocked(client: Redis) -> bool:
    """Whether somebody waits for entries."""
    return bool((await client.info("clients"))["blocked_clients"])


async def numbers(read: Reading, count: int, *, settle: bool = True) -> list[int]:
    found = []
    for _ in range(count):
        item = await read.next(settle=settle)
        assert isinstance(item, Received), item
        found.append(int(item.data["number"]))
    return found


async def pending(client: Redis, group: str = "headgate-src") -> int:
    return int((await client.xpending("orders", group))["pending"])


async def eventually(asked: Callable[[], Awaitable[Any]]) -> None:
    """Ask the server until the answer is one that holds."""
    async with asyncio.timeout(20):
        while not await asked():  # noqa: ASYNC110 the server tells nobody
            await asyncio.sleep(0.01)


async def no_pending(client: Redis, *, but: int = 0) -> None:
    async def asked() -> bool:
        return await pending(client) == but

    await eventually(asked)


async def test_entries_from_before_the_first_start_are_read_and_everything_is_acknowledged(
    server: Server, client: Redis
) -> None:
    before = await add(client, 3)
    async with owner(server) as (read, site):
        event = await read.event()
        assert (event.id, event.event_type, event.data) == (f"orders/{before[0]}", "orders", {"number": "0"})
        assert event.created_at is not None
        assert await numbers(read, 2) == [1, 2]
        await add(client, 2, first=3)
        assert await numbers(read, 2) == [3, 4]
        await no_pending(client)
        assert site.connections == 1
        assert site.heard_bytes > 0


async def test_start_at_the_end_leaves_what_is_there(server: Server, client: Redis) -> None:
    await add(client, 3)
    async with owner(server, start="$") as (read, site):
        item = asyncio.create_task(read.event())
        await site.is_connected.wait()
        await add(client, 1, first=9)
        assert (await item).data == {"number": "9"}


async def test_what_a_dead_owner_left_is_read_at_once_under_the_same_ids(server: Server, client: Redis) -> None:
    """The owner dies between produce and acknowledgement; its successor does not wait for claim_idle."""
    ids = await add(client, 5)
    async with owner(server, epoch="e1", claim_idle=3600) as (read, _):
        assert await numbers(read, 2) == [0, 1]
        assert await numbers(read, 3, settle=False) == [2, 3, 4]
    async with owner(server, epoch="e2", claim_idle=3600) as (read, site):
        again = [await read.event() for _ in range(3)]
        assert [event.id for event in again] == [f"orders/{one}" for one in ids[2:]]
        await no_pending(client)
        assert site.notes == {"taken_over": 3, "redelivered": 3}
        names = [one["name"] for one in await client.xinfo_consumers("orders", "headgate-src")]
        assert names == ["e2@src"]


async def test_what_the_server_gives_to_the_read_of_a_dead_owner_is_found_soon(server: Server, client: Redis) -> None:
    """A process that is killed or frozen while it waits for entries: the server notices later than its successor."""
    await add(client, 1)
    async with owner(server, epoch="e1", claim_idle=3600) as (read, _):
        assert await numbers(read, 1) == [0]
    dead = Redis(port=server.port, protocol=2)
    waiting = asyncio.ensure_future(dead.xreadgroup("headgate-src", "e1@src", {"orders": ">"}, block=20_000))
    await eventually(partial(is_blocked, client))
    async with owner(server, epoch="e2", claim_idle=3600) as (read, site):
        event = asyncio.create_task(read.event())
        await site.is_connected.wait()
        (given,) = await add(client, 1, first=1)
        await waiting
        assert (await event).id == f"orders/{given}"
        await no_pending(client)
        names = [one["name"] for one in await client.xinfo_consumers("orders", "headgate-src")]
        assert names == ["e2@src"]
    await dead.aclose()


async def test_an_owner_that_still_lives_keeps_its_name_in_the_group(server: Server, client: Redis) -> None:
    """Only what is empty is removed: who would remove a consumer with pending entries would lose them."""
    await add(client, 1)
    async with owner(server, epoch="e1") as (old, _):
        assert await numbers(old, 1, settle=False) == [0]
        async with owner(server, epoch="e2") as (new, _):
            assert await numbers(new, 1) == [0]
            await add(client, 1, first=1)
            got = [asyncio.create_task(one.event()) for one in (old, new)]
            done, waiting = await asyncio.wait(got, return_when=asyncio.FIRST_COMPLETED, timeout=10)
            assert [task.result().data for task in done] == [{"number": "1"}]
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)


async def test_a_former_owner_that_wakes_up_and_reads_is_not_removed(server: Server, client: Redis) -> None:
    """Between the takeover and the removal: what is pending then would be pending for nobody."""
    await add(client, 1)
    await client.xgroup_create("orders", "g", "0")
    await client.xreadgroup("g", "e1@src", {"orders": ">"})

    async def removed() -> Any:
        return await client.eval(_DELETE_IF_EMPTY, 1, "orders", "g", "e1@src")

    assert await removed() == -1
    assert await pending(client, "g") == 1
    await client.xack("orders", "g", (await client.xpending("orders", "g"))["min"])
    assert await removed() == 0
    assert await client.xinfo_consumers("orders", "g") == []


async def test_other_sources_of_a_group_keep_what_they_have_until_it_is_idle(server: Server, client: Redis) -> None:
    await add(client, 2)
    async with owner(server, instance_id="one", group="shared") as (one, _):
        assert await numbers(one, 2, settle=False) == [0, 1]
    async with owner(server, instance_id="two", group="shared", claim_idle=1) as (two, site):
        await add(client, 1, first=2)
        assert await numbers(two, 1) == [2]
        assert sorted(await numbers(two, 2)) == [0, 1]
        assert site.notes["claimed"] == 2
        assert await pending(client, "shared") <= 2


async def test_what_is_in_work_is_claimed_by_nobody_however_long_it_takes(server: Server, client: Redis) -> None:
    await add(client, 1)
    async with owner(server, instance_id="one", group="shared", claim_idle=1) as (one, _):
        item = await one.next(settle=False)
        waiting = asyncio.create_task(one.next())  # as the frame does: it reads on while it publishes
        idle = [0]

        async def held_for_longer_than_claim_idle() -> bool:
            (shown,) = await client.xpending_range("orders", "shared", "-", "+", 10)
            assert (shown["consumer"], shown["times_delivered"]) == ("e1@one", 1)
            idle.append(int(shown["time_since_delivered"]))
            return sum(later < earlier for earlier, later in pairwise(idle)) >= 4

        await eventually(held_for_longer_than_claim_idle)
        await one.settle(item)
        waiting.cancel()
        await asyncio.wait([waiting])


async def test_a_killed_server_loses_nothing_and_repeats_only_what_was_not_acknowledged(
    server: Server, client: Redis
) -> None:
    site = site_of(server)
    one = source(server, site)
    seen: list[int] = []
    added = 0
    for _ in range(3):
        await add(client, 20, first=added)
        added += 20
        async with reading(one, site) as read:
            seen += await numbers(read, 10)
            seen += await numbers(read, 5, settle=False)
            server.kill()
            assert isinstance(await read.to_its_end(), NotConnected)
        seen += [int(item.data["number"]) for item in read.taken[15:] if isinstance(item, Received)]
        server.start()
    async with reading(one, site) as read:
        await add(client, 1, first=added)
        while added not in seen:
            seen += await numbers(read, 1)
        await no_pending(client)
    assert sorted(set(seen)) == list(range(added + 1))


async def test_acknowledgements_of_a_broken_link_are_told_over_the_next(server: Server, client: Redis) -> None:
    site = site_of(server)
    one = source(server, site)
    await add(client, 2)
    async with reading(one, site) as read:
        items = [await read.next(settle=False) for _ in range(2)]
        server.kill()
        assert isinstance(await read.to_its_end(), NotConnected)
        for item in items:
            await read.settle(item)
    server.start()
    async with reading(one, site) as read:
        await add(client, 1, first=2)
        assert await numbers(read, 1) == [2]
    assert site.notes["redelivered"] == 0


@pytest.mark.parametrize("how", ["deleted", "deleted and added to at once", "group destroyed", "flushed"])
async def test_a_stream_that_goes_and_comes_back_is_read_from_its_beginning(
    server: Server, client: Redis, how: str
) -> None:
    await add(client, 2)
    async with owner(server, start="$" if how == "flushed" else "0", block=5) as (read, site):
        if how != "flushed":
            assert await numbers(read, 2) == [0, 1]
        item = asyncio.create_task(read.event())
        await eventually(partial(is_blocked, client))
        match how:
            case "deleted":
                await client.delete("orders")
            case "deleted and added to at once":
                async with client.pipeline() as both:
                    both.delete("orders")
                    both.xadd("orders", {"number": "7"})
                    await both.execute()
            case "group destroyed":
                await client.xgroup_destroy("orders", "headgate-src")
            case _:
                await client.flushall()
        if how != "deleted and added to at once":
            await client.xadd("orders", {"number": "7"})
        while (event := await item).data["number"] != "7":  # the destroyed group begins at the beginning
            item = asyncio.create_task(read.event())
        await no_pending(client)
        assert event.data == {"number": "7"}
        assert site.notes["group_created_again"] == 1
        assert [name for name, _ in site.said] == ["redis_group_created_again"]


async def test_pending_entries_that_were_trimmed_are_counted_as_missed(server: Server, client: Redis) -> None:
    ids = await add(client, 6)
    async with owner(server, epoch="e1") as (read, _):
        assert await numbers(read, 6, settle=False) == [0, 1, 2, 3, 4, 5]
    await client.xdel("orders", ids[1], ids[2])
    async with owner(server, epoch="e2") as (read, site):
        assert await numbers(read, 1) == [0]
        assert site.notes["missed"] == 2  # by the takeover, since Redis 7
        await client.xtrim("orders", maxlen=1, approximate=False)
    async with owner(server, epoch="e2") as (read, site):
        assert await numbers(read, 1) == [5]
        assert site.notes["missed"] == 2  # by reading its own again: 3 and 4
        await no_pending(client)


async def test_trimmed_entries_are_missed_by_claims_too(server: Server, client: Redis) -> None:
    ids = await add(client, 3)
    async with owner(server, instance_id="one", group="shared") as (one, _):
        assert await numbers(one, 3, settle=False) == [0, 1, 2]
    await client.xdel("orders", ids[0])
    async with owner(server, instance_id="two", group="shared", claim_idle=1) as (two, site):
        assert await numbers(two, 2) == [1, 2]
        assert site.notes == {"claimed": 2, "redelivered": 2, "missed": 1}


async def test_an_entry_that_was_delivered_too_often_is_a_dead_letter(server: Server, client: Redis) -> None:
    ids = await add(client, 1)
    for epoch in ("e1", "e2"):
        async with owner(server, epoch=epoch, max_deliveries=2) as (read, _):
            assert await numbers(read, 1, settle=False) == [0]
    async with owner(server, epoch="e3", max_deliveries=2) as (read, site):
        item = await read.next()
        assert isinstance(item, Unreadable)
        assert item.id == f"orders/{ids[0]}"
        assert item.reason == "it was delivered 3 times and never acknowledged; max_deliveries is 2"
        assert item.raw == b'[["number","0"]]'
        await no_pending(client)
        assert site.notes["poison"] == 1


async def test_several_streams_and_large_batches(server: Server, client: Redis) -> None:
    for stream in ("a", "b"):
        for number in range(50):
            await client.xadd(stream, {"number": str(number)})
    async with owner(server, streams=["a", "b"], batch=7) as (read, _):
        found = [await read.event() for _ in range(100)]
    for stream in ("a", "b"):
        assert [int(one.data["number"]) for one in found if one.event_type == stream] == list(range(50))


async def test_wrong_credentials_and_keys_are_refused_and_show_no_secret(server: Server, client: Redis) -> None:
    await client.set("orders", "a text")
    async with owner(server) as (read, _):
        end = await read.to_its_end()
    assert isinstance(end, Refused)
    assert "WRONGTYPE" in str(end)
    await client.config_set("requirepass", "canary-1")
    async with owner(server, password="canary-2") as (read, _):
        end = await read.to_its_end()
    assert isinstance(end, Refused)
    assert (end.reason, "canary" in str(end)) == ("credentials", False)
    async with owner(server, password="canary-1", streams=["fine"]) as (read, site):
        item = asyncio.create_task(read.next())
        await site.is_connected.wait()
        item.cancel()
        await asyncio.wait([item])


async def test_credentials_that_are_revoked_and_given_back(server: Server, client: Redis) -> None:
    await client.acl_setuser("reader", enabled=True, passwords=["+pw"], keys=["*"], commands=["+@all"])
    site = site_of(server)
    one = source(server, site, username="reader", password="pw")
    await add(client, 1)
    async with reading(one, site) as read:
        assert await numbers(read, 1) == [0]
        await client.acl_setuser("reader", enabled=False)
        await client.client_kill_filter(user="reader")
        assert isinstance(await read.to_its_end(), NotConnected | Refused)
    async with reading(one, site) as read:
        assert isinstance(await read.to_its_end(), Refused)
    await client.acl_setuser("reader", enabled=True)
    await add(client, 1, first=1)
    async with reading(one, site) as read:
        assert await numbers(read, 1) == [1]


async def test_a_user_with_few_rights_is_enough(server: Server, client: Redis) -> None:
    commands = ["+xreadgroup", "+xack", "+xpending", "+xclaim", "+xautoclaim", "+xgroup|create", "+xinfo|consumers"]
    await client.acl_setuser("few", enabled=True, passwords=["+pw"], keys=["orders"], commands=[*commands, "+ping"])
    await add(client, 2)
    async with owner(server, epoch="e1", username="few", password="pw") as (read, _):
        assert await numbers(read, 2, settle=False) == [0, 1]
    async with owner(server, epoch="e2", username="few", password="pw") as (read, _):
        assert await numbers(read, 2) == [0, 1]
        await no_pending(client)


async def test_a_replica_is_no_source_until_it_is_promoted(server: Server, client: Redis, tmp_path: Path) -> None:
    """Failover: the stream is there with what was pending, and everything not acknowledged comes again."""
    await add(client, 3)
    async with owner(server, epoch="e1") as (read, _):
        assert await numbers(read, 1) == [0]
        await no_pending(client, but=2)
    folder = tmp_path / "replica"
    folder.mkdir()
    replica = Server(folder)
    replica.start("--replicaof", "127.0.0.1", str(server.port))
    try:
        async with Redis(port=replica.port, protocol=2, decode_responses=True) as other:
            await eventually(partial(other.exists, "orders"))
            async with owner(replica, epoch="e2") as (read, _):
                end = await read.to_its_end()
            assert isinstance(end, NotConnected)
            assert end.reason == "read_only"
            server.kill()
            await other.replicaof("NO", "ONE")
            async with owner(replica, epoch="e2") as (read, _):
                assert await numbers(read, 2) == [1, 2]
    finally:
        replica.kill()
