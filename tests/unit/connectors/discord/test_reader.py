"""The source, against a Discord that others' clients have proved (tests/peers/test_discord_clients.py)."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from connectors.base.contract import UNMOVED, Moved, NotConnected, Received, Refused, Sends, Unreadable
from connectors.discord import Source
from connectors.discord.budget import Allowance, Starts, turn_in_seconds
from connectors.discord.closes import CLOSES, Then
from connectors.discord.place import Place
from connectors.discord.reader import address_of
from tests.fakes.discord import BOT_ID, CHANNEL, GUILD, TOKEN, FakeDiscord
from tests.unit.connectors.discord.conftest import Hasty
from tests.unit.connectors.standing import Reading, reading, until

SourceOf = Callable[..., Source]


async def connected(reading_: Reading, discord: FakeDiscord) -> str:
    """Say something until the source tells it; return its id."""
    said = asyncio.create_task(_once_connected(discord))
    event = await reading_.event()
    assert event.id == f"message_create/{await said}"
    return event.id


async def _once_connected(discord: FakeDiscord) -> str:
    await until(lambda: any(session.link is not None for session in discord.sessions.values()))
    return await discord.say("hello")


async def told(reading_: Reading, count: int) -> list[str]:
    """Return the ids of the next events."""
    return [(await reading_.event()).id for _ in range(count)]


def named(ids: list[str]) -> list[str]:
    return [f"message_create/{one}" for one in ids]


async def begun(source: Source, site: Hasty, discord: FakeDiscord) -> str:
    """Begin a session, take one message, and stop."""
    async with reading(source, site) as run:
        return await connected(run, discord)


# ---- sessions over restarts ------------------------------------------------------------------------------------------


async def test_a_message_is_an_event_under_its_own_id(discord: FakeDiscord, source_of: SourceOf, site: Hasty) -> None:
    async with reading(source_of(), site) as run:
        task = asyncio.create_task(_once_connected(discord))
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


# ---- how connections end ---------------------------------------------------------------------------------------------


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


# ---- the budget ------------------------------------------------------------------------------------------------------


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


# ---- the meantime ----------------------------------------------------------------------------------------------------


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


# ---- sending ---------------------------------------------------------------------------------------------------------


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
