"""The history of channels."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base.contract import NotConnected
from connectors.base.options import SecretStr
from connectors.discord import backfill, snowflakes
from connectors.discord.rest import Rest
from tests.fakes.discord import CHANNEL, GUILD, TOKEN, FakeDiscord
from tests.unit.connectors.discord.conftest import Hasty
from tests.unit.connectors.discord.test_frames import JSON


async def told(
    discord: FakeDiscord, site: Hasty, *, after: str = "0", limit: int = 10_000, channel: str = CHANNEL
) -> list[tuple[str, Any]]:
    rest = Rest(site, token=SecretStr(TOKEN), api_url=discord.api_url)
    return [one async for one in backfill.history(rest, site, channel=channel, after=after, limit=limit)]


async def said(discord: FakeDiscord, count: int) -> list[str]:
    return [await discord.say(f"message {number}") for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250])
async def test_all_messages_come_oldest_first_page_by_page(discord: FakeDiscord, site: Hasty, count: int) -> None:
    ids = await said(discord, count)
    found = await told(discord, site)

    assert [message_id for message_id, _ in found] == ids
    assert [message["content"] for _, message in found] == [f"message {number}" for number in range(count)]


async def test_only_what_is_newer_comes_and_it_names_its_channel_and_guild(discord: FakeDiscord, site: Hasty) -> None:
    ids = await said(discord, 5)
    found = await told(discord, site, after=ids[2])

    assert [message_id for message_id, _ in found] == ids[3:]
    assert {(one["channel_id"], one["guild_id"]) for _, one in found} == {(CHANNEL, GUILD)}
    assert sum(path == f"/api/v10/channels/{CHANNEL}" for _, path, _ in discord.requests) == 1


async def test_a_limit_cuts_off_the_newest_and_is_told(discord: FakeDiscord, site: Hasty) -> None:
    ids = await said(discord, 205)
    assert [message_id for message_id, _ in await told(discord, site, limit=120)] == ids[:120]
    assert site.notes == {"backfill_cut": 1}
    assert site.said[0][0] == "discord_backfill_cut"


async def test_a_limit_that_is_exactly_met_by_the_last_page_cuts_nothing(discord: FakeDiscord, site: Hasty) -> None:
    await said(discord, 30)
    assert len(await told(discord, site, limit=30)) == 30
    assert site.notes == {}


async def test_a_channel_that_may_not_be_read_is_passed_over_and_told(discord: FakeDiscord, site: Hasty) -> None:
    assert await told(discord, site, channel="123") == []
    assert site.notes == {"backfill_refused": 1}
    assert site.said == [
        ("discord_channel_refused", {"channel": "123", "problem": "HTTP 403, code 50001 (Missing Access)"})
    ]


async def test_a_history_that_is_none_is_asked_for_again_later(discord: FakeDiscord, site: Hasty) -> None:
    discord.refusals.append((200, {}, {"messages": []}))
    with pytest.raises(NotConnected, match="something else"):
        await told(discord, site)


@given(st.lists(JSON | st.fixed_dictionaries({"id": st.integers(0, 200).map(str) | JSON}), max_size=8))
def test_whatever_a_page_has_its_messages_are_newer_and_in_order(page: list[Any]) -> None:
    ids = [message_id for message_id, _ in backfill.ordered(page, after="50")]
    assert ids == sorted(set(ids), key=int)
    assert all(snowflakes.newer(one, "50") for one in ids)
