"""The fence on a real broker: appends of an older owner are refused, whatever happened in between.

It rests on private parts of aiokafka and on low-level requests (ADR 0002); these tests fail when a release of either
side changes what is relied on.
"""

import asyncio
import time
from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaProducer

from app.kafka.embedded import EmbeddedKafka
from app.kafka.journal import LAST_SEQUENCE, MAX_BATCH_BYTES, KafkaLog
from app.kafka.log import AppendFailed, Entry, Fenced, RecordTooLarge
from tests.integration.owners import Partition, entries, keys_of, partition, read

# Segments are closed and compacted as soon as the broker looks at them.
EAGER_JOURNAL = {
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.01",
    "min.compaction.lag.ms": "0",
    "max.compaction.lag.ms": "100",
    "delete.retention.ms": "100",
}
EAGER_CLEANER = {"log.cleaner.backoff.ms": "100"}


async def _refused(owner: KafkaLog, topics: tuple[str, ...] = ("journal", "results", "runs")) -> None:
    for topic in topics:
        with pytest.raises(Fenced, match="a newer owner has the partition"):
            await owner._append(topic, entries("zombie"))


async def test_older_owner_is_refused_once_the_newer_one_has_claimed(kafka: EmbeddedKafka, kafka_prefix: str) -> None:
    async with partition(kafka.bootstrap, kafka_prefix) as one:
        old, _ = await one.taken()
        await old.append(entries("a"))
        new, _ = await one.taken()
        await _refused(old)
        await new.append(entries("b"))
        assert keys_of(await read(new)) == ["claim", "a", "claim", "b"]


async def test_fenced_owner_stays_refused(kafka: EmbeddedKafka, kafka_prefix: str) -> None:
    async with partition(kafka.bootstrap, kafka_prefix) as one:
        old, _ = await one.taken()
        new, _ = await one.taken()
        await _refused(old, ("journal",))
        await new.append(entries("b"))
        await _refused(old, ("journal",))


async def test_older_owner_writes_until_the_claim_and_not_after(kafka: EmbeddedKafka, kafka_prefix: str) -> None:
    """Before the newer owner's first append the fence does not hold yet, which is why it reads on after its claim."""
    async with partition(kafka.bootstrap, kafka_prefix) as one:
        old, _ = await one.taken()
        new = await one.owner()
        await new.fence()
        await old.append(entries("late"))
        await new.append(entries("first of the new one"))
        await _refused(old, ("journal",))
        assert keys_of(await read(new)) == ["claim", "late", "first of the new one"]


async def test_aborted_empty_transaction_closes_the_outputs(kafka: EmbeddedKafka, kafka_prefix: str) -> None:
    async with partition(kafka.bootstrap, kafka_prefix) as one:
        old, _ = await one.taken()
        await old.deliver("results", entries("r1"))
        await old.deliver("runs", entries("f1"))
        before = {topic: (await old.bounds(topic))[1] for topic in ("results", "runs")}
        new = await one.owner()
        await new.fence()
        await new.close_outputs()
        # Refused before the newer owner has written one record there, and no reader sees anything of it.
        await _refused(old, ("results", "runs"))
        assert {topic: (await new.bounds(topic))[1] - end for topic, end in before.items()} == {"results": 1, "runs": 1}
        assert keys_of(await read(new, "results")) == ["r1"]
        assert keys_of(await read(new, "runs")) == ["f1"]
        assert await new.deliver("results", entries("r2")) == before["results"] + 2


async def test_zombie_is_refused_after_the_broker_was_killed(
    own_kafka: Callable[..., EmbeddedKafka], kafka_prefix: str
) -> None:
    kafka = own_kafka()
    kafka.start()
    async with partition(kafka.bootstrap, kafka_prefix) as one:
        old, _ = await one.taken()
        new, _ = await one.taken()
        await new.append(entries("before"))
        kafka.kill()
        await asyncio.to_thread(kafka.start)
        await _refused(old)
        await new.append(entries("after"))
        await new.deliver("results", entries("r1"))
        assert keys_of(await read(new)) == ["claim", "claim", "before", "after"]


