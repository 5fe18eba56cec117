"""A run for each instant and no other: over commits, restarts, snapshots, changes of the schedule, and downtime."""

from typing import Any

import orjson
import pytest

from app.engine.journal import snapshot
from app.engine.journal.entities import Entities
from app.engine.journal.restore import restore
from app.engine.starts import schedules
from app.engine.tables.run import RunStatus
from app.engine.tables.state import policy_of
from headgate.definition import Workflow
from tests.unit.app.engine.partition import (
    JOURNAL,
    NOW,
    Partition,
    canonical,
    dead,
    event,
    flow,
    results,
    run_id,
)
from topics import keys
from topics.timestamps import rfc3339

MINUTE = 60_000
HOUR = 60 * MINUTE
PARTITIONS = 4
HOME = keys.partition_of(b"tick", PARTITIONS)


def tick(cron: str = "* * * * *", timezone: str = "UTC", catch_up: str = "once", **options: Any) -> Workflow:
    return flow("tick", None, schedule={"cron": cron, "timezone": timezone, "catch_up": catch_up}, **options)


def of_instant(instant_ms: int) -> str:
    return run_id("tick", schedules.event_of("tick", instant_ms, last_ms=None, timezone="UTC"))


def data_of(partition: Partition, instant_ms: int) -> Any:
    return partition.run(of_instant(instant_ms)).events[0].data


def armed(partition: Partition) -> int | None:
    return partition.state.schedules["tick"].armed_ms


def test_a_schedule_that_is_new_starts_from_now_and_runs_once_for_each_instant() -> None:
    partition = Partition(tick())

    assert partition.in_hand == {}
    assert partition.wait(MINUTE - 1) == []
    assert partition.wait(1) == [of_instant(NOW + MINUTE)]
    assert partition.wait(0) == []
    partition.complete(of_instant(NOW + MINUTE))
    assert partition.wait(MINUTE + 400) == [of_instant(NOW + 2 * MINUTE)]


def test_an_authors_function_is_told_the_instant_and_the_one_that_ran_before_it() -> None:
    partition = Partition(tick("0 9 * * *", "Asia/Tokyo"))
    first = NOW + 12 * HOUR
    [started] = partition.wait(12 * HOUR + 7)

    assert partition.run(started).events[0].payload() == {
        "id": "schedule/tick/2026-02-01T00:00:00.000Z",
        "sequence_id": "schedule/tick/2026-02-01T00:00:00.000Z",
        "topic": "schedule/tick",
        "event_type": None,
        "data": {"scheduled_at": "2026-02-01T00:00:00.000Z", "last_at": None, "timezone": "Asia/Tokyo"},
        "created_at": "2026-02-01T00:00:00.000Z",
        "key": "tick",
    }
    partition.complete(started)
    partition.wait(24 * HOUR)
    assert data_of(partition, first + 24 * HOUR)["last_at"] == "2026-02-01T00:00:00.000Z"


def test_the_result_names_the_event_and_no_place_for_it() -> None:
    partition = Partition(tick())
    [started] = partition.wait(MINUTE)
    partition.complete(started)

    [result] = results(partition.committed())
    assert (result["run_id"], result["key"]) == (started, "tick")
    assert result["events"] == [
        {"id": f"schedule/tick/{rfc3339(NOW + MINUTE)}", "topic": "schedule/tick", "partition": -1, "offset": -1}
    ]


def test_the_dead_letter_of_a_failed_run_says_that_the_schedule_goes_on() -> None:
    partition = Partition(tick(max_retries=0))
    [started] = partition.wait(MINUTE)
    partition.fail(started)

    [letter] = dead(partition.committed())
    assert letter["source"] | {"topic": ""} == {
        "topic": "",
        "partition": -1,
        "offset": -1,
        "timestamp": rfc3339(NOW + MINUTE),
    }
    assert orjson.loads(letter["value"])["id"] == f"schedule/tick/{rfc3339(NOW + MINUTE)}"
    assert letter["remedy"] == "mend workflow 'tick'; its next run starts at the next instant of its schedule"


@pytest.mark.parametrize("partition", range(PARTITIONS))
def test_only_the_home_of_the_workflow_follows_its_schedule(partition: int) -> None:
    one = Partition(tick(), partition=partition, partitions=PARTITIONS)

    assert (one.wait(MINUTE) == [of_instant(NOW + MINUTE)]) is (partition == HOME)
    assert ("tick" in one.state.schedules) is (partition == HOME)


