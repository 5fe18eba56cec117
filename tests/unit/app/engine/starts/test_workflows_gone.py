"""Workflows that are retired, and those that a journal of an older release knows by name alone."""

from app.engine.values.known import Definition
from tests.unit.app.engine.partition import (
    NOW,
    Partition,
    dead,
    event,
    flow,
    results,
    run_id,
)
from tests.unit.app.engine.starts.charging import OLD, PARTITIONS, announced, home, letters
from topics import commands, journal


def test_what_is_retired_is_known_no_more() -> None:
    partition = Partition(announced=[announced(OLD, at=8)])
    partition.commit()
    partition.load(retired={"charge": 9})
    partition.commit()

    again = partition.takeover()
    again.read(event(0, OLD))

    assert again.state.counters.unmatched == 1
    assert (again.state.known, again.state.definitions) == ({}, {})


def test_a_retirement_that_is_older_than_the_workflow_changes_nothing() -> None:
    partition = Partition(announced=[announced(OLD, at=9)])
    partition.commit()

    again = partition.takeover(load=False)
    again.load(retired={"charge": 8})
    again.read(event(0, OLD))

    assert again.state.counters.slept == 1


def test_a_workflow_that_was_retired_and_comes_back_sees_events_from_then_on() -> None:
    partition = Partition(flow())
    partition.commit()
    partition.load(retired={"charge": 9})
    partition.wait(5_000)
    partition.load(flow())

    before, after = event(0, at=NOW + 4_999), event(1, at=NOW + 5_000)
    assert partition.read(before, after) == [run_id("charge", after)]


def test_what_gathers_for_a_retired_workflow_is_given_up_at_once() -> None:
    partition = Partition(flow("other"), partition=home("charge"), partitions=PARTITIONS)
    partition.load(flow("other"), retired={"charge": 9})

    partition.commanded(commands.Command(1, "j", 1, PARTITIONS, [], [commands.Batched("charge", event(3))]))

    assert letters(partition) == [("workflow_retired", "charge")]


def test_runs_and_events_of_a_retired_workflow_are_given_up_whole() -> None:
    partition = Partition(flow())
    first, second = event(0, key="k", data=[1]), event(1, key="k", data=[2])
    partition.read(first, second)
    partition.commit()

    again = partition.takeover(load=False)
    again.load(retired={"charge": 9})
    outgoing = again.committed()

    assert [(one["status"], one["key"], one["error"]["type"]) for one in results(outgoing)] == [
        ("cancelled", "k", "WorkflowRetired")
    ]
    assert sorted((one["code"], one["value"]) for one in dead(outgoing)) == [
        ("run_failed", '{"topic":"orders/created","data":[1]}'),
        ("workflow_retired", '{"topic":"orders/created","data":[2]}'),
    ]
    assert again.kinds() == {"known": 1, "out": 2, "head": 1}


# --- journals of older releases -------------------------------------------------------------------------------------


def of_an_older_release(partition: Partition) -> dict[bytes, bytes]:
    """The journal as it was when it held no more of workflows than their names."""
    known = partition.entity(b"known")
    return partition.journal | {b"known": journal.encode({"r": known["r"], "since": known["since"]})}


def test_a_journal_that_knows_workflows_by_name_alone_goes_on_once_they_are_heard_of() -> None:
    partition = Partition(flow("a"), flow("b"))
    one = event(0)
    partition.read(one)
    partition.commit()

    old = partition.takeover(load=False, journal_=of_an_older_release(partition))
    assert (sorted(old.state.known), old.state.definitions) == (["a", "b"], {})
    old.load(flow("a"), announced=[Definition.of(flow("b"), announced_ms=5)])
    assert list(old.in_hand) == [run_id("a", one)]
    old.read(event(1))
    assert old.state.counters.slept == 1
    old.commit()

    assert old.takeover(flow("b")).in_hand == {run_id("b", event(n)): 1 for n in (0, 1)}
