"""Slack and Discord as this project's fakes have them, which their official clients judge (tests/peers)."""

from collections.abc import Mapping
from typing import Any, Final

from tests.e2e.fleet.world import World
from tests.fakes import discord, slack
from tests.fakes.discord import FakeDiscord
from tests.fakes.slack import FakeSlack

FOR_EVER: Final = 1_000_000


class Workspace(World):
    """It repeats until it hears: Slack gives up after three times, which are over before a broker is back."""

    id = "workspace"
    kind = "slack"
    peer = "a Slack of this project, judged by slack-sdk and @slack/socket-mode; it repeats for ever"
    can_revoke = True

    async def open(self) -> None:
        self._slack = await self.opened.enter_async_context(FakeSlack())
        self._slack.retries = FOR_EVER

    @property
    def options(self) -> Mapping[str, Any]:
        return {"app_token": slack.APP_TOKEN, "bot_token": slack.BOT_TOKEN, "api_url": self._slack.api_url}

    async def happen(self, number: int) -> None:
        self._slack.message(str(number), event_id=f"Ev{number}")

    def number(self, event: Mapping[str, Any]) -> int:
        return int(event["data"]["event"]["text"])

    async def revoke(self) -> None:
        self._slack.app_token = "another"
        for link in list(self._slack.links):
            self._slack.cut(link)

    async def restore(self) -> None:
        self._slack.app_token = slack.APP_TOKEN

    def details(self) -> Mapping[str, Any]:
        return {"deliveries": len(self._slack.delivered), "sockets": self._slack.sockets_opened}


class Guild(World):
    """A channel in which somebody writes; sessions are resumed, and histories are asked for where they cannot be."""

    id = "guild"
    kind = "discord"
    peer = "a Discord of this project, judged by discord.py and hikari"
    can_revoke = True

    async def open(self) -> None:
        self._discord = await self.opened.enter_async_context(FakeDiscord())

    @property
    def options(self) -> Mapping[str, Any]:
        return {
            "token": discord.TOKEN,
            "api_url": self._discord.api_url,
            "backfill_channels": [discord.CHANNEL],
            "events": ["message_create"],
        }

    async def happen(self, number: int) -> None:
        await self._discord.say(str(number))

    def number(self, event: Mapping[str, Any]) -> int:
        return int(event["data"]["content"])

    async def revoke(self) -> None:
        self._discord.token = "another"
        await self._discord.close(4004)

    async def restore(self) -> None:
        self._discord.token = discord.TOKEN

    def details(self) -> Mapping[str, Any]:
        return {"identifies": len(self._discord.identifies), "links": len(self._discord.links)}
