"""The plain forms of a posted event."""

import pytest

from app.gateway import fields
from topics.fields import MAX_DEPTH, Found

ALL = {"topic": "a", "data": 1, "id": "i", "key": "k", "event_type": "t", "created_at": "2026-01-31T12:00:00Z"}


def test_both_forms_say_the_same() -> None:
    found = Found("a", "", "i", "t", "k", "2026-01-31T12:00:00Z", 1, None)
    renamed = {"topic": "name", "data": "payload"}
    assert fields.plain(ALL) == found
    assert fields.plain({renamed.get(name, name): value for name, value in ALL.items()}) == found


@pytest.mark.parametrize(
    "item",
    [{}, {"topic": "a"}, {"data": 1}, {"topic": "a", "payload": 1}, {"topic": "a", "data": 1, "x": 1}, {"name": "a"}],
)
def test_what_has_another_shape_is_left_to_be_explained(item: dict[str, object]) -> None:
    assert fields.plain(item) is None
    assert list(fields.wrong_with(item, ""))


def test_a_right_event_has_nothing_wrong() -> None:
    assert list(fields.wrong_with(ALL, "")) == []


def test_what_is_not_ordinary_is_left_to_the_codec() -> None:
    deep: object = 1
    for _ in range(MAX_DEPTH):
        deep = [deep]
    not_ordinary = [
        ALL,  # created_at
        {"name": "a", "payload": 1},
        {"topic": "a\t", "data": 1},
        {"topic": "a", "data": deep},
        {"topic": "a", "data": 1, "key": ""},
        {"topic": "a", "data": 1, "event_type": ""},
    ]
    assert [fields.encoded(item, "id", []) for item in not_ordinary] == [None] * len(not_ordinary)


def test_headers_are_passed_on() -> None:
    headers = [("traceparent", b"x")]
    assert fields.encoded({"topic": "a", "data": None, "key": "k"}, "i", headers) == (
        b"k",
        "i",
        b'{"topic":"a","id":"i","data":null}',
        headers,
    )
