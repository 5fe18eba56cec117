"""Waits are found by id and by what meets them, packed or not; and so many at one place that they are spread."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from app.engine.tables import openwaits
from app.engine.tables.openwaits import Waits
from app.engine.tables.wait import Wait
from tests.unit.app.engine.partition import NOW, event, run_id
from tests.unit.app.engine.world import wait_for


def wait(number: int, topic: str = "orders/paid", **options: Any) -> Wait:
    """An open wait."""
    made = wait_for(topic, source=number % 3, **({"run": run_id("charge", event(number)), "key": "paid"} | options))
    made.open = made.journaled = True
    return made


def about(one: Wait) -> tuple[Any, ...]:
    return one.id, one.asked, one.source, one.open, one.journaled, one.flow, one.found, one.place


KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"event_key": "k"},
    {"event_key": ""},
    {"topic": "orders/*", "event_type": "paid"},
    {"topic": "orders/**", "event_key": "k", "deadline_ms": NOW + 5},
    {"topic": "*/paid"},
    {"run": "run-1", "n": 7, "seen": (b"\x01" * 12, b"\x02" * 12)},
    {"key": "é" * 400, "since_ms": 0},
    {"topic": f"headgate/resume/{run_id('charge', event(1))}/paid", "deadline_ms": 0},
    {"topic": "orders/paid/paid", "event_key": "paid", "event_type": "orders/paid/paid", "since_ms": -1},
)


def restored(waits: Waits) -> Waits:
    about, pairs = waits.packed()
    return Waits.restored(about, [(sizes, b"".join(buckets)) for sizes, buckets in pairs])


@pytest.mark.parametrize("options", KINDS)
def test_a_wait_comes_back_as_it_was(options: dict[str, Any]) -> None:
    waits, one = Waits(), wait(1, **options)
    waits.add(one)
    waits.pack(one)

    assert (waits.awake, waits.places, waits.resting, len(waits)) == ({}, {}, 1, 1)
    assert one.id in waits
    assert [about(found) for found in waits.values()] == [about(one)]
    found = waits.get(one.id)
    assert found is not None
    assert about(found) == about(one)
    assert (waits.awake, waits.resting, waits.idle) == ({one.id: found}, 0, [found])
    assert waits.get("other") is None


@pytest.mark.parametrize("same", [False, True])
def test_packed_waits_meet_what_others_meet(monkeypatch: pytest.MonkeyPatch, same: bool) -> None:
    if same:  # all ids and all places have one key
        monkeypatch.setattr(openwaits, "key_of", lambda _text: b"the same")
    for seed in range(4 if same else 30):
        chance = random.Random(seed)
        waits, model = Waits(), dict[str, Wait]()
        for number in range(60):
            made = wait(number, **chance.choice(KINDS[:6]), since_ms=NOW + chance.randrange(3))
            waits.add(made)
            model[made.id] = made
            if chance.random() < 0.7:
                waits.pack(made)
            if chance.random() < 0.3:
                name = chance.choice(sorted(model))
                found = waits.get(name)
                assert found is not None
                waits.remove(found)
                del model[name]
                assert name not in waits
            topic, key = chance.choice(("orders/paid", "orders/x", "a/paid")), chance.choice((None, "k", "", "o"))
            came = event(1_000 + number, topic, key=key, at=NOW + chance.randrange(4), event_type="paid")
            met = waits.met_by(came)
            assert sorted(one.id for one in met) == sorted(name for name, one in model.items() if one.takes(came))
            assert all(waits.awake[one.id] is one for one in met)
            for one in met:
                if chance.random() < 0.5:
                    waits.pack(one)
            assert len(waits) == len(model)
            assert set(waits) == set(model)


def many(count: int, *, pack: Callable[[Waits, Wait], None]) -> Waits:
    waits = Waits()
    for number in range(count):
        made = wait(number)
        waits.add(made)
        pack(waits, made)
    return waits


def test_of_many_at_one_place_no_more_are_unpacked_than_are_wanted() -> None:
    waits = many(2_000, pack=Waits.pack)

    met = waits.met_by(event(9_999, "orders/paid"), 10)

    assert 10 < len(met) < 30
    assert (len(waits.awake), waits.resting) == (len(met), 2_000 - len(met))
    assert len(waits.met_by(event(9_999, "orders/paid"))) == 2_000


def test_many_at_one_place_are_spread_and_are_all_found_and_all_let_go() -> None:
    waits = many(1_500, pack=Waits.pack)
    largest = max(map(len, waits._places._table._buckets))

    assert largest < 5_000
    again = restored(waits)
    for one in (waits, again):
        found = one.met_by(event(9_999, "orders/paid"))
        assert len({each.id for each in found}) == 1_500
        for each in found:
            one.remove(each)
        assert (len(one), len(one._places._table), one._places._wide) == (0, 0, {})


def test_one_that_is_too_large_stays_as_it_is() -> None:
    waits, one = Waits(), wait(1, seen=tuple(bytes([n % 251] * 12) for n in range(3_000)))
    waits.add(one)

    waits.pack(one)

    assert (waits.awake, waits.resting) == ({one.id: one}, 0)


def blocked(waits: Waits, number: int, **options: Any) -> Wait:
    made = wait(number, **options)
    made.open = False
    waits.add(made)
    waits.block(made)
    waits.pack(made)
    return made


@pytest.mark.parametrize("options", KINDS)
def test_a_blocked_wait_comes_back_as_it_was_and_blocked(options: dict[str, Any]) -> None:
    waits = Waits()
    one = blocked(waits, 1, **options)

    again = restored(waits)
    for each in (waits, again):
        assert (each.awake, each.blocked, each.resting, each.blocked_by_head()) == ({}, {}, 1, {one.head: 1})
        found = each.get(one.id)
        assert found is not None
        assert about(found) == about(one)
        assert each.blocked == {one.head: {one.id: found}}
        each.remove(found)
        assert (each.blocked, len(each)) == ({}, 0)
        assert each.unpack_blocked(one.head, 5, lambda _: True) == ([], 1)
        assert each.blocked_by_head() == {}


def test_no_event_unpacks_a_blocked_wait() -> None:
    waits = Waits()
    one = blocked(waits, 1)

    assert waits.met_by(event(5, "orders/paid", at=NOW + 1)) == []
    assert (waits.resting, one.id in waits) == (1, True)


def test_a_blocked_wait_with_the_key_of_an_open_one_takes_no_place_among_those_that_are_met(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits, first, second = Waits(), wait(1), wait(2)
    monkeypatch.setattr(openwaits, "key_of", lambda text: b"another " if text == second.id else b"the same")
    blocked(waits, 3)
    for one in (first, second):
        waits.add(one)
        waits.pack(one)

    # Whoever gets no more than it asked for concludes that there are no more.
    assert [one.id for one in waits.met_by(event(5, "orders/paid", at=NOW + 1), 1)] == [first.id, second.id]


@pytest.mark.parametrize("same", [False, True])
def test_blocked_waits_are_looked_at_a_few_at_a_time_and_those_that_are_not_wanted_stay(
    monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    if same:
        monkeypatch.setattr(openwaits, "key_of", lambda _text: b"the same")
    waits = Waits()
    made = [blocked(waits, number, since_ms=NOW + number % 2) for number in range(10)]
    other = blocked(waits, 10, topic="a/b")
    waits.add(opened := wait(11))
    waits.pack(opened)
    head = made[0].head

    found: list[Wait] = []
    looked = 0
    while looked < 10:
        few, keys = waits.unpack_blocked(head, 3, lambda one: one.asked.since_ms == NOW)
        assert keys <= 3
        assert len(few) <= (3 if not same else 5)
        found += few
        looked += keys

    assert sorted(one.id for one in found) == sorted(one.id for one in made if one.asked.since_ms == NOW)
    assert waits.blocked == {head: {one.id: one for one in found}}
    assert all(waits.awake[one.id] is one for one in found)
    assert (waits.resting, other.id in waits) == (7, True)
    left, _ = waits.unpack_blocked(head, 100, lambda _: True)
    assert sorted(one.id for one in left) == sorted(one.id for one in made if one.asked.since_ms != NOW)
    assert waits.blocked_by_head() == {head: 0, other.head: 1}


def test_blocked_waits_that_are_gone_leave_little_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openwaits, "_STALE", 4)
    waits = Waits()
    stays = blocked(waits, 0)
    for number in range(1, 500):
        blocked(waits, number)
        found = waits.get(wait(number).id)
        assert found is not None
        waits.remove(found)
        assert waits.blocked_by_head()[stays.head] <= 12

    (left,), _ = waits.unpack_blocked(stays.head, 100, lambda _: True)
    assert left.id == stays.id
