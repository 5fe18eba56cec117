"""The budget of identifies, over restarts; their distance and the turns of shards."""

import asyncio

import pytest

from connectors.base.contract import Moved, NotConnected
from connectors.discord.budget import Allowance, Starts, turn_in_seconds
from connectors.discord.place import Place
from tests.fakes.discord import FakeDiscord
from tests.unit.connectors.discord.conftest import Hasty
from tests.unit.connectors.discord.hearing import SourceOf, begun
from tests.unit.connectors.standing import reading, until


async def test_with_no_identify_left_it_waits_until_discord_counts_anew(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty
) -> None:
    discord.remaining, discord.reset_after_ms = 0, 7_200_000
    async with reading(source_of(), site) as run:
        end = await run.to_its_end()
    assert isinstance(end, NotConnected)
    assert (end.reason, end.retry_after_seconds) == ("identify_budget", 7200.0)
    assert discord.links == []


async def test_the_budget_of_a_day_holds_over_restarts_whatever_discord_says(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty
) -> None:
    """Every identify is answered with op 9, every process dies after it, and Discord says that all is left."""
    discord.total = 5
    discord.at_identify.extend(["op9"] * 20)
    reasons = []
    for _ in range(12):
        discord.remaining = 5
        async with reading(source_of(), site) as run:
            end = await run.to_its_end()
            assert isinstance(end, NotConnected)
            reasons.append(end.reason)
    assert reasons == ["op_9"] * 5 + ["identify_budget"] * 7
    assert len(discord.identifies) == 5


async def test_an_identify_is_counted_where_a_restart_finds_it_before_it_is_sent(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty
) -> None:
    site.speed = 5
    async with reading(source_of(), site) as run:
        counted = await run.next(settle=False)
        assert isinstance(counted, Moved)
        assert sum(counted.position["identifies"]["hours"].values()) == 1
        waiting = asyncio.create_task(run.next(settle=False))
        await until(lambda: len(site.slept) > 5)
        assert discord.identifies == []
        site.position = counted.position
        await until(lambda: len(discord.identifies) == 1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_a_position_that_is_not_stored_in_time_is_a_reason_to_connect_later(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty
) -> None:
    async with reading(source_of(), site) as run:
        await run.next(settle=False)
        with pytest.raises(NotConnected, match="no session begins that is not counted") as end:
            await run.next()
    assert end.value.reason == "not_stored"
    assert discord.identifies == []


async def test_a_link_that_ends_before_it_may_identify_is_an_end_like_any_other(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty
) -> None:
    async with reading(source_of(), site) as run:
        await run.next(settle=False)
        await discord.send({"op": 7})
        with pytest.raises(NotConnected) as end:
            await run.next()
    assert end.value.reason == "op_7"


async def test_identifies_of_one_source_keep_their_distance(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty
) -> None:
    """5.5 s from one to the next, by the source's own clock."""
    discord.at_identify.append("op9")
    async with reading(source_of(), site) as run:
        await run.to_its_end()
    first = Place.read(site.position).starts.last
    await begun(source_of(), site, discord)
    second = Place.read(site.position).starts.last
    assert first is not None
    assert second is not None
    assert second - first > 5.4


@pytest.mark.parametrize("shard_id", [0, 1, 2])
async def test_shards_of_one_bot_take_turns_by_the_clock(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty, monkeypatch: pytest.MonkeyPatch, shard_id: int
) -> None:
    now = site.now()
    monkeypatch.setattr(site, "now", lambda: now)
    async with reading(source_of(shard=[shard_id, 3]), site) as run:
        await run.next()
        await run.next()
    turn = turn_in_seconds(Starts(), Allowance(), shard=(shard_id, 3), now=now, chance=0.5)
    assert site.slept[0] == turn
    assert [shard for _, shard in discord.identifies] == [(shard_id, 3)]
