"""Chunks wait in the order of their offsets; what comes again is dropped, what is missing is named."""

from collections.abc import Sequence

import pytest

from app.kafka.log import LogRecord
from app.pump.inbox import CHUNK_BYTES, Inbox
from topics.envelope import COMMA_BYTES, HEADER_BYTES


def chunk(*offsets: int, size: int = 10) -> Sequence[LogRecord]:
    return [LogRecord(offset, 0, None, b"x" * size, ()) for offset in offsets]


def drained(inbox: Inbox) -> list[int]:
    found = []
    while inbox:
        found += [one.offset for one in inbox.take()[0]]
    return found


def test_chunks_come_out_in_their_order() -> None:
    inbox = Inbox(0, most_bytes=1_000)
    inbox.offer(chunk(0, 1))
    inbox.offer(chunk(2))
    assert (drained(inbox), inbox.next_offset) == ([0, 1, 2], 3)


def test_a_chunk_that_came_already_is_dropped() -> None:
    inbox = Inbox(5, most_bytes=1_000)
    inbox.offer(chunk(3, 4))
    assert not inbox
    assert inbox.next_offset == 5


def test_of_a_chunk_that_came_in_part_the_rest_is_taken() -> None:
    inbox = Inbox(5, most_bytes=1_000)
    inbox.offer(chunk(3, 4, 5, 6))
    assert drained(inbox) == [5, 6]


def test_what_follows_a_gap_is_taken_as_its_giver_has_seen_to_it() -> None:
    inbox = Inbox(5, most_bytes=1_000)
    inbox.offer(chunk(8, 9))
    assert (drained(inbox), inbox.next_offset) == ([8, 9], 10)


def test_it_is_full_by_bytes_and_has_room_again_once_they_are_taken() -> None:
    inbox = Inbox(0, most_bytes=25)
    seen = [inbox.full]
    for one in (chunk(0, 1), chunk(2)):
        inbox.offer(one)
        seen.append(inbox.full)
    inbox.take()
    assert [*seen, inbox.full] == [False, False, True, False]


def test_a_record_without_value_has_no_size() -> None:
    inbox = Inbox(0, most_bytes=1)
    inbox.offer([LogRecord(0, 0, None, None, ())])
    assert not inbox.full


def test_key_and_headers_weigh_as_well() -> None:
    inbox = Inbox(0, most_bytes=1)
    inbox.offer([LogRecord(0, 0, b"key", None, (("name", b"content"), ("none", None)))])
    assert inbox.take()[1] == 3 + 4 + 7 + 4 + 2 * HEADER_BYTES


@pytest.mark.parametrize("value", [b"[1,2,3]", b'{"a":[,],"note":"' + b"x" * 90 + b'"}', b",", b",x", b"x,", b"x", b""])
def test_each_comma_weighs_wherever_it_is(value: bytes) -> None:
    inbox = Inbox(0, most_bytes=1)
    inbox.offer([LogRecord(0, 0, None, value, ())])
    assert inbox.take()[1] == len(value) + value.count(b",") * COMMA_BYTES


def test_records_of_many_headers_are_cut_into_chunks() -> None:
    inbox = Inbox(0, most_bytes=1)
    many = (("", b""),) * (CHUNK_BYTES // HEADER_BYTES)
    inbox.offer([LogRecord(offset, 0, None, b"x", many) for offset in range(3)])
    assert [len(inbox.take()[0]) for _ in range(3)] == [1, 1, 1]
    assert not inbox


def test_clearing_forgets_what_waits_and_goes_back() -> None:
    inbox = Inbox(0, most_bytes=5)
    inbox.offer(chunk(0, 1, 2))
    inbox.clear(1)
    assert (bool(inbox), inbox.full, inbox.next_offset, inbox.cleared) == (False, False, 1, 1)
    inbox.offer(chunk(1, 2))
    assert drained(inbox) == [1, 2]
