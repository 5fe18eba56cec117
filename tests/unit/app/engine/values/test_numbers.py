"""A set like any other, in order and small."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.values.numbers import Numbers

ACTIONS = st.lists(st.tuples(st.sampled_from(["add", "discard"]), st.integers(0, 60)), max_size=200)


@given(st.sets(st.integers(0, 60)), ACTIONS, st.integers(0, 70))
def test_it_holds_what_a_set_holds_in_order(start: set[int], actions: list[tuple[str, int]], number: int) -> None:
    numbers, expected = Numbers(start), set(start)
    for action, one in actions:
        getattr(numbers, action)(one)
        getattr(expected, action)(one)

    assert list(numbers) == sorted(expected)
    assert len(numbers) == len(expected)
    assert (number in numbers) == (number in expected)
    assert list(numbers.since(number)) == [one for one in sorted(expected) if one >= number]
    assert Numbers.of(numbers.packed()) == numbers


def test_a_queue_of_numbers_that_never_ends_stays_as_small_as_what_it_holds() -> None:
    numbers = Numbers()
    for one in range(100_000):
        numbers.add(one)
        numbers.discard(one - 10)

    assert list(numbers) == list(range(99_990, 100_000))
    assert len(numbers._items) < 5_000


def test_numbers_that_were_not_packed_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of item size"):
        Numbers.of(b"seven b")
