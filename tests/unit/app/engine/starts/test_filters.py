"""A filter that raises concerns its event alone, whatever it raises; but who presses Ctrl-C is heard."""

from typing import Any

import pytest

from app.engine.starts import filters
from tests.unit.app.engine.partition import Partition, dead, event, flow


def asked(partition: Partition, filter_: Any) -> bool | None:
    (workflow,) = partition.state.loaded.values()
    given = event(0)
    return filters.answer(partition.state, workflow, filter_, given.payload(), given, name="filter", remedy="mend it")


@pytest.mark.parametrize(("says", "passes"), [(True, True), (0, False), ("yes", True), (None, False)])
def test_what_a_filter_says_is_true_or_false(says: Any, passes: bool) -> None:
    partition = Partition(flow())
    assert asked(partition, lambda _: says) is passes
    assert partition.commit() is None or not dead(partition.commits[-1].outgoing)


def raising(error: BaseException) -> Any:
    def filter_(_: Any) -> bool:
        raise error

    return filter_


@pytest.mark.parametrize("error", [ValueError("why"), SystemExit("why"), KeyboardInterrupt("why")])
def test_one_that_raises_has_no_answer_and_its_event_is_a_dead_letter(error: BaseException) -> None:
    partition = Partition(flow())
    assert asked(partition, raising(error)) is None
    (letter,) = dead(partition.committed())
    assert (letter["code"], letter["remedy"]) == ("filter_failed", "mend it")
    assert letter["reason"] == f"the filter of workflow 'charge' raised {type(error).__name__}: why"


@pytest.mark.filterwarnings("error")
def test_one_that_returns_what_must_be_awaited_has_no_answer() -> None:
    async def check(_: Any) -> bool:
        raise NotImplementedError

    partition = Partition(flow())
    assert asked(partition, lambda given: check(given)) is None  # noqa: PLW0108
    (letter,) = dead(partition.committed())
    assert letter["reason"] == (
        "the filter of workflow 'charge' raised TypeError: it returned a coroutine, which nobody awaits; write it with "
        "def, and let it call no async function"
    )
