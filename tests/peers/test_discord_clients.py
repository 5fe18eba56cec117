"""The fake Discord, judged by clients that others wrote: discord.py and hikari."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import pytest

from tests.fakes.discord import BOT_ID, CHANNEL, TOKEN, FakeDiscord
from tests.peers.programs import borrowed
from tests.unit.connectors.standing import until

discord_py = borrowed("discord")
hikari = borrowed("hikari")
pytestmark = pytest.mark.filterwarnings("default")  # theirs are not ours to mend

INTENTS = 33281
SECONDS = 40.0
"""They back off by the real clock."""


class Client(Protocol):
    """One of them: what it has told, and why it gave up."""

    contents: list[str]
    ended: BaseException | None

    async def send(self, content: str) -> None: ...
    async def history(self) -> list[str]: ...


class DiscordPy:
    def __init__(self) -> None:
        self.contents: list[str] = []
        self.ended: BaseException | None = None
        self._client: Any = None

    @asynccontextmanager
    async def running(self, fake: FakeDiscord, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator["DiscordPy"]:
        import yarl

        monkeypatch.setattr("discord.http.Route.BASE", fake.api_url)
        monkeypatch.setattr("discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY", yarl.URL(fake.gateway_url))
        intents = discord_py.Intents._from_value(INTENTS)
        # It reads nothing for 5 s before it identifies anew, which must not look like a dead link to it.
        client = self._client = discord_py.Client(intents=intents, heartbeat_timeout=7.0, max_messages=None)

        async def on_message(message: Any) -> None:
            self.contents.append(message.content)

        client.event(on_message)
        async with client:
            running = asyncio.create_task(self._run(client))
            try:
                yield self
            finally:
                await client.close()
                await running

    async def _run(self, client: Any) -> None:
        try:
            await client.start(TOKEN)
        except discord_py.DiscordException as end:
            self.ended = end

    async def send(self, content: str) -> None:
        await self._client.get_partial_messageable(int(CHANNEL)).send(content, nonce="n1")

    async def history(self) -> list[str]:
        channel = self._client.get_partial_messageable(int(CHANNEL))
        return [one.content async for one in channel.history(limit=None, oldest_first=True)]


class Hikari:
    def __init__(self) -> None:
        self.contents: list[str] = []
        self.ended: BaseException | None = None
        self._bot: Any = None

    @asynccontextmanager
    async def running(self, fake: FakeDiscord, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator["Hikari"]:
        bot = self._bot = hikari.GatewayBot(
            TOKEN,
            rest_url=fake.api_url,
            banner=None,
            logs=None,
            suppress_optimization_warning=True,
            intents=hikari.Intents(INTENTS),
        )

        async def on_message(event: Any) -> None:
            self.contents.append(event.content)

        bot.subscribe(hikari.MessageCreateEvent, on_message)
        running = asyncio.create_task(self._run(bot))
        try:
            yield self
        finally:
            if bot.is_alive:
                await bot.close()
            await running

    async def _run(self, bot: Any) -> None:
        try:
            await bot.start(check_for_updates=False)
            await bot.join()
        except hikari.HikariError as end:
            self.ended = end
        except hikari.HikariInterrupt:
            pass

    async def send(self, content: str) -> None:
        await self._bot.rest.create_message(int(CHANNEL), content, nonce="n1")

    async def history(self) -> list[str]:
        return [one.content async for one in self._bot.rest.fetch_messages(int(CHANNEL), after=hikari.Snowflake(0))]


@pytest.fixture
async def fake() -> AsyncIterator[FakeDiscord]:
    async with FakeDiscord(heartbeat_seconds=0.5) as one:
        one.between_seconds = 0
        yield one


@pytest.fixture(params=[DiscordPy, Hikari])
async def client(
    request: pytest.FixtureRequest, fake: FakeDiscord, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Client]:
    logging.getLogger("discord").setLevel(logging.CRITICAL)
    logging.getLogger("hikari").setLevel(logging.CRITICAL)
    async with request.param().running(fake, monkeypatch) as one:
        await hears(fake, one, "hello")
        yield one


async def hears(fake: FakeDiscord, client: Client, content: str) -> None:
    """Wait until the client is connected, say something, and wait until it has told it."""
    await until(lambda: any(one.link is not None for one in fake.sessions.values()), seconds=SECONDS)
    await fake.say(content)
    await until(lambda: content in client.contents, seconds=SECONDS)


async def test_they_connect_and_their_heartbeats_are_acknowledged(fake: FakeDiscord, client: Client) -> None:
    link = fake.open_links[0]
    await until(lambda: len(link.beats) >= 3, seconds=SECONDS)

    assert client.contents == ["hello"]
    assert link.sent(2)[0]["intents"] == INTENTS
    assert len(fake.links) == 1
    assert fake.problems == []


async def test_they_resume_after_op_7_and_are_told_what_they_missed(fake: FakeDiscord, client: Client) -> None:
    await fake.send({"op": 7, "d": None})
    for number in range(3):
        await fake.say(str(number))
    await until(lambda: len(client.contents) >= 4, seconds=SECONDS)

    assert client.contents == ["hello", "0", "1", "2"]
    assert len(fake.identifies) == 1
    assert fake.links[-1].resuming


async def test_they_leave_a_link_without_acknowledgements_and_keep_the_session(
    fake: FakeDiscord, client: Client
) -> None:
    fake.acks = False
    first = fake.open_links[0]
    code = await fake.closed(first)
    fake.acks = True
    await hears(fake, client, "again")

    assert code not in (1000, 1001)
    assert len(fake.identifies) == 1


async def test_they_begin_a_new_session_after_op_9_with_false(fake: FakeDiscord, client: Client) -> None:
    fake.forget()
    await fake.send({"op": 9, "d": False})
    await until(lambda: len(fake.identifies) == 2, seconds=SECONDS)
    await hears(fake, client, "again")


async def test_they_resume_after_op_9_with_true(fake: FakeDiscord, client: Client) -> None:
    await fake.send({"op": 9, "d": True})
    await until(lambda: len(fake.links) >= 2, seconds=SECONDS)
    await hears(fake, client, "again")
    assert len(fake.identifies) == 1


@pytest.mark.parametrize("code", [4000, 4001, 4002, 4003, 4005, 4008])
async def test_they_resume_after_a_close_that_keeps_the_session(fake: FakeDiscord, client: Client, code: int) -> None:
    if isinstance(client, Hikari) and code in (4001, 4003, 4005):
        pytest.skip("hikari takes these for faults of its own and gives up, against Discord's table")
    await fake.close(code)
    await hears(fake, client, "again")
    assert len(fake.identifies) == 1


@pytest.mark.parametrize("code", [4004, 4010, 4011, 4012, 4013, 4014])
async def test_they_give_up_after_a_close_that_somebody_has_to_mend(
    fake: FakeDiscord, client: Client, code: int
) -> None:
    await fake.close(code)
    await until(lambda: client.ended is not None, seconds=SECONDS)
    assert len(fake.links) == 1


async def test_they_go_on_after_a_link_that_broke(fake: FakeDiscord, client: Client) -> None:
    fake.abort()
    await hears(fake, client, "again")
    assert len(fake.identifies) == 1


async def test_they_send_under_a_nonce_and_read_histories_of_several_pages(fake: FakeDiscord, client: Client) -> None:
    await client.send("sent")
    for number in range(230):
        await fake.say(str(number))

    assert fake.channels[CHANNEL][1]["author"]["id"] == BOT_ID
    assert fake.channels[CHANNEL][1]["nonce"] == "n1"
    assert await client.history() == ["hello", "sent", *map(str, range(230))]
