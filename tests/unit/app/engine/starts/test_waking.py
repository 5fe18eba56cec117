"""What slept goes on in order, piece by piece, before what is new; and what is not asked for is not read."""

import pytest

from app.engine.inputs import BodiesRead, Crowded, RunsRead
from app.engine.runs import rising
from app.engine.starts import waking
from app.engine.tables.run import RunStatus
from app.engine.values.asks import Suspend
from tests.unit.app.engine.partition import Partition, canonical, dead, event, flow, results, run_id, started
from topics import commands

THERE = flow("there")


def asleep(count: int, *, keys: tuple[str | None, ...] = (None,), announced: str = "there") -> Partition:
    """A partition where so many events sleep for a workflow; nothing is read back but by the test."""
    partition = Partition(announced=[flow(announced)])
    partition.read(*(event(n, key=keys[n % len(keys)]) for n in range(count)))
    partition.commit()
    partition.recalls = False
    return partition


def recall(partition: Partition, most: int = 100) -> list[str]:
    """Read back what is wanted, once; return the runs that start."""
    numbers = waking.wanted(partition.state, most)
    return started(partition.give(BodiesRead(partition.bodies(numbers), partition.places(numbers))))


def test_nothing_is_wanted_while_nobody_is_there_for_it() -> None:
    partition = asleep(3)

    assert list(waking.wanted(partition.state, 9)) == []
    partition.load(flow("other", "elsewhere"))
    assert list(waking.wanted(partition.state, 9)) == []


def test_what_slept_is_read_in_pieces_the_oldest_first() -> None:
    partition = asleep(5)
    partition.load(THERE)

    assert waking.wanted(partition.state, 2) == [0, 1]
    assert recall(partition, 2) == [run_id("there", event(n)) for n in (0, 1)]
    assert recall(partition, 2) == [run_id("there", event(n)) for n in (2, 3)]
    assert recall(partition, 2) == [run_id("there", event(4))]
    assert (list(waking.wanted(partition.state, 2)), partition.state.waking, partition.state.asleep) == ([], {}, {})
    assert partition.state.counters.woken == 5


def test_a_run_of_what_slept_leaves_memory_while_it_waits_for_its_next_attempt() -> None:
    partition = asleep(2)
    partition.load(THERE)
    for run in recall(partition):
        partition.fail(run)
    partition.commit()
    runs = [partition.run(run_id("there", event(n))) for n in (0, 1)]
    assert [(one.status, one.events, one.held) for one in runs] == [(RunStatus.RETRYING, (), None)] * 2
    assert (partition.state.run_bytes, partition.state.shared) == (0, {})
    partition.recalls = True
    assert partition.wait(600_000) == [one.id for one in runs]


def test_less_may_be_given_than_was_wanted() -> None:
    partition = asleep(5)
    partition.load(THERE)
    waking.wanted(partition.state, 5)

    partition.give(BodiesRead(partition.bodies([0])))

    assert waking.wanted(partition.state, 9) == [1, 2, 3, 4]


def test_new_events_stay_behind_those_that_slept() -> None:
    partition = asleep(3, keys=("k",))
    partition.load(THERE)
    recall(partition, 1)
    partition.read(event(3, key="k"))
    partition.commit()
    recall(partition, 1)
    partition.read(event(4, key="k"))
    partition.recalls = True
    while partition.in_hand:
        partition.complete(*partition.in_hand)
        partition.commit()

    found = [one["events"][0]["offset"] for made in partition.commits for one in results(made.outgoing)]
    assert found == [0, 1, 2, 3, 4]
    assert partition.state.waking == {}


def test_what_gathers_from_elsewhere_stays_behind_what_slept_too() -> None:
    gathering = flow("there", batch_size=2, batch_timeout_seconds=60)
    partition = Partition(announced=[gathering])
    partition.read(event(0))
    partition.commit()
    partition.recalls = False
    partition.load(gathering)

    command = commands.Command(
        0, "j", 1, 1, [], [commands.Batched("there", event(7)), commands.Batched("there", event(8))]
    )
    assert partition.commanded(command) == []
    partition.commit()
    partition.recalls = True
    partition.give()
    assert [[one.offset for one in partition.run(name).events] for name in partition.in_hand] == [[0, 7]]


def test_what_comes_in_the_round_of_the_last_piece_waits_for_its_own() -> None:
    partition = asleep(1)
    partition.load(THERE)
    partition.read(event(1))
    assert recall(partition) == [run_id("there", event(0))]
    assert partition.state.waking == {"there": 1}
    partition.commit()

    assert recall(partition) == [run_id("there", event(1))]
    assert partition.read(event(2)) == [run_id("there", event(2))]


