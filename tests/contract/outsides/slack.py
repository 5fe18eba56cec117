"""A Slack of this machine (tests/fakes/slack.py), in which somebody writes."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from tests.contract.outside import SECRET, Outside
from tests.fakes.slack import FakeSlack

TOKEN: Final = f"xapp-{SECRET}"


class Workspace(Outside):
    """It repeats for ever: Slack gives up after three times, by then an owner has to live long enough."""

    kind = "slack"
    acknowledges = True
    refusal = "invalid_auth"
    edited: ClassVar[Mapping[str, Any]] = {"ping_seconds": 11}

    async def open(self) -> None:
        self._slack = await self.opened.enter_async_context(FakeSlack(scale=0.1))
        self._slack.app_token, self._slack.retries = TOKEN, 1000

    @property
    def options(self) -> Mapping[str, Any]:
        return {"app_token": TOKEN, "bot_token": SECRET, "api_url": self._slack.api_url}

    async def happen(self, number: int) -> None:
        self._slack.message(str(number), event_id=f"Ev{number}")

    def number(self, event: Mapping[str, Any]) -> int:
        return int(event["data"]["event"]["text"])

    def acknowledged(self) -> set[int]:
        return {int(name.removeprefix("Ev")) for name in self._slack.acknowledged}

    async def revoke(self) -> None:
        self._slack.app_token = "another"
        for link in list(self._slack.links):
            self._slack.cut(link)

    async def restore(self) -> None:
        self._slack.app_token = TOKEN


OUTSIDES: Final = {"slack": Workspace}
