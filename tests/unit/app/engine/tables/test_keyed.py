"""Runs by the key that cancels them."""

import random

import pytest

from app.engine.tables import keyed as keyed_module
from app.engine.tables.keyed import Keyed
from topics.keys import run_id


def test_runs_are_found_by_workflow_and_key_until_they_are_forgotten() -> None:
    keyed = Keyed()
    assert not keyed
    keyed.remember("a:1", "a", "k")
    keyed.remember("a:2", "a", "k")
    keyed.remember("b:1", "b", "k")
    assert (keyed.runs_of("a", "k"), keyed.runs_of("a", "other")) == (("a:1", "a:2"), ())
    assert (keyed.key_of("b:1"), keyed.key_of("b:2")) == ("k", None)
    keyed.forget("a:1")
    keyed.forget("a:1")
    assert keyed.runs_of("a", "k") == ("a:2",)
    keyed.forget("a:2")
    keyed.forget("b:1")
    assert not keyed
    assert keyed.any  # it is asked often, and may say so for nothing


def restored(keyed: Keyed, awake: dict[str, None]) -> Keyed:
    about, pairs = keyed.packed(awake)
    return Keyed.restored(about, [(sizes, b"".join(buckets)) for sizes, buckets in pairs])


@pytest.mark.parametrize("same", [False, True])
def test_those_of_runs_at_rest_are_found_as_the_others_are(same: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if same:  # all runs and all keys have one key in the tables
        monkeypatch.setattr(keyed_module, "key_of", lambda _text: b"the same")
        monkeypatch.setattr(keyed_module, "key_of_run", lambda _text: b"the same")
    for seed in range(20):
        chance = random.Random(seed)
        keyed, model = Keyed(), dict[str, tuple[str, str]]()
        for number in range(150):
            workflow, key = chance.choice(("a", "b")), chance.choice(("k", "", "é", "a"))
            name = chance.choice((run_id(workflow, bytes([number] * 12)), f"run {number}"))
            keyed.remember(name, workflow, key)
            model[name] = (workflow, key)
            if chance.random() < 0.7:
                keyed.pack(name)
            if chance.random() < 0.4:
                gone = chance.choice(sorted(model))
                keyed.forget(gone)
                keyed.forget(gone)
                del model[gone]
                assert keyed.key_of(gone) is None
        for workflow, key in (("a", "k"), ("a", ""), ("b", "é"), ("c", "k")):
            found = keyed.runs_of(workflow, key)
            assert sorted(found) == sorted(name for name, place in model.items() if place == (workflow, key))
        assert all(keyed.key_of(name) == key for name, (_, key) in model.items())
        assert (keyed.as_dict(), len(keyed)) == (model, len(model))

        awake = dict.fromkeys(chance.sample(sorted(model), k=len(model) // 3))
        again = restored(keyed, awake)
        assert again.as_dict() == {name: place for name, place in model.items() if name not in awake}
        for name in model:
            again.forget(name)
            keyed.forget(name)
        assert (len(again), len(keyed), again.runs_of("a", "k"), keyed.runs_of("a", "k")) == (0, 0, (), ())
        assert (keyed._runs, len(keyed._places._table)) == ({}, 0)


def test_a_packed_one_takes_little_and_one_that_is_too_large_stays_as_it_is() -> None:
    keyed = Keyed()
    for number in range(1_000):
        name = run_id("process_orders", bytes([number % 251, number // 251] * 6))
        keyed.remember(name, "process_orders", f"o-{number:05}")
        keyed.pack(name)
        keyed.pack(name)
    assert keyed._runs == {}
    assert sum(len(bucket) for _, buckets in keyed.packed({})[1] for bucket in buckets) < 70 * 1_000

    keyed.remember("a:1", "a", "k" * 70_000)
    keyed.pack("a:1")
    assert keyed._awake == {"a:1": ("a", "k" * 70_000)}
    assert restored(keyed, {}).as_dict() == keyed.as_dict()
