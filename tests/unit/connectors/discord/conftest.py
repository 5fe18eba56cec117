"""A Discord of this machine that is in a hurry, and a site whose seconds are as short."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from connectors.base.reach.egress import Policy
from connectors.base.reach.http import ClientHttp
from connectors.discord import Config, Source
from tests.fakes.discord import TOKEN, FakeDiscord
from tests.unit.connectors.standing import StandIn

SPEED = 100


class Hasty(StandIn):
    """A StandIn whose time runs as fast as the fake's."""

    speed = SPEED

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time() * self.speed

    def now(self) -> datetime:
        return self._now + timedelta(seconds=self.monotonic())

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(seconds / self.speed)


@pytest.fixture
async def discord() -> AsyncIterator[FakeDiscord]:
    """Heartbeats each 60 s, which are 0.6 s, so that a slow machine loses no link."""
    async with FakeDiscord(speed=SPEED, heartbeat_seconds=60) as fake:
        fake.between_seconds = 0
        yield fake


@pytest.fixture
async def http() -> AsyncIterator[ClientHttp]:
    async with ClientHttp(Policy(allowed=("127.0.0.0/8",))) as client:
        yield client


@pytest.fixture
def site(http: ClientHttp) -> Hasty:
    return Hasty(http=http)


@pytest.fixture
def source_of(discord: FakeDiscord, site: Hasty) -> Callable[..., Source]:
    """Makes sources of the fake: `source_of(events=["message_create"])`."""

    def make(**options: Any) -> Source:
        return Source(Config(**{"token": TOKEN, "api_url": discord.api_url, **options}), site)

    return make
