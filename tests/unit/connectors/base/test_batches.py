"""Consumers of aiokafka, guarded: what is unpacked, what is left out and told."""

import tracemalloc
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition, errors
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c

from connectors.base import batches
from tests.integration.odd_headers import ILLEGAL_NAME, LEGAL_NAME, with_an_odd_header

WHERE = TopicPartition("t", 3)
MIB = 1024 * 1024


def batch(*values: bytes, codec: int = 0, headers: Sequence[tuple[str, bytes]] = ()) -> Any:
    made = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=2**30,
    )
    for number, value in enumerate(values):
        made.append(number, timestamp=1, key=None, value=value, headers=list(headers))
    return made


def written(made: Any, first: int) -> bytes:
    raw = bytearray(made.build())
    raw[0:8] = first.to_bytes(8, "big")  # the checksum begins behind it
    return bytes(raw)


class Consumer:
    """What of an AIOKafkaConsumer the guard leans on, with one answer of a broker."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._state = SimpleNamespace(position=0, paused=False)
        self._state.consumed_to = lambda position: setattr(self._state, "position", position)
        self._fetcher: Any = SimpleNamespace(
            _client=SimpleNamespace(send=self._send), _records={}, _proc_fetch_request=self._fetch
        )

    @property
    def position(self) -> int:
        return int(self._state.position)

    async def _send(self, _node: Any, _request: Any) -> Any:
        return SimpleNamespace(topics=[("t", [(3, 0, 9, self._data)])])

    async def _fetch(self, node: Any, request: Any) -> bool:
        answer = await self._fetcher._client.send(node, request)
        data = answer.topics[0][1][0][-1]
        records = PartitionRecords(WHERE, MemoryRecords(data), None, self.position, None, None, True, READ_COMMITTED)
        assignment = SimpleNamespace(active=True, state_value=lambda _tp: self._state)
        self._fetcher._records[WHERE] = FetchResult(WHERE, assignment=assignment, partition_records=records, backoff=0)
        return True

    async def read(self) -> list[bytes]:
        await self._fetcher._proc_fetch_request(0, FetchRequest(0, 0, 0, 0, []))
        return [record.value for record in self._fetcher._records.pop(WHERE).getall()]


Told = list[tuple[TopicPartition, int, int, str]]


def guarded(data: bytes, unreadable: Any = "pass over") -> tuple[Consumer, Told]:
    consumer, told = Consumer(data), Told()
    batches.guard(consumer, lambda *said: told.append(said), unreadable=unreadable)
    return consumer, told


@pytest.mark.parametrize("codec", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("unreadable", ["raise", "pass over"])
async def test_what_is_within_bounds_is_read_as_ever(codec: int, unreadable: str) -> None:
    data = written(batch(b"a", b"b", codec=codec), 5) + written(batch(b"c"), 7)
    consumer, told = guarded(data, unreadable)

    assert [b"a", b"b", b"c"] == await consumer.read()
    assert (8, []) == (consumer.position, told)


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
async def test_a_bomb_is_left_out_and_told_without_being_unpacked(codec: int) -> None:
    bomb = written(batch(bytes(150 * MIB), bytes(150 * MIB), codec=codec), 6)
    consumer, told = guarded(written(batch(b"a"), 5) + bomb + written(batch(b"z"), 8), "raise")
    tracemalloc.start()
    try:
        assert [b"a", b"z"] == await consumer.read()
        assert tracemalloc.get_traced_memory()[1] < 20 * MIB + 2 * len(bomb)
    finally:
        tracemalloc.stop()

    assert [(WHERE, 6, 7, f"the batch of offsets 6 to 7 may unpack to more than {16 * MIB} bytes")] == told
    assert consumer.position == 9


async def test_a_bomb_of_an_old_broker_is_none_either() -> None:
    made = LegacyRecordBatchBuilder(magic=1, compression_type=1, batch_size=2**30)
    made.append(0, timestamp=1, key=b"k", value=bytes(40 * MIB))
    small = LegacyRecordBatchBuilder(magic=1, compression_type=1, batch_size=2**30)
    small.append(0, timestamp=1, key=None, value=b"a")
    consumer, told = guarded(written(small, 0) + written(made, 1))

    assert [b"a"] == await consumer.read()
    assert [(WHERE, 1, 1)] == [one[:3] for one in told]


async def test_several_batches_of_one_answer_are_unpacked_up_to_a_bound_and_the_rest_comes_later() -> None:
    data = [written(batch(bytes(2 * MIB), codec=1), number) for number in range(5)]
    consumer, told = guarded(b"".join(data))

    assert len(await consumer.read()) == 2
    assert (2, []) == (consumer.position, told)


async def test_a_record_that_aiokafka_cannot_read_is_left_out_of_our_topics_and_raises_elsewhere() -> None:
    odd = batch(b"odd", headers=[(LEGAL_NAME.decode(), b"x")])
    raw = SimpleNamespace(_build=odd.build)
    with_an_odd_header(raw)
    data = written(batch(b"a"), 0) + written(SimpleNamespace(build=raw._build), 1) + written(batch(b"c"), 2)
    assert ILLEGAL_NAME in data
    consumer, told = guarded(data)

    assert [b"a", b"c"] == await consumer.read()
    assert [(WHERE, 1, 1)] == [one[:3] for one in told]
    assert told[0][3].startswith("the batch of offsets 1 to 1 cannot be read: UnicodeDecodeError")
    consumer, told = guarded(data, "raise")
    with pytest.raises(UnicodeDecodeError):
        await consumer.read()
    assert told == []


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
async def test_what_claims_to_be_compressed_and_is_not_is_left_out(codec: int) -> None:
    raw = bytearray(written(batch(b"not compressed at all"), 0))
    raw[22] |= codec
    raw[17:21] = calc_crc32c(bytes(raw[21:])).to_bytes(4, "big")
    consumer, told = guarded(bytes(raw))

    assert await consumer.read() == []
    assert [(WHERE, 0, 0)] == [one[:3] for one in told]


async def test_a_wrong_checksum_is_an_error_as_ever() -> None:
    raw = bytearray(written(batch(b"abc"), 0))
    raw[-2] ^= 1
    consumer, told = guarded(bytes(raw))

    with pytest.raises(errors.CorruptRecordException):
        await consumer.read()
    assert told == []


async def test_what_is_asked_of_a_client_beside_records_goes_through() -> None:
    consumer, _ = guarded(written(batch(b"a"), 0))
    answer = await consumer._fetcher._client.send(0, object())

    assert answer.topics
    assert consumer._fetcher._client.taken() == {}
