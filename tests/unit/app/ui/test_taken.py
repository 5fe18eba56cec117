from dataclasses import dataclass

import orjson
import pytest

from app.ui.taken import array_of, is_understood


@dataclass(frozen=True)
class Record:
    value: bytes | None
    partition: int = 1
    offset: int = 2


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@pytest.mark.parametrize("value", [b"{}", b"5", orjson.dumps("ü"), nested(240)])
def test_json_that_answers_can_hold_is_understood(value: bytes) -> None:
    assert is_understood(Record(value))


@pytest.mark.parametrize(
    "value", [None, b"", b"{", b'{"a":1}\x00', b"1e999", b'"\\ud800"', b"\xff", b"1],[2", nested(250), nested(1999)]
)
def test_what_only_sqlite_would_take_is_not(value: bytes | None) -> None:
    assert not is_understood(Record(value))


def test_records_become_one_array_of_place_and_value() -> None:
    assert orjson.loads(array_of([Record(b'{"a":1}'), Record(b"5", 0, 7)])) == [[1, 2, {"a": 1}], [0, 7, 5]]
