"""What sleeps costs a number, is bounded, and keeps its body for as long as anything needs it."""

import sys

import pytest

from app.engine.runs import asleep
from tests.unit.app.engine.partition import Partition, dead, event, flow, run_id

HERE, THERE = flow("here"), flow("there")


def bodies(partition: Partition) -> int:
    return partition.kinds().get("body", 0)


def test_an_event_that_sleeps_is_in_the_journal_alone() -> None:
    partition = Partition(announced=[THERE])
    one = event(0, data=["x"] * 100)
    unheld = sys.getrefcount(one)
    partition.read(one)
    assert sys.getrefcount(one) > unheld

    partition.commit()

    assert sys.getrefcount(one) == unheld
    state = partition.state
    assert (state.held_bytes, state.run_bytes, state.lanes, state.shared, state.fresh_pending) == (0, 0, {}, {}, [])
    assert list(state.asleep["there"]) == [0]


def test_what_slept_before_a_takeover_is_not_in_memory_after_it() -> None:
    partition = Partition(flow("there", batch_size=3, batch_timeout_seconds=60))
    partition.read(*(event(n) for n in range(5)))
    partition.commit()
    assert len(partition.in_hand) == 1

    again = partition.takeover(HERE)

    assert (again.state.held_bytes, again.state.run_bytes, again.state.shared) == (0, 0, {})
    assert [one.events for one in again.state.runs.values()] == [()]
    assert [one.offset for _, one in again.bodies(again.state.asleep["there"])] == [3, 4]


def test_many_that_sleep_do_not_hold_back_the_others() -> None:
    partition = Partition(HERE, announced=[THERE])
    for n in range(0, 2_000, 100):
        partition.read(*(event(n + i, data="x" * 500) for i in range(100)))
        partition.complete(*partition.in_hand)
        partition.commit()

    assert asleep.count(partition.state) == 2_000
    assert partition.state.counters.slept == 2_000
    assert partition.state.counters.ended == {("here", "completed"): 2_000}
    assert partition.state.held_bytes + partition.state.run_bytes == 0


def test_one_too_many_is_a_dead_letter_that_says_what_to_do() -> None:
    partition = Partition(HERE, announced=[THERE], asleep_events=2)

    partition.read(*(event(n) for n in range(4)))

    letters = dead(partition.committed())
    assert [one["source"]["offset"] for one in letters] == [2, 3]
    assert {(one["code"], one["workflow_id"], one["run_id"]) for one in letters} == {("too_many_asleep", "there", None)}
    assert letters[0]["value"] == '{"topic":"orders/created","data":null}'
    assert letters[0]["reason"] == (
        "no code of workflow 'there' that takes topic 'orders/created' is loaded here, and 2 events of this partition "
        "wait for such workflows already"
    )
    assert "`headgate workflows retire there`" in letters[0]["remedy"]
    assert partition.state.counters.overslept == 2
    assert list(partition.in_hand) == [run_id("here", event(n)) for n in range(4)]
    assert bodies(partition) == 4  # two that sleep and start runs here, two that start runs alone
    partition.complete(*partition.in_hand)
    partition.commit()
    assert bodies(partition) == 2


def test_the_bound_counts_what_slept_before_a_takeover() -> None:
    partition = Partition(announced=[THERE], asleep_events=2)
    partition.read(event(0), event(1))
    partition.commit()

    again = partition.takeover(HERE)
    again.read(event(2))

    assert again.state.counters.overslept == 1


def test_what_comes_for_a_workflow_that_wakes_is_never_one_too_many() -> None:
    partition = Partition(announced=[THERE], asleep_events=2)
    partition.read(event(0, key="k"), event(1, key="k"))
    partition.commit()
    partition.recalls = False
    partition.load(THERE)

    partition.read(event(2, key="k"))

    assert partition.state.counters.overslept == 0
    assert asleep.count(partition.state) == 3


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
def test_a_body_goes_with_the_last_that_needs_it(order: tuple[str, str]) -> None:
    flows = {name: flow(name) for name in ("one", "two")}
    partition = Partition(HERE, announced=list(flows.values()))
    (run,) = partition.read(event(0))
    partition.commit()
    assert bodies(partition) == 1
    loaded = [HERE]

    partition.complete(run)
    partition.commit()
    assert bodies(partition) == 1
    for name in order:
        loaded.append(flows[name])
        (run,) = partition.load(*loaded)
        partition.commit()
        assert bodies(partition) == 1
        partition.complete(run)
        partition.commit()

    assert bodies(partition) == 0
    assert (partition.state.asleep, partition.state.shared) == ({}, {})


def test_a_body_that_a_run_still_needs_outlives_what_slept_on_it() -> None:
    partition = Partition(HERE, announced=[THERE])
    (run,) = partition.read(event(0))
    partition.commit()
    (other,) = partition.load(HERE, THERE)
    partition.complete(other)
    partition.commit()

    assert bodies(partition) == 1
    assert partition.takeover(HERE).in_hand == {run: 1}
