"""Hears of messages for partitions that have no sources: whoever sent one is to be told that there is no such source.

One consumer for all such partitions of a process: an owner without sources holds no connection of its own.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition, errors

from connectors.base.batches import guard, say_passed_over
from connectors.base.closing import close, start
from connectors.base.fleet.refusals import FOR_GOOD
from connectors.base.logs import warn

LOOK_SECONDS: Final = 1.0
PAUSE_SECONDS: Final = 5.0


class Knocks:
    """Follows `actions` for the partitions that `idle` names, until they are idle no more."""

    def __init__(
        self,
        *,
        prefix: str,
        client: Mapping[str, Any],
        idle: Callable[[], frozenset[int]],
        heard: Callable[[int], None],
    ) -> None:
        self._topic, self._client, self._idle, self._heard = f"{prefix}actions", client, idle, heard

    async def run(self) -> None:
        """Listen until cancelled. Raises what Kafka will not forgive."""
        while True:
            consumer = AIOKafkaConsumer(
                **self._client, enable_auto_commit=False, auto_offset_reset="latest", isolation_level="read_committed"
            )
            try:
                await start(consumer.start())
                guard(consumer, say_passed_over, unreadable="pass over")
                await self._listen(consumer)
            except (errors.KafkaError, OSError) as error:
                if isinstance(error, FOR_GOOD):
                    raise
                warn("actions_retried", reason=f"{type(error).__name__}: {error}")
            finally:
                await close(consumer.stop())
            await asyncio.sleep(PAUSE_SECONDS)

    async def _listen(self, consumer: AIOKafkaConsumer) -> None:
        listening: frozenset[int] = frozenset()
        while True:
            idle = self._idle()
            if idle != listening:
                listening = idle
                await self._turn_to(consumer, idle)
            if not listening:
                await asyncio.sleep(LOOK_SECONDS)
                continue
            for where in await consumer.getmany(timeout_ms=int(LOOK_SECONDS * 1000)):
                self._heard(where.partition)

    async def _turn_to(self, consumer: AIOKafkaConsumer, partitions: frozenset[int]) -> None:
        """Listen to these from now on; where something lies already, it is heard at once."""
        places = [TopicPartition(self._topic, partition) for partition in sorted(partitions)]
        if not places:
            consumer.unsubscribe()
            return
        consumer.assign(places)
        begins, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        for place in places:
            consumer.seek(place, ends[place])
            if ends[place] > begins[place]:
                self._heard(place.partition)
