"""Runs whose functions were dropped go on from a sleep in the round in which it ends, and tell what any run tells; or
their functions are called before that.
"""

from typing import Any

import pytest

from app.engine.effects import Effects, Go, Resolve, Rise
from app.engine.inputs import CallAhead, Evicted, Failure
from app.engine.runs import runs
from app.engine.steps import ends
from app.engine.tables.run import RunStatus
from app.engine.values.asks import Note, Outcome, Sleep
from headgate.definition import workflow
from tests.unit.app.engine.onerun import CALL, HOUR, asleep, begun, crashed
from tests.unit.app.engine.partition import NOW, Partition, event, facts, failure, flow, summary


def due(**options: Any) -> tuple[Partition, str]:
    """A run whose function was dropped, and whose sleep has ended in the round that goes on."""
    partition, run = begun(**options)
    partition.ask(run, "first", Note(b"1"))
    partition.commit()
    asleep(partition, run)
    partition.give(Evicted([run]))
    partition.commit()
    partition.told()
    partition.wait(HOUR)
    return partition, run


def test_its_function_is_called_with_the_end_of_the_sleep_after_all_that_was_recorded() -> None:
    partition, run = due()
    (risen,) = partition.ring().after
    assert isinstance(risen, Rise)
    assert [(one.key, one.outcome) for one in risen.recorded] == [
        ("first", Outcome(b"1")),
        ("nap", Outcome(b"null")),
    ]
    assert ends.need_not_wait(risen)
    assert partition.run(run).status is RunStatus.RUNNING


def test_a_run_that_ends_then_leaves_nothing_but_its_result_and_says_first_that_its_sleep_is_over() -> None:
    partition, run = due()
    partition.ring()
    partition.complete(run)
    written = partition.commit()
    assert written is not None
    assert [status for _, status, _ in summary(written.outgoing)] == ["completed"]
    assert [one["fact"] for one in facts(written.outgoing)] == ["step_finished", "run_finished"]
    assert not [key for key, value in written.batch if value is not None and key.startswith((b"run:", b"step:"))]
    assert not any(key.startswith((b"run:", b"step:", b"body:")) for key in partition.journal)


def test_no_step_of_it_is_called_before_the_end_of_the_sleep_is_journaled() -> None:
    partition, run = due()
    partition.ring()
    (go,) = partition.ask(run, "call", CALL).after
    assert isinstance(go, Go)
    assert not ends.need_not_wait(go)
    partition.commit()
    assert ends.need_not_wait(go)


def test_one_that_is_cancelled_in_the_same_round_ends_and_is_not_called() -> None:
    partition, run = due()
    failure = Failure("Cancelled", "somebody wants it", None)
    runs.end(partition.state, partition.run(run), "cancelled", failure, Effects())
    assert partition.ring().after == []
    assert [status for _, status, _ in summary(partition.committed())] == ["cancelled"]
    assert run not in partition.state.runs


def test_what_a_round_has_no_room_for_goes_on_in_the_next_one() -> None:
    partition, run = due()
    assert partition.ring(0).after == []
    partition.commit()
    (risen,) = partition.give().after
    assert isinstance(risen, Rise)
    assert [one.key for one in risen.recorded] == ["first", "nap"]
    assert partition.run(run).status is RunStatus.RUNNING


def test_a_crash_before_the_append_lets_the_sleep_end_once_more() -> None:
    partition, _ = due()
    partition.ring()
    again = crashed(partition)
    again.commit()
    (risen,) = again.give().after
    assert isinstance(risen, Rise)
    assert [(one.key, one.outcome) for one in risen.recorded][-1] == ("nap", Outcome(b"null"))


def test_a_run_that_also_does_other_things_waits_for_the_append() -> None:
    partition, run = begun()
    asleep(partition, run)
    partition.ask(run, "aside", Sleep(until_ms=NOW + HOUR), aside=True)
    partition.commit()
    partition.give(Evicted([run]))
    partition.commit()
    partition.wait(HOUR)
    assert partition.ring().after == []


# --- called before their time ---------------------------------------------------------------------------------------


def soon(partition: Partition, *runs: str) -> None:
    """Let runs sleep for an hour without their functions, all but its last seconds."""
    for run in runs:
        partition.ask(run, "nap", Sleep(until_ms=NOW + HOUR))
    partition.commit()
    partition.give(Evicted(list(runs)))
    partition.commit()
    partition.told()
    partition.wait(HOUR - 5_000)


