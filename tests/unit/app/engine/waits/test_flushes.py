"""Partitions that catch up before a deadline counts: when they answer, and what the registry makes of it."""

from typing import Any

import orjson
import pytest

from app.engine import apply as engine
from app.engine.inputs import CaughtUp, CommandsRead, Delivered, EventsRead
from app.engine.journal.commit import commit
from app.engine.journal.restore import restore
from app.engine.tables.registry import Registry
from app.engine.tables.state import State, empty
from app.engine.values.limits import Limits
from app.engine.waits import flushes, waits
from tests.unit.app.engine.partition import NOW, event
from topics import asked, commands, journal, keys

LIMITS = Limits(partitions=3)


def asked_at(number: int = 7, source: int = 1) -> State:
    given = empty(0, LIMITS, journal_id="j")
    command = commands.Command(source, "j", 1, 3, [], [], [asked.Flush(number)])
    engine.apply(given, [CommandsRead([command], [], 1)], NOW)
    return given


def answers(given: State, to: int = 1) -> list[Any]:
    return given.asks.pop(to, [])


def test_an_answer_waits_for_ends_that_were_read_after_the_question() -> None:
    given = asked_at()
    assert flushes.question(given) == 1
    engine.apply(given, [CaughtUp(0, 0, 0)], NOW)
    assert answers(given) == []
    engine.apply(given, [CaughtUp(1, 2, 1)], NOW)
    assert flushes.question(given) is None
    assert answers(given) == []
    engine.apply(given, [EventsRead([event(0), event(1)], [], 2)], NOW)
    assert answers(given) == [asked.Flushed(7)]
    assert given.flushes == {}


def test_an_answer_waits_until_what_was_forwarded_is_delivered() -> None:
    given = asked_at()
    engine.apply(given, [CaughtUp(1, 1, 1)], NOW)
    elsewhere = next(event(0, key=f"k{n}") for n in range(9) if flushed_home(f"k{n}") == 2)
    engine.apply(given, [EventsRead([elsewhere], [], 1)], NOW)
    assert answers(given) == []
    made = commit(given)
    assert made is not None
    engine.apply(given, [], NOW)
    assert answers(given) == []
    engine.apply(given, [Delivered(made.round, 0, 0)], NOW)
    assert answers(given) == [asked.Flushed(7)]


def flushed_home(key: str) -> int:
    return keys.partition_of(key.encode(), 3)


def test_of_one_registry_the_newest_question_counts() -> None:
    given = asked_at()
    flushes.asked_for(given, asked.Flush(9), 1)
    engine.apply(given, [CaughtUp(1, 0, 1)], NOW)
    assert answers(given) == []
    engine.apply(given, [CaughtUp(2, 0, 1)], NOW)
    assert answers(given) == [asked.Flushed(9)]


def test_the_next_owner_answers_what_is_not_answered() -> None:
    given = asked_at()
    given.changed = True  # by whatever else its round has read
    made = commit(given)
    assert made is not None
    other = restore({k: v for k, v in made.batch if v is not None}, 0, LIMITS, journal_id="j").state
    assert flushes.question(other) == 1
    engine.apply(other, [CaughtUp(1, 0, 1)], NOW)
    assert answers(other) == [asked.Flushed(7)]


def test_what_is_heard_of_flushes_alone_rides_along_with_the_next_append() -> None:
    given = asked_at()
    answered = commands.Command(2, "j", 1, 3, [], [], [asked.Flushed(5)])
    engine.apply(given, [CommandsRead([answered], [], 2)], NOW)
    assert (commit(given), given.unsaved) == (None, True)
    engine.apply(given, [EventsRead([], [], 1)], NOW)
    made = commit(given)
    assert made is not None
    assert not given.unsaved
    head = orjson.loads(dict(made.batch)[journal.HEAD] or b"")
    assert (head["commands"], head["received"], head["flushes"]) == (2, {"1/j": 1, "2/j": 1}, {"1": 7})


def test_a_command_that_asks_for_more_than_a_flush_is_journaled_by_itself() -> None:
    given = empty(0, LIMITS, journal_id="j")
    gone = asked.Withdraw("run", "key", 0)
    engine.apply(given, [CommandsRead([commands.Command(1, "j", 1, 3, [], [], [asked.Flush(7), gone])], [], 1)], NOW)
    assert commit(given) is not None


