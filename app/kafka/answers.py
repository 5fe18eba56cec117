"""Waits for results by run id, for callers who want to hear at once: reads the end of `results` while anybody waits.

The read model hears of a result some time later, through a database. Here a record's key decides, and nothing of it is
decoded; while nobody waits, nothing is read.
"""

import asyncio
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import errors

from app.kafka.fetching import Fetching, Where
from app.kafka.log import LogError
from app.kafka.wire import Wire
from app.observe import logs

LINGER_SECONDS: Final = 5.0
"""How long reading goes on after the last caller: to find the ends again costs a caller a request for each of them."""
POLL_SECONDS: Final = 1.0
PAUSE_SECONDS: Final = 0.5

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Expected:
    """What one caller waits for."""

    result: "asyncio.Future[bytes]"
    """The run's result record, if it is appended after `listening` was set."""
    listening: asyncio.Event
    """Set while the topic is read. It may never be: while Kafka is away, and before all partitions have a leader."""


class Answers:
    """The results topic, as far as somebody waits. Its owner runs `run()` as a task."""

    def __init__(self, topic: str, *, client: Mapping[str, Any]) -> None:
        self._topic, self._client = topic, client
        self._waiting: dict[bytes, list[asyncio.Future[bytes]]] = {}
        self._wanted = asyncio.Event()
        self._listening = asyncio.Event()
        self._reached: dict[Where, int] = {}
        """What comes next, as long as somebody waits: after an error it is read from there."""
        self.told: dict[int, int] = {}
        """The offset after the last result that was read, by partition: callers may know of all before it."""
        self._count = 0

    @contextmanager
    def expected(self, run_id: str) -> Iterator[Expected]:
        """Look out for the run's result record within the block. The caller bounds its patience."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        key = run_id.encode()
        self._waiting.setdefault(key, []).append(future)
        self._count += 1
        self._wanted.set()
        try:
            yield Expected(future, self._listening)
        finally:
            self._count -= 1
            left = self._waiting.get(key, [])
            if future in left:
                left.remove(future)
            if not left:
                self._waiting.pop(key, None)

    @property
    def reading(self) -> bool:
        """Whether the topic is read just now."""
        return self._listening.is_set()

    async def run(self) -> None:
        """Read whenever somebody waits, until cancelled."""
        while True:
            await self._wanted.wait()
            try:
                await self._read()
            except (errors.KafkaError, LogError, OSError) as error:
                log.warning("answers_retried", topic=self._topic, reason=str(error) or type(error).__name__)
                await asyncio.sleep(PAUSE_SECONDS)

    async def _read(self) -> None:
        """Read from the present ends, or where an error ended it, until nobody has waited for a while."""
        wire = Wire(self._client)
        fetching = Fetching(wire)
        try:
            await wire.start()
            await wire.know([self._topic])
            where = [(self._topic, number) for number in range(wire.partitions_of(self._topic))]
            bounds = await asyncio.gather(*(wire.bounds(*one) for one in where))
            ends = {one: end for one, (_, end) in zip(where, bounds, strict=True)}
            self._reached = {one: min(self._reached.get(one, end), end) for one, end in ends.items()}
            fetching.seek(self._reached)
            self._listening.set()
            idle_since = None
            loop = asyncio.get_running_loop()
            while True:
                for found in await fetching.some(where, crowded=False, timeout=POLL_SECONDS):
                    for record in found.records:
                        for future in self._waiting.pop(record.key, ()):
                            if not future.done():
                                future.set_result(record.value)
                    after = found.records[-1].offset + 1
                    self._reached[found.topic, found.partition] = self.told[found.partition] = after
                if self._count:
                    idle_since = None
                elif idle_since is None:
                    idle_since = loop.time()
                elif loop.time() - idle_since > LINGER_SECONDS:
                    self._wanted.clear()
                    self._reached.clear()
                    self.told.clear()
                    return
        finally:
            self._listening.clear()  # before anything is waited for: who comes now has to wait for the next reading
            await _to_the_end(_close(fetching, wire))


async def _close(fetching: Fetching, wire: Wire) -> None:
    await fetching.close()
    await wire.close()


async def _to_the_end(closing: Coroutine[Any, Any, None]) -> None:
    """Await `closing`, also when this is cancelled meanwhile: half of it would leave connections open."""
    task = asyncio.create_task(closing)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
