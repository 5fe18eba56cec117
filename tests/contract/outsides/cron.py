"""A clock that goes on by a second when something is to happen."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final, cast

from connectors.base.contract import Site
from tests.contract.outside import Outside

BEGIN: Final = datetime(2026, 6, 1, tzinfo=UTC)


class Clock(Outside):
    """All missed instants are events here: with `once` and `skip` some are none, as their users want it."""

    kind = "cron"
    begins_with_position = True
    edited: ClassVar[Mapping[str, Any]] = {"grace": 11}

    async def open(self) -> None:
        self.passed = asyncio.Condition()

    @property
    def options(self) -> Mapping[str, Any]:
        return {"schedule": "1s", "misfire": "all"}

    @property
    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.happened)

    async def happen(self, number: int) -> None:
        async with self.passed:
            self.passed.notify_all()

    def number(self, event: Mapping[str, Any]) -> int:
        return int((datetime.fromisoformat(event["data"]["scheduledAt"]) - BEGIN).total_seconds())

    def site(self, site: Site) -> Site:
        return cast(Site, _ByIt(site, self))


class _ByIt:
    """A site with this clock."""

    def __init__(self, site: Site, clock: Clock) -> None:
        self._site, self._clock = site, clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._site, name)

    def now(self) -> datetime:
        return self._clock.now

    async def sleep(self, seconds: float) -> None:
        until = self._clock.now + timedelta(seconds=seconds)
        async with self._clock.passed:
            await self._clock.passed.wait_for(lambda: self._clock.now >= until)


OUTSIDES: Final = {"cron": Clock}
