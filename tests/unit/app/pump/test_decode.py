"""Every record becomes an input or a dead letter, and the next offset follows the chunk."""

import orjson

from app.kafka.log import LogRecord
from app.pump import decode
from topics import commands
from topics.catalog import CATALOG
from topics.envelope import MOST_BYTES

NOW = 1_700_000_000_000


def record(offset: int, value: bytes | None, key: bytes | None = None) -> LogRecord:
    return LogRecord(offset, NOW, key, value, (("h", b"\xff"),))


def test_events_and_dead_letters_of_a_chunk() -> None:
    good = orjson.dumps({"topic": "orders/created", "data": 1})
    chunk = [record(4, good), record(5, b"not json", b"\xfe"), record(7, None)]
    read = decode.events(chunk, 3, 8, max_bytes=1_000, now_ms=NOW, prefix="x.")
    assert [(one.topic, one.partition, one.offset, one.timestamp_ms) for one in read.envelopes] == [
        ("orders/created", 3, 4, NOW)
    ]
    assert read.next_offset == 8
    letters = [orjson.loads(one.value or b"") for one in read.malformed]
    assert [(one["code"], one["source"]["offset"]) for one in letters] == [("not_json", 5), ("null_value", 7)]
    assert letters[0]["source"]["topic"] == "x.events"
    assert (letters[0]["key"], letters[0]["encoding"]["key"]) == ("/g==", "base64")
    assert [(one.topic, one.partition, one.key) for one in read.malformed] == [
        ("dlq", None, b"\xfe"),
        ("dlq", None, None),
    ]


def test_an_event_above_the_limit_is_a_dead_letter() -> None:
    large = orjson.dumps({"topic": "t", "data": "x" * 100})
    read = decode.events([record(0, large)], 0, 1, max_bytes=100, now_ms=NOW, prefix="x.")
    assert [orjson.loads(one.value or b"")["code"] for one in read.malformed] == ["too_large"]
    assert not read.envelopes


def test_no_setting_takes_events_that_the_journal_could_not_hold() -> None:
    assert MOST_BYTES >= CATALOG["events"].max_message_bytes
    value = b'{"topic":"t","data":1}'
    chunk = [record(at, value + b" " * (MOST_BYTES - len(value) - 2 + at)) for at in range(2)]
    read = decode.events(chunk, 0, 2, max_bytes=1 << 40, now_ms=NOW, prefix="x.")
    assert [one.size for one in read.envelopes] == [MOST_BYTES]
    assert [orjson.loads(one.value or b"")["code"] for one in read.malformed] == ["too_large"]


def test_commands_of_workers_are_read_and_those_of_strangers_are_dead_letters() -> None:
    value = commands.encode(source=1, journal_id="j", sequence=1, partitions=2, events=(), batched=())
    read = decode.commands_read([record(0, value), record(1, b"{}"), record(2, None)], 0, 3, now_ms=NOW, prefix="x.")
    assert [(one.source, one.sequence) for one in read.commands] == [(1, 1)]
    letters = [orjson.loads(one.value or b"") for one in read.malformed]
    assert [(one["code"], one["source"]["topic"]) for one in letters] == [("not_a_command", "x.commands")] * 2
    assert "forbid it to others with ACLs" in letters[0]["remedy"]
