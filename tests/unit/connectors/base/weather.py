"""A provider as a third party writes it."""

import asyncio
from collections.abc import Mapping
from typing import Any

from headgate.providers import Disconnected, Emit, Failed, SourceEvent, TriggerProvider


class Weather(TriggerProvider):
    """Weather of a town."""

    delivery = "exactly-once"
    example = {"town": "Ulm"}  # noqa: RUF012 as a third party writes it
    closed = 0

    async def init(self, config: Mapping[str, Any]) -> None:
        if config.get("town") == "nowhere":
            raise Failed("there is no town nowhere")
        if config.get("town") == "far":
            raise Disconnected("the station does not answer", retry_after_seconds=3)
        self._config = config

    async def run(self, emit: Emit, position: Any) -> None:
        hour = position or 0
        if self._config.get("numbers"):
            await emit(SourceEvent(id=1, type="report", data={}))  # type: ignore[arg-type]
        while hour < self._config.get("hours", 3):
            hour += 1
            await emit(SourceEvent(id=str(hour), type="report", data={"hour": hour}), position=hour)
        if self._config.get("breaks"):
            raise Disconnected("the station is silent", retry_after_seconds=7)
        if self._config.get("fails"):
            raise Failed("the subscription is over")
        if self._config.get("waits"):
            await asyncio.get_running_loop().create_future()

    async def shutdown(self) -> None:
        type(self).closed += 1
        if self._config.get("breaks"):
            raise Failed("the station is silent")
