"""A snapshot stands for the journal before it: what is restored from both is the same state."""

import random

import pytest

from app.engine.inputs import Delivered
from app.engine.journal import commit as commits
from app.engine.journal import snapshot
from app.engine.journal.entities import event_of
from app.engine.journal.restore import restore
from app.engine.tables.state import policy_of
from app.engine.values.asks import Sleep
from tests.simulation.canonical import canonical
from tests.unit.app.engine.journal.test_atrest import Course
from tests.unit.app.engine.partition import JOURNAL, NOW, Partition, event, flow
from topics import journal
from topics.envelope import Envelope

FLOWS = (
    flow("charge", "orders/created", max_retries=2),
    flow("gather", "orders/*", batch_size=3, batch_timeout_seconds=5),
    flow("tick", None, schedule="*/7 * * * * *"),
)


def test_a_snapshot_and_the_journal_after_it_restore_what_the_whole_journal_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(commits, "_TAIL_IDS", 16)
    monkeypatch.setattr(commits, "_TAIL_SLOTS", 5)
    for seed in range(60):
        chance = random.Random(seed)
        one = Partition(*FLOWS, dedup_ids=200, dedup_window_ms=40_000)
        taken: bytes | None = None
        later: dict[bytes, bytes | None] = {}
        for step in range(chance.randint(2, 60)):
            act(one, chance, step)
            made = one.commit()
            if made is not None:
                later |= dict((*made.ahead, *made.batch))
                one.give(Delivered(one.state.round, step, step))
            if snapshot.possible(one.state) and chance.random() < 0.2:
                taken = snapshot.encode(one.state, next_offset=step, about={"seed": seed})
                later = {}
        whole = restore(one.journal, 0, one.limits, journal_id=JOURNAL)
        if taken is None:
            continue
        found = snapshot.decode(taken, policy_of(one.limits))
        entities = found.entities
        for key, value in later.items():
            entities.remove(key)
            if value is not None:
                entities.put(key, value)
        partly = restore(entities, 0, one.limits, journal_id=JOURNAL, remembered=found.remembered)

        def body(number: int, entities: dict[bytes, bytes] = one.journal) -> Envelope:
            return event_of(number, entities[journal.body_key(number)])

        expected = canonical(whole.state, marks=False, body=body)
        assert canonical(partly.state, marks=False, body=body) == expected, f"seed {seed}"


def act(one: Partition, chance: random.Random, step: int) -> None:
    """Something that happens to a partition."""
    one.wait(chance.choice((0, 1, 900, 7_000)))
    if chance.random() < 0.7:
        first = one.next_offset
        one.read(
            *(
                event(first + n, id=f"id-{chance.randint(0, 400)}", key=chance.choice((None, "a", "b")), at=one.now)
                for n in range(chance.randint(1, 6))
            )
        )
    for run_id in sorted(one.in_hand):
        draw = chance.random()
        if draw < 0.5:
            one.complete(run_id)
        elif draw < 0.7:
            one.fail(run_id)
    assert step >= 0


def test_of_what_sleeps_a_snapshot_has_the_numbers_alone() -> None:
    one = Partition(*FLOWS, announced=[flow("elsewhere", "orders/*")])
    one.read(*(event(n, data="x" * 1_000, id=f"e{n}") for n in range(8)))
    one.complete(*sorted(one.in_hand)[2:])
    one.commit()
    asleep = one.takeover(flow("other"))
    asleep.read(*(event(n, data="x" * 1_000) for n in range(8, 10)))
    asleep.complete(*asleep.in_hand)
    asleep.commit()
    asleep.deliver(asleep.state.round)

    content = snapshot.encode(asleep.state, next_offset=9, about={})
    found = snapshot.decode(content, policy_of(one.limits))

    assert b"xxx" not in content
    assert found.entities.at_hand == {}
    back = restore(found.entities, 0, one.limits, journal_id=JOURNAL, remembered=found.remembered).state
    again = asleep.takeover(load=False).state
    assert back.runs.bodies == again.runs.bodies
    for name in ("asleep", "known", "definitions", "bodies", "removed", "orphans"):
        assert getattr(back, name) == getattr(again, name), name
    assert len(back.asleep["elsewhere"]) == 10
    assert [one.places for one in back.runs.values()] == [one.places for one in again.runs.values()]
    assert len(back.runs) == 3


def test_events_of_runs_that_wait_are_left_to_the_journal_though_they_are_in_memory() -> None:
    one = Partition(*FLOWS[:1])
    going, waiting = one.read(*(event(n, data=str(n) * 1_000, id=f"e{n}") for n in range(2)))
    one.ask(waiting, "nap", Sleep(until_ms=NOW + 60_000))
    one.commit()
    one.deliver(one.state.round)
    assert one.run(waiting).held is not None

    content = snapshot.encode(one.state, next_offset=9, about={})
    found = snapshot.decode(content, policy_of(one.limits))

    assert (b"0" * 1_000 in content, b"1" * 1_000 in content) == (True, False)
    back = restore(found.entities, 0, one.limits, journal_id=JOURNAL, remembered=found.remembered).state
    again = one.takeover(load=False).state
    assert back.runs.bodies == again.runs.bodies
    assert [back.runs[run].places for run in (going, waiting)] == [again.runs[run].places for run in (going, waiting)]

    def body(number: int) -> Envelope:
        return event_of(number, one.journal[journal.body_key(number)])

    assert canonical(back, marks=False, body=body) == canonical(again, marks=False, body=body)


def test_none_is_possible_while_something_is_not_journaled_or_not_delivered() -> None:
    one = Partition(*FLOWS)
    assert not snapshot.possible(one.state)
    one.read(event(0, id="x"))
    assert not snapshot.possible(one.state)
    one.commit()
    assert not snapshot.possible(one.state)
    one.deliver(one.state.round)
    assert snapshot.possible(one.state)


@pytest.mark.parametrize("harm", [lambda given: given[:-1], lambda given: b"x" + given[1:], lambda given: b""])
def test_a_damaged_snapshot_is_refused(harm: object) -> None:
    one = Partition(*FLOWS)
    one.read(event(0, id="x"))
    one.commit()
    one.deliver(one.state.round)
    content = snapshot.encode(one.state, next_offset=1, about={})
    with pytest.raises(snapshot.Damaged):
        snapshot.decode(harm(content), policy_of(one.limits))  # type: ignore[operator]


def test_what_was_taken_is_written_as_it_was_whatever_happens_meanwhile() -> None:
    for seed in range(12):
        course = Course(seed)
        taken: list[tuple[snapshot.Content, bytes]] = []
        for _ in range(40):
            course.act()
            if snapshot.possible(course.one.state):
                content = snapshot.taken(course.one.state, next_offset=1, about={})
                taken.append((content, b"".join(snapshot.written(content))))
        assert taken
        for content, before in taken:
            assert b"".join(snapshot.written(content)) == before


def test_a_snapshot_is_taken_in_slices_and_is_the_same_whatever_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Partition(*FLOWS)
    for number in range(9):
        one.read(event(number, id=f"x{number}"))
    one.commit()
    one.deliver(one.state.round)
    whole = snapshot.encode(one.state, next_offset=1, about={})
    monkeypatch.setattr(snapshot, "SLICE", 2)
    turns = len(list(snapshot.in_slices(one.state, next_offset=1, about={})))
    assert turns > 9
    assert snapshot.encode(one.state, next_offset=1, about={}) == whole
