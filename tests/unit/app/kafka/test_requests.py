import struct

import pytest
from aiokafka import errors
from aiokafka.protocol.fetch import FetchRequest, FetchRequest_v11, FetchResponse_v11
from aiokafka.protocol.produce import ProduceRequest_v7, ProduceResponse_v7

from app.kafka.requests import Asked, Batch, Fetch, Fetched, Produce, Produced


def test_produce_request_is_what_aiokafka_would_send() -> None:
    batches = [Batch("journal", 3, b"abc"), Batch("results", 0, bytearray(b"de")), Batch("journal", 1, b"f")]
    topics = [("journal", [(3, b"abc"), (1, b"f")]), ("results", [(0, b"de")])]
    assert b"".join(Produce(batches, timeout_ms=7).parts()) == ProduceRequest_v7(None, -1, 7, topics).encode()


def test_answer_of_a_produce_request_is_read_wherever_it_begins() -> None:
    answer = ProduceResponse_v7(
        topics=[("journal", [(3, 0, 42, -1, 0), (1, 90, -1, -1, -1)]), ("r", [(0, 0, 7, -1, 0)])], throttle_time_ms=0
    ).encode()
    found = Produce([], timeout_ms=7).decode(memoryview(b"head" + answer), 4)
    assert found == [Produced("journal", 3, 0, 42), Produced("journal", 1, 90, -1), Produced("r", 0, 0, 7)]


def test_fetch_request_is_what_aiokafka_would_send() -> None:
    asked = [Asked("events", 0, 10), Asked("events", 5, 11), Asked("commands", 0, 2)]
    request = Fetch(asked, wait_ms=500, most_bytes=1_000, partition_bytes=100)
    topics = [("events", [(0, 10, 100), (5, 11, 100)]), ("commands", [(0, 2, 100)])]
    theirs = FetchRequest(500, 1, 1_000, 1, topics).build(FetchRequest_v11).encode()
    assert b"".join(request.parts()) == theirs


def test_fetch_of_all_records_does_not_ask_what_was_committed() -> None:
    request = Fetch([Asked("events", 0, 10)], wait_ms=500, most_bytes=1_000, partition_bytes=100, committed=False)
    theirs = FetchRequest(500, 1, 1_000, 0, [("events", [(0, 10, 100)])]).build(FetchRequest_v11).encode()
    assert b"".join(request.parts()) == theirs


def test_fetch_asks_in_the_order_given_because_the_broker_fills_its_answer_in_it() -> None:
    asked = [Asked("events", 0, 10), Asked("commands", 0, 2), Asked("events", 5, 11)]
    request = Fetch(asked, wait_ms=500, most_bytes=1_000, partition_bytes=100)
    topics = [("events", [(0, 10, 100)]), ("commands", [(0, 2, 100)]), ("events", [(5, 11, 100)])]
    assert b"".join(request.parts()) == FetchRequest(500, 1, 1_000, 1, topics).build(FetchRequest_v11).encode()


def _fetched(error: int = 0) -> bytes:
    partitions = [
        (0, 0, 20, 20, 0, [(9, 4), (8, 12)], -1, b"batch"),
        (1, 0, 20, 20, 0, None, -1, b""),
        (2, 1, -1, -1, -1, [], -1, None),
        (3, 0, 20, 18, 0, None, -1, b""),  # held up by an open transaction
    ]
    answer: bytes = FetchResponse_v11(0, error, 0, [("events", partitions)]).encode()
    return answer


def test_answer_of_a_fetch_names_records_aborted_transactions_and_errors() -> None:
    found = Fetch([], wait_ms=1, most_bytes=1, partition_bytes=1).decode(memoryview(_fetched()), 0)
    assert found == [
        Fetched("events", 0, 0, [(9, 4), (8, 12)], b"batch", 20, 20),
        Fetched("events", 2, 1, [], b"", -1, -1),
        Fetched("events", 3, 0, [], b"", 18, 20),
    ]


def test_refused_fetch_is_an_error() -> None:
    with pytest.raises(errors.NotLeaderForPartitionError):
        Fetch([], wait_ms=1, most_bytes=1, partition_bytes=1).decode(memoryview(_fetched(6)), 0)


@pytest.mark.parametrize("length", range(0, len(_fetched()), 3))
def test_answer_that_is_cut_is_an_error_and_no_crash(length: int) -> None:
    cut = _fetched()[:length]
    try:
        found = Fetch([], wait_ms=1, most_bytes=1, partition_bytes=1).decode(memoryview(cut), 0)
    except (struct.error, ValueError):
        return
    assert len(found) <= 3
