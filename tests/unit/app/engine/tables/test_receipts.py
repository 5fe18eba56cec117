"""What a run has received: no event comes twice, and none is passed by that an earlier wait did not take."""

from typing import Any

import orjson
import pytest

from app.engine.tables import receipts
from app.engine.tables.recorded import Steps
from app.engine.values.asks import EventCondition

PAID = EventCondition(topic="orders/paid")
PICKY = EventCondition(topic="orders/paid", stream=True)
LATE = receipts.LATE_MS


def steps_with(*received: tuple[EventCondition, int]) -> Steps:
    """Steps that received an event at each of these times, named by its number."""
    made = Steps("r")
    for number, (condition, at_ms) in enumerate(received):
        receipts.remember(made, condition, f"{number:024x}", at_ms)
    return made


def again(steps: Steps) -> Steps:
    """What the next owner has of it."""
    made = Steps("r")
    receipts.take_back(made, orjson.loads(orjson.dumps(receipts.written(steps))))
    return made


def test_nothing_is_passed_by_before_anything_was_received() -> None:
    assert receipts.past(None, PAID, 5) == receipts.past(Steps("r"), PAID, 5) == (5, [])
    assert receipts.past(None, EventCondition(topic="orders/paid", since_ms=3), 5) == (3, [])
    assert receipts.written(Steps("r")) == {}
    assert again(Steps("r")).received is None


@pytest.mark.parametrize(
    ("first", "then", "since"),
    [
        (PAID, PAID, 90_000 - LATE),
        (PAID, PICKY, 90_000 - LATE),
        (PAID, EventCondition(topic="orders/paid", event_key="a", event_type="b"), 90_000 - LATE),
        (EventCondition(topic="orders/paid", event_key="a"), PAID, 5),
        (EventCondition(topic="orders/paid", event_type="a"), EventCondition(topic="orders/paid", event_type="b"), 5),
        (PICKY, PICKY, 5),
        (EventCondition(topic="orders/paid", since_ms=60_000), PAID, 5),
        (PAID, EventCondition(topic="orders/paid", since_ms=7), 7),
        (PAID, EventCondition(topic="orders/*"), 5),
    ],
)
def test_a_wait_begins_where_one_that_took_all_it_does_has_received(
    first: EventCondition, then: EventCondition, since: int
) -> None:
    steps = steps_with((first, 90_000))
    for one in (steps, again(steps)):
        found, seen = receipts.past(one, then, 5)
        assert (found, set(seen)) == (since, {"0" * 24})


def test_what_another_topic_has_received_moves_no_wait() -> None:
    others = [(EventCondition(topic="stock/in"), 500_000 + n) for n in range(40)]
    steps = steps_with((PICKY, 90_000), *others)
    for one in (steps, again(steps)):
        since, seen = receipts.past(one, PICKY, 5)
        assert since == 90_000, "its own is not among the last ones, and known by its time"
        assert "0" * 24 in seen
    steps = steps_with(*others, (PICKY, 90_000))
    assert receipts.past(steps, PICKY, 5)[0] == receipts.past(again(steps), PICKY, 5)[0] == 5


def test_of_more_than_are_remembered_none_comes_again() -> None:
    steps = steps_with(*((PICKY, 1_000 * n) for n in range(1, 41)))
    for one in (steps, again(steps)):
        since, seen = receipts.past(one, PICKY, 5)
        assert since == 8_001
        assert set(seen) == {f"{n:024x}" for n in range(8, 40)}
        assert all(receipts.has(one, f"{n:024x}") for n in range(8, 40))


def test_events_of_one_moment_are_told_apart() -> None:
    steps = steps_with((PAID, 9), (PAID, 9), (PAID, 3))
    assert again(steps).received == steps.received == {"orders/paid": (9, ["0" * 24, f"{1:024x}"], -1)}


def test_a_journal_of_an_older_release_has_forgotten_what_it_had_no_room_for() -> None:
    few: dict[str, Any] = {"received": {"orders/paid": (90_000, ["a"])}, "had": ["a", "b"]}
    full = few | {"had": [str(n) for n in range(31)] + ["a"]}
    since = {}
    for name, found in (("few", few), ("full", full)):
        steps = Steps("r")
        receipts.take_back(steps, found)
        since[name] = receipts.past(steps, EventCondition(topic="orders/paid", since_ms=7), 5)[0]
        for number in range(40):
            receipts.remember(steps, PICKY, f"{number:024x}", 100_000 + number)
        assert receipts.past(again(steps), PAID, 5)[0] == 90_000
    assert since == {"few": 7, "full": 90_000}


def test_a_journal_that_has_the_times_of_topics_alone_is_gone_on_with() -> None:
    steps = Steps("r")
    receipts.take_back(steps, {"received": {"orders/paid": [90_000, ["a"]]}})
    assert receipts.past(steps, PAID, 5) == (90_000, ["a"]), "it may have received more than that"
    for number in range(40):
        receipts.remember(steps, PICKY, f"{number:024x}", 100_000 + number)
    assert receipts.past(again(steps), PICKY, 5)[0] == 100_008


def test_so_many_scopes_are_remembered_those_that_received_last() -> None:
    keyed = [EventCondition(topic="orders/paid", event_key=f"k{n}" * 300) for n in range(receipts.MOST_SCOPES + 50)]
    steps = steps_with(*((one, 90_000) for one in keyed))
    assert steps.received is not None
    assert len(steps.received) == receipts.MOST_SCOPES
    assert max(map(len, steps.received)) < 50
    taken = again(steps)
    assert receipts.past(taken, keyed[-1], 5)[0] == 90_000 - LATE
    assert receipts.past(taken, keyed[0], 5)[0] == 5