def test_the_journal_holds_how_far_it_came_in_the_commit_of_the_run() -> None:
    partition = Partition(tick("*/5 * * * *", "Asia/Tokyo"))
    partition.commit()
    about = {"cron": "*/5 * * * *", "timezone": "Asia/Tokyo"}

    assert partition.entity(b"schedule:tick") == about | {"r": 1, "last": NOW, "ran": None}
    partition.wait(5 * MINUTE)
    made = partition.commit()

    assert made is not None
    assert {key for key, _ in made.batch} >= {b"schedule:tick", b"run:" + of_instant(NOW + 5 * MINUTE).encode()}
    assert partition.entity(b"schedule:tick") == about | {"r": 2, "last": NOW + 5 * MINUTE, "ran": NOW + 5 * MINUTE}
    partition.wait(1)
    assert partition.commit() is None


def test_an_instant_whose_commit_never_came_starts_the_same_run_again() -> None:
    partition = Partition(tick())
    partition.commit()
    partition.wait(MINUTE)

    other = partition.takeover(tick())
    assert list(other.in_hand) == [of_instant(NOW + MINUTE)]
    assert other.run(of_instant(NOW + MINUTE)).events == partition.run(of_instant(NOW + MINUTE)).events


def test_an_instant_that_was_committed_starts_no_second_run_after_a_restart() -> None:
    partition = Partition(tick())
    [started] = partition.wait(MINUTE)
    partition.commit()

    other = partition.takeover(tick())
    assert other.in_hand == {started: 1}  # the same run, which goes on
    other.complete(started)
    other.commit()
    again = other.takeover(tick())
    assert again.in_hand == {}
    assert armed(again) == NOW + 2 * MINUTE


@pytest.mark.parametrize(("catch_up", "caught"), [("skip", []), ("once", [3]), ("all", [1, 2, 3])])
@pytest.mark.parametrize("how", ["restart", "loaded again"])
def test_instants_that_passed_without_the_code(catch_up: str, caught: list[int], how: str) -> None:
    partition = Partition(tick(catch_up=catch_up, order="none"))
    partition.commit()
    if how == "restart":
        partition.now += 3 * MINUTE + 30_000
        partition = partition.takeover(load=False)
    else:
        partition.load(flow())
        assert armed(partition) is None
        assert partition.wait(3 * MINUTE + 30_000) == []

    assert partition.load(tick(catch_up=catch_up, order="none")) == [of_instant(NOW + n * MINUTE) for n in caught]
    partition.commit()
    assert partition.load(tick(catch_up=catch_up, order="none")) == []
    assert armed(partition) == NOW + 4 * MINUTE
    assert partition.takeover(tick(catch_up=catch_up, order="none")).wait(30_000) == [of_instant(NOW + 4 * MINUTE)]


def test_each_of_many_runs_sees_the_one_before_it_and_one_for_all_sees_how_far_they_came() -> None:
    partition = Partition(tick(catch_up="all", order="none"))
    partition.wait(MINUTE)
    partition.commit()
    partition.now += 3 * MINUTE

    every = partition.takeover(tick(catch_up="all", order="none"))
    assert [data_of(every, NOW + n * MINUTE)["last_at"] for n in (2, 3, 4)] == [
        rfc3339(NOW + n * MINUTE) for n in (1, 2, 3)
    ]
    one = partition.takeover(tick(catch_up="once", order="none"))
    assert data_of(one, NOW + 4 * MINUTE)["last_at"] == rfc3339(NOW + MINUTE)


@pytest.mark.parametrize(("catch_up", "caught"), [("skip", [3]), ("once", [3]), ("all", [1, 2, 3])])
def test_an_owner_that_was_held_up_runs_what_was_due_meanwhile(catch_up: str, caught: list[int]) -> None:
    partition = Partition(tick(catch_up=catch_up, order="none"))

    assert partition.wait(3 * MINUTE) == [of_instant(NOW + n * MINUTE) for n in caught]
    assert armed(partition) == NOW + 4 * MINUTE


@pytest.mark.parametrize("extra", [0, 1, 4_000])
def test_all_is_bounded_and_the_rest_is_told(extra: int) -> None:
    most = schedules.MOST_MISSED
    partition = Partition(tick("* * * * * *", catch_up="all", order="none"))
    partition.commit()
    partition.now += (most + extra) * 1_000
    other = partition.takeover(tick("* * * * * *", catch_up="all", order="none"))

    assert list(other.in_hand) == [of_instant(NOW + (extra + n) * 1_000) for n in range(1, most + 1)]
    letters = [(one["code"], one["reason"]) for one in dead(other.committed())]
    told = (
        "workflow 'tick' missed more than 1,000 instants of its schedule; no run starts for those from "
        f"{rfc3339(NOW + 1_000)} until before {rfc3339(NOW + (extra + 1) * 1_000)}"
    )
    assert letters == ([("too_many_missed", told)] if extra else [])


