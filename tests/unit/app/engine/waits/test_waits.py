"""What meets a wait, what ends it, and what of it outlives its owner."""

from itertools import product
from typing import Any

import pytest

from app.engine.journal import snapshot, waiting
from app.engine.tables.state import policy_of
from app.engine.tables.wait import topic_key
from tests.unit.app.engine.waits.rest import met, rested
from tests.unit.app.engine.world import NOW, World, key_at, topic_at
from topics import keys


def test_of_events_that_were_there_the_first_by_append_time_is_met() -> None:
    for registry, home in product(range(3), range(3)):
        world = World()
        topic = topic_at(registry)
        for number in range(4):
            world.produce((home + number) % 3, topic, number, key=key_at((home - number) % 3))
        world.settle()
        world.register(0, topic)
        assert rested(world) == [met(0)]


def test_one_event_wakes_many_runs_and_each_is_met_once() -> None:
    world = World()
    topic = topic_at(1)
    for number in range(5):
        world.register(number % 3, topic, run=f"flow:{number}")
    world.settle()
    world.produce(2, topic, "yes")
    world.produce(2, topic, "again")
    assert sorted(rested(world)) == [met("yes", run=f"flow:{number}") for number in range(5)]


@pytest.mark.parametrize("early", [False, True])
def test_key_type_and_what_was_seen_decide(early: bool) -> None:
    world = World()
    topic = topic_at(0)
    seen = world.produce(1, topic, "seen", key="a", event_type="t", id="one")
    wanted: dict[str, Any] = {"event_key": "a", "event_type": "t", "seen": (keys.digest_of(seen).hex(),)}
    if not early:
        world.register(2, topic, **wanted)
        world.settle()
    world.produce(1, topic, "other key", key="b", event_type="t")
    world.produce(1, topic, "other type", key="a", event_type="u")
    world.produce(1, topic, "seen again", key="a", event_type="t", id="one")
    world.produce(1, topic, "this", key="a", event_type="t")
    if early:
        world.register(2, topic, **wanted)
    assert rested(world) == [met("this")]


def test_what_was_appended_before_the_wait_s_time_does_not_count() -> None:
    world = World()
    world.produce(0, topic_at(1), "old")
    world.register(0, topic_at(1), since=world.now + 1)
    assert rested(world) == []
    world.produce(0, topic_at(1), "new")
    assert rested(world) == [met("new")]


@pytest.mark.parametrize("pattern", ["approvals/*", "approvals/**", "**", "*/0"])
def test_a_pattern_is_met_by_events_of_all_registries(pattern: str) -> None:
    for registry in range(3):
        world = World()
        topic = topic_at(registry)
        world.register(0, pattern if pattern != "*/0" else f"*/{topic.split('/')[1]}")
        world.settle()
        world.produce(2, topic, "yes", key="k")
        assert rested(world) == [met("yes")]


def test_a_wait_that_is_withdrawn_is_met_and_expired_no_more() -> None:
    world = World()
    world.register(0, topic_at(1), deadline=NOW + 100)
    world.withdraw(0, topic_at(1))
    world.settle()
    world.produce(0, topic_at(1), "late")
    world.wait(200)
    assert rested(world) == []


def test_a_second_wait_on_a_topic_asks_nobody_and_one_further_back_asks_for_twice_as_much() -> None:
    world = World()
    for number in range(10):
        world.produce(number % 3, topic_at(1), number)
    world.settle()
    world.register(0, topic_at(1), run="flow:1", since=NOW + 8)
    assert rested(world) == [met(7)]
    before = [len(place.logs["commands"]) for place in world.places]
    world.register(1, topic_at(1), run="flow:2", since=NOW + 9)
    assert rested(world) == [met(8, run="flow:2")]
    assert [len(place.logs["commands"]) for place in world.places] == before
    world.register(1, topic_at(1), run="flow:3", since=NOW + 5)
    assert rested(world) == [met(4, run="flow:3")]
    registry = world.places[1].state.registry
    assert registry is not None
    assert {head.key: head.since_ms for head in registry.heads.values()} == {topic_key(topic_at(1)): NOW + 2}


def test_a_deadline_that_is_over_when_the_wait_comes_counts_what_came_in_time_all_the_same() -> None:
    world = World()
    world.produce(2, topic_at(1), "yes")
    world.wait(1_000)
    world.register(0, topic_at(1), deadline=NOW + 100)
    world.register(0, topic_at(1, head="payments"), run="flow:2", deadline=NOW + 100)
    assert sorted(rested(world), key=str) == [met("yes"), met(None, run="flow:2")]


def test_the_next_owner_has_the_waits_heads_and_interests_as_they_were() -> None:
    world = World()
    for number in range(3):
        world.register(number, topic_at(1), run=f"flow:{number}", deadline=NOW + 10_000, event_key="k")
        world.register(number, "approvals/*", run=f"any:{number}", stream=True)
    world.settle()
    for place in world.places:
        before = dict(waiting.entities(place.state))
        taken = snapshot.encode(place.state, next_offset=1, about={})
        kept = snapshot.decode(taken, policy_of(world.limits)).entities.others
        assert before == {key: value for key, value in kept.items() if key in before}
        place.restart()
        assert dict(waiting.entities(place.state)) == before
        assert not place.state.orphans
        assert all(wait.open for wait in (place.state.registry.waits.values() if place.state.registry else ()))
