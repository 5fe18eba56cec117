from app.engine.tables.run import Held, Unloaded
from app.engine.tables.state import Lane, Pending, Timer, empty, policy_of
from app.engine.values.limits import Limits
from tests.unit.app.engine.partition import event, flow


def pending(offset: int) -> Pending:
    return Pending("charge", Held(event(offset)))


def test_a_lane_gives_what_waits_in_order_and_knows_its_size() -> None:
    lane = Lane(flow(), ("charge", "k"))
    first, second = pending(0), pending(1)
    lane.wait(first)
    lane.wait(second)
    each = first.held.envelope.size

    assert (lane.size, len(lane.pending)) == (2 * each, 2)
    assert (lane.take(), lane.size) == (first, each)
    lane.clear()
    assert (lane.size, len(lane.pending)) == (0, 0)


def test_lanes_do_not_share_what_waits_in_them() -> None:
    one, other = Lane(flow(), ("charge", "a")), Lane(flow(), ("charge", "b"))
    one.wait(pending(0))
    other.clear()

    assert (len(one.pending), len(other.pending)) == (1, 0)
    assert len(Lane(flow(), ("charge", "c")).pending) == 0


def test_an_empty_state_remembers_as_many_ids_and_as_long_as_its_limits_say() -> None:
    limits = Limits(partitions=4, dedup_ids=40, dedup_window_ms=400)
    state = empty(3, limits, journal_id="j")

    assert (state.partition, state.journal_id, state.round, state.changed) == (3, "j", 0, False)
    assert state.dedup.policy == policy_of(limits)
    assert (state.dedup.policy.max_ids, state.dedup.policy.window_ms) == (40, 400)
    assert state.matcher.of("orders/created") == ()


def test_what_stands_for_a_workflow_that_is_not_loaded_allows_nothing() -> None:
    stand_in = Unloaded(id="charge", version="2")

    assert (stand_in.max_retries, stand_in.timeout_seconds) == (0, None)


def test_a_state_says_what_rests_in_it_by_estimate() -> None:
    state = empty(0, Limits(partitions=1), journal_id="j")
    assert state.resting_bytes == 0
    state.later.add((10**9, 1, Timer.STEP.value, "wait:x", None))
    state.keyed.remember("a:0", "a", "k")
    assert state.resting_bytes == state.later.weight + state.keyed.weight == 35 + 80
