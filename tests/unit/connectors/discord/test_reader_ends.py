"""How connections of the source end, and how the session goes on."""

from typing import Any

import pytest

from connectors.base.contract import NotConnected, Refused
from connectors.discord.closes import CLOSES, Then
from connectors.discord.reader import address_of
from tests.fakes.discord import TOKEN, FakeDiscord
from tests.unit.connectors.discord.conftest import Hasty
from tests.unit.connectors.discord.hearing import SourceOf, begun, connected, named, told
from tests.unit.connectors.standing import reading


async def test_swallowed_acknowledgements_end_the_link_and_the_session_goes_on(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty
) -> None:
    source = source_of()
    discord.acks, discord.heartbeat_seconds = False, 10.0
    async with reading(source, site) as run:
        end = await run.to_its_end()
    assert isinstance(end, NotConnected)
    assert (end.reason, end.at_once) == ("heartbeat", False)
    assert await discord.closed(discord.links[0]) not in (None, 1000, 1001)

    discord.acks = True
    await begun(source, site, discord)
    assert len(discord.identifies) == 1


async def test_op_7_leads_to_a_resumption_at_once(discord: FakeDiscord, source_of: SourceOf, site: Hasty) -> None:
    source = source_of()
    async with reading(source, site) as run:
        await connected(run, discord)
        await discord.send({"op": 7, "d": None})
        end = await run.to_its_end()
    assert isinstance(end, NotConnected)
    assert (end.reason, end.at_once) == ("op_7", True)
    assert await discord.closed(discord.links[0]) == 4000

    await begun(source, site, discord)
    assert len(discord.identifies) == 1


async def test_op_9_with_true_leads_to_a_resumption_after_a_pause(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty
) -> None:
    source = source_of()
    async with reading(source, site) as run:
        await connected(run, discord)
        await discord.send({"op": 9, "d": True})
        end = await run.to_its_end()
    assert isinstance(end, NotConnected)
    assert (end.reason, end.retry_after_seconds) == ("op_9_resumable", 3.0)

    await begun(source, site, discord)
    assert len(discord.identifies) == 1


async def test_op_9_with_false_leads_to_a_new_session_and_the_messages_of_the_meantime(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty
) -> None:
    source = source_of()
    await begun(source, site, discord)
    discord.forget()
    meanwhile = named([await discord.say(str(number)) for number in range(130)])
    async with reading(source, site) as run:
        end = await run.to_its_end()
    assert isinstance(end, NotConnected)
    assert (end.reason, end.retry_after_seconds) == ("op_9", 3.0)

    async with reading(source, site) as run:
        assert await told(run, 130) == meanwhile
        await connected(run, discord)
    assert len(discord.identifies) == 2
    assert site.notes["sessions_lost"] == 1
    assert not discord.links[2].resuming


@pytest.mark.parametrize("code", [*sorted(CLOSES), 1000, 1001, 4999])
async def test_each_close_code_is_followed_by_what_the_table_says(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty, code: int
) -> None:
    source = source_of()
    async with reading(source, site) as run:
        await connected(run, discord)
        await discord.close(code)
        end = await run.to_its_end()
    assert getattr(end, "reason", None) == f"close_{code}"
    then = CLOSES[code].then if code in CLOSES else Then.RESUME
    assert isinstance(end, Refused if then is Then.STOP else NotConnected)
    assert str(end).startswith(f"source 'src': Discord closed the connection with code {code}: ")

    async with reading(source, site) as run:
        await connected(run, discord)
    assert len(discord.identifies) == (2 if then is Then.IDENTIFY else 1)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"intents": 1 << 30}, 4013),
        ({"intents": 1 << 8}, 4014),
    ],
)
async def test_what_discord_refuses_at_identify_stops_the_source(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty, wrong: dict[str, Any], code: int
) -> None:
    discord.allowed_intents = 33281
    async with reading(source_of(**wrong), site) as run:
        end = await run.to_its_end()
    assert isinstance(end, Refused)
    assert end.reason == f"close_{code}"


async def test_a_token_that_is_withdrawn_stops_the_source_and_given_back_it_goes_on(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty
) -> None:
    source = source_of()
    await begun(source, site, discord)
    discord.token = "another"
    async with reading(source, site) as run:
        end = await run.to_its_end()
    assert isinstance(end, Refused)
    assert end.reason == "close_4004"

    discord.token = TOKEN
    await begun(source, site, discord)
    assert len(discord.identifies) == 1


async def test_a_wrong_token_is_refused_before_anything_is_identified_and_shown_nowhere(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty
) -> None:
    async with reading(source_of(token="canary"), site) as run:
        end = await run.to_its_end()
    assert isinstance(end, Refused)
    assert "canary" not in str(end)
    assert "canary" not in str(site.said)
    assert discord.links == []


async def test_a_session_whose_resumptions_break_off_is_given_up_after_some(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty
) -> None:
    source = source_of()
    await begun(source, site, discord)
    discord.at_resume.extend(["abort"] * 5)
    missed = named([await discord.say("meanwhile")])
    for _ in range(5):
        async with reading(source, site) as run:
            end = await run.to_its_end()
        assert isinstance(end, NotConnected)
        assert end.reason == "closed"

    async with reading(source, site) as run:
        assert await told(run, 1) == missed
    assert len(discord.identifies) == 2


async def test_an_address_for_resumptions_that_is_gone_is_passed_over(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty
) -> None:
    source = source_of()
    await begun(source, site, discord)
    site.position = {**site.position, "resume_url": "ws://127.0.0.1:9/"}
    async with reading(source, site) as run:
        end = await run.to_its_end()
    assert isinstance(end, NotConnected)

    await begun(source, site, discord)
    assert len(discord.identifies) == 1, "the session is resumed at the other address"
    assert not discord.links[1].resuming


@pytest.mark.parametrize("url", ["ws://gateway.example", "https://gateway.example", "wss://", "wss://[", "x", ""])
def test_no_token_goes_to_an_address_without_tls(url: str) -> None:
    with pytest.raises(NotConnected, match="no WebSocket over TLS"):
        address_of(url, tls=True)


def test_an_address_gets_the_version_and_the_encoding() -> None:
    assert address_of("wss://gateway.example", tls=True) == "wss://gateway.example/?v=10&encoding=json"
    assert address_of("ws://127.0.0.1:1/g?x=y#z", tls=False) == "ws://127.0.0.1:1/g?v=10&encoding=json"


async def test_a_gateway_that_is_no_websocket_is_asked_for_again(
    discord: FakeDiscord, source_of: SourceOf, site: Hasty
) -> None:
    discord.refusals.append((200, {}, {"url": "http://127.0.0.1/"}))
    async with reading(source_of(), site) as run:
        end = await run.to_its_end()
    assert isinstance(end, NotConnected)
    assert end.reason == "protocol"