def test_events_of_other_workflows_do_not_wait_for_what_wakes() -> None:
    partition = asleep(2)
    other = flow("other")
    partition.load(THERE, other)

    assert partition.read(event(2)) == [run_id("other", event(2))]


def test_what_wakes_counts_as_waiting_until_its_turn_has_come() -> None:
    partition = asleep(3, keys=("k",))
    partition.load(THERE)
    recall(partition)
    weight = event(1, key="k").weight

    assert (partition.state.held_bytes, partition.state.recalled_bytes) == (2 * weight, 2 * weight)
    for left in (1, 0):
        partition.complete(*partition.in_hand)
        assert (partition.state.held_bytes, partition.state.recalled_bytes) == (left * weight, left * weight)


def test_a_workflow_that_goes_again_lets_the_rest_sleep_on() -> None:
    partition = asleep(4, keys=("k",))
    partition.load(THERE)
    recall(partition, 2)
    partition.load()

    assert list(waking.wanted(partition.state, 9)) == []
    assert list(partition.state.asleep["there"]) == [1, 2, 3]  # the second one sleeps again
    assert (partition.state.held_bytes, partition.state.recalled_bytes) == (0, 0)
    partition.load(THERE)
    assert waking.wanted(partition.state, 9) == [1, 2, 3]


def test_what_only_a_newer_form_takes_is_looked_at_once_for_each_form() -> None:
    older, newer = flow("there", "x"), flow("there", ["x", "orders/*"], version="2")
    partition = Partition(older, announced=[newer])
    partition.read(event(0))
    partition.commit()
    partition.recalls = False
    assert partition.state.waking == {}

    partition.load(flow("there", "x"), announced=[newer])
    assert waking.wanted(partition.state, 9) == [0]
    assert recall(partition) == []
    assert (partition.state.waking, partition.state.shared) == ({}, {})
    assert partition.read(event(1, "x")) == [run_id("there", event(1, "x"))]  # the others of the workflow go on


def offsets(partition: Partition, most: int) -> list[int]:
    """Which events are wanted: those of runs, then those that slept."""
    of_runs = [number for one in rising.wanted(partition.state, most) for number, _ in one.bodies]
    return [one.offset for _, one in partition.bodies([*of_runs, *waking.wanted(partition.state, most)])]


def rise(partition: Partition, most: int = 100) -> list[str]:
    """Read back runs that are wanted, once; return those that start."""
    read = partition.recalled(most)
    assert isinstance(read, RunsRead)
    return started(partition.give(read))


def batch() -> Partition:
    """A run of three events, and one that waits."""
    partition = Partition(flow("there", batch_size=3, batch_timeout_seconds=60))
    partition.read(*(event(n) for n in range(4)))
    partition.commit()
    again = partition.takeover(load=False)
    again.recalls = False
    return again


def test_a_run_wakes_with_all_of_its_events_however_many() -> None:
    partition = batch()
    name = run_id("there", event(0))
    before = canonical(partition.state)["runs"]
    partition.load(flow("there", batch_size=3, batch_timeout_seconds=60))

    assert offsets(partition, 1) == [0, 1, 2, 3]
    assert partition.run(name).status is RunStatus.WAKING
    assert rise(partition, 1) == [name]
    assert [one.offset for one in partition.run(name).events] == [0, 1, 2]
    assert before[name]["events"] == ()
    assert offsets(partition, 9) == [3]
    assert partition.state.run_bytes == 3 * event(0).weight


def test_a_run_that_wakes_keeps_its_lane() -> None:
    partition = Partition(THERE)
    first, second = event(0, key="k"), event(1, key="k")
    partition.read(first, second)
    partition.commit()
    again = partition.takeover(load=False)
    again.recalls = False
    again.load(THERE)
    again.load(THERE)  # heard of again meanwhile

    assert again.state.lanes[("there", "k")].active == 1
    again.recalls = True
    again.load(THERE)
    assert list(again.in_hand) == [run_id("there", first)]
    assert again.complete(run_id("there", first)) == [run_id("there", second)]


def test_what_is_retired_while_it_wakes_is_given_up_and_what_comes_back_meanwhile_goes_on() -> None:
    partition = batch()
    partition.load(retired={"there": 9})
    assert offsets(partition, 9) == [0, 1, 2, 3]
    partition.load()  # announced anew, and not loaded here
    assert list(waking.wanted(partition.state, 9)) == []
    assert [one.status for one in partition.state.runs.values()] == [RunStatus.ASLEEP]

    partition.load(retired={"there": 9})
    partition.recalls = True
    partition.give()
    assert sorted(one["code"] for one in dead(partition.committed())) == ["run_failed"] * 3 + ["workflow_retired"]
    assert partition.state.runs.bodies == {}


