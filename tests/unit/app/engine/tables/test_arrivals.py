"""What a registry has in memory of what it was told, and what it says of that."""

from app.engine.tables.arrivals import Arrivals, order
from tests.unit.app.engine.partition import NOW, event


def arrivals(most: int = 100, most_bytes: int = 100_000) -> Arrivals:
    return Arrivals(most=most, most_bytes=most_bytes)


def test_events_are_there_by_topic_key_and_head() -> None:
    kept = arrivals()
    one, other, third = event(1, "a/x", key="k"), event(2, "a/y"), event(3, "b", key="k")
    assert [kept.add(each) for each in (one, other, third)] == [True, True, True]
    assert list(kept.of_topic("a/x", None)) == [one]
    assert list(kept.of_topic("a/x", "k")) == [one]
    assert list(kept.of_topic("a/x", "other")) == list(kept.of_topic("a/z", None)) == []
    assert list(kept.of_head("a")) == [one, other]
    assert list(kept.of_head("")) == [one, other, third]
    assert len(kept) == 3


def test_a_record_is_taken_once_and_a_later_one_with_the_same_id_is_another() -> None:
    kept = arrivals()
    assert kept.add(event(1, id="same"))
    assert not kept.add(event(1, id="same"))
    assert kept.add(event(2, id="same"))
    assert len(kept) == 2


def test_all_of_a_head_is_there_until_something_was_missed() -> None:
    kept = arrivals()
    assert kept.covered_ms("a") == kept.covered_ms("") == 0
    kept.miss("a", 50)
    assert [kept.covered_ms(head) for head in ("a", "b", "")] == [50, 0, 50]
    kept.miss("", 40)
    assert [kept.covered_ms(head) for head in ("a", "b", "")] == [50, 40, 50]


def test_the_first_that_came_makes_room_and_is_missed_from_then_on() -> None:
    kept = arrivals(most=2)
    for number in range(4):
        kept.add(event(number, f"a/{number % 2}", key=f"k{number}", at=NOW + number))
    assert [each.offset for each in kept.of_head("a")] == [2, 3]
    assert kept.covered_ms("a") == NOW + 2
    assert list(kept.of_topic("a/0", "k0")) == []
    assert kept.add(event(0, "a/0", key="k0", at=NOW))
    kept.add(event(9, "b", at=NOW))
    assert kept.covered_ms("b") == 0


def test_large_events_make_room_too() -> None:
    kept = arrivals(most_bytes=3_000)
    for number in range(5):
        kept.add(event(number, "a", "x" * 1_000, at=NOW))
    assert len(kept) == 2
    assert kept.covered_ms("a") == NOW + 1


def test_heads_without_number_are_remembered_as_one() -> None:
    kept = arrivals(most=3)
    for number in range(20):
        kept.add(event(number, f"head{number}/x", at=NOW + number))
    assert kept.covered_ms("never") >= NOW
    assert [each.offset for each in kept.of_head("")] == [17, 18, 19]


def test_the_order_is_that_of_append_times_then_of_places() -> None:
    first = event(9, at=NOW, partition=0)
    second = event(2, at=NOW, partition=1)
    third = event(0, at=NOW + 1, partition=0)
    assert sorted([third, second, first], key=order) == [first, second, third]


def test_events_come_in_their_order_however_they_arrived_and_only_those_since_a_time() -> None:
    kept = arrivals(most=4)
    late, first, second, third = (event(n, "a/x", key="k", at=NOW + n) for n in range(4))
    for one in (second, third, first, late):
        kept.add(one)
    assert list(kept.of_topic("a/x", None)) == list(kept.of_topic("a/x", "k")) == [late, first, second, third]
    assert list(kept.of_topic("a/x", None, NOW + 2)) == list(kept.of_head("a", NOW + 2)) == [second, third]
    assert list(kept.of_topic("a/x", "k", NOW + 4)) == []
    kept.add(event(9, "a/x", at=NOW + 9))  # `second` came first, and makes room
    assert [one.offset for one in kept.of_topic("a/x", None)] == [0, 1, 3, 9]
    assert [one.offset for one in kept.of_topic("a/x", "k")] == [0, 1, 3]
