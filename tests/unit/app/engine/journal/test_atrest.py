"""What rests comes back from a snapshot packed as it was, but for what the records after it change."""

import random

import pytest

from app.engine.inputs import Delivered, LookedBack
from app.engine.journal import snapshot
from app.engine.journal.entities import event_of
from app.engine.journal.restore import restore
from app.engine.tables.state import State, policy_of
from app.engine.waits import lookbacks
from tests.simulation.canonical import canonical
from tests.unit.app.engine.partition import JOURNAL, Partition, event, flow
from tests.unit.app.engine.runs.test_atrest import ASKS, HOUR, evict
from topics import journal
from topics.envelope import Envelope

FLOWS = (flow("charge", timeout=30 * 86_400), flow("other", "orders/*", cancel_on="orders/cancelled"))


class Course:
    """A partition to which things happen by chance, its snapshot, and the records that came after that."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.one = Partition(*FLOWS)
        self.events = 0
        self.waiting: list[str] = []
        self.taken: bytes | None = None
        self.later: list[tuple[bytes, bytes | None, int]] = []

    def act(self) -> None:
        chance, one = self.chance, self.one
        what = chance.random()
        if what < 0.4:
            topic = chance.choice(("orders/created", "orders/paid"))
            started = one.read(event(self.events, topic, key=chance.choice(("k-1", "k-2")), at=one.now))
            self.events += 1
            for run in started:
                one.ask(run, "then", chance.choice(list(ASKS.values())))
            self.commit()
            if chance.random() < 0.8:
                evict_all(one, started)
        elif what < 0.5:
            one.wait(chance.choice((1_000, HOUR // 2, HOUR)))
        elif what < 0.6:
            one.read(event(self.events, "orders/cancelled", key=chance.choice(("k-1", "k-2")), at=one.now))
            self.events += 1
        elif what < 0.8 and one.in_hand:
            run = chance.choice(sorted(one.in_hand))
            if one.run(run).status.name == "RUNNING":
                one.complete(run)
                one.in_hand.pop(run, None)
        self.commit()

    def commit(self) -> None:
        """Close rounds until nothing is left to do."""
        one = self.one
        for _ in range(4):
            start = len(one.log)
            made = one.commit()
            if made is not None:
                records = (*made.ahead, *made.batch)
                self.later += [(key, value, start + at) for at, (key, value) in enumerate(records)]
                one.give(Delivered(one.state.round, 0, 0))
            for look in lookbacks.take(one.state):
                one.give(LookedBack(look.number, (), done=True))
            one.give()
        if snapshot.possible(one.state) and self.chance.random() < 0.3:
            self.taken = snapshot.encode(one.state, next_offset=len(one.log), about={})
            self.later = []


def evict_all(partition: Partition, runs: list[str]) -> None:
    evict(partition, *[run for run in runs if run in partition.state.runs.awake])


def of_snapshot(course: Course) -> tuple[State, int]:
    """The state that a snapshot and what came after it define, and how much of what rested that left as it was."""
    assert course.taken is not None
    found = snapshot.decode(course.taken, policy_of(course.one.limits))
    entities = found.entities
    resting = entities.atrest
    assert resting is not None
    for key, value, offset in course.later:
        if value is None:
            entities.remove(key)
        else:
            entities.put(key, value, offset)
    left = resting.runs.resting + resting.waits.resting
    again = restore(entities, 0, course.one.limits, journal_id=JOURNAL, remembered=found.remembered)
    return again.state, left


def test_a_snapshot_with_what_rests_and_the_journal_after_it_restore_what_the_whole_journal_does() -> None:
    rested = thawed = 0
    for seed in range(120):
        course = Course(seed)
        for _ in range(course.chance.randint(3, 25)):
            course.act()
        if course.taken is None:
            continue
        one = course.one
        at_first = snapshot.decode(course.taken, policy_of(one.limits)).entities.atrest
        assert at_first is not None
        before = at_first.runs.resting + at_first.waits.resting
        state, left = of_snapshot(course)
        whole = one.takeover(load=False).state

        def body(number: int, entities: dict[bytes, bytes] = one.journal) -> Envelope:
            return event_of(number, entities[journal.body_key(number)])

        assert canonical(state, marks=False, body=body) == canonical(whole, marks=False, body=body), seed
        assert state.waiting == whole.waiting, seed
        assert state.keyed.as_dict() == whole.keyed.as_dict(), seed
        for run in state.runs.values():
            # That of an event which a run at rest needs too is not always known; then it is found by its number.
            assert all(got in (want, 0) for got, want in zip(run.places or (), places_of(one, run.id), strict=True)), (
                seed
            )
        rested += before
        thawed += before - left
    assert rested > 100
    assert thawed > 20


def places_of(one: Partition, run_id: str) -> list[int]:
    run = next(each for each in one.state.runs.values() if each.id == run_id)
    if run.places is not None:
        return list(run.places)
    return [number for each in run.held or () for number in (each.number, each.offset)]


def test_what_rests_fires_after_it_came_back_as_it_would_have_before() -> None:
    course = Course(1)
    one = course.one
    runs = one.read(event(0, "orders/created", key="k-1"), event(1, "orders/created", key="k-2"))
    for run in runs:
        one.ask(run, "then", ASKS["sleep"])
    course.commit()
    evict_all(one, runs)
    course.commit()
    course.taken = snapshot.encode(one.state, next_offset=len(one.log), about={})
    course.later = []
    state, _ = of_snapshot(course)
    assert state.runs.resting == len(runs) == 4

    other = one.takeover(load=False)
    other.log, other.state = one.log, state
    other.load(*FLOWS)
    other.wait(HOUR)
    other.commit()
    other.give()

    assert sorted(one.run.id for one in other.told()) == sorted(runs)


def test_deadlines_of_runs_are_armed_once_however_often_they_come_back() -> None:
    course = Course(2)
    (charged, other) = course.one.read(event(0, "orders/created", key="k-1"))
    for run in (charged, other):
        course.one.ask(run, "then", ASKS["sleep"])
    course.commit()
    evict_all(course.one, [charged, other])
    course.commit()
    for _ in range(3):
        course.taken = snapshot.encode(course.one.state, next_offset=len(course.one.log), about={})
        course.later = []
        course.one.state, _ = of_snapshot(course)
        course.one.load(*FLOWS)
        course.commit()

    state = course.one.state
    assert (state.runs.resting, len(state.later), len(state.later_ones)) == (2, 2, 1)


@pytest.mark.parametrize("cut", [b"texts", b"count"])
def test_a_block_that_does_not_fit_is_no_snapshot(cut: bytes) -> None:
    one = Partition(*FLOWS)
    one.read(event(0))
    one.commit()
    one.deliver(one.state.round)
    content = snapshot.encode(one.state, next_offset=1, about={})

    with pytest.raises(snapshot.Damaged):
        snapshot.decode(content.replace(cut, cut[::-1]), policy_of(one.limits))
