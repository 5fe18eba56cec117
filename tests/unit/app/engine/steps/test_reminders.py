"""Of runs that wait for long it is told again what they wait for, and when they began."""

from typing import Any

from app.engine.inputs import Evicted, Reminded
from app.engine.steps import reminders
from app.engine.steps.reminders import AT_ONCE, DAY_MS, EVERY_MS, FIRST_MS, PAUSE_MS
from app.engine.tables.run import RunStatus
from app.engine.values.asks import Await, EventCondition, Sleep
from tests.unit.app.engine.onerun import CALL, crashed
from tests.unit.app.engine.partition import NOW, Partition, event, facts, failure, flow

YEAR_MS = 365 * DAY_MS


def waiting(count: int, *, hot: bool = False, **options: Any) -> tuple[Partition, list[str]]:
    """Runs that sleep for a year, and a partition that has been left alone at first."""
    partition = Partition(flow(**options))
    runs = partition.read(*(event(n, key=f"k{n}") for n in range(count)))
    for run in runs:
        partition.ask(run, "nap", Sleep(until_ms=NOW + YEAR_MS))
    partition.commit()
    if not hot:
        partition.give(Evicted(runs))
    partition.commit()
    assert reminders.wanted(partition.state, partition.now) == []
    return partition, runs


def look(partition: Partition, after_ms: int, *, room: int = AT_ONCE) -> list[str]:
    """Look some time later, and give what is wanted; return the ids of the runs that were told of."""
    partition.wait(after_ms)
    wanted = reminders.wanted(partition.state, partition.now)
    reminders.put_back(partition.state, [one.run_id for one in wanted[room:]])
    read = partition._runs(wanted[:room]).runs
    partition.give(Reminded([(run_id, events) for run_id, events, _ in read]))
    return [run_id for run_id, _, _ in read]


def walked(partition: Partition, after_ms: int, **options: Any) -> list[str]:
    """All that one walk tells of."""
    found = look(partition, after_ms, **options)
    while partition.state.reminding is not None:
        found += look(partition, PAUSE_MS, **options)
    return found


def test_a_run_that_waits_for_longer_than_a_week_is_told_of_as_at_first() -> None:
    for hot in (False, True):
        partition, (run,) = waiting(1, hot=hot)
        first = facts(partition.commits[0].outgoing)
        assert [one["fact"] for one in first] == ["run_started", "step_waiting"]
        assert walked(partition, FIRST_MS) == []
        assert partition.commit() is None
        assert walked(partition, EVERY_MS) == [run]
        again = facts(partition.committed())
        assert again[0] == first[0], "it began when it began"
        assert again[1] | {"at": ""} == first[1] | {"at": ""}
        assert again[1]["at"] > first[1]["at"]
        assert partition.run(run).status is (RunStatus.WAITING if hot else RunStatus.COLD)


def test_it_is_told_of_once_a_week_also_by_the_next_owner() -> None:
    partition, (run,) = waiting(1)
    partition.wait(EVERY_MS)
    assert walked(partition, 0) == [run]
    partition.commit()
    partition.cool()
    assert partition.state.runs.resting == 1

    again = crashed(partition)
    assert reminders.next_ms(again.state, again.now) == again.state.reminded_ms + EVERY_MS
    assert walked(again, EVERY_MS - PAUSE_MS * 9) == []
    assert walked(again, PAUSE_MS * 9) == [run]


def test_an_owner_that_dies_before_the_walk_is_over_leaves_it_to_the_next_one() -> None:
    partition, runs = waiting(AT_ONCE + 1)
    partition.wait(EVERY_MS)
    assert look(partition, 0) == []
    assert len(look(partition, PAUSE_MS)) == AT_ONCE
    partition.commit()
    again = crashed(partition)
    assert reminders.wanted(again.state, again.now) == []
    assert sorted(walked(again, FIRST_MS)) == sorted(runs)


def test_what_there_is_no_room_for_comes_next_and_none_is_left_out() -> None:
    partition, runs = waiting(AT_ONCE + 9)
    found = walked(partition, EVERY_MS, room=7)
    assert len(found) == len(runs)
    assert set(found) == set(runs)


def test_a_walk_leaves_nothing_behind_of_what_had_room() -> None:
    partition, _ = waiting(AT_ONCE + 1)
    partition.wait(EVERY_MS)
    look(partition, 0)
    assert partition.state.reminding is not None
    left = partition.state.reminding.left
    look(partition, PAUSE_MS)
    assert partition.state.reminding.left is left


def test_many_are_looked_at_a_thousand_at_a_time() -> None:
    partition, runs = waiting(1_001)
    partition.wait(EVERY_MS - DAY_MS)
    looks = 0
    while partition.state.reminding is not None or not looks:
        looks += 1
        assert look(partition, PAUSE_MS) == []
    assert looks == 3, "those in memory, a thousand, the rest"
    assert len(walked(partition, DAY_MS)) == len(runs)


def test_of_others_it_is_told_nothing() -> None:
    partition, asleep = waiting(3)
    stuck, over = partition.read(event(10), event(11))
    partition.fail(stuck, failure(stuck=True))
    partition.complete(over)
    partition.commit()
    assert walked(partition, EVERY_MS + FIRST_MS) == asleep


def test_of_a_step_whose_function_is_tried_again_it_is_told_when() -> None:
    partition = Partition(flow())
    (run,) = partition.read(event(0))
    partition.ask(run, "call", CALL, aside=True)
    condition = EventCondition(topic="orders/paid")
    partition.ask(run, "paid?", Await(conditions=(condition,), need=1, deadline_ms=None), aside=True)
    partition.commit()
    partition.step_ends(run, "call", why=failure(retry_after_ms=YEAR_MS))
    partition.commit()
    reminders.wanted(partition.state, partition.now)
    partition.wait(EVERY_MS)
    assert walked(partition, 0) == [run]
    assert [(one["fact"], one.get("step")) for one in facts(partition.committed())] == [
        ("run_started", None),
        ("step_retried", "call"),
        ("step_waiting", "paid?"),
    ]
