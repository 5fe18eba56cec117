"""What a registry asks for: topics while they are few, so that nobody tells it of others; then their head, then all."""

import pytest

from app.engine.tables.wait import topic_key
from tests.unit.app.engine.waits.rest import met, rested
from tests.unit.app.engine.world import World, registry_of
from topics import reserved


def topics_at(registry: int, count: int, head: str = "approvals") -> list[str]:
    """Topics of one head and one registry."""
    names = (name for number in range(1_000) if registry_of(name := f"{head}/{number}") == registry)
    return [next(names) for _ in range(count)]


def asked(world: World, registry: int = 1) -> set[tuple[str, bool]]:
    found = world.places[registry].state.registry
    assert found is not None
    return set(found.heads)


def commands(world: World) -> list[int]:
    """How many each partition was sent."""
    world.settle()
    return [len(place.logs["commands"]) for place in world.places]


def test_of_other_topics_nobody_tells() -> None:
    world = World()
    topic, other = topics_at(1, 2)
    world.register(0, topic)
    world.settle()
    for landing in range(3):
        world.produce(landing, other, "no")
    world.settle()
    registry = world.places[1].state.registry
    assert registry is not None
    assert len(registry.arrivals) == 0
    world.produce(2, topic, "yes")
    assert rested(world) == [met("yes")]


@pytest.mark.parametrize("restarted", [(), (1,), (0, 2), (0, 1, 2)])
def test_what_came_on_a_topic_before_anybody_waited_for_it_is_seen_though_its_head_is_known(
    restarted: tuple[int, ...],
) -> None:
    world = World()
    topics = topics_at(1, 3)
    world.register(0, topics[0], run="flow:0")
    world.settle()
    for number, topic in enumerate(topics):
        world.produce(2, topic, number)
    world.settle()
    for number in restarted:
        world.places[number].restart()
    for number, topic in enumerate(topics[1:], 1):
        world.register(0, topic, run=f"flow:{number}")
    assert sorted(rested(world)) == [met(number, run=f"flow:{number}") for number in range(3)]
    assert asked(world) == set(map(topic_key, topics))


def test_of_many_topics_of_a_head_it_asks_for_the_head_and_for_no_further_topic() -> None:
    world = World(topics_of_a_head=2)
    topics = topics_at(1, 5)
    for number, topic in enumerate(topics):
        world.produce(2, topic, number)
        world.settle()
        world.register(0, topic, run=f"flow:{number}")
        world.settle()
    assert asked(world) == {*map(topic_key, topics[:2]), ("approvals", False)}
    assert sorted(rested(world)) == [met(number, run=f"flow:{number}") for number in range(5)]


def test_what_is_told_for_a_pattern_of_the_head_is_not_asked_for_once_more() -> None:
    world = World()
    (topic,) = topics_at(registry_of("approvals/*"), 1)
    world.register(0, "approvals/*", run="flow:1")
    before = commands(world)
    world.register(0, topic, run="flow:2")
    sent = [after - was for was, after in zip(before, commands(world), strict=True)]
    assert sum(sent) == 1  # the wait itself
    world.produce(2, topic, "yes")
    assert sorted(rested(world)) == [met("yes", run="flow:1"), met("yes", run="flow:2")]


def test_topics_that_one_step_alone_waits_for_are_asked_for_by_their_head() -> None:
    world = World()
    names = (reserved.resume_topic("flow:1", f"s{number}") for number in range(100))
    topic = next(name for name in names if registry_of(name) == 1)
    world.register(0, topic)
    world.settle()
    assert asked(world) == {("headgate", False)}


def test_a_head_that_is_asked_for_is_asked_for_further_back_and_its_topics_are_not() -> None:
    world = World(topics_of_a_head=0)
    first, second = topics_at(1, 2)
    world.produce(2, second, "early")
    world.register(0, first, since=world.now + 5)
    world.settle()
    world.register(0, second, run="flow:2")
    assert rested(world) == [met("early", run="flow:2")]
    assert asked(world) == {("approvals", False)}


def test_a_registry_that_was_told_of_a_topic_alone_does_not_take_its_memory_for_whole_after_a_takeover() -> None:
    world = World()
    (topic,) = topics_at(1, 1)
    world.register(0, topic, run="flow:1", event_key="another")
    world.settle()
    world.produce(2, topic, "early")
    world.settle()
    world.places[1].restart()
    world.register(0, topic, run="flow:2")
    assert rested(world) == [met("early", run="flow:2")]
