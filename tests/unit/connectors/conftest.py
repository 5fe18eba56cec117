"""A site whose time passes only when a test says so, and a small Pub/Sub in the same time."""

from collections.abc import AsyncIterator

import pytest

from connectors.base.reach.egress import Policy
from connectors.base.reach.http import ClientHttp
from tests.unit.connectors.serving import serving
from tests.unit.connectors.subscriptions import PubSub
from tests.unit.connectors.timing import Clock


@pytest.fixture
async def clock() -> AsyncIterator[Clock]:
    one = Clock()
    async with ClientHttp(Policy(allowed=("127.0.0.0/8",))) as http:
        one._http = http
        yield one


@pytest.fixture
async def pubsub(clock: Clock) -> AsyncIterator[PubSub]:
    one = PubSub(clock.monotonic)
    async with serving(one.answer) as at:
        one.at = at
        yield one
