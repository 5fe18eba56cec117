"""Runs by the key that cancels them."""

from app.engine.tables.keyed import Keyed


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
