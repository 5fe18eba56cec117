"""What tests of the source do with it: begin a session, and hear what is said."""

import asyncio
from collections.abc import Callable

from connectors.discord import Source
from tests.fakes.discord import FakeDiscord
from tests.unit.connectors.discord.conftest import Hasty
from tests.unit.connectors.standing import Reading, reading, until

SourceOf = Callable[..., Source]


async def once_connected(discord: FakeDiscord) -> str:
    """Say something as soon as a session has a link; return its id."""
    await until(lambda: any(session.link is not None for session in discord.sessions.values()))
    return await discord.say("hello")


async def connected(reading_: Reading, discord: FakeDiscord) -> str:
    """Say something until the source tells it; return its id."""
    said = asyncio.create_task(once_connected(discord))
    event = await reading_.event()
    assert event.id == f"message_create/{await said}"
    return event.id


async def told(reading_: Reading, count: int) -> list[str]:
    """Return the ids of the next events."""
    return [(await reading_.event()).id for _ in range(count)]


def named(ids: list[str]) -> list[str]:
    """Return the ids of the events of these messages."""
    return [f"message_create/{one}" for one in ids]


async def begun(source: Source, site: Hasty, discord: FakeDiscord) -> str:
    """Begin a session, take one message, and stop."""
    async with reading(source, site) as run:
        return await connected(run, discord)
