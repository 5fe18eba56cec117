"""Workers say what they have loaded, so that others can tell what is loaded by nobody.

Each writes a record of its own into the topic `workflows` again and again, and its end when it stops. `listening` reads
them for the commands. The records of workers that ended without a word and came back under no name are removed by the
others, else every name that there ever was would stay.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from app.engine.values.outgoing import Record
from app.kafka.log import LogError
from app.observe import logs
from headgate.definition import Workflow
from topics import announcement

FORGET_MS: Final = 24 * 3_600_000
"""After so long a silence of a worker the others remove its record."""
FAREWELL_SECONDS: Final = 2.0

Send = Callable[[Sequence[Record]], Awaitable[object]]

log = logs.get(__name__)


class Presence:
    """What one worker says of itself. `process` is another one at each start."""

    def __init__(
        self, instance_id: str, process: str, send: Send, *, every_seconds: float, now_ms: Callable[[], int]
    ) -> None:
        self._instance_id = instance_id
        self._process = process
        self._send = send
        self._every = every_seconds
        self._now_ms = now_ms
        self._loaded: Sequence[Workflow] = ()
        self._changed = asyncio.Event()
        self._others: dict[bytes, int] = {}
        """When each other worker last said something, by its key."""

    def load(self, workflows: Sequence[Workflow]) -> None:
        """From now on these are loaded; said at once by `keep`."""
        if workflows is not self._loaded:
            self._loaded = workflows
            self._changed.set()

    def take(self, records: Sequence[Any]) -> None:
        """Note when others said something."""
        prefix, mine = announcement.WORKER_KEY.encode(), announcement.worker_key(self._instance_id)
        for one in records:
            key = one.key or b""
            if not key.startswith(prefix) or key == mine:
                continue
            if one.value is None:
                self._others.pop(key, None)
            else:
                self._others[key] = one.timestamp

    async def keep(self) -> None:
        """Say what is loaded, until cancelled. What could not be said is said the next time: no run depends on it."""
        failing = False
        while True:
            self._changed.clear()
            try:
                await self._send(self._records())
                failing = False
            except LogError as error:
                if not failing:
                    remedy = "nothing to do unless it goes on: `headgate doctor` then takes this worker for gone"
                    log.warning("presence_not_told", reason=str(error), remedy=remedy)
                failing = True
            try:
                await asyncio.wait_for(self._changed.wait(), self._every)
            except TimeoutError:
                continue

    async def end(self) -> None:
        """Say that this worker is gone. Without an answer the others find out by its silence."""
        try:
            await asyncio.wait_for(self._send([_gone(announcement.worker_key(self._instance_id))]), FAREWELL_SECONDS)
        except (LogError, TimeoutError) as error:
            log.debug("farewell_not_told", reason=repr(error))

    def _records(self) -> list[Record]:
        now_ms = self._now_ms()
        made = announcement.workflows_loaded(
            instance_id=self._instance_id,
            process=self._process,
            workflows={one.id: one.version for one in self._loaded},
            every_seconds=self._every,
            at_ms=now_ms,
        )
        silent = sorted(key for key, at_ms in self._others.items() if at_ms < now_ms - FORGET_MS)
        for key in silent:
            del self._others[key]
        return [Record("workflows", 0, made.key, made.value, tuple(made.headers)), *map(_gone, silent)]


def _gone(key: bytes) -> Record:
    return Record("workflows", 0, key, None, ())
