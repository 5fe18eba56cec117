"""The partitions of a foreign cluster: which there are, where each begins, and the records that are next.

One object for one connection. What it reads is counted in `next`, and nothing is ever left out without being told.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition, errors

from connectors.base import contract
from connectors.base.batches import guard
from connectors.base.contract import NotConnected
from connectors.kafka import offsets
from connectors.kafka.client import Client
from connectors.kafka.config import Config
from connectors.kafka.offsets import Begun, Offsets, Position
from topics.compressed import UNREADABLE

POLL_SECONDS: Final = 0.5
READ_BYTES: Final = 16 * 1024 * 1024
"""After which partitions wait for the next turn, and that begins with them."""
MOST_RECORDS: Final = 500
"""Of one partition at a time, so that none holds up the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """What stands where a record cannot be read."""

    topic: str
    partition: int
    offset: int
    """Of the first record that was not read yet: in a compacted topic the damaged one may come later."""
    last: int
    """Of the last record that is left behind with it."""
    reason: str


Found = Any
"""A record of aiokafka, or a Damaged."""


class Partitions:
    """Reads the chosen partitions of a cluster, each from its offset in `next` on."""

    def __init__(self, config: Config, site: contract.Site, client: Client, consumer: AIOKafkaConsumer) -> None:
        self._config, self._site, self._client, self._consumer = config, site, client, consumer
        self._assigned: set[TopicPartition] = set()
        self._missing: set[str] = set()
        self._passed_over: list[Damaged] = []
        self._turn: TopicPartition | None = None
        guard(consumer, self._leave_out, unreadable="raise")
        self._selection = offsets.selection_of(config)
        stored = offsets.read(site.position)
        if stored is not None and stored.cluster != client.cluster_id:
            site.say("kafka_cluster_is_another", before=stored.cluster, now=client.cluster_id)
            stored = None
        self._is_new = stored is None or stored.selection != self._selection
        """Whether topics that are found now are read from where the options say; later ones from their beginning."""
        self.next: Offsets = {} if stored is None else dict(stored.offsets)

    def position(self) -> dict[str, Any]:
        """Return where reading goes on after everything that `next` counts."""
        return Position(cluster=self._client.cluster_id, selection=self._selection, offsets=self.next).record()

    # ---- which there are -------------------------------------------------------------------------------------------

    async def find(self) -> None:
        """Look for topics and partitions, and read those as well that are there now. Raises as Kafka's client does."""
        await self._client.refresh()
        cluster = self._client.cluster
        topics = offsets.chosen(self._config, cluster.topics(exclude_internal_topics=False))
        self._tell_missing(topics)
        there = {
            TopicPartition(topic, partition)
            for topic in topics
            for partition in cluster.partitions_for_topic(topic) or ()
        }
        led = {one for one in there if cluster.leader_for_partition(one) not in (None, -1)}
        there = led | (there & self._assigned)
        if new := there - self._assigned:
            await self._begin(new)
        if there != self._assigned:
            self._assigned = there
            self._consumer.assign(sorted(there))
            for one in there:
                self._consumer.seek(one, self.next[one])
        self._is_new = False

    def _tell_missing(self, topics: set[str]) -> None:
        missing = set(self._config.topics or ()) - topics
        if self._config.topics is not None and not topics:
            names = ", ".join(sorted(missing))
            words = f"none of the topics is there, or may be seen by this user: {names}; make one, or let it see them"
            raise NotConnected(words, reason="no_topic")
        for topic in sorted(missing - self._missing):
            self._site.say("kafka_topic_is_missing", topic=topic, remedy="make it, or let this user see it")
        self._missing = missing

    async def _begin(self, new: Iterable[TopicPartition]) -> None:
        """Decide where partitions are read from that were not read before in this connection."""
        new = list(new)
        firsts, ends = await self._consumer.beginning_offsets(new), await self._consumer.end_offsets(new)
        unknown = [one for one in new if one not in self.next]
        times: Mapping[TopicPartition, Any] = {}
        if self._is_new and self._config.start_ms is not None and unknown:
            times = await self._consumer.offsets_for_times(dict.fromkeys(unknown, self._config.start_ms))
        for one in new:
            if (stored := self.next.get(one)) is not None:
                self._tell(one, stored, offsets.resumed(stored, firsts[one], ends[one]))
            elif self._is_new:
                found = times.get(one)
                at_time = None if found is None else found.offset
                self.next[one] = offsets.initial(self._config, firsts[one], ends[one], at_time)
            else:
                self.next[one] = firsts[one]

    def _tell(self, one: TopicPartition, stored: int, begun: Begun) -> None:
        self.next[one] = begun.offset
        place = {"topic": one.topic, "partition": one.partition, "offset": stored, "goes_on_at": begun.offset}
        if begun.missed:
            self._site.note("missed", begun.missed)
            self._site.say("kafka_records_are_gone", **place, most=begun.missed)
        if begun.beyond_end:
            self._site.say("kafka_partition_begins_anew", **place)

    def count(self, record: Found) -> None:
        """Go on after this one."""
        self.next[TopicPartition(record.topic, record.partition)] = _last(record) + 1

    # ---- what is in them -------------------------------------------------------------------------------------------

    async def read(self) -> list[list[Found]]:
        """Return what has come, by partitions and in their order; nothing after a while of waiting."""
        if not self._assigned:
            await self._site.sleep(POLL_SECONDS)
            return []
        found: list[list[Found]] = []
        size = 0
        for one in self._in_turn():
            if records := await self._of(one):
                found.append(records)
                size += sum(map(_size, records))
            if size > READ_BYTES:
                self._turn = one
                break
        if not found:
            await self._wait()
        return found

    def _in_turn(self) -> list[TopicPartition]:
        """Return the partitions, beginning with the one after that which was read last."""
        every, turn = sorted(self._assigned), self._turn
        self._turn = None
        return every if turn is None else [one for one in every if one > turn] + [one for one in every if one <= turn]

    def _leave_out(self, where: TopicPartition, first: int, last: int, reason: str) -> None:
        self._passed_over.append(
            Damaged(topic=where.topic, partition=where.partition, offset=first, last=last, reason=reason)
        )

    async def _wait(self) -> None:
        """Return when something has come, or after a while. Nothing is taken, as aiokafka's own ways of waiting do."""
        fetcher = self._consumer._fetcher
        waiter, working = fetcher._create_fetch_waiter(), fetcher.error_future
        await asyncio.wait({waiter, working}, timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
        if waiter.done():
            waiter.result()
        else:
            waiter.cancel()

    async def _of(self, one: TopicPartition) -> list[Found]:
        """Return what has come of one partition."""
        found = await self._fetched(one, most=MOST_RECORDS)
        if isinstance(found, list):
            return found
        return await self._carefully(one)

    async def _carefully(self, one: TopicPartition) -> list[Found]:
        """Read record by record up to the one that cannot be read, and leave it behind.

        aiokafka drops what it has read together with such a record, and stays where it was.
        """
        found: list[Found] = []
        at = self.next[one]
        while len(found) < MOST_RECORDS:
            records = await self._fetched(one, seconds=POLL_SECONDS, most=1)
            if isinstance(records, Exception):
                reason = f"the record at offset {at}, or the next after it, cannot be read: {records}"
                found.append(Damaged(topic=one.topic, partition=one.partition, offset=at, last=at, reason=reason))
                self._consumer.seek(one, at + 1)
                break
            if not records:
                break
            found += records
            at = _last(records[-1]) + 1
        return found

    async def _fetched(self, one: TopicPartition, *, most: int, seconds: float = 0.0) -> list[Found] | Exception:
        """Return the next records of a partition, or why one of them cannot be read.

        Offsets that are gone are told, and reading goes on at the next that is there.
        """
        try:
            found = await self._consumer.getmany(one, timeout_ms=int(seconds * 1000), max_records=most)
        except errors.OffsetOutOfRangeError as error:
            await self._go_on(error.args[0])
            return []
        except UNREADABLE as error:
            self._passed_over.clear()  # they come again with what comes again
            return error
        passed_over, self._passed_over = self._passed_over, []
        return sorted([*found.get(one, ()), *passed_over], key=lambda record: int(record.offset))

    async def _go_on(self, gone: Iterable[TopicPartition]) -> None:
        for one in gone:
            firsts, ends = await self._consumer.beginning_offsets([one]), await self._consumer.end_offsets([one])
            self._tell(one, self.next[one], offsets.resumed(self.next[one], firsts[one], ends[one]))
            self._consumer.seek(one, self.next[one])


def _last(record: Found) -> int:
    return record.last if isinstance(record, Damaged) else int(record.offset)


def _size(record: Found) -> int:
    return (
        0 if isinstance(record, Damaged) else max(0, record.serialized_key_size) + max(0, record.serialized_value_size)
    )
