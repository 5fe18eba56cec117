from typing import Any

import orjson
import pytest

from headgate import Event

FIELDS = {
    "id": "o-1",
    "sequence_id": "3-17",
    "topic": "orders/created",
    "event_type": "created",
    "data": {"n": 1},
    "created_at": "2026-01-31T12:00:00.000Z",
    "key": "c-7",
}


@pytest.mark.parametrize("name", FIELDS)
def test_each_field_reads_as_item_and_as_attribute(name: str) -> None:
    event: Event[dict[str, int]] = Event(FIELDS)
    items: Any = event
    assert getattr(event, name) == items[name] == FIELDS[name]


def test_an_event_is_a_dict_and_is_written_as_one() -> None:
    assert Event(FIELDS) == FIELDS
    assert orjson.loads(orjson.dumps(Event(FIELDS))) == FIELDS