async def test_zombie_is_refused_after_all_records_of_the_owner_were_compacted(
    own_kafka: Callable[..., EmbeddedKafka], kafka_prefix: str
) -> None:
    kafka = own_kafka(overrides=EAGER_CLEANER)
    kafka.start()
    async with partition(kafka.bootstrap, kafka_prefix, journal=EAGER_JOURNAL) as one:
        old, _ = await one.taken()
        await old.append(entries("a", "b"))
        new, _ = await one.taken()
        await new.append(entries("a", "b"))
        end = (await new.bounds("journal"))[1]
        await _supersede(kafka.bootstrap, one, ["claim", "a", "b"], until_gone_below=end, reader=new)
        kafka.kill()
        for snapshot in (kafka.data / "log").rglob("*.snapshot"):
            snapshot.unlink()  # producer state has to come from the log
        await asyncio.to_thread(kafka.start)
        await _refused(old, ("journal",))
        await new.append(entries("c"))


async def test_what_compaction_left_of_a_batch_is_read_at_its_offsets(
    own_kafka: Callable[..., EmbeddedKafka], kafka_prefix: str
) -> None:
    kafka = own_kafka(overrides=EAGER_CLEANER)
    kafka.start()
    async with partition(kafka.bootstrap, kafka_prefix, journal=EAGER_JOURNAL) as one:
        owner, taken = await one.taken()
        first = await owner.append(entries(*"abcdefghij"))
        assert first == taken.term + 1
        await _supersede(kafka.bootstrap, one, list("abcdef"), until_gone_below=first + 6, reader=owner)
        left = [record for record in await read(owner) if first <= record.offset < first + 10]
        assert [(keys_of([record])[0], record.offset - first) for record in left] == [
            ("g", 6),
            ("h", 7),
            ("i", 8),
            ("j", 9),
        ]


async def _supersede(
    bootstrap: str, one: Partition, keys: list[str], *, until_gone_below: int, reader: KafkaLog
) -> None:
    """Write `keys` anew as a stranger, until compaction has taken every older record of them."""
    topic = f"{one.settings.kafka.prefix}journal"
    wanted = set(keys)
    end = time.monotonic() + 40.0
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as stranger:
        while time.monotonic() < end:
            for key in keys:
                await stranger.send_and_wait(topic, b'{"r":2}', key=key.encode())
            left = {keys_of([record])[0] for record in await read(reader) if record.offset < until_gone_below}
            if not wanted & left:
                return
            await asyncio.sleep(0.2)  # the next segment
    raise AssertionError("the broker has not compacted the journal in time")


