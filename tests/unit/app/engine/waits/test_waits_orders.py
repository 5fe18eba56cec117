"""Waits meet their events in every order of what can happen, whoever is replaced in between, once."""

from collections.abc import Sequence
from itertools import permutations, product
from typing import Any, Final

import pytest

from tests.unit.app.engine.waits import courses, reach
from tests.unit.app.engine.waits.courses import FATES
from tests.unit.app.engine.world import NOW, Outcome, World, key_at, topic_at

MET: Final[list[Outcome]] = [("flow:1", "approval", 0, "yes")]
EXPIRED: Final[list[Outcome]] = [("flow:1", "approval", 0, None)]
Do = tuple[Any, ...]


def play(world: World, steps: tuple[Do, ...]) -> None:
    """Let things happen in this order: `register`, `produce`, or a round, perhaps its owner's last."""
    for what, *rest in steps:
        if what == "register":
            world.register(*rest)
        elif what == "produce":
            world.produce(*rest[:3], key=rest[3])
        else:
            world.round(rest[0], fate=rest[1])


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize(("run", "registry"), list(product(range(3), repeat=2)))
def test_an_event_is_met_wherever_it_lands_and_lives_and_whenever_it_comes(
    run: int, registry: int, keyed: bool
) -> None:
    topic = topic_at(registry)
    for landing, home, early in product(range(3), range(3), (False, True)):
        world = World()
        key = key_at(home) if keyed else None
        happens: list[Do] = [("register", run, topic), ("produce", landing, topic, "yes", key)]
        for one in reversed(happens) if early else happens:
            play(world, (one,))
            world.settle()
        assert world.outcomes == MET


ROLES: Final = [
    pytest.param(0, 1, 2, 2, id="all apart, it lands at home"),
    pytest.param(0, 1, 2, 0, id="it lands at the run's and is forwarded"),
    pytest.param(0, 1, 1, 2, id="it lives at the registry"),
    pytest.param(0, 0, 1, 1, id="the run is at the registry"),
    pytest.param(0, 0, 0, 1, id="all at one, but where it lands"),
    pytest.param(0, 1, 0, 0, id="it lives with the run"),
]


@pytest.mark.parametrize(("run", "registry", "home", "landing"), ROLES)
def test_no_order_of_a_round_each_and_one_more_makes_it_miss_the_event_or_meet_it_twice(
    run: int, registry: int, home: int, landing: int
) -> None:
    topic, key = topic_at(registry), key_at(home)
    rounds: list[Do] = [("round", one, "") for one in sorted({run, registry, home, landing})]
    happens: list[Do] = [("register", run, topic), ("produce", landing, topic, "yes", key), *rounds, rounds[-1]]
    for order in set(permutations(happens)):
        world = World(most=1)
        play(world, order)
        world.settle()
        assert world.outcomes == MET, order


def reached(registry: int, home: int, landing: int, *, fates: Sequence[str] = ()) -> list[tuple[list[str], World]]:
    """Return every state of two partitions, the run at the first, that read a record a round; one owner may die."""
    topic, key = topic_at(registry, 2), key_at(home, 2)
    happens: list[reach.Do] = [
        ("register", lambda world: world.register(0, topic)),
        ("produce", lambda world: world.produce(landing, topic, "yes", key=key)),
    ]

    def goes_round(at: int, fate: str) -> reach.Do:
        return f"round {at} {fate}", lambda world: world.round(at, fate=fate)

    deaths = [goes_round(at, fate) for at in range(2) for fate in fates]
    return reach.states(lambda: World(2, most=1), happens, [goes_round(at, "") for at in range(2)], one_of=deaths)


def refuted(states: list[tuple[list[str], World]]) -> list[tuple[list[str], list[Outcome]]]:
    """Return the states from which the event is met too often or never, by what happened until then."""
    found = []
    for path, world in states:
        wanted = MET if {"register", "produce"} <= set(path) else []
        if wanted and world.outcomes != wanted:
            world.settle()
        if world.outcomes != wanted:
            found.append((path, world.outcomes))
    return found


@pytest.mark.parametrize(("registry", "home", "landing"), list(product(range(2), repeat=3)))
def test_in_no_state_that_two_partitions_can_come_to_it_has_missed_the_event_or_met_it_twice(
    registry: int, home: int, landing: int
) -> None:
    states = reached(registry, home, landing)
    assert len(states) > 100
    assert any(world.outcomes == MET for _, world in states)
    assert refuted(states) == []


def test_in_no_state_that_two_partitions_can_come_to_where_an_owner_dies_at_any_point_it_has_missed_the_event() -> None:
    states = reached(0, 1, 1, fates=FATES)
    assert len(states) > 500
    assert refuted(states) == []


@pytest.mark.parametrize(("run", "registry", "home", "landing"), ROLES)
@pytest.mark.parametrize("fate", FATES)
def test_no_owner_that_is_replaced_at_any_point_makes_it_miss_the_event_or_meet_it_twice(
    run: int, registry: int, home: int, landing: int, fate: str
) -> None:
    topic, key = topic_at(registry), key_at(home)
    happens: list[Do] = [("register", run, topic), ("produce", landing, topic, "yes", key)]
    for early, victim, at in product((False, True), range(3), range(14)):
        for pause in (0, 4):  # rounds between the two
            world = World(most=1)
            first, second = reversed(happens) if early else happens
            rounds: list[Do] = [("round", one, "") for _ in range(5) for one in range(3)]
            rounds.insert(at, ("round", victim, fate))
            play(world, (first, *rounds[:pause], second, *rounds[pause:]))
            world.settle()
            assert world.outcomes == MET, (early, victim, at, pause)


@pytest.mark.parametrize(("run", "registry", "home", "landing"), ROLES)
@pytest.mark.parametrize("fate", ["", *FATES])
def test_an_event_before_the_deadline_wins_and_one_after_it_does_not(
    run: int, registry: int, home: int, landing: int, fate: str
) -> None:
    topic, key = topic_at(registry), key_at(home)
    for victim, at, late in product(range(3), range(0, 15, 2), (False, True)):
        world = World(most=1)
        world.register(run, topic, deadline=NOW + 1_000)
        rounds: list[Do] = [("round", one, "") for _ in range(5) for one in range(3)]
        play(world, tuple(rounds[:at]))
        if late:
            world.wait(1_001)
        world.produce(landing, topic, "yes", key=key)
        world.wait(5_000)
        # The registry's own rounds come first: it is told of the event long after the deadline.
        play(world, (("round", registry, ""), ("round", registry, ""), ("round", victim, fate), *rounds[at:]))
        world.settle()
        assert world.outcomes == (EXPIRED if late else MET), (victim, at, late)


@pytest.mark.parametrize("block", range(4))
@pytest.mark.parametrize("course", [courses.storm, courses.late, courses.again])
def test_whatever_happens_one_of_the_events_in_time_is_met_once_and_else_the_time_is_over(
    course: courses.Course, block: int
) -> None:
    assert not courses.refuted(course, range(block * 100, block * 100 + 100))
