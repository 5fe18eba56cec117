"""aiokafka alone: the bound of what a Python loop with this client can do; no framework, no durable dedup.

Fast settings: whole fetches by `getmany`, results by `create_batch` and `send_batch`, every batch awaited before the
offsets are committed, uvloop.
"""

import asyncio

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from benchmarks.sides import side


async def run(given: side.Arguments) -> None:
    """Consume, handle, produce, commit, until the process is stopped."""
    consumer = AIOKafkaConsumer(
        given.input,
        bootstrap_servers=given.bootstrap,
        group_id=given.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=4 * 1024 * 1024,
        fetch_max_wait_ms=500,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=given.bootstrap, acks="all", enable_idempotence=True, max_batch_size=900 * 1024
    )
    await producer.start()
    await consumer.start()
    side.tune()
    seen: set[str] = set()
    while True:
        fetched: dict[TopicPartition, list[ConsumerRecord]] = await consumer.getmany(timeout_ms=500)
        if not fetched:
            continue
        waiting = []
        for tp, records in fetched.items():
            batch = producer.create_batch()
            for record in records:
                event = side.decode(record.value)
                if event["id"] in seen:
                    continue
                seen.add(event["id"])
                value = side.result(
                    event, side.handle(event), topic=tp.topic, partition=tp.partition, offset=record.offset
                )
                if batch.append(key=record.key, value=value, timestamp=None) is None:
                    waiting.append(await producer.send_batch(batch, given.results, partition=tp.partition))
                    batch = producer.create_batch()
                    batch.append(key=record.key, value=value, timestamp=None)
            if batch.record_count():
                waiting.append(await producer.send_batch(batch, given.results, partition=tp.partition))
        await asyncio.gather(*waiting)
        await consumer.commit()


if __name__ == "__main__":
    uvloop.run(run(side.arguments()))
