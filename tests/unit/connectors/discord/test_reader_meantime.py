"""What was said while no session was open is read from the histories of channels."""

from dataclasses import replace
from typing import Any

import pytest

from connectors.base.contract import Moved, Received
from connectors.discord import Source
from connectors.discord.place import Place
from tests.fakes.discord import CHANNEL, FakeDiscord
from tests.unit.connectors.discord.conftest import Hasty
from tests.unit.connectors.discord.hearing import SourceOf, begun, connected, named, told
from tests.unit.connectors.standing import reading


async def lost_with(count: int, source: Source, site: Hasty, discord: FakeDiscord) -> list[str]:
    """Lose the session while so many messages come; return their ids."""
    await begun(source, site, discord)
    discord.forget()
    site.position = Place.read(site.position).lost().as_json()
    return named([await discord.say(str(number)) for number in range(count)])


async def test_what_the_gateway_tells_while_the_history_is_read_comes_after_it_and_once(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty
) -> None:
    missed = await lost_with(5, source_of(), site, discord)
    async with reading(source_of(), site) as run:
        await run.next()  # the count
        begins = await run.next()
        assert isinstance(begins, Moved)
        assert begins.position["gaps"] == [CHANNEL]
        live = named([await discord.say("live") for _ in range(3)])  # in the history as well
        assert await told(run, 8) == [*missed, *live]
        assert await connected(run, discord)
    ids = [item.id for item in run.taken if isinstance(item, Received)]
    assert len(ids) == len(set(ids))
    assert site.notes["duplicates"] == 3
    assert site.notes["backfilled"] == 8


async def test_a_history_that_was_begun_is_gone_on_with_after_a_crash(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty
) -> None:
    missed = await lost_with(250, source_of(), site, discord)
    async with reading(source_of(), site) as run:
        first = await told(run, 120)
        discord.abort()
    live = named([await discord.say("live")])
    async with reading(source_of(), site) as run:
        rest = await told(run, 131)
        assert isinstance(await run.next(), Moved)

    assert first + rest == [*missed, *live]
    assert len(discord.identifies) == 2, "the new session was resumed"
    assert Place.read(site.position).gaps == ()


async def test_only_the_channels_that_are_named_are_asked(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty
) -> None:
    named_one = "712000000000000000"
    discord.channels[named_one] = []
    source = source_of(backfill_channels=[named_one])
    await begun(source, site, discord)
    discord.forget()
    site.position = Place.read(site.position).lost().as_json()
    await discord.say("not asked for")
    expected = named([await discord.say("asked for", channel=named_one)])
    discord.requests.clear()
    async with reading(source, site) as run:
        assert await told(run, 1) == expected
        await connected(run, discord)
    assert not [path for _, path, _ in discord.requests if f"{CHANNEL}/messages" in path]


async def test_a_new_source_asks_for_nothing_that_was_before_it(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty
) -> None:
    await discord.say("long ago")
    async with reading(source_of(), site) as run:
        await connected(run, discord)
    assert not [path for _, path, _ in discord.requests if "messages" in path]


@pytest.mark.parametrize("options", [{"backfill": False}, {"events": ["message_delete"]}])
async def test_a_history_that_is_not_wanted_is_not_asked_for(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty, options: dict[str, Any]
) -> None:
    await lost_with(3, source_of(), site, discord)
    async with reading(source_of(**options), site) as run:
        await run.next()
        await run.next()
        await discord.dispatch("MESSAGE_DELETE", {"id": "5", "channel_id": CHANNEL})
        assert await told(run, 1) == ["message_delete/5"]
    assert not [path for _, path, _ in discord.requests if "messages" in path]


async def test_a_channel_that_is_gone_does_not_hold_up_the_others(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty
) -> None:
    missed = await lost_with(2, source_of(), site, discord)
    place = Place.read(site.position)
    site.position = replace(place, newest={"5": "1", **place.newest}).as_json()
    async with reading(source_of(), site) as run:
        assert await told(run, 2) == missed
    assert site.notes["backfill_refused"] == 1
