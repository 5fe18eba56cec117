"""aiohttp's client and aiokafka alone, for a WebSocket: what a loop of a hundred lines can do, with no more than that.

The same work for each message as a source does: read it as JSON, take its id, write it as an event with that id at the
event's home partition, idempotently, with acks=all. Fast settings: whatever waits becomes one batch for each partition,
all of them awaited; uvloop; a bounded buffer, so that the other side is slowed down by TCP.
"""

import argparse
import asyncio
from collections import deque
from typing import Any

import aiohttp
import orjson
import uvloop
from aiokafka import AIOKafkaProducer

from benchmarks.sides import side
from topics import keys

MOST_WAITING = 1_000
MOST_IN_BATCH = 500


class Waiting:
    """Messages between the socket and the producer."""

    def __init__(self) -> None:
        self.messages: deque[str] = deque()
        self.come = asyncio.Event()
        self.room = asyncio.Event()

    async def put(self, message: str) -> None:
        """Add one, once there is room."""
        while len(self.messages) >= MOST_WAITING:
            self.room.clear()
            await self.room.wait()
        self.messages.append(message)
        self.come.set()

    async def take(self) -> list[str]:
        """Return all that wait."""
        while not self.messages:
            self.come.clear()
            await self.come.wait()
        taken = [self.messages.popleft() for _ in range(min(MOST_IN_BATCH, len(self.messages)))]
        self.room.set()
        return taken


async def run(given: argparse.Namespace) -> None:
    """Read and produce until the process is stopped."""
    producer = AIOKafkaProducer(
        bootstrap_servers=given.bootstrap, acks="all", enable_idempotence=True, linger_ms=0, max_batch_size=900 * 1024
    )
    await producer.start()
    waiting = Waiting()
    produced = asyncio.create_task(produce(producer, given.topic, given.partitions, waiting))
    side.tune()
    async with aiohttp.ClientSession() as session, session.ws_connect(given.url, compress=0) as socket:
        async for message in socket:
            await waiting.put(message.data)
    await produced


async def produce(producer: AIOKafkaProducer, topic: str, partitions: int, waiting: Waiting) -> None:
    """Write what waits, batch after batch."""
    while True:
        batches: dict[int, Any] = {}
        sent = []
        for text in await waiting.take():
            message = orjson.loads(text)
            event_id = message["id"]
            value = orjson.dumps({"topic": "socket/message", "id": event_id, "data": message})
            home = keys.partition_of(event_id.encode(), partitions)
            batch = batches.get(home)
            if batch is None:
                batch = batches[home] = producer.create_batch()
            if batch.append(key=None, value=value, timestamp=None) is None:
                sent.append(await producer.send_batch(batch, topic, partition=home))
                batch = batches[home] = producer.create_batch()
                batch.append(key=None, value=value, timestamp=None)
        for home, batch in batches.items():
            sent.append(await producer.send_batch(batch, topic, partition=home))
        await asyncio.gather(*sent)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--url", required=True)
    uvloop.run(run(parser.parse_args()))
