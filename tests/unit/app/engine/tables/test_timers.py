"""What is due, in order; and that what no longer holds is not kept for ever."""

from app.engine.tables import timers
from app.engine.tables.state import TIMERS_LEAST, State, Timer, empty
from app.engine.tables.timers import MOST_A_ROUND
from app.engine.values.limits import Limits
from tests.unit.app.engine.partition import NOW, Partition, event, flow, run_id


def armed(state: State) -> set[tuple[int, int, int, str, str | None]]:
    """All timers, far ones too."""
    near = {(due_ms, count, kind.value, name, group) for due_ms, count, kind, name, group in state.timers}
    return near | set(state.later) | set(state.later_ones)


def test_what_is_due_comes_in_the_order_of_its_time_and_then_of_its_arming() -> None:
    state = empty(0, Limits(partitions=1), journal_id="j")
    timers.arm(state, 30, Timer.RETRY, "c")
    timers.arm(state, 10, Timer.RETRY, "a")
    timers.arm(state, 20, Timer.BATCH, "w", "k")
    timers.arm(state, 10, Timer.DEADLINE, "b")
    state.now_ms = 20

    assert timers.next_due_ms(state) == 10
    assert list(timers.due(state)) == [
        (10, Timer.RETRY, "a", None),
        (10, Timer.DEADLINE, "b", None),
        (20, Timer.BATCH, "w", "k"),
    ]
    assert timers.next_due_ms(state) == 30
    assert list(timers.due(state)) == []


def test_nothing_is_due_where_nothing_was_armed() -> None:
    state = empty(0, Limits(partitions=1), journal_id="j")

    assert timers.next_due_ms(state) is None
    assert list(timers.due(state)) == []


def test_timers_of_steps_are_seen_some_seconds_before_their_time() -> None:
    state = empty(0, Limits(partitions=1), journal_id="j")
    state.now_ms = NOW
    timers.arm(state, NOW + timers.AHEAD_MS, Timer.STEP, "near", "nap")
    timers.arm(state, NOW + 30_000, Timer.STEP, "far", "nap")
    timers.arm(state, NOW + 30_000, Timer.WAIT, "wait")
    timers.arm(state, NOW + 90_000, Timer.DEADLINE, "deadline")
    timers.arm(state, NOW + 5_000, Timer.STEP, "of the journal", "nap", far_ms=0)
    assert timers.ahead(state, 9) == [(NOW + 5_000, "of the journal", "nap")]

    first_ms = timers.next_ahead_ms(state)
    assert first_ms is not None
    assert NOW + 30_000 - timers.AHEAD_MS - 1_024 < first_ms <= NOW + 30_000 - timers.AHEAD_MS
    state.now_ms = first_ms
    assert timers.ahead(state, 9) == [(NOW + 30_000, "far", "nap")]
    assert timers.next_ahead_ms(state) is None
    state.now_ms = NOW + 90_000
    assert [name for _, _, name, _ in timers.due(state)] == ["of the journal", "near", "far", "wait", "deadline"]


def test_deadlines_of_runs_that_ended_are_dropped_and_those_that_hold_are_kept() -> None:
    partition = Partition(flow(timeout=3600), flow("batch", "parts", batch_size=9, batch_timeout_seconds=1800))
    going, failing = event(0), event(1)
    partition.read(going, failing, event(2, "parts"))
    partition.fail(run_id("charge", failing))
    kept = armed(partition.state)

    for n in range(3, 3 * TIMERS_LEAST):
        partition.complete(*partition.read(event(n)))

    assert len(armed(partition.state)) <= TIMERS_LEAST
    assert kept <= armed(partition.state)
    partition.commit()
    assert partition.wait(60_000) == [run_id("charge", failing)]
    assert partition.wait(1_800_000) == [run_id("batch", event(2, "parts"))]
    partition.wait(3_600_000 - 1_860_000)
    assert partition.in_hand == {run_id("batch", event(2, "parts")): 1}
    assert partition.now == NOW + 3_600_000


def test_timers_that_change_nothing_do_not_use_up_the_bound_of_the_rounds_after_them() -> None:
    partition = Partition(flow(timeout=3600))
    state = partition.state
    partition.commit()
    for n in range(MOST_A_ROUND + 1):
        timers.arm(state, NOW + 1_000, Timer.WAIT, f"gone-{n}")
    state.timers_most = 2 * MOST_A_ROUND  # as if as many held when they were armed
    (run,) = partition.read(event(0))
    partition.commit()

    for _ in range(2):
        partition.wait(1_000)
        assert partition.commit() is None
    partition.wait(3_600_000)
    assert partition.state.runs == {}, run


def test_more_timers_than_the_least_are_kept_while_they_hold_and_fire_within_the_bound_of_a_round() -> None:
    partition = Partition(flow(timeout=3600))
    count = 2 * TIMERS_LEAST
    for n in range(count):
        partition.read(event(n))

    assert len(armed(partition.state)) == count
    partition.wait(3_600_000)
    assert len(armed(partition.state)) == count - MOST_A_ROUND
    partition.commit()
    partition.wait(0)
    assert partition.state.runs == {}
    assert armed(partition.state) == set()
