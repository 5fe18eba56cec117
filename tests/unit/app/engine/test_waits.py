"""Waits meet their events: in every order of what can happen, whoever is replaced in between, once."""

from collections.abc import Callable
from itertools import permutations, product
from random import Random
from typing import Any, Final

import pytest

from tests.unit.app.engine.world import NOW, Outcome, World, key_at, topic_at

MET: Final[list[Outcome]] = [("flow:1", "approval", 0, "yes")]
EXPIRED: Final[list[Outcome]] = [("flow:1", "approval", 0, None)]
FATES: Final = ("append", "send", "mark")
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
def test_no_order_of_two_rounds_each_makes_it_miss_the_event_or_meet_it_twice(
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


def weather(world: World, random: Random, rounds: int) -> None:
    """Rounds of anybody, with owners replaced, look-backs slow and ways blocked."""
    for _ in range(rounds):
        place = random.choice(world.places)
        if random.random() < 0.15:
            place.slow = not place.slow
        if random.random() < 0.15:
            place.held ^= {random.randrange(len(world.places))}
        world.round(place.number, fate=random.choice(FATES) if random.random() < 0.1 else "")


def storm(seed: int) -> tuple[list[Any], set[Any], list[Any]]:
    """Return what a wait came to in a random course of things, what may have met it, and what it met at rest."""
    random = Random(seed)
    world = World(most=random.choice((1, 2, 100)))
    run, registry = random.randrange(3), random.randrange(3)
    topic = topic_at(registry)
    deadline = NOW + random.choice((30, 60, 1_000_000))
    valid: dict[int, str] = {}
    happens = ["register", *["produce"] * random.randrange(3), *["filler"] * random.randrange(4), *["time"] * 2]
    random.shuffle(happens)
    registered = False
    first: list[str] = []
    for what in happens:
        if what == "register":
            if rest := random.random() < 0.3:
                world.settle()
                first = [valid[at] for at in sorted(valid)]
            world.register(run, random.choice((topic, "approvals/**")), deadline=deadline)
            registered = rest
        elif what == "time":
            world.wait(random.choice((5, 30)))
        else:
            key = key_at(random.randrange(3)) if random.random() < 0.6 else None
            event_id = f"e{world.now}" if random.random() < 0.5 else None
            name = f"{what}-{world.now}"
            place = random.randrange(3)
            event = world.produce(place, topic if what == "produce" else "other/9", name, key=key, id=event_id)
            if what == "produce" and event.timestamp_ms <= deadline:
                valid[event.timestamp_ms] = name
        weather(world, random, random.randrange(8))
    world.wait(100)
    weather(world, random, random.randrange(30))
    world.settle()
    world.wait(2_000_000)
    world.settle()
    return [one[3] for one in world.outcomes], set(valid.values()), first[:1] if registered else []


def late(seed: int) -> tuple[list[Any], set[Any], list[Any]]:
    """The same for a wait that is open, and an event that came in time at a partition which is behind."""
    random = Random(seed)
    world = World(most=1)
    topic = topic_at(0)
    world.register(random.randrange(3), topic, deadline=NOW + 50)
    world.settle()
    landing = random.randrange(3)
    for _ in range(random.randrange(20)):
        world.produce(landing, "other/9", key=key_at(landing))
    world.produce(landing, topic, "yes", key=key_at(random.randrange(3)))
    world.places[landing].held = {random.randrange(3)}
    world.wait(100)
    for _ in range(60):
        world.round(random.choice((0, 0, 1, 2)))
    world.settle()
    return [one[3] for one in world.outcomes], {"yes"}, []


Course = Callable[[int], tuple[list[Any], set[Any], list[Any]]]


def refuted(course: Course, seeds: range) -> str:
    """Say which course of things ends as none may, "" for none."""
    for seed in seeds:
        outcomes, valid, first = course(seed)
        if len(outcomes) != 1 or outcomes[0] not in (valid or {None}) or (first and outcomes != first):
            return f"seed {seed}: {outcomes} where {first or valid or 'nothing'} had to be"
    return ""


@pytest.mark.parametrize("block", range(4))
@pytest.mark.parametrize("course", [storm, late])
def test_whatever_happens_one_of_the_events_in_time_is_met_once_and_else_the_time_is_over(
    course: Course, block: int
) -> None:
    assert not refuted(course, range(block * 100, block * 100 + 100))
