"""A journal as it is read: the last value of each key, in little memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.journal.entities import Entities, event_of
from app.engine.values.numbers import Numbers
from tests.unit.app.engine.partition import event
from topics import commands, journal

KEYS = st.one_of(
    st.integers(0, 12).map(journal.body_key),
    st.tuples(st.integers(0, 12), st.sampled_from(["a", "b:c"])).map(lambda one: journal.pending_key(*one)),
    st.sampled_from([b"head", b"run:a:1", b"body:x", b"pending:", b"pending:1"]),
)


def body(round_: int, data: str = "") -> bytes:
    return journal.encode(commands.raw_event(event(0, data=data)) | {"r": round_})


@given(st.lists(st.tuples(KEYS, st.integers(0, 5), st.booleans()), max_size=60))
def test_the_last_value_of_each_key_counts(given: list[tuple[bytes, int, bool]]) -> None:
    entities, expected = Entities(), dict[bytes, bytes]()
    for key, round_, there in given:
        value = body(round_) if key.startswith(b"body:") else journal.encode({"r": round_})
        if there:
            entities.put(key, value)
            expected[key] = value
        else:
            entities.remove(key)
            expected.pop(key, None)

    bodies = {journal.body_key(one): value for one, value in entities.at_hand.items()}
    waiting = {journal.pending_key(one, name) for name, numbers in entities.waiting.items() for one in numbers}
    assert {**entities.others, **bodies} == {key: one for key, one in expected.items() if key not in waiting}
    assert waiting <= expected.keys()
    assert {journal.body_key(one) for one in entities.bodies} == bodies.keys()
    assert all((key in entities) == (key in expected) for key, _, _ in given)


def test_bodies_are_kept_as_far_as_they_fit_and_their_numbers_always() -> None:
    one = body(1, "x" * 100)
    entities = Entities(most_bytes=2 * len(one))

    assert [entities.put(journal.body_key(n), one) for n in range(4)] == [True, True, False, False]
    entities.remove(journal.body_key(0))
    assert entities.put(journal.body_key(4), one) is True
    assert entities.put(journal.body_key(1), one) is True  # what is written anew counts once
    assert (sorted(entities.at_hand), entities.bodies) == ([1, 4], Numbers([1, 2, 3, 4]))


def test_what_the_newest_round_wrote_is_known() -> None:
    entities = Entities()
    for number, round_ in enumerate((1, 1, 3, 3, 2)):
        entities.put(journal.body_key(number), body(round_))
    entities.put(journal.pending_key(9, "a"), b'{"r":3}')

    assert entities.newest == 3
    assert entities.newest_keys == [b"body:2", b"body:3", b"pending:9:a"]


@pytest.mark.parametrize(
    ("value", "counted"),
    [(b'{"r":4}', True), (b'{"r": 4, "more": 1}', True), (b'{"r":"4"}', False), (b"[]", False), (b"{", False)],
)
def test_the_round_is_found_wherever_it_stands(value: bytes, *, counted: bool) -> None:
    entities = Entities({b"pending:1:a": value})

    assert entities.newest == (4 if counted else -1)
    assert (b"pending:1:a" in entities.others) is not counted


def test_text_that_looks_like_a_round_is_none() -> None:
    entities = Entities({b"body:1": journal.encode(commands.raw_event(event(0, data='"r":9}')) | {"r": 2})})

    assert entities.newest == 2


def test_the_event_of_a_body_comes_back_and_what_is_none_is_refused_in_words() -> None:
    assert event_of(7, body(1, "x")) == event(0, data="x")

    with pytest.raises(journal.UnreadableJournal) as caught:
        event_of(7, b'{"r":1}')
    assert caught.value.key == "body:7"


@given(st.lists(st.tuples(KEYS, st.integers(0, 5), st.booleans()), max_size=60))
def test_what_is_taken_away_again_weighs_nothing(given: list[tuple[bytes, int, bool]]) -> None:
    entities = Entities()
    for key, round_, there in given:
        entities.put(key, body(round_)) if there else entities.remove(key)
    assert entities.weight >= sum(len(key) + len(value) for key, value in entities.others.items())
    for key, _, _ in given:
        entities.remove(key)
    entities.newest_keys.clear()

    assert entities.weight == 0
