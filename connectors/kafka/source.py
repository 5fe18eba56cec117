"""Reads topics of a foreign cluster: connects, makes events of records, and says how far it is.

No group is joined, for the frame sees to it that each source has one owner. The offsets are in the position, so they
move with the events; the group of the options only shows them to others.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final

from connectors.base import contract
from connectors.base.closing import close
from connectors.base.contract import Item, Moved, NotConnected, Received, Refused, Unreadable
from connectors.kafka import offsets
from connectors.kafka.client import AWAY, Client, consumer_of, translated
from connectors.kafka.config import Config, tls_context
from connectors.kafka.mapping import Mapper
from connectors.kafka.partitions import Damaged, Partitions

LOOK_SECONDS: Final = 30.0
"""So often topics and partitions are looked for that are new."""
COMMIT_SECONDS: Final = 5.0


class Source:
    """Exactly once: a record has one id, and the position is the offsets of those that are next."""

    def __init__(self, config: Config, site: contract.Site) -> None:
        self._config, self._site = config, site
        self._committed: offsets.Position | None = None
        self._commit_at = 0.0
        self._lag_error: type[Exception] | None = None

    async def read(self) -> AsyncIterator[Item]:
        """Yield the records of all partitions, those of each in order. Raises NotConnected or Refused."""
        config, site = self._config, self._site
        tls = await site.in_thread(tls_context, config) if config.uses_tls else None
        client = Client(config, site=site, tls=tls)
        consumer = consumer_of(client)
        try:
            await consumer.start()
            reading = Partitions(config, site, client, consumer)
            await reading.find()
            site.connected()
            yield Moved(position=reading.position())
            async for item in self._items(client, reading):
                yield item
        except AWAY as error:
            raise translated(error, config.bootstrap[0]) from error
        finally:
            await close(consumer.stop())

    async def _items(self, client: Client, reading: Partitions) -> AsyncIterator[Item]:
        mapper = Mapper.of(self._config, cluster=client.cluster_id, instance_id=self._site.instance_id)
        look_seconds = min(LOOK_SECONDS, self._config.idle_timeout / 2)
        looked_at = told_at = self._site.monotonic()
        while True:
            found = await reading.read()
            for records in found:
                for record in records:
                    reading.count(record)
                    item: Item | None = self._item(mapper, record)
                    if record is records[-1]:
                        position = reading.position()
                        item = Moved(position=position) if item is None else replace(item, position=position)
                    if item is not None:
                        yield item
            now = self._site.monotonic()
            if found:
                told_at = now
            else:
                self._check(client, now - max(told_at, client.heard_at))
            if now - looked_at >= look_seconds:
                looked_at, before = now, dict(reading.next)
                await reading.find()
                if reading.next != before:
                    yield Moved(position=reading.position())
            await self._show_lag(client, now)

    def _item(self, mapper: Mapper, record: Any) -> Received | Unreadable | None:
        if isinstance(record, Damaged):
            name = f"{mapper.cluster}/{record.topic}/{record.partition}/{record.offset}"
            return Unreadable(id=name, reason=record.reason, raw=b"")
        if mapper.is_own(record):
            self._site.note("own_events_skipped")
            return None
        return mapper.event(record)

    def _check(self, client: Client, silent_seconds: float) -> None:
        """Raise why nothing comes, if that is known or has lasted too long."""
        if isinstance(client.problem, Refused):
            raise client.problem
        if silent_seconds > self._config.idle_timeout:
            raise client.problem or NotConnected(
                f"no broker of {self._config.bootstrap[0]} has answered for {silent_seconds:.0f} s", reason="timeout"
            )

    async def _show_lag(self, client: Client, now: float) -> None:
        """Write the offsets that are durable to the group. It is for others to look at: that it fails stops nothing."""
        group = self._config.group
        if group is None or now < self._commit_at:
            return
        self._commit_at = now + COMMIT_SECONDS
        stored = offsets.read(self._site.position)
        if stored is None or stored.cluster != client.cluster_id or stored == self._committed:
            return
        try:
            await client.commit(group, offsets.lag_by_topic(stored.offsets))
        except AWAY as error:
            self._site.note("lag_not_written")
            if type(error) is not self._lag_error:
                self._site.say("kafka_lag_not_written", group=group, error=f"{type(error).__name__}: {error}")
            self._lag_error = type(error)
        else:
            self._committed, self._lag_error = stored, None
