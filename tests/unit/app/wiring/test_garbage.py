"""What was let go is freed, also where only cycles hold it and the collector was told not to look there."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from app.wiring import garbage


class Linked:
    """Refers to itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_what_was_there_from_the_start_is_freed_once_it_is_let_go() -> None:
    linked = Linked()
    still = weakref.ref(linked)
    garbage.tune()
    del linked
    gc.collect()
    assert still() is not None, "the collector does not look at it"
    garbage.forget()
    assert still() is None
    assert gc.get_freeze_count() > 0
