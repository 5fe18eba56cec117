"""What Slack and Discord say in the world outside; that sources read it is in `test_sources`."""

import json

from benchmarks import chats, events
from connectors.discord import frames as discord
from connectors.slack import frames as slack


def test_a_message_of_slack_is_named_by_its_event_and_carries_it_whole() -> None:
    _, payload = next(events.events("b-", 7, 1))

    read = slack.parse(chats.slack_delivery(payload))

    assert isinstance(read, slack.Delivery)
    assert isinstance(read.content, slack.Event)
    assert (read.envelope_id, read.content.id, read.content.event_type) == (*["b-00000000000007"] * 2, "message")
    assert read.content.data["event"]["metadata"]["event_payload"] == json.loads(payload)


def test_a_session_of_discord_begins_with_identify_and_counts_its_dispatches() -> None:
    session = chats.DiscordSession(80)
    (ready,) = session.answers(discord.identify(token="x", intents=0, shard=None).encode())
    found = [discord.decode(session.dispatch(payload)) for _, payload in events.events("b-", 0, 2)]

    assert isinstance(begun := discord.decode(ready), discord.Dispatched)
    assert begun.name == "READY"
    assert [one.seq for one in found if isinstance(one, discord.Dispatched)] == [2, 3]
    assert [discord.decode(one) for one in session.answers(discord.heartbeat(2).encode())] == [discord.Acked()]
    assert session.answers(discord.resume(token="x", session_id="y", seq=1).encode()) == [b'{"op":9,"d":false}']
