"""Waits meet their events: in every order of what can happen, whoever is replaced in between, once."""

from collections.abc import Callable
from itertools import pairwise, permutations, product
from random import Random
from typing import Any, Final

import pytest

from app.engine.journal import snapshot, waiting
from app.engine.tables.state import policy_of
from app.engine.tables.wait import Wait
from app.engine.waits import waits
from tests.unit.app.engine.world import NOW, Outcome, World, key_at, shown, topic_at
from topics import journal, keys

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


@pytest.mark.parametrize("block", range(4))
@pytest.mark.parametrize("course", [storm, late])
def test_whatever_happens_one_of_the_events_in_time_is_met_once_and_else_the_time_is_over(
    course: Course, block: int
) -> None:
    assert not refuted(course, range(block * 100, block * 100 + 100))


@pytest.mark.parametrize("block", range(4))
def test_whatever_happens_a_stream_gets_each_event_and_never_more_than_it_can_judge(block: int) -> None:
    assert not any(stream(seed) for seed in range(block * 200, block * 200 + 200))


# --- one thing at a time ----------------------------------------------------------------------------------------------


def rested(world: World) -> list[Outcome]:
    """What the waits came to when all is at rest, since the last time."""
    world.settle()
    found = world.outcomes
    for place in world.places:
        place.outcomes.clear()
    return found


def met(data: Any, n: int = 0, key: str = "approval", run: str = "flow:1") -> Outcome:
    return run, key, n, data


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


def test_a_wait_that_is_withdrawn_is_met_and_expired_no_more() -> None:
    world = World()
    world.register(0, topic_at(1), deadline=NOW + 100)
    world.withdraw(0, topic_at(1))
    world.settle()
    world.produce(0, topic_at(1), "late")
    world.wait(200)
    assert rested(world) == []


def test_a_second_wait_on_a_head_asks_nobody_and_one_further_back_asks_for_twice_as_much() -> None:
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
    assert {head.key: head.since_ms for head in registry.heads.values()} == {("approvals", False): NOW + 2}


def test_above_the_bound_on_heads_a_registry_is_told_of_everything() -> None:
    world = World(heads=2)
    topics = [topic_at(1, head=f"head{number}") for number in range(4)]
    for number, topic in enumerate(topics):
        world.register(0, topic, run=f"flow:{number}")
    world.settle()
    registry = world.places[1].state.registry
    assert registry is not None
    assert sorted(registry.heads) == [("", False), ("head0", False), ("head1", False)]
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
        before = waiting.entities(place.state)
        taken = snapshot.encode(place.state, next_offset=1, about={})
        kept = snapshot.decode(taken, policy_of(world.limits)).entities.others
        assert before == {key: value for key, value in kept.items() if key in before}
        place.restart()
        assert waiting.entities(place.state) == before
        assert not place.state.orphans
        assert all(wait.open for wait in (place.state.registry.waits.values() if place.state.registry else ()))


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
