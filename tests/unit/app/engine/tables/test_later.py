"""Timers that are far away come back in their slots, as they were."""

import random

import pytest

from app.engine.tables.later import SLOT_MS, Entry, Later

NEXT_MS = 7 * SLOT_MS


def entries(seed: int, count: int = 300) -> list[Entry]:
    chance = random.Random(seed)
    digests = [bytes([n] * 12).hex() for n in range(3)]
    names = ("run:1", "é", "", "x" * 300, *[f"a:{one}" for one in digests], *[f"a:{one}#é#0" for one in digests])
    return [
        (
            chance.randrange(0, 20 * SLOT_MS),
            n,
            chance.randrange(6),
            chance.choice(names),
            chance.choice((None, "", "k")),
        )
        for n in range(count)
    ]


def test_each_comes_once_its_slot_has_begun() -> None:
    later, given = Later(), entries(1)
    for one in given:
        later.add(one)

    taken: list[Entry] = []
    while (first_ms := later.first_ms()) is not None:
        assert list(later.take(first_ms - 1)) == []
        found = list(later.take(first_ms))
        assert found
        assert all(first_ms <= due_ms < first_ms + SLOT_MS for due_ms, *_ in found)
        taken += found
        assert len(later) == len(given) - len(taken)
    assert sorted(taken, key=lambda one: one[1]) == given


def test_it_comes_back_from_its_blocks() -> None:
    later = Later()
    for one in entries(2):
        later.add(one)

    again = Later.restored(*later.packed())

    assert (list(again), len(again), again.first_ms()) == (list(later), len(later), later.first_ms())
    assert list(again.take(10 * SLOT_MS)) == list(later.take(10 * SLOT_MS))
    about, block = later.packed()
    with pytest.raises(ValueError, match="do not add up"):
        Later.restored(about, block + b"x")


def test_a_timer_of_a_run_or_of_a_wait_takes_little() -> None:
    later = Later()
    for n in range(1_000):
        later.add((NEXT_MS, n, 1, f"process_orders:{n:024x}#decision of somebody#0", None))
        later.add((NEXT_MS, n, 2, f"process_orders:{n:024x}", "a night's sleep"))

    assert len(later.packed()[1]) < 27 * 2_000
    assert [one[3:] for one in later][-2:] == [
        (f"process_orders:{999:024x}#decision of somebody#0", None),
        (f"process_orders:{999:024x}", "a night's sleep"),
    ]


def test_what_is_due_soon_is_seen_before_its_time_once_and_slot_by_slot() -> None:
    later, given = Later(), entries(3)
    for one in given[:200]:
        later.add(one)
    seen = later.look_ahead(9 * SLOT_MS, 50)
    first_ms = later.first_ahead_ms()
    assert first_ms is not None
    for one in given[200:]:
        later.add(one)
    missed = [one for one in given[200:] if one[0] < first_ms]  # their slots were looked at
    taken = list(later.take(2 * SLOT_MS))

    again = Later.restored(*later.packed())
    while found := later.look_ahead(9 * SLOT_MS, 7):
        assert len(found) <= 7
        seen += found

    assert later.first_ahead_ms() == 10 * SLOT_MS
    soon = [one for one in given if one[0] < 10 * SLOT_MS]
    assert set(seen) == {one for one in soon if one not in missed and (one in seen[:50] or one not in taken)}
    assert len(set(seen)) == len(seen)
    assert [one[0] // SLOT_MS for one in seen[-100:]] == sorted(one[0] // SLOT_MS for one in seen[-100:])
    assert sorted(later) == sorted(one for one in given if one not in taken), "they stay where they are"
    assert sorted(again.look_ahead(1 << 40, 1_000)) == sorted(again), "who takes over sees all of them"


def test_what_was_seen_is_not_seen_again_and_what_came_to_its_time_unseen_never() -> None:
    later, given = Later(), entries(4)
    for one in given:
        later.add(one)
    seen = later.look_ahead(5 * SLOT_MS, 20)
    taken = list(later.take(5 * SLOT_MS))
    seen_later = later.look_ahead(1 << 40, 1_000)

    assert set(seen) < set(taken)
    assert sorted(seen_later) == sorted(set(given) - set(taken))
    assert (later.look_ahead(1 << 40, 1_000), later.first_ahead_ms()) == ([], None)


def test_nothing_is_there_at_first() -> None:
    later = Later()

    assert (len(later), later.first_ms(), list(later), list(later.take(1 << 40))) == (0, None, [], [])
    assert (later.first_ahead_ms(), later.look_ahead(1 << 40, 9)) == (None, [])