def registry() -> tuple[State, Registry]:
    given = empty(0, LIMITS, journal_id="j")
    given.now_ms = NOW
    made = waits.the_registry(given)
    flushes.start(given, made)
    return given, made


def answer(given: State, number: int, *sources: int, quiet: bool = False) -> list[int]:
    """Let partitions answer; return 1 if the registry then knows that all have caught up."""
    known: list[int] = []
    for source in sources:
        flushes.answered(given, asked.Flushed(number, quiet), source, lambda _state, _registry: known.append(1))
    return known


def test_all_are_asked_twice_and_then_it_is_known() -> None:
    given, made = registry()
    assert given.asks[1] == given.asks[2] == [asked.Flush(2)]
    assert answer(given, 2, 0, 1, 1, 2) == []
    assert given.asks[1] == [asked.Flush(2), asked.Flush(3, after=2)]
    assert made.flushed_ms == 0
    given.now_ms = NOW + 500
    assert answer(given, 3, 0, 1) == []
    assert answer(given, 3, 2) == [1]
    assert made.flushed_ms == NOW - 1  # of when the first was asked: what is appended later may be on its way
    assert made.flush is None


def test_answers_to_an_older_question_count_nothing() -> None:
    given, made = registry()
    assert answer(given, 1, 0, 1, 2) == answer(given, 3, 0, 1, 2) == []
    assert made.flush is not None
    assert made.flush.waiting == {0, 1, 2}


# --- one pass is enough ---------------------------------------------------------------------------------------------


def test_one_pass_is_enough_if_nobody_has_forwarded_anything_since_the_last() -> None:
    given, made = registry()
    assert answer(given, 2, 0, 1, 2, quiet=True) == [1]
    assert made.flush is None
    flushes.start(given, made)
    assert given.asks[1][-1] == asked.Flush(2, after=2)  # a round later, its number would be another


@pytest.mark.parametrize("loud", [0, 1, 2])
def test_one_partition_that_has_forwarded_something_is_enough_for_a_second_pass(loud: int) -> None:
    given, made = registry()
    for source in range(3):
        assert answer(given, 2, source, quiet=source != loud) == []
    assert made.flush is not None
    assert made.flush.second


def caught_up(given: State, number: int, after: int, events: list[Any], to: int = 1) -> list[Any]:
    """Ask a partition once more; return its answer after it has read `events` and delivered what it forwarded."""
    flushes.asked_for(given, asked.Flush(number, after), to)
    offset = given.events_offset + len(events)
    engine.apply(given, [CaughtUp(given.questions, offset, given.commands_offset)], NOW)
    engine.apply(given, [EventsRead(events, [], offset)], NOW)
    found = answers(given, to)
    made = commit(given)
    if made is not None:
        engine.apply(given, [Delivered(made.round, 0, 0)], NOW)
    return found + answers(given, to)


def test_a_partition_is_quiet_if_it_has_forwarded_nothing_since_the_answer_that_the_registry_names() -> None:
    elsewhere = next(event(0, key=f"k{n}") for n in range(9) if flushed_home(f"k{n}") == 2)
    here = next(event(1, key=f"k{n}") for n in range(9) if flushed_home(f"k{n}") == 0)
    given = asked_at()
    engine.apply(given, [CaughtUp(1, 0, 1)], NOW)
    assert answers(given) == [asked.Flushed(7)]  # it does not know what its former owner has forwarded
    assert caught_up(given, 9, 7, [here]) == [asked.Flushed(9, quiet=True)]
    assert caught_up(given, 11, 9, [elsewhere]) == [asked.Flushed(11)]
    assert caught_up(given, 12, 11, [here]) == [asked.Flushed(12, quiet=True)]
    assert caught_up(given, 14, 11, []) == [asked.Flushed(14)]  # the registry has not heard 12 of all
    assert caught_up(given, 15, 14, [], to=2) == [asked.Flushed(15)]  # of another registry it has answered nothing


def test_words_of_an_older_release_are_understood_and_it_understands_those_of_this() -> None:
    assert asked.shown(asked.Flushed(7)) == {"a": "flushed", "number": 7}
    assert asked.decode({"a": "flush", "number": 7}) == asked.Flush(7)
    assert asked.decode({"a": "flushed", "number": 7}) == asked.Flushed(7)