@pytest.mark.parametrize("count", [1, 200])
async def test_batch_above_the_limit_is_refused_here_and_the_sequence_goes_on(
    kafka: EmbeddedKafka, kafka_prefix: str, count: int
) -> None:
    async with partition(kafka.bootstrap, kafka_prefix) as one:
        owner, taken = await one.taken()
        large = [Entry(b"k%d" % at, b"x" * (MAX_BATCH_BYTES // count + 1)) for at in range(count)]
        with pytest.raises(RecordTooLarge):
            await owner.append(large)
        assert await owner.append(entries("small")) == taken.term + 1
        largest = [Entry(b"k%d" % at, b"x" * (MAX_BATCH_BYTES // count - 200)) for at in range(count)]
        assert await owner.append(largest) == taken.term + 2
        assert await owner.append(entries("after")) == taken.term + 2 + count


async def test_outputs_are_delivered_in_as_many_batches_as_they_need(kafka: EmbeddedKafka, kafka_prefix: str) -> None:
    async with partition(kafka.bootstrap, kafka_prefix) as one:
        owner, _ = await one.taken()
        start = (await owner.bounds("results"))[1]
        given = [Entry(b"k%d" % at, b"x" * 300_000) for at in range(20)]
        assert await owner.deliver("results", given) == start + 20
        assert keys_of(await read(owner, "results")) == [f"k{at}" for at in range(20)]


@pytest.mark.parametrize("outage", ["frozen", "killed"])
async def test_appends_during_an_outage_are_contiguous(
    own_kafka: Callable[..., EmbeddedKafka], kafka_prefix: str, outage: str
) -> None:
    """The broker does not answer for longer than requests wait: nothing is lost, nothing is written twice."""
    kafka = own_kafka()
    kafka.start()
    async with partition(kafka.bootstrap, kafka_prefix, request_timeout_ms=1_000) as one:
        owner, taken = await one.taken()
        offsets: list[int] = []
        stop = asyncio.Event()

        async def append() -> None:
            while not stop.is_set():
                number = len(offsets)
                offsets.append(await owner.append(entries(f"a{number}", f"b{number}")))

        appending = asyncio.create_task(append())
        for _ in range(2 if outage == "frozen" else 1):
            await _until(len(offsets) + 50, offsets, appending)
            if outage == "frozen":
                kafka.pause()
                await asyncio.sleep(2.5)  # longer than two requests wait
                kafka.resume()
            else:
                kafka.kill()
                await asyncio.to_thread(kafka.start)
        await _until(len(offsets) + 50, offsets, appending)
        stop.set()
        await appending
        assert offsets == list(range(taken.term + 1, taken.term + 1 + 2 * len(offsets), 2))
        found = keys_of(await read(owner))[taken.term + 1 :]
        assert found == [key for number in range(len(offsets)) for key in (f"a{number}", f"b{number}")]


async def _until(count: int, offsets: list[int], working: "asyncio.Task[None]", seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while len(offsets) < count:
            if working.done():
                working.result()
            await asyncio.sleep(0.02)


async def test_takeover_waits_for_a_broker_that_comes_back(
    own_kafka: Callable[..., EmbeddedKafka], kafka_prefix: str
) -> None:
    kafka = own_kafka()
    kafka.start()
    async with partition(kafka.bootstrap, kafka_prefix) as one:
        owner = await one.owner()
        kafka.kill()
        connecting = asyncio.create_task(owner.fence())
        await asyncio.to_thread(kafka.start)
        async with asyncio.timeout(20.0):
            await connecting
            _, taken = await one.taken()
        assert taken.term == 0


async def test_sequences_go_on_from_zero_after_the_last_one(kafka: EmbeddedKafka, kafka_prefix: str) -> None:
    async with partition(kafka.bootstrap, kafka_prefix) as one:
        owner = await one.owner()
        await owner.fence()
        # Of a producer that it has never seen, the broker takes any sequence.
        owner._sequences["journal"] = LAST_SEQUENCE - 1
        assert await owner.append(entries("a", "b", "c", "d")) == 0
        assert owner._sequences["journal"] == 2
        assert await owner.append(entries("e")) == 4
        assert keys_of(await read(owner)) == ["a", "b", "c", "d", "e"]


async def test_append_that_was_given_up_may_still_land(
    own_kafka: Callable[..., EmbeddedKafka], kafka_prefix: str
) -> None:
    """Why an append of unknown fate is the owner's last: the broker may have the batch, or get it later."""
    kafka = own_kafka()
    kafka.start()
    async with partition(kafka.bootstrap, kafka_prefix, request_timeout_ms=1_000) as one:
        owner, taken = await one.taken()
        kafka.pause()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(owner.append(entries("given up")), 0.5)
        kafka.resume()
        with pytest.raises(AppendFailed, match="unknown outcome"):
            await owner.append(entries("next"))
        async with asyncio.timeout(10):
            while (await owner.bounds("journal"))[1] < taken.term + 2:  # noqa: ASYNC110 the broker tells nobody
                await asyncio.sleep(0.02)
        assert keys_of(await read(owner)) == ["claim", "given up"]