@pytest.mark.parametrize("most", [1, 2, 100])
def test_workflows_that_share_events_wake_together(most: int) -> None:
    partition = Partition(announced=[flow("a"), flow("b")])
    partition.read(*(event(n) for n in range(3)))
    partition.commit()
    assert partition.kinds()["body"] == 3
    partition.recalls = False
    partition.load(flow("a"), flow("b"))

    assert list(waking.wanted(partition.state, 100)) == [0, 1, 2]
    while waking.wanted(partition.state, most):
        recall(partition, most)
    assert sorted(partition.in_hand) == sorted(run_id(name, event(n)) for name in "ab" for n in range(3))
    partition.complete(*partition.in_hand)
    partition.commit()
    assert partition.kinds().get("body", 0) == 0
    assert partition.state.shared == {}


def test_what_is_in_memory_for_another_workflow_is_not_read_again() -> None:
    partition = Partition(flow("a"), announced=[flow("b")])
    first, second = event(0, key="k"), event(1, key="k")
    partition.read(first, second)
    partition.commit()
    partition.recalls = False

    assert partition.load(flow("a"), flow("b")) == [run_id("b", first)]
    assert list(waking.wanted(partition.state, 9)) == []


# --- room -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("committed", [True, False], ids=["journaled", "fresh"])
def test_what_waits_behind_a_run_that_waits_is_left_to_the_journal_and_comes_back_in_order(committed: bool) -> None:
    partition = Partition(flow("there", order="strict"))
    (first,) = partition.read(event(0, key="k"))
    partition.ask(first, "approve", Suspend(data=b"null", deadline_ms=None))
    assert not waking.may_spill(partition.state)
    partition.read(event(1, key="k"), event(2, key="k"))
    assert waking.may_spill(partition.state)
    if committed:
        partition.commit()
    partition.recalls = False

    partition.give(Crowded())
    partition.commit()
    assert (partition.state.held_bytes, len(partition.state.asleep["there"])) == (0, 2)
    assert not waking.may_spill(partition.state)
    partition.read(event(3, key="k"))  # behind those
    partition.commit()
    assert partition.state.held_bytes == 0

    partition.recalls = True
    partition.give()
    assert partition.state.asleep == {}
    assert not waking.may_spill(partition.state)  # what was read back stays
    partition.read(event(4, key="k"))
    order = [run_id("there", event(n, key="k")) for n in range(5)]
    assert list(partition.state.runs) == order[:1]
    partition.in_hand[first] = 1
    for run, after in zip(order, [*order[1:], None], strict=True):
        assert partition.complete(run) == ([] if after is None else [after])
    partition.commit()
    assert partition.kinds().keys() == {"out", "known", "head"}


def test_what_waits_behind_a_run_that_goes_on_makes_no_room_for_others() -> None:
    partition = Partition(flow("there", order="strict"))
    first, other = partition.read(event(0, key="k"), event(1, key="other"))
    partition.read(event(2, key="k"), event(3, key="other"))
    partition.ask(first, "approve", Suspend(data=b"null", deadline_ms=None))
    partition.commit()
    partition.recalls = False

    assert waking.may_spill(partition.state)
    partition.give(Crowded())
    partition.commit()
    assert len(partition.state.asleep["there"]) == 1
    assert not waking.may_spill(partition.state)
    assert partition.complete(other) == [run_id("there", event(3, key="other"))]
    partition.recalls = True
    partition.give()
    assert partition.complete(run_id("there", event(3, key="other"))) == []
    partition.in_hand[first] = 1
    assert partition.complete(first) == [run_id("there", event(2, key="k"))]
    assert partition.state.halted == set()


def test_a_lane_is_known_to_be_kept_after_a_takeover() -> None:
    partition = Partition(flow("there", order="strict"))
    (first,) = partition.read(event(0, key="k"))
    partition.ask(first, "approve", Suspend(data=b"null", deadline_ms=None))
    partition.read(event(1, key="k"))
    partition.commit()

    other = partition.takeover(flow("there", order="strict"), flow("else", "x"))
    other.read(event(2, key="k"), event(3, "x", key="k"))
    assert other.state.halted == {("there", "k")}
    assert waking.may_spill(other.state)
