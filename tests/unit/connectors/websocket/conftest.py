"""A site for WebSocket sources, whose server others wrote."""

from collections.abc import AsyncIterator

import pytest

from tests.unit.connectors.standing import StandIn
from tests.unit.connectors.websocket.peer import standing


@pytest.fixture
async def site() -> AsyncIterator[StandIn]:
    async with standing() as one:
        yield one
