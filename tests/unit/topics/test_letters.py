"""Dead letters, and what is left of one that its topic does not take whole."""

import base64
import tracemalloc
from hashlib import sha256
from typing import Any

import jsonschema
import orjson
import pytest

from topics import facts, letters
from topics.envelope import HEADER_BYTES
from topics.letters import NOTE, in_log, shortened
from topics.schemas import DEAD_LETTER

AT = 1_769_860_800_123
AT_TEXT = "2026-01-31T12:00:00.123Z"


def letter(**given: Any) -> facts.Record:
    fields: dict[str, Any] = {
        "code": "run_failed",
        "reason": "ValueError: no",
        "remedy": "mend workflow 'a'",
        "source_topic": "headgate.events",
        "partition": 3,
        "offset": 41,
        "timestamp_ms": 1_000,
        "key": b"order-1",
        "value": b"{}",
        "headers": (("a", b"1"),),
        "at_ms": 2_000,
        "run_id": None,
        "workflow_id": "a",
    }
    return letters.dead_letter(**(fields | given))


def read(**given: Any) -> tuple[facts.Record, Any]:
    fields: dict[str, Any] = {
        "code": "not_json",
        "reason": "the value is not JSON",
        "remedy": "send JSON",
        "source_topic": "headgate.events",
        "partition": 3,
        "offset": 17,
        "timestamp_ms": AT,
        "key": b"k",
        "value": b"hello",
        "headers": [("h", b"x")],
        "at_ms": AT,
    }
    record = letters.dead_letter(**(fields | given))
    return record, orjson.loads(record.value)


def test_a_dead_letter_has_the_promised_fields_and_the_source_records_key() -> None:
    record, found = read()
    assert record.key == b"k"
    assert found == {
        "code": "not_json",
        "reason": "the value is not JSON",
        "remedy": "send JSON",
        "source": {"topic": "headgate.events", "partition": 3, "offset": 17, "timestamp": AT_TEXT},
        "key": "k",
        "value": "hello",
        "headers": [["h", "x"]],
        "encoding": {"key": "utf-8", "value": "utf-8", "headers": ["utf-8"]},
        "run_id": None,
        "workflow_id": None,
        "at": AT_TEXT,
    }


def test_what_is_not_utf_8_is_kept_in_base64_and_what_is_missing_stays_null() -> None:
    _, found = read(key=None, value=b"\xff\x00", headers=[("a", b"\xfe"), ("b", None), ("a", b"")])
    assert found["value"] == base64.b64encode(b"\xff\x00").decode()
    assert found["headers"] == [["a", base64.b64encode(b"\xfe").decode()], ["b", None], ["a", ""]]
    assert found["encoding"] == {"key": None, "value": "base64", "headers": ["base64", None, "utf-8"]}


@pytest.mark.parametrize("value", [b"\x00" * (2 * 1024 * 1024), b"\xff" * (2 * 1024 * 1024), b'"' * (2 * 1024 * 1024)])
def test_the_largest_record_that_events_takes_fits_as_a_dead_letter(value: bytes) -> None:
    record, found = read(value=value)
    assert len(record.value) < 4 * 1024 * 1024
    text, encoding = found["value"], found["encoding"]["value"]
    assert (base64.b64decode(text) if encoding == "base64" else text.encode()) == value


