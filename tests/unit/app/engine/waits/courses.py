"""Random courses of things, from a seed: what a wait came to, and what it may have come to."""

from collections.abc import Callable
from random import Random
from typing import Any, Final

from tests.unit.app.engine.world import NOW, World, key_at, topic_at

FATES: Final = ("append", "send", "mark")


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
    """The same for a time that is over before anybody is told of an event which came in time.

    Either the wait is open and where the event is there is much to do; or the event was there and is looked back for.
    """
    random = Random(seed)
    world = World(most=1)
    topic = topic_at(0)
    run, landing, home = (random.randrange(3) for _ in range(3))
    if there := random.random() < 0.5:
        world.produce(landing, topic, "yes", key=key_at(home))
        world.settle()
        for place in world.places:
            place.slow = random.random() < 0.7
        world.register(run, topic, deadline=NOW + 50)
    else:
        world.register(run, topic, deadline=NOW + 50)
        world.settle()
        for _ in range(random.randrange(20)):
            world.produce(landing, "other/9", key=key_at(landing))
        world.produce(landing, topic, "yes", key=key_at(home))
    world.places[landing].held = {random.randrange(3)}
    world.wait(100)
    for _ in range(60):
        world.round(random.choice((0, 0, 1, 2)))
    world.settle()
    return [one[3] for one in world.outcomes], {"yes"}, ["yes"] if there else []


def again(seed: int) -> tuple[list[Any], set[Any], list[Any]]:
    """The same after another wait of the registry has run out of time, whatever of that is done, and by which owners.

    All have caught up for that one, or some of them, and have forwarded nothing or something since.
    """
    random = Random(seed)
    world = World(most=1)
    topic = topic_at(0)
    run, landing, home = (random.randrange(3) for _ in range(3))
    world.register(run, topic_at(0, head="reminders"), key="reminder", deadline=NOW + 50)
    world.register(run, topic, deadline=NOW + 10_000)
    world.settle()
    world.wait(100)
    weather(world, random, random.randrange(40))
    if random.random() < 0.5:
        world.settle()
        if random.random() < 0.5:
            world.places[random.randrange(3)].restart()
    for _ in range(random.randrange(12)):
        world.produce(landing, "other/9", key=key_at(landing))
    world.produce(landing, topic, "yes", key=key_at(home))
    world.places[landing].held = {random.randrange(3)}
    world.wait(20_000)
    others = [0, home]
    if random.random() < 0.5:  # the registry is replaced while the event's partition reads what it was asked to read
        for _ in range(80):
            world.round(random.choice((0, 1, 2)))
            if any(one.ends for one in world.places[landing].state.flushes.values()):
                break
        world.places[0].restart()
        for _ in range(random.randrange(40)):
            world.round(random.choice(others))
    for _ in range(60):
        fate = random.choice(FATES) if random.random() < 0.05 else ""
        world.round(random.choice((0, 1, 2, *others * random.randrange(3))), fate=fate)
    world.settle()
    return [one[3] for one in world.outcomes if one[1] == "approval"], {"yes"}, []


def stream(seed: int) -> str:
    """Say what went wrong with a wait whose filter refuses every event, in a random course of things; "" for nothing.

    Each event has to be judged, once unless an owner was replaced; those that were there in the order of their times.
    """
    random = Random(seed)
    world = World(
        most=random.choice((1, 2, 100)), candidates=random.choice((1, 1, 2, 4)), arrivals=random.choice((2, 99))
    )
    run, registry = random.randrange(3), random.randrange(3)
    topic = topic_at(registry)
    deadline = None if random.random() < 0.5 else NOW + 300
    happens = ["register", *["produce"] * random.randrange(1, 12), *["filler"] * random.randrange(6)]
    random.shuffle(happens)
    rested: list[str] = []
    wanted: list[str] = []
    for what in happens:
        if what == "register":
            if random.random() < 0.4:
                world.settle()
                rested = list(wanted)
            world.register(run, random.choice((topic, "approvals/**")), stream=True, deadline=deadline)
        else:
            name = f"{what}-{world.now}"
            key = key_at(random.randrange(3)) if random.random() < 0.6 else None
            world.produce(random.randrange(3), topic if what == "produce" else "other/9", name, key=key)
            if what == "produce":
                wanted.append(name)
        for _ in range(random.randrange(8)):
            weather(world, random, 1)
            world.judge(run, random.randrange(2))
    for _ in range(random.randrange(60)):
        weather(world, random, 1)
        world.judge(run, random.randrange(2))
    if deadline is not None:
        world.wait(400)
    world.settle()
    judged = [one[3] for one in world.outcomes]
    expired = [judged.pop()] if judged and judged[-1] is None else []
    if expired != ([] if deadline is None else [None]):
        return f"seed {seed}: its end came {expired} in {judged}"
    first = list(dict.fromkeys(judged))
    if sorted(first) != sorted(wanted):
        return f"seed {seed}: judged were {first}, and there were {wanted}"
    if [one for one in first if one in rested] != rested:
        return f"seed {seed}: judged were {first}, in another order than {rested}"
    return ""


Course = Callable[[int], tuple[list[Any], set[Any], list[Any]]]


def refuted(course: Course, seeds: range) -> str:
    """Say which course of things ends as none may, "" for none."""
    for seed in seeds:
        outcomes, valid, first = course(seed)
        if len(outcomes) != 1 or outcomes[0] not in (valid or {None}) or (first and outcomes != first):
            return f"seed {seed}: {outcomes} where {first or valid or 'nothing'} had to be"
    return ""
