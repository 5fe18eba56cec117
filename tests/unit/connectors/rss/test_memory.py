"""What is known of a feed between two polls, and that it fits into a position."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from connectors.rss import memory
from connectors.rss.entries import MOST_ENTRIES, Entry
from connectors.rss.memory import KEPT_ABSENT, Memory


def entries(*ids: str | int) -> list[Entry]:
    return [Entry(id=str(one), published=None, updated=None, data={}) for one in ids]


def ids(found: Sequence[Entry]) -> list[str]:
    return [one.id for one in found]


def test_entries_are_fresh_once() -> None:
    known = Memory(tag="t")
    assert ids(known.fresh(entries("b", "a"))) == ["b", "a"]

    known = known.after(entries("b", "a"))
    assert ids(known.fresh(entries("c", "a", "b"))) == ["c"]
    assert known.knows_any(entries("x", "a"))
    assert not known.knows_any(entries("x"))


def test_entries_that_are_left_are_fresh_at_the_next_poll() -> None:
    known = Memory(tag="t").after(entries("a", "b", "c"), left=entries("c"))

    assert ids(known.fresh(entries("a", "b", "c"))) == ["c"]


def test_the_order_of_a_feed_does_not_change_what_is_known() -> None:
    assert Memory(tag="t").after(entries(*range(500))) == Memory(tag="t").after(entries(*reversed(range(500))))


def test_ids_stay_while_their_entries_do_and_a_while_longer() -> None:
    known = Memory(tag="t").after(entries("old")).after(entries("a", "b")).after(entries("b"))
    assert ids(known.fresh(entries("b", "a", "old"))) == []

    pushed = known.after(entries(*range(KEPT_ABSENT - 1))).after(entries("b"))
    assert ids(pushed.fresh(entries("a", "old", *range(KEPT_ABSENT - 1)))) == ["old"]


def test_an_answer_without_entries_prunes_nothing() -> None:
    known = Memory(tag="t").after(entries(*range(2 * KEPT_ABSENT)))

    assert known.after([]) == known


def test_a_position_is_read_as_it_was_written() -> None:
    known = Memory(
        tag="t", etag='W/"a\\b"', last_modified="Mon, 01 Jun 2026 00:00:00 GMT", moved=["https://b/", [0, 4]]
    )
    known = known.after(entries("a", "b"))

    assert memory.read(json.loads(json.dumps(known.position()))) == known
    assert known.position()["initialised"] is True
    assert memory.read(None) is None


def test_the_position_of_the_largest_feed_has_less_than_900_000_bytes() -> None:
    known = Memory(tag="12345678", etag="e" * 1024, last_modified="l" * 1024, moved=["m" * 4096])
    known = known.after(entries(*(f"https://a.example/{'x' * 500}/{number}" for number in range(MOST_ENTRIES))))
    known = known.after(entries(*range(MOST_ENTRIES)))

    assert len(json.dumps(known.position())) < 900_000


@pytest.mark.parametrize(
    "position",
    [
        7,
        [],
        {},
        {"format": 2, "initialised": True, "feed": "t", "ids": ""},
        {"format": 1, "initialised": True, "feed": "t", "ids": "%"},
        {"format": 1, "initialised": True, "feed": "t", "ids": "AAAA"},
        {"format": 1, "initialised": False, "feed": "t", "ids": ""},
    ],
)
def test_what_is_no_position_is_refused(position: Any) -> None:
    with pytest.raises(ValueError, match=r"it has not|its ids"):
        memory.read(position)


@pytest.mark.parametrize("value", [None, "", "e" * 1025, "\ud800", "ä", 'a"\r\nX: 1', "a\x7f"])
def test_what_cannot_be_sent_back_byte_for_byte_is_no_validator(value: str | None) -> None:
    assert memory.validator(value) is None


def test_a_validator_stays_as_it_is() -> None:
    assert memory.validator('W/"x y"') == 'W/"x y"'
