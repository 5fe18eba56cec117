"""The source, against a Discord that others' clients have proved (tests/peers/test_discord_clients.py)."""

import asyncio

import pytest

from connectors.base.contract import UNMOVED, Moved, Received, Unreadable
from connectors.discord.place import Place
from tests.fakes.discord import CHANNEL, GUILD, TOKEN, FakeDiscord
from tests.unit.connectors.discord.conftest import Hasty
from tests.unit.connectors.discord.hearing import SourceOf, begun, connected, named, once_connected, told
from tests.unit.connectors.standing import reading, until

# ---- sessions over restarts ------------------------------------------------------------------------------------------


async def test_a_message_is_an_event_under_its_own_id(discord: FakeDiscord, source_of: SourceOf, site: Hasty) -> None:
    async with reading(source_of(), site) as run:
        task = asyncio.create_task(once_connected(discord))
        event = await run.event()

    assert event.id == f"message_create/{await task}"
    assert (event.event_type, event.key, event.data["content"]) == ("message_create", CHANNEL, "hello")
    assert event.data["guild_id"] == GUILD
    assert event.created_at is not None
    assert site.connections == 1


async def test_a_clean_stop_keeps_the_session_and_the_next_owner_resumes_it(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty
) -> None:
    await begun(source_of(), site, discord)
    assert await discord.closed(discord.links[0]) not in (None, 1000, 1001)

    meanwhile = named([await discord.say(str(number)) for number in range(3)])
    async with reading(source_of(), site) as run:
        assert await told(run, 3) == meanwhile
    assert len(discord.identifies) == 1
    assert discord.links[1].resuming
    assert discord.links[1].sent(6) == [{"token": TOKEN, "session_id": "session2", "seq": 2}]
    assert dict(discord.links[1].query) == dict(discord.links[0].query) == {"v": "10", "encoding": "json"}
    assert discord.problems == []


async def test_a_reader_that_is_cancelled_keeps_the_session_too(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty
) -> None:
    async with reading(source_of(), site) as run:
        await connected(run, discord)
        waiting = asyncio.create_task(run.next())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert await discord.closed(discord.links[0]) == 4000


async def test_the_identify_says_intents_and_shard(discord: FakeDiscord, source_of: SourceOf, site: Hasty) -> None:
    discord.max_concurrency = 2
    await begun(source_of(intents=["GUILDS", "GUILD_MESSAGES"], shard=[1, 2]), site, discord)
    [identify] = discord.links[0].sent(2)
    assert (identify["intents"], identify["shard"]) == (513, [1, 2])


async def test_only_what_is_durable_is_not_asked_for_again(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty
) -> None:
    """1,000 events, and a process that dies over and over in the middle of them."""
    await begun(source_of(), site, discord)
    expected = named([await discord.say(str(number)) for number in range(1000)])

    seen: list[str] = []
    settled = 0
    while settled < 1000:
        async with reading(source_of(), site) as run:
            for number in range(270):
                item = await run.next(settle=number < 200)
                seen += [item.id] if isinstance(item, Received) else []
                if isinstance(item, Received) and item.id == expected[-1]:
                    settled = 1000
                    break
            discord.abort()

    assert list(dict.fromkeys(seen)) == expected, "none is lost, and the order is kept"
    assert len(seen) > 1000, "what was not durable came again, under the same id"
    assert len(discord.identifies) == 1


async def test_heartbeats_tell_no_more_than_a_restart_would_know(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty
) -> None:
    discord.heartbeat_seconds = 10.0
    async with reading(source_of(), site) as run:
        await connected(run, discord)
        site.behind, stored = site.position, Place.read(site.position).session
        for number in range(5):
            await discord.say(str(number))
        await told(run, 5)
        [link] = discord.links
        beats = len(link.sent(1))
        await until(lambda: len(link.sent(1)) >= beats + 2)
    moved = Place.read(site.position).session
    assert stored is not None
    assert moved is not None
    assert moved.seq > stored.seq
    assert {*link.sent(1)[beats:]} == {stored.seq}


async def test_a_burst_hands_on_few_positions_and_the_last_one_at_its_end(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty
) -> None:
    await begun(source_of(), site, discord)
    ids = [await discord.say(str(number)) for number in range(300)]
    async with reading(source_of(), site) as run:
        await told(run, 300)
        extra = asyncio.create_task(run.next())
        await until(lambda: Place.read(site.position).newest.get(CHANNEL) == ids[-1])
        extra.cancel()
        await asyncio.gather(extra, return_exceptions=True)
    positions = [item for item in run.taken if not isinstance(item, Unreadable) and item.position is not UNMOVED]
    assert 6 <= len(positions) <= 30


async def test_a_session_of_other_intents_is_not_resumed(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty
) -> None:
    await begun(source_of(), site, discord)
    async with reading(source_of(intents=513), site) as run:
        await run.next()
        await until(lambda: len(discord.links) == 2)
        await run.next()
    assert [identify["intents"] for link in discord.links for identify in link.sent(2)] == [33281, 513]
    assert discord.links[1].sent(6) == []


# ---- which events ----------------------------------------------------------------------------------------------------


async def test_only_the_types_that_are_asked_for_are_told_and_the_others_move_the_position(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty
) -> None:
    async with reading(source_of(events=["message_delete"]), site) as run:
        await run.next()
        await run.next()
        for number in range(60):
            await discord.say(str(number))
        assert isinstance(await run.next(), Moved)
        await discord.dispatch("MESSAGE_DELETE", {"id": "5", "channel_id": CHANNEL})
        assert await told(run, 1) == ["message_delete/5"]
    assert Place.read(site.position).newest == {}


async def test_what_has_no_id_of_its_own_is_named_by_session_and_number(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty
) -> None:
    async with reading(source_of(), site) as run:
        await connected(run, discord)
        await discord.dispatch("TYPING_START", {"channel_id": CHANNEL, "user_id": "1", "timestamp": 1_780_272_000})
        event = await run.event()
    assert (event.id, event.event_type, event.key) == ("session2/3", "typing_start", CHANNEL)


async def test_what_is_no_payload_becomes_a_dead_letter_and_reading_goes_on(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty
) -> None:
    async with reading(source_of(), site) as run:
        await connected(run, discord)
        await discord.send_raw("not json")
        item = await run.next()
        assert isinstance(item, Unreadable)
        assert item.raw == b"not json"
        await connected(run, discord)