def test_the_latest_are_found_where_they_are_sparse_and_where_they_come_in_bursts() -> None:
    for cron in ("0 9 * * *", "* * 9 * * *"):
        partition = Partition(tick(cron, catch_up="all", order="none"))
        partition.commit()
        partition.now += 2_000 * 24 * HOUR
        other = partition.takeover(tick(cron, catch_up="all", order="none"))

        instants = [other.run(one).events[0].timestamp_ms for one in other.in_hand]
        assert len(instants) == schedules.MOST_MISSED
        read = tick(cron).schedule
        assert read is not None
        assert instants[1:] == [read.read().next_after(one) for one in instants[:-1]]
        assert instants[-1] == read.read().latest(NOW, partition.now)


def test_a_year_of_seconds_is_caught_up_with_at_once() -> None:
    partition = Partition(tick("* * * * * *"))
    partition.commit()
    partition.now += 365 * 24 * HOUR

    assert list(partition.takeover(tick("* * * * * *")).in_hand) == [of_instant(NOW + 365 * 24 * HOUR)]


@pytest.mark.parametrize(
    "changed", [tick("*/2 * * * *", catch_up="all"), tick("* * * * *", "Asia/Tokyo", catch_up="all")]
)
@pytest.mark.parametrize("restarts", [True, False])
def test_another_cron_or_zone_starts_from_now(changed: Workflow, restarts: bool) -> None:
    partition = Partition(tick())
    partition.complete(*partition.wait(MINUTE))
    partition.commit()
    if restarts:
        partition.now += 9 * MINUTE + 30_000
        partition = partition.takeover(load=False)
    else:
        partition.load()
        partition.wait(9 * MINUTE + 30_000)

    assert partition.load(changed) == []
    assert partition.wait(MINUTE // 2) == ([of_instant(NOW + 11 * MINUTE)] if "Asia" in str(changed.schedule) else [])
    partition.complete(*partition.in_hand)
    assert partition.wait(MINUTE) == [of_instant(NOW + 12 * MINUTE)]


def test_one_that_lost_its_schedule_or_was_retired_is_forgotten_and_starts_from_now_when_it_is_back() -> None:
    for without in ((flow("tick"),), ()):
        partition = Partition(tick())
        partition.commit()
        partition.load(*without, retired={"tick": NOW + 1})
        partition.commit()

        assert partition.state.schedules == {}
        assert b"schedule:tick" not in partition.journal
        partition.wait(10 * MINUTE)
        assert partition.load(tick()) == []
        assert partition.wait(MINUTE) == [of_instant(NOW + 11 * MINUTE)]


def test_one_that_is_back_within_the_round_in_which_it_went_is_kept() -> None:
    partition = Partition(tick())
    partition.commit()
    partition.load(flow("tick"))
    partition.load(tick())
    partition.commit()

    assert partition.entity(b"schedule:tick")["last"] == NOW
    assert partition.takeover(tick()).wait(MINUTE) == [of_instant(NOW + MINUTE)]


@pytest.mark.parametrize(("order", "together"), [("key", 1), ("strict", 1), ("none", 3)])
def test_runs_of_one_schedule_overlap_only_without_order(order: str, together: int) -> None:
    partition = Partition(tick(order=order))
    for _ in range(3):
        partition.wait(MINUTE)

    assert len(partition.in_hand) == together
    partition.complete(of_instant(NOW + MINUTE))
    assert of_instant(NOW + 2 * MINUTE) in partition.in_hand


@pytest.mark.parametrize(("catch_up", "caught"), [("once", [9]), ("all", [5, 6, 7, 8, 9])])
def test_while_too_many_wait_for_their_turn_others_count_as_missed(
    catch_up: str, caught: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "MOST_WAITING", 3)
    partition = Partition(tick(catch_up=catch_up))
    for _ in range(8):
        partition.wait(MINUTE)
    assert len(partition.state.lanes["tick", "tick"].pending) == 3

    partition.complete(*partition.in_hand)
    partition.wait(MINUTE)
    ran = []
    while partition.in_hand:
        ran += list(partition.in_hand)
        partition.complete(*partition.in_hand)
    assert ran == [of_instant(NOW + n * MINUTE) for n in (2, 3, 4, *caught)]
    assert armed(partition) == NOW + 10 * MINUTE


def test_those_that_wait_for_their_turn_go_on_in_order_after_a_restart() -> None:
    partition = Partition(tick())
    for _ in range(3):
        partition.wait(MINUTE)
        partition.commit()

    other = partition.takeover(tick())
    ran = []
    while other.in_hand:
        ran += list(other.in_hand)
        other.complete(*other.in_hand)
    assert ran == [of_instant(NOW + n * MINUTE) for n in (1, 2, 3)]
    assert dead(other.committed()) == []


def test_those_that_wait_for_code_sleep_and_new_instants_queue_behind_them() -> None:
    partition = Partition(tick())
    for _ in range(3):
        partition.wait(MINUTE)
    partition.commit()
    asleep = partition.takeover(flow())
    asleep.now += MINUTE
    asleep.recalls = False
    asleep.load(tick())  # the bodies are not read back yet
    assert asleep.in_hand == {}
    asleep.recalls = True
    asleep.commit()
    asleep.wait(0)

    ran = []
    while asleep.in_hand:
        ran += list(asleep.in_hand)
        asleep.complete(*asleep.in_hand)
    assert ran == [of_instant(NOW + n * MINUTE) for n in (1, 2, 3, 4)]


def test_what_waits_is_given_up_when_the_schedule_is_gone() -> None:
    partition = Partition(tick())
    partition.wait(MINUTE)
    partition.wait(MINUTE)
    partition.commit()
    partition.load(flow("tick"))

    [letter] = dead(partition.committed())
    assert (letter["code"], orjson.loads(letter["value"])["topic"]) == ("no_longer_triggered", "schedule/tick")


def test_a_filter_is_for_events_and_not_for_instants() -> None:
    asked: list[str] = []

    def only_large(one: Any) -> bool:
        asked.append(one["topic"])
        return bool(one["data"]["total"] > 100)

    both = flow("tick", "orders/created", schedule="* * * * *", filter=only_large)
    partition = Partition(both)
    partition.read(event(0, data={"total": 1}), event(1, data={"total": 101}))
    partition.wait(MINUTE)
    partition.wait(MINUTE)
    partition.commit()

    assert asked == ["orders/created"] * 2
    assert of_instant(NOW + MINUTE) in partition.in_hand
    assert of_instant(NOW + 2 * MINUTE) in {*partition.in_hand} or partition.state.lanes
    assert set(partition.takeover(both).in_hand) >= {of_instant(NOW + MINUTE)}
    assert asked == ["orders/created"] * 2


def test_an_event_that_somebody_produces_on_its_topic_starts_nothing() -> None:
    partition = Partition(tick())

    assert partition.read(event(0, "schedule/tick", id=f"schedule/tick/{rfc3339(NOW + MINUTE)}", key="tick")) == []
    assert partition.wait(MINUTE) == [of_instant(NOW + MINUTE)]


def test_restored_from_a_snapshot_it_is_as_from_the_journal() -> None:
    partition = Partition(tick(), flow())
    partition.complete(*partition.wait(MINUTE))
    partition.commit()
    partition.deliver(partition.state.round)
    content = snapshot.encode(partition.state, next_offset=9, about={})
    found = snapshot.decode(content, policy_of(partition.limits))

    restored = restore(found.entities, 0, partition.limits, journal_id=JOURNAL, remembered=found.remembered).state
    other = partition.takeover(load=False)
    assert restored.schedules == other.state.schedules
    assert restored.schedules["tick"].last_ms == NOW + MINUTE


def test_a_takeover_is_as_the_owner_before_it() -> None:
    partition = Partition(tick(order="none"), flow())
    partition.wait(MINUTE)
    partition.read(event(0))
    partition.commit()

    assert (
        canonical(partition.takeover(tick(order="none"), flow()).state)["schedules"]
        == canonical(partition.state)["schedules"]
    )
    assert partition.state.runs[of_instant(NOW + MINUTE)].status is RunStatus.RUNNING


def test_what_cannot_be_read_keeps_the_partition_from_being_served() -> None:
    partition = Partition(tick())
    partition.commit()
    entities = Entities(dict(partition.journal) | {b"schedule:tick": b'{"cron":"* * * * *","r":1}'})

    with pytest.raises(Exception, match="journal record 'schedule:tick' cannot be read"):
        restore(entities, 0, partition.limits, journal_id=JOURNAL)


def test_timers_of_schedules_are_kept_while_they_hold() -> None:
    partition = Partition(tick("@hourly"))
    for n in range(5_000):
        partition.complete(*partition.read(event(n)))
    for _ in range(3):
        partition.load(flow())
        partition.load(tick("@hourly"), flow(timeout=9))
    for n in range(5_000, 12_000):
        partition.complete(*partition.read(event(n)))

    assert partition.wait(HOUR) == [of_instant(NOW + HOUR)]
