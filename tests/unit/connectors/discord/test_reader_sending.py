"""What is sent through the source, as often as it is tried."""

import pytest

from connectors.base.contract import Refused, Sends
from tests.fakes.discord import BOT_ID, CHANNEL, FakeDiscord
from tests.unit.connectors.discord.hearing import SourceOf


async def test_a_message_is_sent_once_however_often_it_is_tried(discord: FakeDiscord, source_of: SourceOf) -> None:
    source = source_of()
    assert isinstance(source, Sends)
    message = {"channel": CHANNEL, "content": "hello", "reply_to": "5"}
    answers = [await source.send(message, key="run/step") for _ in range(3)]
    other = await source.send(message, key="run/another step")

    assert [one["content"] for one in discord.channels[CHANNEL]] == ["hello", "hello"]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0] is not None
    assert other is not None
    assert answers[0]["id"] != other["id"]
    assert answers[0]["author"]["id"] == BOT_ID
    assert discord.channels[CHANNEL][0]["message_reference"]["message_id"] == "5"


async def test_a_reaction_an_answer_and_its_edit_may_be_repeated(discord: FakeDiscord, source_of: SourceOf) -> None:
    source = source_of()
    for _ in range(2):
        reaction = {"action": "reaction", "channel": CHANNEL, "message": "5", "emoji": "👍"}
        assert await source.send(reaction, key="a") is None
        answer = {"action": "answer", "interaction": "7", "token": "secret", "type": 5}
        assert await source.send(answer, key="b") is None
        edit = {"action": "edit_answer", "application": BOT_ID, "token": "secret", "content": "done"}
        assert await source.send(edit, key="c") == {"id": "1", "content": "done"}

    assert discord.reactions == [(CHANNEL, "5", "👍")]
    assert discord.answers == {"7": {"type": 5}}
    assert discord.edits == [{"content": "done"}, {"content": "done"}]


async def test_what_discord_does_not_take_is_refused_with_its_words_and_no_secret(
    discord: FakeDiscord, source_of: SourceOf
) -> None:
    with pytest.raises(Refused) as told_:
        await source_of().send({"channel": CHANNEL, "content": ""}, key="a")
    assert str(told_.value) == (
        "Discord takes no such message from source 'src': HTTP 400, code 50006 (Cannot send an empty message)"
    )
    discord.refusals.append((404, {}, {"message": "Unknown interaction", "code": 10062}))
    with pytest.raises(Refused) as told_:
        await source_of().send({"action": "answer", "interaction": "7", "token": "canary"}, key="a")
    assert "canary" not in str(told_.value)
    assert told_.value.reason == "http_404"


async def test_sending_keeps_to_the_limits_of_a_channel(discord: FakeDiscord, source_of: SourceOf) -> None:
    discord.buckets["POST /channels/messages"] = ("send", 2, 4.0)
    source = source_of()
    for number in range(5):
        await source.send({"channel": CHANNEL, "content": str(number)}, key=str(number))
    assert discord.problems == []
    assert len(discord.channels[CHANNEL]) == 5
