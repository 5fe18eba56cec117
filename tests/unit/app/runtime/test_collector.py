"""The collector looks at functions that wait a few at a time."""

import gc
from collections.abc import Iterator

import pytest

from app.runtime import collector
from app.runtime.collector import Collector


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def test_it_looks_at_what_is_new_after_so_many_functions_and_now_and_then_at_what_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(collector, "FUNCTIONS", 10)
    monkeypatch.setattr(collector, "PASSES", 3)
    looked: list[int] = []

    def note(phase: str, about: dict[str, int]) -> None:
        if phase == "start":
            looked.append(about["generation"])

    counting = Collector()
    gc.callbacks.append(note)
    try:
        for _ in range(75):
            counting.parked()
    finally:
        gc.callbacks.remove(note)
    assert looked == [0, 0, 1, 0, 0, 1, 0]


def test_a_cycle_that_a_function_left_behind_is_freed() -> None:
    class Left:
        def __init__(self) -> None:
            self.own = self

    gc.collect()
    counting = Collector()
    one = Left()
    del one
    for _ in range(collector.FUNCTIONS):
        counting.parked()
    assert not [each for each in gc.get_objects() if isinstance(each, Left)]
