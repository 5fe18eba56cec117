"""A site whose time passes only when the test says so."""

import asyncio

from tests.unit.connectors.standing import StandIn, until


class Clock(StandIn):
    """Sleeps until the test lets the time pass."""

    def __init__(self) -> None:
        super().__init__()
        self._passed = asyncio.Condition()
        self._sleeping: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        end = self.monotonic() + seconds
        self._sleeping.append(end)
        try:
            async with self._passed:
                await self._passed.wait_for(lambda: self.monotonic() >= end)
        finally:
            self._sleeping.remove(end)

    async def pass_time(self, seconds: float) -> None:
        """Let so much time pass, once somebody sleeps that will have slept enough."""
        await until(lambda: any(end <= self.monotonic() + seconds for end in self._sleeping))
        self.advance(seconds)
        async with self._passed:
            self._passed.notify_all()
