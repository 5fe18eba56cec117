import pytest

from app.engine.values.asks import Kind, Outcome, Recorded
from app.runtime.replay import History
from headgate.errors import HistoryMismatch


def step(key: str, kind: Kind = Kind.RUN, about: str = "run", *, par: bool = False, over: bool = True) -> Recorded:
    return Recorded(key=key, kind=kind, about=about, par=par, outcome=Outcome(b"1") if over else None)


def test_recorded_steps_are_visited_in_any_order_and_then_new_ones() -> None:
    a, b = step("a"), step("b", Kind.SLEEP, "sleep")
    history = History([a, b])

    assert history.visit("b", Kind.SLEEP, "sleep") is b
    assert history.visit("a", Kind.RUN, "run") is a
    assert history.visit("new", Kind.RUN, "run") is None
    history.end()


@pytest.mark.parametrize(
    ("asked", "recorded", "attempted"),
    [
        (("a", Kind.SLEEP, "sleep"), "wait_for_event topic='x'", "sleep"),
        (("a", Kind.AWAIT, "wait_for_event topic='y'"), "wait_for_event topic='x'", "wait_for_event topic='y'"),
        (("b", Kind.RUN, "run"), None, "run"),
    ],
)
def test_another_step_than_the_recorded_one_is_a_mismatch(
    asked: tuple[str, Kind, str], recorded: str | None, attempted: str
) -> None:
    history = History([step("a", Kind.AWAIT, "wait_for_event topic='x'")])

    with pytest.raises(HistoryMismatch) as caught:
        history.visit(*asked)
    assert (caught.value.step_key, caught.value.recorded, caught.value.attempted) == (asked[0], recorded, attempted)


def test_what_was_recorded_without_words_fits_anything_of_its_kind() -> None:
    history = History([step("a", Kind.NOTE, "")])
    assert history.visit("a", Kind.NOTE, "publish_event topic='x'") is not None
    with pytest.raises(HistoryMismatch):
        history.visit("a", Kind.RUN, "run")


def test_a_recorded_step_that_was_never_asked_for_is_a_mismatch_at_the_end() -> None:
    history = History([step("a"), step("b")])
    history.visit("a", Kind.RUN, "run")
    with pytest.raises(HistoryMismatch) as caught:
        history.end()
    assert (caught.value.step_key, caught.value.recorded, caught.value.attempted) == ("b", "run", None)


def test_concurrent_code_may_ask_for_new_steps_at_any_time() -> None:
    assert History([step("a"), step("b", par=True)]).visit("new", Kind.RUN, "run") is None


def test_what_ends_before_it_is_asked_for_again_is_remembered_once() -> None:
    history = History([step("a", over=False), step("b")])
    history.ended("a", Outcome(b"2"))
    history.ended("a", Outcome(b"3"))
    history.ended("b", Outcome(b"3"))
    history.ended("unknown", Outcome(b"3"))

    found = [history.visit(key, Kind.RUN, "run") for key in ("a", "b")]
    assert [one and one.outcome for one in found] == [Outcome(b"2"), Outcome(b"1")]
