"""Steps that their workflow does not wait for any more: nothing is received for them, nothing comes of them later."""

import pytest

from app.engine.effects import Resolve, Rise
from app.engine.inputs import Failure, StepEnded
from app.engine.steps import steps
from app.engine.tables.run import RunStatus
from app.engine.values.asks import ABANDONED, Ask, Await, EventCondition, Fault, Sleep
from tests.unit.app.engine.onerun import CALL, HOUR, begun, crashed
from tests.unit.app.engine.partition import NOW, event

PAID = EventCondition(topic="orders/paid")
WHY = Fault(ABANDONED, "nobody waits")
ASKS: dict[str, Ask] = {
    "event": Await(conditions=(PAID,), need=1, deadline_ms=NOW + HOUR),
    "any": Await(conditions=(PAID, Sleep(until_ms=NOW + HOUR)), need=1, deadline_ms=None),
}


@pytest.mark.parametrize("name", ASKS)
@pytest.mark.parametrize("journaled", [True, False])
def test_a_step_that_nobody_waits_for_any_more_has_ended(name: str, journaled: bool) -> None:
    partition, run = begun()
    partition.ask(run, "w", ASKS[name])
    if journaled:
        partition.commit()
    partition.step_ends(run, "w", why=Failure(WHY.type, WHY.message, None, final=True))

    steps_ = partition.run(run).steps
    assert steps_ is not None
    assert (steps_.open, partition.state.waiting) == ({}, 0)
    partition.commit()
    for _ in range(4):  # what partitions ask each other, also of themselves
        partition.give()
        partition.commit()
    assert not partition.state.registry or not partition.state.registry.waits
    told = [one for one in partition.told() if isinstance(one, Resolve)]
    assert [(one.key, one.outcome.fault, one.ahead) for one in told] == [("w", WHY, False)]
    partition.wait(2 * HOUR)
    assert partition.run(run).status is RunStatus.RUNNING
    (risen,) = crashed(partition).told()
    assert isinstance(risen, Rise)
    assert [(one.key, one.outcome) for one in risen.recorded] == [("w", None)], "nobody knows how it would have gone on"

    partition.ask(run, "then", CALL)
    partition.step_ends(run, "then")
    partition.commit()
    (risen,) = crashed(partition).told()
    assert isinstance(risen, Rise)
    assert [(one.key, one.outcome and one.outcome.fault) for one in risen.recorded] == [("w", WHY), ("then", None)]
    partition.fail(run)
    partition.commit()
    partition.wait(HOUR)
    again = crashed(partition)
    again.wait(HOUR)
    (risen,) = [one for one in again.told() if isinstance(one, Rise)]
    assert [(one.key, one.outcome is None) for one in risen.recorded] == [("w", True), ("then", False)]


def test_what_comes_for_a_step_that_nobody_waits_for_is_left_to_the_next() -> None:
    partition, run = begun()
    partition.ask(run, "w", ASKS["event"])
    partition.commit()
    partition.step_ends(run, "w", why=Failure(WHY.type, WHY.message, None, final=True))
    paid = event(7, "orders/paid", at=NOW + 5)
    effects = partition.give()
    steps.met(partition.state, run, "w", 0, paid, effects)  # it was on its way
    partition.ask(run, "next", ASKS["event"])

    step = partition.run(run).steps.open["next"]  # type: ignore[union-attr]
    assert step.wait is not None
    assert [(one.since_ms, one.seen) for one in step.wait.conditions] == [(NOW, [])]
    effects = partition.give()
    steps.met(partition.state, run, "next", 0, paid, effects)
    assert step.outcome is not None
    assert step.outcome.fault is None


def test_a_function_that_goes_on_is_not_ended_by_it() -> None:
    partition, run = begun()
    partition.ask(run, "call", CALL)
    partition.commit()
    partition.told()
    partition.step_ends(run, "call", b"7")
    partition.give(StepEnded(run, 1, "call", None, Failure(WHY.type, WHY.message, None)))
    (told,) = [one for one in partition.told() if isinstance(one, Resolve)]
    assert (told.outcome.value, told.outcome.fault) == (b"7", None)
