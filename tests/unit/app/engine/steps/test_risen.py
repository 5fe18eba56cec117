"""Runs whose functions were dropped go on from a sleep in the round in which it ends, and tell what any run tells."""

from typing import Any

from app.engine.effects import Effects, Go, Rise
from app.engine.inputs import Evicted, Failure
from app.engine.runs import runs
from app.engine.steps import ends
from app.engine.tables.run import RunStatus
from app.engine.values.asks import Note, Outcome, Sleep
from tests.unit.app.engine.onerun import CALL, HOUR, asleep, begun, crashed
from tests.unit.app.engine.partition import NOW, Partition, facts, summary


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
