"""How much runs wait for is counted, and bounded: what would be too much fails at once, and is recorded."""

from typing import Any

import pytest

from app.engine.effects import Resolve, Rise
from app.engine.tables import room
from app.engine.values.asks import Ask, Await, Child, EventCondition, Execute, Fault, Invoke, Note, Sleep, Suspend
from tests.unit.app.engine.partition import NOW, Partition, canonical, event, facts, failure, flow

HOUR = 3_600_000
SLEEP = Sleep(until_ms=NOW + HOUR)
PAID = EventCondition(topic="orders/paid")
CALL = Execute(max_retries=2, base_delay_ms=HOUR, max_delay_ms=HOUR)


def any_of(*given: Any) -> Await:
    return Await(conditions=given, need=1, deadline_ms=NOW + HOUR)


def partition_with(runs: int, **limits: Any) -> tuple[Partition, list[str]]:
    partition = Partition(flow(), **limits)
    started = partition.read(*(event(n) for n in range(runs)))
    partition.commit()
    return partition, started


def refused(partition: Partition, run: str, key: str, ask: Ask) -> Fault | None:
    """Let a run ask; return why it was refused."""
    partition.told()
    partition.ask(run, key, ask)
    resolved = [one for one in partition.told() if isinstance(one, Resolve)]
    return resolved[0].outcome.fault if resolved else None


@pytest.mark.parametrize(
    ("ask", "count"),
    [
        (SLEEP, 1),
        (Suspend(data=b"null", deadline_ms=None), 1),
        (any_of(PAID, PAID, SLEEP), 2),
        (any_of(SLEEP), 1),
        (Invoke(children=(Child(workflow_id="w", payload=b"1"),) * 3, wait=True), 1),
        (Invoke(children=(Child(workflow_id="w", payload=b"1"),), wait=False), 0),
        (Note(b"1"), 0),
        (CALL, 0),
    ],
)
def test_what_waits_is_counted_until_its_run_ends_also_by_the_next_owner(ask: Ask, count: int) -> None:
    partition, (run,) = partition_with(1)
    partition.ask(run, "w", ask)
    assert (room.asks_for(ask), partition.state.waiting) == (count, count)
    partition.commit()
    assert partition.takeover(flow()).state.waiting == count
    partition.complete(run)
    assert partition.state.waiting == 0


def test_what_is_over_is_counted_no_more() -> None:
    partition, (run,) = partition_with(1)
    partition.ask(run, "nap", Sleep(until_ms=NOW + 10))
    partition.ask(run, "call", CALL, aside=True)
    partition.step_ends(run, "call", why=failure())
    assert partition.state.waiting == 2, "the nap, and the call that is to be tried again"
    partition.commit()
    assert canonical(partition.takeover(flow()).state)["waiting"] == 2
    partition.wait(10)
    assert partition.state.waiting == 1
    partition.wait(HOUR)
    assert partition.state.waiting == 0, "it is being tried again"
    partition.step_ends(run, "call")
    assert partition.state.waiting == 0


def test_a_partition_whose_runs_wait_for_enough_lets_no_more_wait() -> None:
    partition, (one, two) = partition_with(2, waits=2)
    partition.ask(one, "first", SLEEP)
    fault = refused(partition, two, "both", any_of(PAID, PAID))
    assert fault == Fault(
        "TooManyWaits",
        "step 'both' would wait for 2 more, and the runs of partition 0 wait for 1 already: at most 2 (its share of "
        "limits.waits); raise that if workers have memory for it, or cancel runs that wait for what never comes",
    )
    assert (partition.state.counters.crowded, partition.state.waiting) == (1, 1)
    assert refused(partition, two, "second", SLEEP) is None
    partition.complete(one)
    assert refused(partition, two, "third", SLEEP) is None


def test_a_refusal_is_recorded_and_told_and_the_same_on_every_replay() -> None:
    partition, (run,) = partition_with(1, waits=1)
    fault = refused(partition, run, "both", any_of(PAID, PAID))
    assert fault is not None
    (fact,) = facts(partition.committed())
    assert (fact["fact"], fact["step"], fact["error"]["type"]) == ("step_finished", "both", "TooManyWaits")
    assert not any(key.startswith(b"wait:") for key in partition.journal)
    again = partition.takeover(flow())
    (risen,) = again.told()
    assert isinstance(risen, Rise)
    (recorded,) = risen.recorded
    assert recorded.outcome is not None
    assert recorded.outcome.fault == fault


def test_a_run_that_waits_for_enough_waits_for_no_more_while_others_may() -> None:
    partition, (one, two) = partition_with(2, waits_per_run=3)
    partition.ask(one, "first", any_of(PAID, PAID))
    fault = refused(partition, one, "second", any_of(PAID, PAID))
    assert fault is not None
    assert fault.message.startswith(
        f"step 'second' would wait for 2 more, and run {one!r} waits for 2 already: at most 3 (limits.waits_per_run); "
    )
    assert refused(partition, one, "third", SLEEP) is None
    assert refused(partition, two, "first", any_of(PAID, PAID)) is None


def test_a_run_may_wait_in_each_of_its_steps() -> None:
    partition, (run,) = partition_with(1)
    for n in range(partition.limits.steps_per_run):
        assert refused(partition, run, f"s{n}", SLEEP) is None


def test_a_function_is_not_tried_again_where_too_much_waits() -> None:
    partition, (one, two) = partition_with(2, waits=1)
    partition.ask(one, "first", SLEEP)
    partition.ask(two, "call", CALL)
    partition.told()
    partition.step_ends(two, "call", why=failure("no luck"))
    (told,) = partition.told()
    assert isinstance(told, Resolve)
    assert told.outcome.fault is not None
    assert told.outcome.fault.type == "TooManyWaits"
    assert told.outcome.fault.message.endswith("; its function failed with ValueError: no luck")


def test_more_than_the_bound_in_a_journal_goes_on() -> None:
    partition, (one, two) = partition_with(2)
    for run in (one, two):
        partition.ask(run, "nap", Sleep(until_ms=NOW + 10))
    partition.commit()
    partition.limits = partition.limits.__class__(partitions=1, waits=1)
    again = partition.takeover(flow())
    assert again.state.waiting == 2
    again.wait(10)
    assert again.state.waiting == 0
