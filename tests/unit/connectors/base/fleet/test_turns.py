"""Messages of sources in turns: bounded, in order, none lost and none twice, whatever is done when."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as some

from connectors.base.fleet import turns
from connectors.base.fleet.turns import Turns


class Log:
    """A partition, and somebody who reads it in turns; `begun` is what is on its way."""

    def __init__(self, sources: Iterable[str], *, size: int = 1) -> None:
        self.sources, self.size = list(sources), size
        self.turns, self.at = Turns(), 0
        self.begun: list[int] = []
        self.reads = 0

    def read(self, most: int = 1_000) -> None:
        """Read up to `most` records, then look whose turn it is."""
        for _ in range(most):
            if self.at >= len(self.sources):
                break
            self.reads += 1
            if self.turns.takes(self.at, self.sources[self.at], self.size):
                self.begun.append(self.at)
            self.at += 1
        to = self.turns.turn(self.at)
        self.at = self.at if to is None else to

    def done(self, offset: int) -> None:
        self.turns.done(offset)

    def restart(self) -> None:
        self.turns = Turns(self.turns.position)
        self.at = self.turns.end


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "MOST_OF_SOURCE", 4)


def test_what_waits_for_one_source_holds_up_no_other(small: None) -> None:
    log = Log(["dead"] * 1_000 + ["lives"])
    log.read(2_000)

    assert log.begun == [0, 1, 2, 3, 1_000]
    log.done(1_000)
    assert log.turns.position == {"at": 1_001, "waiting": {"dead": 0}}


def test_what_waits_is_read_again_in_order_once_half_of_it_is_done(small: None) -> None:
    log = Log(["slow"] * 7 + ["other"])
    log.read()
    log.done(0)
    log.read()
    assert log.begun == [0, 1, 2, 3, 7]
    log.done(1)
    log.read()  # it turns back
    log.read()
    assert log.begun == [0, 1, 2, 3, 7, 4, 5]
    for offset in (2, 3, 4, 5, 7):
        log.done(offset)
    log.read()
    log.read()
    assert log.begun == [0, 1, 2, 3, 7, 4, 5, 6]
    log.done(6)
    log.read()
    assert log.turns.position == 8


def test_a_restart_begins_again_what_was_on_its_way_and_nothing_that_is_done(small: None) -> None:
    log = Log(["dead", "a", "b", "a", "dead", "b"])
    log.read()
    for offset in (1, 2, 3):
        log.done(offset)
    assert log.turns.position == {"at": 6, "waiting": {"dead": 0, "b": 5}}
    log.begun.clear()
    log.restart()
    for _ in range(3):
        log.read()

    assert log.begun == [0, 4, 5]


def test_a_source_that_is_away_costs_no_endless_reading(small: None) -> None:
    log = Log(["dead"] * 1_000)
    log.read(2_000)
    before = log.reads
    for _ in range(100):
        log.read()

    assert log.reads == before


def test_reading_turns_to_the_end_as_soon_as_all_that_has_room_is_full_again(small: None) -> None:
    log = Log(["slow"] * 10_000)
    log.read(20_000)
    log.done(0)
    log.done(1)
    log.read()
    before = log.reads
    log.read(100)

    assert log.at == 10_000
    assert log.reads - before == 100


def test_all_together_are_bounded_and_each_source_may_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "MOST", 3)
    monkeypatch.setattr(turns, "MOST_BYTES", 10)
    log = Log(["a", "a", "b", "b", "c", "d"], size=8)
    log.read()

    assert log.begun == [0, 2, 4]  # a second one would be too much for all; a fourth source waits
    for offset in (0, 2, 4):
        log.done(offset)
    for _ in range(10):
        log.read()
    assert log.begun == [0, 2, 4, 1, 3, 5]


def test_sources_whose_messages_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "MOST", 1)
    monkeypatch.setattr(turns, "MOST_WAITING", 2)
    log = Log(["a", "b"])
    log.read()
    assert not log.turns.is_full
    log.sources.append("c")
    log.read()
    assert log.turns.is_full


@pytest.mark.parametrize("position", [None, "x", [], {}, {"at": "x"}, {"at": None, "waiting": None}])
def test_a_position_that_is_none_begins_anew(position: object) -> None:
    made = Turns(position)
    assert (made.is_new, made.end, made.position) == (True, 0, 0)


def test_what_is_no_message_is_passed_over() -> None:
    made = Turns(5)
    first = made.pass_over(5)
    assert made.takes(6, "a", 1)
    assert (True, True, False) == (first, made.pass_over(7), made.pass_over(3))
    made.done(6)
    assert made.position == 8


@given(
    sources=some.lists(some.sampled_from("abc"), max_size=60),
    acts=some.lists(some.tuples(some.sampled_from(["read", "done", "restart"]), some.integers(0, 50)), max_size=120),
)
def test_whatever_is_done_when_each_message_is_begun_once_for_each_life_and_in_order(
    sources: list[str], acts: list[tuple[str, int]]
) -> None:
    log, done = Log(sources), set[int]()
    limit, turns.MOST_OF_SOURCE = turns.MOST_OF_SOURCE, 3  # type: ignore[misc]
    try:
        on_their_way: list[int] = []

        def end(number: int) -> None:
            firsts = {log.sources[offset]: offset for offset in sorted(on_their_way, reverse=True)}
            if firsts:
                offset = sorted(firsts.values())[number % len(firsts)]
                on_their_way.remove(offset)
                done.add(offset)
                log.done(offset)

        def read(most: int) -> None:
            before = len(log.begun)
            log.read(most)
            for offset in log.begun[before:]:
                assert offset not in done
                assert offset not in on_their_way
                behind = [one for one in (*on_their_way, *done) if log.sources[one] == log.sources[offset]]
                assert all(one < offset for one in behind)
                on_their_way.append(offset)

        for act, number in acts:
            if act == "read":
                read(1 + number)
            elif act == "done":
                end(number)
            else:
                log.restart()
                on_their_way.clear()
        for _ in range(10 * len(sources) + 10):
            read(10)
            end(0)

        assert done == set(range(len(sources)))
        assert log.turns.position == len(sources)
    finally:
        turns.MOST_OF_SOURCE = limit  # type: ignore[misc]