def ahead(most: int = 9, **options: Any) -> tuple[Partition, str]:
    """A run whose function was dropped and is called again before its sleep ends."""
    partition, run = begun(**options)
    partition.ask(run, "first", Note(b"1"))
    partition.commit()
    soon(partition, run)
    (risen,) = partition.give(CallAhead(most)).after
    assert isinstance(risen, Rise)
    assert [(one.key, one.outcome) for one in risen.recorded] == [("first", Outcome(b"1")), ("nap", None)]
    return partition, run


def test_a_function_that_is_called_before_its_sleep_ends_goes_on_at_its_time_and_nothing_is_journaled_before() -> None:
    partition, run = ahead()
    partition.ask(run, "nap", Sleep(until_ms=NOW + HOUR))
    assert partition.commit() is None
    assert partition.run(run).status is RunStatus.WAITING
    partition.told()
    partition.give(after_ms=4_999)
    assert partition.told() == []
    partition.give(after_ms=1)
    assert partition.told() == [Resolve(partition.run(run), "nap", Outcome(b"null"), woken=True, ahead=True)]


def test_it_is_called_once_before_its_time_and_may_be_dropped_again() -> None:
    partition, run = ahead()
    partition.ask(run, "nap", Sleep(until_ms=NOW + HOUR))
    partition.give(Evicted([run]))
    partition.commit()
    assert partition.give(CallAhead(9)).after == []
    partition.wait(5_000)
    assert isinstance(partition.ring().after[0], Rise)


def test_a_crash_before_its_time_leaves_it_waiting_and_the_next_owner_calls_it_ahead_again() -> None:
    partition, run = ahead()
    partition.commit()
    again = crashed(partition)
    assert again.state.runs.resting == 1
    (risen,) = again.give(CallAhead(9)).after
    assert isinstance(risen, Rise)
    again.ask(run, "nap", Sleep(until_ms=NOW + HOUR))
    again.wait(5_000)
    assert [one.key for one in again.told() if isinstance(one, Resolve)] == ["nap"]


def test_a_sleep_that_ends_while_its_run_is_read_back_is_no_longer_waited_for_after_a_crash() -> None:
    partition, run = begun()
    soon(partition, run)
    partition.recalls = False
    partition.give(CallAhead(9))
    assert partition.run(run).status is RunStatus.WAKING
    partition.wait(5_000)
    partition.commit()
    again = crashed(partition)
    assert [type(one) for one in again.after] == [Rise]
    again.complete(run)
    assert [status for _, status, _ in summary(again.committed())] == ["completed"]


def test_one_whose_sleep_ends_while_its_function_is_on_its_way_is_told_of_it() -> None:
    partition, run = ahead()
    partition.wait(5_000)
    partition.ask(run, "nap", Sleep(until_ms=NOW + HOUR))
    partition.commit()
    assert [one.key for one in partition.told() if isinstance(one, Resolve)] == ["nap"]
    again = crashed(partition)
    assert [type(one) for one in again.after] == [Rise]


def test_no_more_are_called_than_there_is_room_for_those_that_are_due_first_first() -> None:
    partition = Partition(flow())
    runs = partition.read(*(event(n) for n in range(5)))
    partition.commit()
    soon(partition, *runs)
    partition.ask(partition.read(event(5))[0], "nap", Sleep(until_ms=NOW + HOUR))
    partition.commit()
    assert [one.run.id for one in partition.give(CallAhead(2)).after] == runs[:2]
    assert [one.run.id for one in partition.give(CallAhead(9)).after] == runs[2:], "not one whose function is there"
    assert partition.give(CallAhead(9)).after == []


@pytest.mark.parametrize("how", ["plain", "not loaded", "several", "cancelled", "tried again"])
def test_others_are_not_called_ahead(how: str) -> None:
    def plain(ctx: Any, payload: Any) -> None:
        raise AssertionError("the engine calls no author's function")

    made = workflow("charge", "orders/created")(plain) if how == "plain" else flow()
    partition = Partition(made)
    (run,) = partition.read(event(0))
    partition.commit()
    if how == "several":
        partition.ask(run, "aside", Sleep(until_ms=NOW + 2 * HOUR), aside=True)
    if how == "tried again":
        partition.ask(run, "call", CALL)
        partition.commit()
        partition.step_ends(run, "call", why=failure(retry_after_ms=HOUR))
        partition.commit()
        partition = crashed(partition)  # it would not be dropped
        partition.wait(HOUR - 5_000)
    else:
        soon(partition, run)
    if how == "not loaded":
        partition = crashed(partition, flow("other"))
    if how == "cancelled":
        partition.recalls = False
        runs.end(partition.state, partition.run(run), "cancelled", Failure("Cancelled", "", None), Effects())
    assert partition.give(CallAhead(9)).after == []
