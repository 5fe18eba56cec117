"""Waits whose filter decides: each event once, in order, never more than can be judged."""

import pytest

from tests.unit.app.engine.waits.courses import stream
from tests.unit.app.engine.waits.rest import met, rested
from tests.unit.app.engine.world import NOW, World, key_at, shown, topic_at
from topics import journal


def test_a_stream_is_met_by_each_event_until_it_is_withdrawn() -> None:
    world = World()
    topic = topic_at(1)
    world.produce(0, topic, 0)
    world.settle()
    world.register(0, topic, stream=True)
    world.settle()
    world.produce(1, topic, 1)
    world.produce(1, topic, 2)
    assert rested(world) == [met(0), met(1), met(2)]
    world.withdraw(0, topic)
    world.settle()
    world.produce(1, topic, 3)
    assert rested(world) == []
    assert not any(key.startswith("wait:") for place in world.places for key in shown(place))


def test_a_stream_with_a_long_past_gets_a_few_events_at_a_time_in_their_order() -> None:
    world = World(candidates=3)
    topic = topic_at(1)
    for number in range(20):
        world.produce(number % 3, topic, number, key=key_at((number + number // 3) % 3))
    world.settle()
    world.register(0, topic, stream=True)
    for _ in range(30):
        for place in world.places:
            world.round(place.number)
    assert world.outcomes == [met(0), met(1), met(2)]
    world.places[1].restart()
    world.judge(0, 2)
    for _ in range(30):
        for place in world.places:
            world.round(place.number)
    assert world.outcomes == [met(number) for number in range(5)]
    assert rested(world) == [met(number) for number in range(20)]
    world.produce(2, topic, "new", key=key_at(0))
    assert rested(world) == [met("new")]


def test_a_large_event_counts_for_several_and_none_is_too_large() -> None:
    world = World(candidates=4)
    topic = topic_at(1)
    for size in (200_000, 200_000, 5):
        world.produce(0, topic, "x" * size)
    world.register(0, topic, stream=True)
    for _ in range(30):
        for place in world.places:
            world.round(place.number)
    assert [len(one[3]) for one in world.outcomes] == [200_000]


def test_a_stream_of_an_older_journal_goes_on() -> None:
    world = World(candidates=2)
    topic = topic_at(1)
    world.register(0, topic, stream=True)
    world.settle()
    place = world.places[1]
    [name] = [one for one in place.journal if one.startswith(b"wait:")]
    found = journal.decode(name, place.journal[name])
    assert found.pop("flow") == {"credit": 2, "start": None, "end": None, "after": None}
    place.journal[name] = journal.encode(found)
    place.restart()
    world.produce(2, topic, "new", key=key_at(0))
    assert rested(world) == [met("new")]


def test_a_stream_expires_with_what_came_in_time_before_it() -> None:
    world = World()
    topic = topic_at(1)
    world.register(0, topic, stream=True, deadline=NOW + 100)
    world.settle()
    world.produce(2, topic, "last", key=key_at(0))
    world.wait(200)
    assert rested(world) == [met("last"), met(None)]


@pytest.mark.parametrize("block", range(4))
def test_whatever_happens_a_stream_gets_each_event_and_never_more_than_it_can_judge(block: int) -> None:
    assert not any(stream(seed) for seed in range(block * 200, block * 200 + 200))
