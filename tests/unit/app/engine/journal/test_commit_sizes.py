"""What fits a batch of the journal, whatever the bytes."""

from typing import Any

import pytest

from app.engine.journal import commit as commit_module
from app.engine.journal.entities import event_of
from app.engine.values.outgoing import Record
from tests.unit.app.engine.partition import (
    NOW,
    Partition,
    commanded,
    flow,
)
from topics import codec, journal, keys
from topics.envelope import MAX_HEADERS, Envelope
from topics.letters import dead_letter as make_letter

MOST_BYTES = 7 * 1024 * 1024
"""Of a batch of the journal (app.kafka.journal), with all that is in it."""


def hostile(filler: str, where: str, size: int) -> Envelope:
    """A valid event of nearly `size` bytes of `filler`: whatever escapes best or worst."""
    value, key, headers = b'{"topic":"orders/created","id":"e","data":1}', b"", [("h", b"")]
    raw = filler.encode() * ((size - 1_000) // len(filler))
    match where:
        case "content":
            headers = [("h", raw)]
        case "name":
            headers = [(raw.decode(), b"")]
        case "key":
            key, value = raw, value.replace(b"1}", b'1,"key":"k"}')
        case "value":
            value = value.replace(b"1}", b"1" + b" " * 9 + filler.encode() * len(raw) + b"}")
        case "value of texts":
            value = value.replace(b"1}", b"[" + b'"",' * (len(raw) // 3) + b"1]}")
        case "value of escapes":
            value = value.replace(b"1}", b'"' + rb"\\" * (len(raw) // 2) + b'"}')
        case "small fields":
            small = filler * (journal.READABLE_HEADER_BYTES // len(filler))
            headers = [(small, small.encode())] * MAX_HEADERS
            key = filler.encode() * (journal.READABLE_BYTES // len(filler))
            more = size - 2_000 - len(key) - sum(len(name) + len(content) for name, content in headers)
            value = value.replace(b"1}", b'1,"key":"k","more":"' + rb"\\" * (more // 2) + b'"}')
    return codec.decode(value, key, headers, partition=0, offset=0, timestamp_ms=NOW, max_bytes=size)


@pytest.mark.parametrize("size", [1024 * 1024, 2 * 1024 * 1024])
@pytest.mark.parametrize(
    ("where", "filler"),
    [
        *((where, filler) for where in ("content", "name", "key", "small fields") for filler in ("\0", '"', "\\", "x")),
        *((where, "x") for where in ("value of texts", "value of escapes")),
        ("value", "\n"),
    ],
)
def test_no_event_is_too_large_for_the_journal_or_as_a_command(where: str, filler: str, size: int) -> None:
    one = hostile(filler, where, size)
    assert one.size > size * 0.99
    home = keys.home_of(one, 2)
    here = Partition(flow(), partition=home, partitions=2)
    away = Partition(flow(), partition=1 - home, partitions=2)
    here.read(one)
    away.read(one)

    for partition in (here, away):
        made = partition.commit()
        assert made is not None
        assert max(len(key) + len(entity or b"") for key, entity in [*made.ahead, *made.batch]) < MOST_BYTES * 4 // 5
    assert [[event for _, two in commanded(made.outgoing) for event in two.events] for made in away.commits][-1] == [
        one
    ]
    (body,) = [key for key in here.journal if key.startswith(b"body:")]
    assert event_of(0, here.journal[body]) == one
    assert commanded(away.takeover().again[-1]) == commanded(away.commits[-1].outgoing)


def buried(**original: Any) -> int:
    """The largest entity of the commit that buries a record."""
    about: dict[str, Any] = {
        "code": "not_json",
        "reason": "r",
        "remedy": "m",
        "source_topic": "t",
        "partition": 0,
        "offset": 0,
    }
    letter = make_letter(**about, timestamp_ms=0, **original, at_ms=NOW)
    partition = Partition(flow())
    partition.read(malformed=[Record("dlq", None, letter.key, letter.value, tuple(letter.headers))])
    made = partition.commit()
    assert made is not None
    return max(len(entity or b"") for _, entity in [*made.ahead, *made.batch])


@pytest.mark.parametrize("one", ["\0", '"', "\\", "\xff", "x"])
def test_no_dead_letter_is_too_large_for_the_journal(one: str) -> None:
    raw = one.encode("latin-1")
    for key_size in (0, 300_000, 1_000_000, 2_000_000, 3_000_000):
        for size in (3_000_000 - key_size, 4_500_000 - key_size):
            assert buried(key=raw * key_size, value=raw * size, headers=()) < MOST_BYTES


@pytest.mark.parametrize("one", ["\0", '"', "\\", "\xff", "x"])
@pytest.mark.parametrize("size", [0, 1, 300, 60_000, 1_000_000])
def test_no_dead_letter_of_headers_is_too_large_for_the_journal(one: str, size: int) -> None:
    headers = [(one * size, one.encode("latin-1") * size)] * min(100_000, 4_500_000 // max(size, 1))
    assert buried(key=b"k" * 300_000, value=b"v" * 300_000, headers=headers) < MOST_BYTES


def test_what_takes_more_room_in_the_journal_than_its_bytes_is_counted_by_what_it_takes() -> None:
    """Many events whose contents are nearly all headers: no command and no part is much above its bound."""
    headers = [("h", b"")] * MAX_HEADERS
    value = b'{"topic":"orders/created","id":"%d","data":1}'
    away = [
        codec.decode(value % n, None, headers, partition=0, offset=n, timestamp_ms=NOW, max_bytes=9_999)
        for n in range(1_000)
    ]
    partition = Partition(flow(), partitions=2)
    partition.read(*away)

    made = partition.commit()

    assert made is not None
    sent = [one.value or b"" for one in made.outgoing.records if one.topic == "commands"]
    parts = [entity or b"" for key, entity in [*made.ahead, *made.batch] if key.startswith(b"out:")]
    assert len(sent) > 1
    assert max(map(len, sent)) < commit_module.PART_BYTES + 1_000
    assert max(map(len, parts)) < commit_module.PART_BYTES * 4 // 3 + 1_000
