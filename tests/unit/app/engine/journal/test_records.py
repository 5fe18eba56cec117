"""Outgoing records come back from the journal as they were."""

import orjson
import pytest

from app.engine.journal import records
from app.engine.values.outgoing import Record


@pytest.mark.parametrize(
    "record",
    [
        Record("replies", None, None, b"v", (), foreign=True),
        Record("commands", 3, b"\xff", None, (("a", None), ("b", b"\xfe"))),
    ],
)
def test_a_record_comes_back_as_it_was(record: Record) -> None:
    assert records.of(orjson.loads(orjson.dumps(records.value(record)))) == record


def test_a_parked_record_is_an_entity_that_says_which_round_wrote_it() -> None:
    record = Record("replies", None, b"k", b"v", (), foreign=True)
    [(key, value)] = records.parked({7: record}, 3)
    found = orjson.loads(value)
    assert (key, found["r"], records.of(found["record"])) == (b"parked:7", 3, record)
