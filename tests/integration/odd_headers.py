"""Records with a header whose name is not UTF-8: Kafka takes them, and no client of ours can write one by itself."""

import struct
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.record.util import calc_crc32c

LEGAL_NAME = b"AAAA"
ILLEGAL_NAME = b"\xff\xfeAA"


def with_an_odd_header(batch: Any) -> None:
    """Let `batch`, of a producer's `create_batch`, be written with ILLEGAL_NAME wherever it says LEGAL_NAME."""
    built = batch._build

    def with_another_name() -> bytearray:
        raw = bytearray(bytes(built()).replace(LEGAL_NAME, ILLEGAL_NAME))
        raw[17:21] = struct.pack(">I", calc_crc32c(bytes(raw[21:])))
        batch._buffer = raw
        return raw

    batch._build = with_another_name


async def write_odd(producer: AIOKafkaProducer, topic: str, value: bytes, *, key: bytes | None = None) -> None:
    """Write one such record to partition 0."""
    batch = producer.create_batch()
    batch.append(key=key, value=value, timestamp=None, headers=[(LEGAL_NAME.decode(), b"x")])
    with_an_odd_header(batch)
    await (await producer.send_batch(batch, topic, partition=0))
