"""Our record batches are byte for byte those of aiokafka's builder."""

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from app.engine.runs.runs import result_record
from app.engine.values.outgoing import Result
from app.kafka.encoder import record_batch
from app.kafka.log import Entry, Producer
from topics.facts import result_headers

CLAIMED = Producer(4711, 12)
NOW = 1_769_860_800_123
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def theirs(sequence: int, entries: list[Entry | Result]) -> bytes:
    builder = DefaultRecordBatchBuilder(2, 0, 0, CLAIMED.producer_id, CLAIMED.epoch, sequence, 1 << 24)
    for at, one in enumerate(entries):
        headers = result_headers(one[0], one[2], one[3]) if len(one) == 4 else one[2]
        builder.append(at, NOW, one[0], one[1], list(headers))
    return bytes(builder.build())


def finished(number: int, workflow_id: str = "charge", at_ms: int = NOW, parent: str | None = None) -> Result:
    return result_record(f"{workflow_id}:{number:024x}", workflow_id, "completed", b'{"n":%d}' % number, at_ms, parent)


def _renamed(result: Result, run_id: bytes) -> Result:
    return run_id, *result[1:]


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([Entry(b"k", b"v")], id="one"),
        pytest.param([Entry(None, None), Entry(b"", b"")], id="null is not empty"),
        pytest.param([Entry(b"k", b"v", (("name", b"raw"), ("null", None), ("h\u00e9", b"")))], id="headers"),
        pytest.param([Entry(b"k" * 63, b"v" * 64, (("n" * 200, b"x" * 8192),))], id="lengths of two bytes"),
        pytest.param([Entry(b"k", b"v" * 2_000_000)], id="a large value"),
        pytest.param([Entry(b"%d" % number, b"v") for number in range(20_000)], id="many"),
        pytest.param([finished(number) for number in range(300)], id="results"),
        pytest.param(
            [finished(1), finished(2, "ship"), finished(3), finished(4, at_ms=NOW + 1), finished(5, parent=PARENT)],
            id="results that share less",
        ),
        pytest.param([finished(1), Entry(b"k", b"v"), finished(2)], id="results among others"),
        pytest.param([finished(1), _renamed(finished(2), b"x" * 70), finished(3)], id="results with ids of any length"),
    ],
)
def test_a_batch_is_what_aiokafka_builds(entries: list[Entry | Result]) -> None:
    assert record_batch(CLAIMED, 17, entries, NOW) == theirs(17, entries)


def test_a_batch_reads_back() -> None:
    batch = MemoryRecords(record_batch(CLAIMED, 0, [finished(1)])).next_batch()
    assert batch.validate_crc()
    (record,) = batch
    assert dict(record.headers)["ce_id"] == record.key == b"charge:000000000000000000000001"
