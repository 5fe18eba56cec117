"""A standby on a real broker: what it has read, a takeover does not read again; what is not there any more, it does."""

from collections.abc import AsyncIterator
from functools import partial

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from app.kafka.embedded import EmbeddedKafka
from app.kafka.journal import KafkaLog
from app.kafka.log import LogRecord
from app.pump.standby import Sources, Standby
from app.pump.takeover import Owner, Taken, take_over
from tests.integration.owners import FIRST_MS, Partition, entries, partition


def _standby(one: Partition, log: KafkaLog) -> Standby:
    """Return the standbys of a worker that has the connections of `log`."""
    ends = partial(log._wire.ends, f"{one.settings.kafka.prefix}journal")
    made = Standby(
        Sources(open_log=lambda _partition: log, ends=ends),
        one.limits,
        name="second",
        now_ms=lambda: FIRST_MS,
        most_bytes=1_000_000,
        at_hand_bytes=1_000_000,
    )
    made.follow({0})
    return made


async def _taken(
    one: Partition, log: KafkaLog, standby: Standby, monkeypatch: pytest.MonkeyPatch
) -> tuple[Taken, list[int]]:
    """Take over, and return also the offsets of the journal that were read for it."""
    offsets: list[int] = []
    before = log.read

    async def read(topic: str, start: int, end: int) -> AsyncIterator[list[LogRecord]]:
        async for records in before(topic, start, end):
            if topic == "journal":
                offsets.extend(record.offset for record in records)
            yield records

    monkeypatch.setattr(log, "read", read)
    taken = await take_over(
        log,
        Owner(worker="second", instance_id="second"),
        one.limits,
        now_ms=lambda: FIRST_MS,
        stop_ms=10**15,
        warn_ms=10**15,
        standby=await standby.take(0),
    )
    return taken, offsets


async def test_a_takeover_reads_what_its_standby_has_not(
    kafka: EmbeddedKafka, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with partition(kafka.bootstrap, kafka_prefix) as one:
        old, _ = await one.taken()
        await old.append(entries(*(f"run:{number}" for number in range(500))))
        log = await one.owner()
        standby = _standby(one, log)
        await standby.turn()
        ahead = (await log.bounds("journal"))[1]
        late = await old.append([*entries("run:late"), *entries("run:0", value=None)])
        taken, offsets = await _taken(one, log, standby, monkeypatch)

        assert taken.from_standby
        assert sorted(set(offsets)) == [ahead - 1, late, late + 1, taken.term]
        assert set(taken.state.orphans) == {b"run:late", *(b"run:%d" % number for number in range(1, 500))}
        assert taken.next_journal_offset == taken.term + 1


async def test_a_journal_made_anew_is_read_from_its_beginning(
    kafka: EmbeddedKafka, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with partition(kafka.bootstrap, kafka_prefix) as one:
        old, _ = await one.taken()
        await old.append(entries("run:old"))
        log = await one.owner()
        standby = _standby(one, log)
        await standby.turn()
        name = f"{kafka_prefix}journal"
        _make_anew(kafka, name)
        assert await _answered(log, name) == 0
        new, _ = await one.taken()
        await new.append(entries("run:new", "run:more"))
        taken, offsets = await _taken(one, log, standby, monkeypatch)

        assert (taken.from_standby, set(taken.state.orphans)) == (False, {b"run:new", b"run:more"})
        assert offsets[-1] == taken.term


async def test_the_ends_of_what_is_not_there_are_not_told(kafka: EmbeddedKafka, kafka_prefix: str) -> None:
    async with partition(kafka.bootstrap, kafka_prefix) as one:
        log, _ = await one.taken()
        wire, name = log._wire, f"{kafka_prefix}journal"

        assert await wire.ends(name, [0, 7]) == {0: (await log.bounds("journal"))[1]}
        assert await wire.ends(f"{kafka_prefix}nothing", [0]) == {}


def _make_anew(kafka: EmbeddedKafka, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    for future in admin.delete_topics([name], operation_timeout=30).values():
        future.result()
    while name in admin.list_topics(timeout=10).topics:
        pass
    made = admin.create_topics([NewTopic(name, 1, 1, config={"cleanup.policy": "compact"})], operation_timeout=30)
    for future in made.values():
        future.result()


async def _answered(log: KafkaLog, name: str) -> int:
    """Return the end of the topic, once its new leader tells it."""
    while True:
        found = await log._wire.ends(name, [0])
        if 0 in found:
            return found[0]
