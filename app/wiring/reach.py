"""Whether a worker reaches Kafka: in its readiness and its log, and the words when it ends for want of it."""

import asyncio
from typing import Final

from app.kafka.wire import Wire
from app.observe import logs
from app.observe.health import Health

SILENT_SECONDS: Final = 3.0
"""Of a broker that is asked, until the worker is not ready. An idle worker asks twice a second."""
LOOK_SECONDS: Final = 0.5
REMEDY: Final = (
    "see to the brokers: the worker goes on when they answer; it ends with exit code 3 when it has something to write "
    "that they do not take in time"
)

log = logs.get(__name__)


class KafkaLost(Exception):
    """Something that had to be written found no broker to take it for too long."""

    exit_code: Final = 3

    def __init__(self, bootstrap: str, cause: BaseException) -> None:
        super().__init__(
            f"Kafka at {bootstrap} does not answer, and this worker has something to write that can wait no longer "
            f"({cause}). Nothing is lost: what was journaled goes on at the next start, and all else is read again. "
            "See to the brokers (`headgate doctor` looks at them), then start it again"
        )


class Reach:
    """Keeps the check `kafka` of `health` at what `wire` hears."""

    def __init__(self, wire: Wire, health: Health, bootstrap: str) -> None:
        self._wire = wire
        self._health = health
        self._bootstrap = bootstrap
        self._away_since: float | None = None
        health.up("kafka", bootstrap)

    async def watch(self) -> None:
        """Look now and then, until cancelled; a broker that nothing else is asked is asked for metadata."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            contact = self._wire.contact
            if contact.idle() > SILENT_SECONDS:
                await self._wire.knock(SILENT_SECONDS)
            self.look()

    def look(self) -> None:
        """Tell `health`, and the log when it changes."""
        silent, error = self._wire.contact.silence()
        now = asyncio.get_running_loop().time()
        if silent > SILENT_SECONDS:
            self._health.down("kafka", f"no answer for {silent:.0f} s ({error})", remedy=REMEDY)
            if self._away_since is None:
                self._away_since = now - silent
                log.warning("kafka_away", seconds=round(silent, 1), error=error, remedy=REMEDY)
        elif self._away_since is not None:
            log.info("kafka_back", seconds=round(now - self._away_since, 1))
            self._away_since = None
            self._health.up("kafka", self._bootstrap)
