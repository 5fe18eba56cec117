"""More waits, events or heads than a round, a command or the memory takes."""

from itertools import pairwise
from typing import Any

import pytest

from app.engine.tables.wait import Wait, topic_key
from app.engine.waits import waits
from tests.unit.app.engine.waits.rest import met, rested
from tests.unit.app.engine.world import NOW, World, key_at, shown, topic_at


def test_above_the_bound_on_heads_a_registry_is_told_of_everything() -> None:
    world = World(heads=2)
    topics = [topic_at(1, head=f"head{number}") for number in range(4)]
    for number, topic in enumerate(topics):
        world.register(0, topic, run=f"flow:{number}")
    world.settle()
    registry = world.places[1].state.registry
    assert registry is not None
    assert set(registry.heads) == {("", False), *map(topic_key, topics[:2])}
    for number, topic in enumerate(topics):
        world.produce(2, topic, number)
    assert sorted(rested(world)) == [met(number, run=f"flow:{number}") for number in range(4)]


def test_what_had_to_make_room_in_memory_is_looked_back_for() -> None:
    world = World(arrivals=2)
    topic = topic_at(1)
    world.register(0, topic, run="flow:first")
    for number in range(6):
        world.produce(number % 3, topic, number)
    world.settle()
    world.register(0, topic, run="flow:second")
    assert rested(world) == [met(0, run="flow:first"), met(0, run="flow:second")]


@pytest.mark.parametrize("restart", [False, True])
def test_more_waits_than_a_round_takes_are_met_and_expire_in_several(
    monkeypatch: pytest.MonkeyPatch, restart: bool
) -> None:
    monkeypatch.setattr(waits, "MOST_A_ROUND", 3)
    world = World()
    topic, other = topic_at(1), topic_at(1, head="payments")
    for number in range(10):
        world.register(0, topic, run=f"flow:{number}")
        world.register(0, other, run=f"late:{number}", deadline=NOW + 50)
    world.settle()
    world.produce(1, topic, "yes")
    world.round(1)
    world.round(1)
    assert waits.backlog(world.places[1].state)
    assert any(key.startswith("fan:") for key in shown(world.places[1]))
    if restart:
        world.places[1].restart()
    world.settle()
    assert sorted(rested(world)) == [met("yes", run=f"flow:{number}") for number in range(10)]
    world.wait(100)
    assert sorted(rested(world)) == [met(None, run=f"late:{number}") for number in range(10)]
    assert not any(key.startswith(("wait:", "fan:")) for key in shown(world.places[1]))


@pytest.mark.parametrize("later", [False, True])
def test_a_large_event_meets_fewer_waits_in_a_round(monkeypatch: pytest.MonkeyPatch, later: bool) -> None:
    monkeypatch.setattr(waits, "MOST_A_ROUND", 30)
    world = World()
    topic = topic_at(1)
    data = "x" * 20_000
    if later:
        world.produce(1, topic, data)
    for number in range(20):
        world.register(0, topic, run=f"flow:{number}")
    world.settle()
    if not later:
        world.produce(1, topic, data)
    assert sorted(rested(world)) == sorted(met(data, run=f"flow:{number}") for number in range(20))
    sizes = [len(one.value or b"") for one in world.places[0].logs["commands"]]
    assert max(sizes) < 4 * 21_000, "of one round there is one command"


def test_a_wait_looks_at_nothing_that_came_before_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    topic = topic_at(1)
    world.register(0, topic, run="flow:first")
    for number in range(50):
        world.produce(1, topic, number)
    world.settle()
    looked_at: list[int] = []
    takes = Wait.takes

    def noted(wait: Wait, one: Any) -> bool:
        looked_at.append(one.data)
        return takes(wait, one)

    monkeypatch.setattr(Wait, "takes", noted)
    world.register(0, topic, run="flow:second", since=world.now - 4)
    assert rested(world)[1:] == [met(45, run="flow:second")]
    assert looked_at == [45]


