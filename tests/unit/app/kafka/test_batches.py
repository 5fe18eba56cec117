"""Of what a broker answers the records that are wanted, and where reading goes on; foreign ones: integration tests."""

import struct

import pytest

from app.kafka import batches
from app.kafka.encoder import record_batch
from app.kafka.log import Entry, Producer


def answer(*sizes: int) -> bytes:
    """Batches of so many records, one after the other from offset 0 on."""
    data, offset = b"", 0
    for size in sizes:
        one = record_batch(Producer(7, 0), offset, [Entry(b"key", b"%d" % (offset + at)) for at in range(size)], 1)
        data += struct.pack(">q", offset) + one[8:]
        offset += size
    return data


@pytest.mark.parametrize(
    ("position", "end", "expected", "after"),
    [
        (0, batches.LAST_OFFSET, range(9), 9),
        (4, batches.LAST_OFFSET, range(4, 9), 9),
        (4, 6, (4, 5), 7),
        (3, 7, range(3, 7), 7),
        (6, 7, (6,), 7),
        (7, 8, (7,), 9),
        (5, 5, (), 5),
    ],
)
def test_the_records_between_two_offsets_are_found_and_no_batch_behind_them_is_read(
    position: int, end: int, expected: range, after: int
) -> None:
    data = answer(3, 4, 2)
    for read in (batches.plain(data, position, end), batches.committed(data, [], position, end)):
        assert ([one.offset for one in read[0]], [int(one.value) for one in read[0]], read[1]) == (
            list(expected),
            list(expected),
            after,
        )