@pytest.mark.parametrize(
    "large",
    [
        {"value": bytes(letters.ORIGINAL_BYTES + 1)},
        {"key": b"k" * (letters.ORIGINAL_BYTES + 1)},
        {"key": b"k" * (letters.LETTER_BYTES // 2)},
    ],
)
def test_key_and_value_beyond_the_bounds_are_omitted_and_the_sizes_are_told(large: dict[str, Any]) -> None:
    record, found = read(**large)
    assert len(record.value) < 1_000
    assert record.key is None
    assert (found["key"], found["value"], found["headers"]) == (None, None, [["h", "x"]])
    assert found["encoding"] == {"key": None, "value": None, "headers": ["utf-8"]}
    given = {"key": b"k", "value": b"hello", "headers": [("h", b"x")]} | large
    assert found["omitted"] == {name: len(one) for name, one in given.items()}


@pytest.mark.parametrize("count", [256, 257, 18_000])
def test_headers_are_kept_in_full_whatever_their_number(count: int) -> None:
    headers = [(f"h{at}", (None, b"", b"\xff", b"x")[at % 4]) for at in range(count)]
    record, found = read(headers=headers)
    assert (record.key, found["key"], found["value"]) == (b"k", "k", "hello")
    assert [letters._bytes_of(text, how) for (_, text), how in _told_headers(found)] == [raw for _, raw in headers]
    assert [name for name, _ in found["headers"]] == [name for name, _ in headers]
    assert "omitted" not in found


def _told_headers(letter: Any) -> list[tuple[list[Any], Any]]:
    return list(zip(letter["headers"], letter["encoding"]["headers"], strict=True))


@pytest.mark.parametrize(
    ("header", "count"),
    [
        (("", None), 500_000),
        (("ab", b""), 100_000),
        (("a", b"\xff"), 250_000),
        (("h", b"\x01" * 60_000), 40),
        (("\0" * 1_000, b'"' * 1_000), 1_000),
        (("\0" * 100, b"\0" * 300), 2_500),
        (("\N{GRINNING FACE}" * 1_000, b""), 2_500),
    ],
)
@pytest.mark.parametrize("value", [b"hello", b"\xff" * 1024 * 1024])
def test_of_more_headers_than_fit_the_first_are_kept(
    header: tuple[str, bytes | None], count: int, value: bytes
) -> None:
    record, found = read(headers=[header] * count, value=value)
    kept = len(found["headers"])
    assert 0 < kept < count
    assert found["omitted"] == {"key": 1, "value": len(value), "headers": count}
    assert letters._bytes_of(found["value"], found["encoding"]["value"]) == value
    assert {(name, letters._bytes_of(text, how)) for (name, text), how in _told_headers(found)} == {header}
    jsonschema.validate(found, dict(DEAD_LETTER))
    size = len(record.value) + len(record.key or b"")
    assert size <= letters.LETTER_BYTES
    one_more = len(orjson.dumps([*found["headers"][0], "base64"]))
    weight = (HEADER_BYTES + len(header[0]) + len(header[1] or b"")) * (kept + 1) + len(value)
    assert size + one_more > letters.LETTER_BYTES or weight > letters.ORIGINAL_BYTES, "one more would have fit"


def test_making_a_letter_of_a_record_full_of_headers_takes_little_memory() -> None:
    headers = [("", None)] * 500_000
    tracemalloc.start()
    try:
        read(headers=headers)
        assert tracemalloc.get_traced_memory()[1] < 16 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_what_is_left_of_a_letter_whose_headers_did_not_fit_tells_of_all_of_them() -> None:
    short = shortened(letter(value=b"{}", headers=(("ab", b""),) * 100_000))
    told = orjson.loads(short.value)
    assert (told["headers"], told["encoding"]["headers"], len(short.value) < 5_000) == ([], [], True)
    assert told["omitted"] == {
        "key": 7, "value": 2, "headers": 100_000, "value_sha256": sha256(b"{}").hexdigest(),
    }  # fmt: skip


def test_a_dead_letter_cuts_a_reason_that_quotes_at_length() -> None:
    assert read(reason="x" * 3_000_000)[1]["reason"] == "x" * letters.REASON_CHARS + "..."


@pytest.mark.parametrize("value", [b"text" * 10_000, b"\xff\x00" * 10_000, b""])
def test_the_value_is_left_out_and_everything_tells_where_it_is(value: bytes) -> None:
    whole = letter(value=value)
    short = shortened(whole)
    told, before = orjson.loads(short.value), orjson.loads(whole.value)
    jsonschema.validate(told, dict(DEAD_LETTER))
    assert told == before | {
        "value": None,
        "encoding": before["encoding"] | {"value": None},
        "remedy": f"mend workflow 'a'; {NOTE}",
        "omitted": {"key": 7, "value": len(value), "headers": 1, "value_sha256": sha256(value).hexdigest()},
    }
    assert (short.key, short.headers) == (b"order-1", whole.headers)


@pytest.mark.parametrize(
    "large",
    [
        {"key": b"k" * 300_000},
        {"headers": tuple((f"h{number}", b"x" * 1000) for number in range(200))},
        {"reason": "\N{GRINNING FACE}" * 100_000},
        {"remedy": "x" * 100_000},
    ],
)
def test_nothing_that_may_be_large_is_left(large: dict[str, Any]) -> None:
    short = shortened(letter(value=b"x" * 1_000_000, **large))
    jsonschema.validate(orjson.loads(short.value), dict(DEAD_LETTER))
    assert len(short.value) + len(short.key or b"") < 5_000


def test_what_is_short_already_stays_as_it_is() -> None:
    short = shortened(letter(value=b"x" * 1_000_000))
    assert shortened(short) == short


def test_sizes_of_an_original_that_was_left_out_before_are_kept() -> None:
    short = shortened(letter(value=b"x" * 4 * 1024 * 1024))
    assert orjson.loads(short.value)["omitted"] == {"key": 7, "value": 4 * 1024 * 1024, "headers": 1}


def test_a_log_tells_where_the_whole_is() -> None:
    told = in_log(shortened(letter(value=b"secret")))
    assert told["source"] == {
        "topic": "headgate.events",
        "partition": 3,
        "offset": 41,
        "timestamp": "1970-01-01T00:00:01.000Z",
    }
    assert "secret" not in str(told)
