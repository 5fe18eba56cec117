"""One connection, with its tasks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from connectors.base.contract import Unreadable
from connectors.base.options import SecretStr
from connectors.base.reach.http import ClientHttp
from connectors.discord import Config
from connectors.discord.closes import KEEPING
from connectors.discord.inbox import Inbox
from connectors.discord.session import AskPermission, Began, Emit, End, Resumed, Session
from connectors.discord.wire import Come, Wire
from tests.fakes.discord import TOKEN, FakeDiscord
from tests.unit.connectors.discord.conftest import Hasty
from tests.unit.connectors.standing import until


class Opened:
    """Connects wires to the fake."""

    def __init__(self, discord: FakeDiscord, http: ClientHttp, site: Hasty) -> None:
        self._discord, self._http, self._site = discord, http, site
        self.stored_seq: int | None = None

    @asynccontextmanager
    async def wire(self, resumed: Session | None = None) -> AsyncIterator[Wire]:
        url = self._discord.resume_url if resumed else self._discord.gateway_url
        config = Config(token=SecretStr(TOKEN), api_url=self._discord.api_url)
        async with self._http.websocket(f"{url}?v=10&encoding=json") as connection:
            wire = Wire(connection, self._site, config, resumed, stored_seq=lambda _: self.stored_seq)
            wire.start()
            try:
                yield wire
            finally:
                await wire.stop()
                await connection.close(KEEPING)

    @asynccontextmanager
    async def begun(self) -> AsyncIterator[tuple[Wire, Session]]:
        async with self.wire() as wire:
            assert isinstance(await got(wire), AskPermission)
            await wire.permit()
            began = await got(wire)
            assert isinstance(began, Began)
            yield wire, began.session


@pytest.fixture
def opened(discord: FakeDiscord, http: ClientHttp, site: Hasty) -> Opened:
    return Opened(discord, http, site)


async def got(wire: Wire) -> Come:
    async with asyncio.timeout(10):
        return await wire.inbox.get()


async def test_nothing_is_identified_without_permission(discord: FakeDiscord, opened: Opened, site: Hasty) -> None:
    async with opened.wire() as wire:
        assert await got(wire) == AskPermission()
        await until(lambda: len(discord.links[0].beats) > 0)
        assert discord.identifies == []
        await wire.permit()
        assert isinstance(await got(wire), Began)
        assert site.connections == 1


async def test_events_come_in_order_and_are_replayed_to_who_resumes(discord: FakeDiscord, opened: Opened) -> None:
    async with opened.begun() as (wire, session):
        ids = [await discord.say(str(number)) for number in range(3)]
        come = [await got(wire) for _ in ids]
        assert [one.event.data["id"] for one in come if isinstance(one, Emit)] == ids

    async with opened.wire(session) as wire:
        come = [await got(wire) for _ in range(4)]
        assert [one.event.data["id"] for one in come if isinstance(one, Emit)] == ids
        assert come[-1] == Resumed(seq=5)
    assert discord.links[1].resuming


async def test_heartbeats_say_up_to_where_all_is_durable(discord: FakeDiscord, opened: Opened) -> None:
    discord.heartbeat_seconds = 10.0
    async with opened.begun():
        link = discord.links[0]
        await until(lambda: len(link.beats) >= 2)
        assert set(link.sent(1)) == {None}, "nothing is stored yet"
        opened.stored_seq = 1
        await until(lambda: 1 in link.sent(1))
    assert discord.problems == []


async def test_the_first_heartbeat_comes_within_the_interval_and_the_others_follow_it(
    discord: FakeDiscord, opened: Opened, site: Hasty
) -> None:
    site.chance = 0.01
    async with opened.begun():
        await until(lambda: len(discord.links[0].beats) == 1)
        assert discord.links[0].beats[0] < discord.heartbeat_seconds


async def test_a_heartbeat_that_is_asked_for_is_sent(discord: FakeDiscord, opened: Opened) -> None:
    async with opened.begun():
        await discord.send({"op": 1, "d": None})
        await until(lambda: len(discord.links[0].beats) == 1)


async def test_swallowed_acknowledgements_close_the_link_and_keep_the_session(
    discord: FakeDiscord, opened: Opened
) -> None:
    discord.heartbeat_seconds, discord.acks = 2.0, False
    async with opened.begun() as (wire, session):
        end = await got(wire)
        assert isinstance(end, End)
        assert end.reason == "heartbeat"
        assert await discord.closed(discord.links[0]) == 4000
    assert session.id in discord.sessions


async def test_what_is_no_payload_is_handed_on_with_its_bytes(discord: FakeDiscord, opened: Opened) -> None:
    async with opened.begun() as (wire, _):
        for _ in range(2):
            await discord.send_raw('{"op": 0, "t": 5}')
        first, second = await got(wire), await got(wire)
        assert first == second
        assert isinstance(first, Unreadable)
        assert (first.raw, first.reason) == (b'{"op": 0, "t": 5}', "the dispatch has no sequence number")
        assert first.id.startswith("unreadable/")


@pytest.mark.parametrize("code", [4000, 4009, 1001])
async def test_a_close_is_the_last_that_comes(discord: FakeDiscord, opened: Opened, code: int) -> None:
    async with opened.begun() as (wire, _):
        await discord.say("the last")
        await discord.close(code)
        assert isinstance(await got(wire), Emit)
        end = await got(wire)
        assert isinstance(end, End)
        assert end.reason == f"close_{code}"
        assert wire.is_over


async def test_a_link_that_breaks_has_no_code(discord: FakeDiscord, opened: Opened) -> None:
    async with opened.begun() as (wire, _):
        discord.abort()
        end = await got(wire)
        assert isinstance(end, End)
        assert end.reason == "closed"


async def test_without_room_nothing_is_read_and_the_link_stays(
    discord: FakeDiscord, opened: Opened, site: Hasty
) -> None:
    discord.heartbeat_seconds = 10.0
    async with opened.begun() as (wire, _):
        wire.inbox = Inbox(max_items=2)
        await discord.send({"op": 1, "d": None})  # the reader goes on to the inbox that is there now
        sent = [await discord.say(str(number)) for number in range(10)]
        await until(lambda: len(discord.links[0].beats) >= 5)
        assert len(wire.inbox) == 2
        assert not wire.is_over
        come = [await got(wire) for _ in sent]
        assert [one.event.data["id"] for one in come if isinstance(one, Emit)] == sent


async def test_a_failure_of_a_task_is_raised_to_the_reader(
    discord: FakeDiscord, opened: Opened, site: Hasty, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened.begun() as (wire, _):
        monkeypatch.setattr(site, "note", None)
        await discord.send({"op": 42})
        with pytest.raises(TypeError):
            await got(wire)
