"""What is new in a page, and how far a poll has read: rows of pages in, events and positions out."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.poll import progress as known
from connectors.poll.progress import Page, Policy, Progress, Record, Taken, Tells, Value, take

BY_VALUE = Policy(tag="t", tells=Tells.VALUE, overlap=10)
BY_CONTENT = Policy(tag="t", tells=Tells.CONTENT)
START = Progress(tag="t")


def record(name: str, value: Value | None = None) -> Record:
    return Record(event_id=name, data={"name": name}, value=value)


def page(*records: tuple[str, Value] | str, following: Any = None, **more: Any) -> Page:
    made = [record(one) if isinstance(one, str) else record(*one) for one in records]
    return Page(records=made, next=following, **more)


def names(taken: Taken) -> list[str]:
    return [one.event_id for one in taken.new]


# ---- a cursor ----------------------------------------------------------------------------------------------------


def test_records_are_new_once() -> None:
    first = take(START, page(("a", 1), ("b", 2)), BY_VALUE)
    second = take(first.progress, page(("a", 1), ("b", 2), ("c", 3)), BY_VALUE)

    assert (["a", "b"], ["c"]) == (names(first), names(second))
    assert (2, 3) == (first.progress.cursor, second.progress.cursor)


def test_equal_values_at_the_boundary_are_told_apart() -> None:
    first = take(START, page(("a", 5), ("b", 5)), replace(BY_VALUE, overlap=0))
    second = take(first.progress, page(("b", 5), ("c", 5), ("a", 5)), replace(BY_VALUE, overlap=0))

    assert ["c"] == names(second)
    assert 5 == second.progress.cursor


def test_what_comes_late_is_new_within_the_overlap_and_old_beyond_it() -> None:
    first = take(START, page(("a", 100)), BY_VALUE)
    second = take(first.progress, page(("late", 90), ("too late", 89), ("a", 100)), BY_VALUE)

    assert ["late"] == names(second)
    assert 100 == second.progress.cursor


def test_the_cursor_never_goes_back() -> None:
    first = take(START, page(("a", 100)), BY_VALUE)
    second = take(first.progress, page(("late", 95)), BY_VALUE)

    assert 100 == second.progress.cursor


def test_what_is_behind_the_overlap_is_forgotten() -> None:
    first = take(START, page(("a", 1), ("b", 95), ("c", 100)), BY_VALUE)

    assert {95, 100} == {value for value, _ in first.progress.recent}


def test_the_cursor_moves_when_all_pages_are_read_whatever_their_order() -> None:
    first = take(START, page(("d", 4), ("c", 3), following={"page": 2}), BY_VALUE)
    assert (None, 4, {"page": 2}) == (first.progress.cursor, first.progress.high, first.progress.next)

    second = take(first.progress, page(("b", 2), ("a", 1)), BY_VALUE)
    assert (["d", "c"], ["b", "a"]) == (names(first), names(second))
    assert (4, None, None) == (second.progress.cursor, second.progress.high, second.progress.next)


def test_a_page_that_shifted_meanwhile_repeats_nothing() -> None:
    first = take(START, page(("c", 3), ("b", 2), following=2), BY_VALUE)
    second = take(first.progress, page(("b", 2), ("a", 1)), BY_VALUE)

    assert ["a"] == names(second)


def test_the_future_is_told_and_does_not_move_the_cursor() -> None:
    first = take(START, page(("a", 50), ("ahead", 1_000)), BY_VALUE, now=100)
    assert (["a", "ahead"], 1, 50) == (names(first), first.future, first.progress.cursor)

    second = take(first.progress, page(("ahead", 1_000), ("b", 60)), BY_VALUE, now=110)
    assert (["b"], 0, 60) == (names(second), second.future, second.progress.cursor)

    third = take(second.progress, page(("ahead", 1_000)), BY_VALUE, now=2_000)
    assert ([], 1_000) == (names(third), third.progress.cursor)


def test_newest_first_ends_at_the_first_page_without_anything_new_enough() -> None:
    policy = replace(BY_VALUE, is_newest_first=True)
    begun = take(START, page(("a", 100)), policy).progress

    going = take(begun, page(("c", 120), ("b", 110), following=2), policy)
    assert 2 == going.progress.next
    ended = take(going.progress, page(("x", 50), ("y", 40), following=3), policy)
    assert (["c", "b"], [], None, 120) == (names(going), names(ended), ended.progress.next, ended.progress.cursor)


def test_an_empty_page_with_a_next_one_does_not_end_newest_first() -> None:
    taken = take(START, page(following=2), replace(BY_VALUE, is_newest_first=True))

    assert 2 == taken.progress.next


def test_nothing_up_to_the_floor_is_new() -> None:
    begun = replace(START, cursor=100, floor=100)

    assert ["b"] == names(take(begun, page(("late", 95), ("a", 100), ("b", 101)), BY_VALUE))


def test_a_quiet_first_poll_makes_no_events_however_many_pages_it_has() -> None:
    policy = replace(BY_VALUE, is_quiet_first=True)
    first = take(START, page(("a", 1), following=2), policy)
    second = take(first.progress, page(("b", 2)), policy)
    third = take(second.progress, page(("a", 1), ("b", 2), ("c", 3)), policy)

    assert ([], [], ["c"]) == (names(first), names(second), names(third))


def test_texts_and_numbers_have_one_order() -> None:
    taken = take(START, page(("a", "01H"), ("b", 7)), BY_VALUE)

    assert "01H" == taken.progress.cursor
    assert "01H" == taken.progress.since(10)


def test_records_without_a_value_are_known_by_themselves() -> None:
    broken = Record(event_id="x", data=1, problem="no time")
    first = take(START, Page(records=[broken]), BY_VALUE)
    second = take(first.progress, Page(records=[broken]), BY_VALUE)

    assert (["x"], []) == (names(first), names(second))


def test_of_too_many_recent_records_the_smallest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "MOST_RECENT", 3)
    taken = take(START, page(*((f"{n}", n) for n in range(5))), replace(BY_VALUE, overlap=100))

    assert {2, 3, 4} == {value for value, _ in taken.progress.recent}
    assert 2 == taken.forgotten


# ---- content -----------------------------------------------------------------------------------------------------


def test_without_a_cursor_new_is_what_was_not_there() -> None:
    first = take(START, page("a", "b"), BY_CONTENT)
    second = take(first.progress, page("b", "c"), BY_CONTENT)
    third = take(second.progress, page("c", "b"), BY_CONTENT)

    assert (["a", "b"], ["c"], []) == (names(first), names(second), names(third))


def test_a_record_twice_in_an_answer_is_one() -> None:
    assert ["a"] == names(take(START, page("a", "a"), BY_CONTENT))


def test_what_is_gone_is_remembered_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "KEPT_ABSENT", 1)
    first = take(START, page("a", "b", "c"), BY_CONTENT)
    second = take(first.progress, page("c"), BY_CONTENT)

    assert 2 == len(second.progress.known)
    assert ["b"] == names(take(second.progress, page("a", "b", "c"), BY_CONTENT))


def test_a_poll_that_breaks_off_forgets_nothing() -> None:
    first = take(START, page("a", "b"), BY_CONTENT)
    broken = take(first.progress, page("c", following=2), BY_CONTENT)
    again = take(broken.progress, page("a", "b"), BY_CONTENT)

    assert (["c"], []) == (names(broken), names(again))
    assert 3 == len(again.progress.known)


def test_an_answer_that_has_not_changed_leaves_everything_as_it_is() -> None:
    first = take(START, page("a", "b", asked="u", etag='"1"'), BY_CONTENT)
    second = take(first.progress, page(unchanged=True), BY_CONTENT)

    assert first.progress == second.progress
    assert '"1"' == second.progress.etag


def test_validators_are_kept_for_a_poll_of_one_page_alone() -> None:
    first = take(START, page("a", following=2, asked="u", etag='"1"'), BY_CONTENT)
    second = take(first.progress, page("b", asked="v", etag='"2"'), BY_CONTENT)

    assert (None, None) == (first.progress.etag, second.progress.etag)


def test_more_than_can_be_compared_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "MOST_KNOWN", 2)

    with pytest.raises(known.TooMany):
        take(START, page("a", "b", "c"), BY_CONTENT)


# ---- tokens ------------------------------------------------------------------------------------------------------


def test_a_token_moves_with_each_page_and_everything_is_new() -> None:
    policy = Policy(tag="t", tells=Tells.TOKEN)
    first = take(START, page("a", following={"more": True}, token="t1"), policy)
    second = take(first.progress, page("a", token=None), policy)

    assert (["a"], ["a"]) == (names(first), names(second))
    assert ("t1", "t1", ()) == (first.progress.token, second.progress.token, second.progress.known)


# ---- positions ---------------------------------------------------------------------------------------------------

VALUES = st.integers(-(10**18), 10**18) | st.text(max_size=5)


@given(st.lists(st.tuples(st.text(max_size=5), VALUES), max_size=20), st.booleans())
def test_a_position_is_json_and_says_the_same_when_it_is_read(records: list[tuple[str, Value]], ended: bool) -> None:
    after = take(START, page(*records, following=None if ended else {"page": 2}, etag='"x"'), BY_VALUE).progress

    assert after == known.read(json.loads(json.dumps(after.position())), BY_VALUE)


def test_the_position_of_another_cursor_is_void() -> None:
    assert known.read(START.position(), replace(BY_VALUE, tag="another")) is None


@pytest.mark.parametrize(
    "position", [1, "x", [], {}, {"format": 2}, {"format": 1, "tag": "t"}, {**START.position(), "known": "%"}]
)
def test_what_is_no_position_is_an_error(position: Any) -> None:
    with pytest.raises(ValueError, match="it "):
        known.read(position, BY_VALUE)


@settings(max_examples=200)
@given(st.lists(st.lists(st.integers(0, 30), max_size=8), max_size=8), st.integers(1, 4), st.integers(0, 6))
def test_no_record_is_lost_or_doubled_while_it_comes_within_the_overlap(
    arrivals: list[list[int]], size: int, late: int
) -> None:
    """Each poll finds records that came meanwhile, at most `late` below the newest one, in pages, newest first."""
    policy = replace(BY_VALUE, overlap=late)
    there: list[tuple[str, Value]] = []
    told: list[str] = []
    progress, newest = START, 0
    for poll, values in enumerate(arrivals):
        there += [(f"{poll}-{number}", max(value, newest - late)) for number, value in enumerate(values)]
        newest = max([newest, *(int(value) for _, value in there)])
        listed = sorted(there, key=lambda one: -int(one[1]))
        pages = [listed[at : at + size] for at in range(0, len(listed), size)] or [[]]
        for number, records in enumerate(pages, 1):
            taken = take(progress, page(*records, following=number if number < len(pages) else None), policy)
            progress = taken.progress
            told += names(taken)

    assert sorted(name for name, _ in there) == sorted(told)