def test_the_time_of_many_waits_is_asked_about_once() -> None:
    world = World()
    for number in range(20):
        world.register(0, topic_at(1), run=f"flow:{number}", deadline=NOW + 50)
    world.settle()
    before = [len(place.logs["commands"]) for place in world.places]
    world.wait(100)
    assert len(rested(world)) == 20
    # To each of the two others two questions; from each two answers, and all that expired to the first.
    assert [len(place.logs["commands"]) - was for place, was in zip(world.places, before, strict=True)] == [3, 4, 2]


@pytest.mark.parametrize("restart", [False, True])
def test_waits_that_are_not_confirmed_are_packed_and_go_on_a_few_at_a_time(
    monkeypatch: pytest.MonkeyPatch, restart: bool
) -> None:
    monkeypatch.setattr(waits, "MOST_UNBLOCKED", 3)
    monkeypatch.setattr(waits, "MOST_LOOKED_FOR", 4)
    topic = topic_at(1)
    world = World()
    registry = world.places[1]
    world.places[2].held = {1}  # its confirmation does not come
    world.produce(2, topic, "early", key=key_at(2))
    for number in range(20):
        world.register(0, topic, run=f"flow:{number}", key="ok", since=NOW + number % 2)
    world.register(0, topic, run="flow:gone", key="ok")
    for _ in range(3):
        for number in (0, 2, 1):
            world.round(number)
    found = registry.state.registry
    assert found is not None
    assert (found.waits.awake, found.waits.resting, world.outcomes) == ({}, 21, [])
    world.withdraw(0, topic, run="flow:gone", key="ok")
    if restart:
        registry.restart()

    left = [21]
    world.places[2].held.clear()
    for _ in range(60):
        for number in (0, 2, 1):
            world.round(number)
        found = registry.state.registry
        assert found is not None
        left.append(found.waits.resting)
    world.settle()

    assert sorted(world.outcomes) == sorted((f"flow:{number}", "ok", 0, "early") for number in range(20))
    assert max(before - after for before, after in pairwise(left)) <= 5  # the one that was withdrawn among them
    assert (found.waits.awake, found.waits.resting, found.waits.blocked_by_head()) == ({}, 0, {})


def test_waits_that_are_confirmed_meet_what_comes_while_they_are_packed_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "MOST_UNBLOCKED", 1)
    topic = topic_at(1)
    world = World()
    world.places[2].held = {1}
    for number in range(9):
        world.register(0, topic, run=f"flow:{number}", key="ok", deadline=NOW + 60_000 if number % 3 else None)
    for _ in range(3):
        for number in (0, 2, 1):
            world.round(number)
    world.places[2].held.clear()
    for number in (2, 1, 1):
        world.round(number)
    found = world.places[1].state.registry
    assert found is not None
    assert len(found.waits.blocked_by_head())

    world.produce(0, topic, "late", key=key_at(0))
    world.wait(120_000)
    world.settle()

    assert sorted(world.outcomes) == sorted((f"flow:{number}", "ok", 0, "late") for number in range(9))


def test_a_wait_that_is_packed_after_its_confirmation_came_goes_on_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "MOST_LOOKED_FOR", 0)  # a look-back for others goes on
    topic = topic_at(1)
    world = World()
    world.places[2].held = {1}
    world.produce(2, topic, "early", key=key_at(2))
    world.register(0, topic, run="flow:packed", key="ok")
    for _ in range(3):
        for number in (0, 2, 1):
            world.round(number)
    world.register(0, topic, run="flow:awake", key="ok")
    world.places[2].held.clear()
    for number in (0, 2, 1):
        world.round(number)
    found = world.places[1].state.registry
    assert found is not None
    assert (found.waits.awake, found.waits.resting, sum(found.waits.unblocking.values())) == ({}, 2, 2)

    monkeypatch.setattr(waits, "MOST_LOOKED_FOR", 10)
    world.settle()

    assert sorted(world.outcomes) == [("flow:awake", "ok", 0, "early"), ("flow:packed", "ok", 0, "early")]
    assert (found.waits.resting, found.waits.unblocking) == (0, {})
