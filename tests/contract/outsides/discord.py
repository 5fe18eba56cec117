"""A Discord of this machine (tests/fakes/discord.py), in which somebody writes."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from connectors.base.contract import Site
from tests.contract.outside import SECRET, Outside, hurried
from tests.fakes.discord import CHANNEL, FakeDiscord

SPEED: Final = 100
TOKEN: Final = f"token.{SECRET}"


class Guild(Outside):
    kind = "discord"
    refusal = "4004"
    edited: ClassVar[Mapping[str, Any]] = {"backfill_limit": 5000}

    async def open(self) -> None:
        self._discord = await self.opened.enter_async_context(FakeDiscord(speed=SPEED, heartbeat_seconds=200))
        self._discord.between_seconds = 0
        self._discord.token = TOKEN

    @property
    def options(self) -> Mapping[str, Any]:
        return {"token": TOKEN, "api_url": self._discord.api_url, "backfill_channels": [CHANNEL]}

    async def happen(self, number: int) -> None:
        await self._discord.say(str(number))

    def has_begun(self, position: Any) -> bool:
        return position is not None and "session_id" in position

    def number(self, event: Mapping[str, Any]) -> int:
        return int(event["data"]["content"])

    async def revoke(self) -> None:
        self._discord.token = "another"
        await self._discord.close(4004)

    async def restore(self) -> None:
        self._discord.token = TOKEN

    def site(self, site: Site) -> Site:
        return hurried(site, speed=SPEED)


OUTSIDES: Final = {"discord": Guild}
