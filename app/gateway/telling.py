"""Tells how this gateway's webhooks are, as connectors tell of their sources: records of `sources`, events for runs.

Several gateways tell of the same webhooks; each has counted what it has received itself, and the last word stands.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from app.gateway.hooks import Hook
from app.gateway.sources import Sources
from connectors.base.fleet.actions import told
from connectors.base.instance.events import Outgoing
from topics.sources import State, status_told

TELL_SECONDS: Final = 0.5
"""How often a changed state is told."""
COUNTS_SECONDS: Final = 5.0
"""How often counts that have changed are told."""
LATER_SECONDS: Final = 60.0
"""How often everything is told: whoever reads it knows that somebody receives it."""


class Publisher(Protocol):
    """Writes until Kafka has it, however long that takes (connectors.base.fleet.publisher)."""

    async def write(self, topic: str, key: bytes, value: bytes | None) -> None: ...
    async def publish(self, events: Sequence[Outgoing]) -> None: ...


class Telling:
    """Its owner runs `run()` as a task."""

    def __init__(self, sources: Sources, publisher: Publisher, clock: Callable[[], float] = time.monotonic) -> None:
        self._sources, self._publisher, self._clock = sources, publisher, clock
        self._told: dict[Hook, tuple[float, tuple[int, ...]]] = {}

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            await asyncio.sleep(TELL_SECONDS)
            await self.tell()

    async def tell(self) -> None:
        """Tell what is news now. Nothing is before it is known what is set up: an old record may have been replaced."""
        if not self._sources.known():
            return
        hooks = self._sources.hooks
        while hooks.gone:
            await self._publisher.write("sources", hooks.gone.pop().encode(), None)
        there = list(hooks.all())
        self._told = {hook: self._told[hook] for hook in there if hook in self._told}
        for hook in there:
            if self._is_news(hook):
                await self._say(hook)

    async def _say(self, hook: Hook) -> None:
        watched = hook.watched
        is_changed, watched.changed = watched.changed, False
        status = watched.status
        record = status_told(status)
        await self._publisher.write("sources", record.key or b"", record.value)
        if is_changed and hook.spec.origin.startswith("run ") and status.state is not State.STARTING:
            await self._publisher.publish([told(status)])

    def _is_news(self, hook: Hook) -> bool:
        now, counts = self._clock(), hook.watched.counts
        at, known = self._told.get(hook, (0.0, ()))
        age = now - at
        news = hook.watched.changed or age > LATER_SECONDS or (counts != known and age > COUNTS_SECONDS)
        if news:
            self._told[hook] = (now, counts)
        return news
