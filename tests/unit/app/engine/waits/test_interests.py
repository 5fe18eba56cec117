"""The home of events: what it tells whom, in which order, and what of that the next owner knows."""

from typing import Any

from app.engine import apply as engine
from app.engine.inputs import CommandsRead, EventsRead, LookedBack
from app.engine.journal.commit import commit
from app.engine.journal.restore import restore
from app.engine.tables.registry import Look
from app.engine.tables.state import State, empty
from app.engine.values.limits import Limits
from app.engine.waits import interests, lookbacks
from tests.unit.app.engine.partition import NOW, event
from topics import asked, commands

LIMITS = Limits(partitions=3)


def state() -> State:
    """Partition 0, which has handled some events."""
    made = empty(0, LIMITS, journal_id="j")
    engine.apply(made, [EventsRead([event(number, "other") for number in range(5)], [], 5)], NOW)
    return made


def ask(given: State, *asks: Any, source: int = 1) -> None:
    name = f"{source}/j"
    command = commands.Command(source, "j", given.received.get(name, 0) + 1, 3, [], [], asks)
    engine.apply(given, [CommandsRead([command], [], given.commands_offset + 1)], NOW)


def told(given: State, to: int = 1) -> list[Any]:
    """What goes to a registry, events as their data; then it is gone."""
    found = given.asks.pop(to, [])
    return [one.event.data if isinstance(one, asked.Notice) else one for one in found]


def begun(given: State) -> list[Look]:
    return list(lookbacks.take(given))


def looked(given: State, look: Look, *found: Any, done: bool = True) -> None:
    events = [event(number, "approvals/1", one) for number, one in enumerate(found)]
    engine.apply(given, [LookedBack(look.number, events, done)], NOW)


def test_nothing_is_told_of_before_somebody_wants_to_know() -> None:
    given = state()
    assert given.interests is None
    assert given.asks == {}


def test_what_comes_is_told_at_once_and_what_was_there_before_it_is_confirmed() -> None:
    given = state()
    ask(given, asked.Interest("approvals", True, 10))
    engine.apply(given, [EventsRead([event(5, "approvals/1", "new"), event(6, "orders", "no")], [], 7)], NOW)
    assert told(given) == ["new"]
    (look,) = begun(given)
    assert (look.since_ms, look.events_end, look.commands_end) == (10, 5, 1)
    looked(given, look, "old", done=False)
    looked(given, look, "older")
    assert told(given) == ["old", "older", asked.Confirmed("approvals", True, 10)]
    assert begun(given) == []
    assert given.scanning == {}


def test_an_interest_counts_from_behind_what_was_read_with_it() -> None:
    given = state()
    interest = commands.Command(1, "j", 1, 3, [], [], [asked.Interest("approvals", True, 10)])
    forwarded = commands.Command(2, "j", 1, 3, [event(9, "approvals/1", "with it", partition=2)], [])
    engine.apply(given, [CommandsRead([interest, forwarded], [], 2)], NOW)
    assert told(given) == []
    assert [look.commands_end for look in begun(given)] == [2]


def test_what_is_wanted_further_back_is_looked_back_for_after_the_first_and_no_event_twice() -> None:
    given = state()
    ask(given, asked.Interest("approvals", True, 100))
    (first,) = begun(given)
    ask(given, asked.Interest("approvals", True, 10))
    assert begun(given) == []
    looked(given, first)
    assert told(given) == [asked.Confirmed("approvals", True, 100)]
    (second,) = begun(given)
    assert [at for at in (9, 10, 99, 100) if second.wants(event(1, "approvals/1", at=at))] == [10, 99]
    looked(given, second)
    assert told(given) == [asked.Confirmed("approvals", True, 10)]


def test_one_that_has_not_begun_goes_further_back_at_once() -> None:
    given = state()
    ask(given, asked.Interest("approvals", True, 100), asked.Interest("approvals", True, 10))
    assert [look.since_ms for look in begun(given)] == [10]


def test_what_is_covered_already_is_confirmed_once_more() -> None:
    given = state()
    ask(given, asked.Interest("approvals", True, 10))
    looked(given, begun(given)[0])
    told(given)
    ask(given, asked.Interest("approvals", True, 50))
    assert told(given) == [asked.Confirmed("approvals", True, 10)]
    ask(given, asked.Interest("approvals", False, 50))
    assert [look.since_ms for look in begun(given)] == [50]


def test_a_partition_that_has_handled_nothing_need_not_look_back() -> None:
    given = empty(0, LIMITS, journal_id="j")
    interests.asked_for(given, asked.Interest("approvals", True, 10), 1)
    assert told(given) == [asked.Confirmed("approvals", True, 10)]
    assert begun(given) == []


def test_the_next_owner_looks_back_anew_and_tells_what_comes() -> None:
    given = state()
    ask(given, asked.Interest("approvals", True, 10))
    begun(given)
    made = commit(given)
    assert made is not None
    entities = {key: value for key, value in (*made.ahead, *made.batch) if value is not None}
    other = restore(entities, 0, LIMITS, journal_id="j").state
    engine.apply(other, [EventsRead([event(5, "approvals/1", "new")], [], 6)], NOW)
    assert told(other) == ["new"]
    (look,) = begun(other)
    assert (look.since_ms, look.events_end, look.commands_end) == (10, 5, 1)
    looked(other, look)
    assert told(other) == [asked.Confirmed("approvals", True, 10)]
    again = commit(other)
    assert again is not None
    for key, value in (*again.ahead, *again.batch):
        entities.pop(key, None)
        if value is not None:
            entities[key] = value
    assert begun(restore(entities, 0, LIMITS, journal_id="j").state) == []
