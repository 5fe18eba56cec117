"""Wishes: a run is cancelled, or goes on, wherever it is; and an event cancels the runs of its key."""

from typing import Any

import pytest

from app.engine.effects import Rise
from app.engine.inputs import EventsRead, Evicted
from app.engine.runs import asleep, parents
from app.engine.runs.parents import Parent
from app.engine.tables.run import RunStatus
from app.engine.values.asks import Execute, Sleep, Suspend
from tests.unit.app.engine.partition import (
    NOW,
    Partition,
    commanded,
    dead,
    event,
    failure,
    flow,
    results,
    run_id,
    summary,
)
from topics import asked, codec, commands, keys
from topics.envelope import Envelope
from topics.reserved import CANCEL, RETRY, start_topic

FLOW = flow()
GONE = "charge:000000000000000000000001"
STUCK = failure("the code asks for other steps", kind="HistoryMismatch", stuck=True)


def wish(topic: str, run: str, offset: int = 90) -> Any:
    return event(offset, topic, key=run)


def in_status(status: RunStatus, *, again: bool) -> tuple[Partition, str]:
    """A partition with a run in that status; `again`: after a takeover, as far as that leaves it so."""
    partition = Partition(FLOW)
    (run,) = partition.read(event(0, key="k1"))
    partition.commit()
    partition.ask(run, "nap", Sleep(until_ms=NOW + 60_000) if status is not RunStatus.RUNNING else CALL)
    partition.commit()
    if status is RunStatus.COLD:
        partition.give(Evicted([run]))
    elif status is RunStatus.RETRYING:
        partition.fail(run)
    elif status is RunStatus.STUCK:
        partition.fail(run, STUCK)
    partition.commit()
    if again:
        partition = partition.takeover(load=status is not RunStatus.ASLEEP)
        if status is not RunStatus.ASLEEP:
            partition.load(FLOW)
    partition.told()
    return partition, run


CALL = Execute(max_retries=0, base_delay_ms=1, max_delay_ms=1)


@pytest.mark.parametrize("again", [False, True], ids=["here", "after a takeover"])
@pytest.mark.parametrize("status", [one for one in RunStatus if one is not RunStatus.WAKING])
def test_a_cancelled_run_ends_as_such_whatever_it_does(status: RunStatus, again: bool) -> None:
    partition, run = in_status(status, again=again or status is RunStatus.ASLEEP)
    hot = partition.run(run).status in (RunStatus.RUNNING, RunStatus.WAITING)
    effects = partition.give(*[read(partition, wish(CANCEL, run))])

    assert [one.id for one in effects.cancels] == ([run] if hot else [])
    outgoing = partition.committed()
    assert summary(outgoing) == [
        (run, "cancelled", "the run was cancelled: an event on 'headgate/cancel' asked for it")
    ]
    assert results(outgoing)[0]["error"]["type"] == "RunCancelled"
    assert dead(outgoing) == []
    assert partition.state.runs == {}
    assert partition.kinds().keys() == {"out", "known", "head"}
    partition.wait(3_600_000)
    assert partition.told() == []


def read(partition: Partition, *envelopes: Any) -> Any:
    partition.next_offset = max(one.offset + 1 for one in envelopes)
    return EventsRead(envelopes, (), partition.next_offset)


def test_a_record_without_a_value_cancels_as_well() -> None:
    partition = Partition(FLOW)
    (run,) = partition.read(event(0, key="k1"))
    tombstone = codec.decode(None, run.encode(), (), partition=0, offset=1, timestamp_ms=NOW, max_bytes=None)
    partition.read(tombstone)
    assert [one[:2] for one in summary(partition.committed())] == [(run, "cancelled")]


def test_the_home_of_a_wish_asks_all_partitions_and_one_without_the_run_does_nothing() -> None:
    partition = Partition(FLOW, partition=homed(GONE), partitions=2)
    partition.read(wish(CANCEL, GONE, 1), wish(RETRY, GONE, 2))
    outgoing = partition.committed()
    ((destination, told),) = commanded(outgoing)
    assert destination == 1 - homed(GONE)
    assert told.asks == [asked.Cancel(GONE, "an event on 'headgate/cancel' asked for it"), asked.Retry(GONE)]
    assert (outgoing.results, dead(outgoing)) == ([], [])


def homed(text: str) -> int:
    return keys.partition_of(text.encode(), 2)


def test_a_cancel_from_elsewhere_ends_the_run_here() -> None:
    partition = Partition(FLOW)
    (run,) = partition.read(event(0, key="k1"))
    partition.commit()
    partition.commanded(commands.Command(7, "other", 1, 1, (), (), [asked.Cancel(run, "no more")]))
    assert summary(partition.committed()) == [(run, "cancelled", "the run was cancelled: no more")]


def test_a_stuck_run_goes_on_when_it_is_asked_to_and_no_other() -> None:
    partition, run = in_status(RunStatus.STUCK, again=False)
    partition.read(wish(RETRY, run))
    (risen,) = partition.told()
    assert isinstance(risen, Rise)
    assert (risen.run.id, risen.run.status) == (run, RunStatus.RUNNING)
    partition.commit()
    partition.read(wish(RETRY, run, 91))
    assert partition.told() == []


def test_an_event_that_starts_no_workflow_is_a_dead_letter() -> None:
    partition = Partition(FLOW)
    partition.read(event(0, "headgate/start/nobody"), event(1, "headgate/start/charge"))
    (letter,) = dead(partition.committed())
    assert (letter["code"], letter["source"]["offset"]) == ("no_such_workflow", 0)
    assert list(partition.state.runs) == [run_id("charge", event(1, "headgate/start/charge"))]


def test_an_event_starts_a_workflow_by_name_though_it_came_before_the_workflow_was_known() -> None:
    partition = Partition(FLOW)
    partition.commit()
    partition.now += 60_000
    later = flow("later", ["orders/created", "headgate/start/*"])
    partition.load(FLOW, later)
    by_name, old = event(1, "headgate/start/later"), event(2)
    assert partition.read(by_name, old, event(3, "headgate/start/charge")) == [
        run_id("later", by_name),
        run_id("charge", old),
        run_id("charge", event(3, "headgate/start/charge")),
    ]


# --- cancel_on ------------------------------------------------------------------------------------------------------

CANCELLABLE = flow(cancel_on=["orders/cancelled", "shops/*"])


def cancelled(partition: Partition, topic: str = "orders/cancelled", *, key: str | None = "k1") -> list[Any]:
    partition.read(event(50, topic, key=key))
    made = partition.commit()
    return [] if made is None else [one[:2] for one in summary(made.outgoing)]


def test_an_event_of_its_key_cancels_a_run() -> None:
    partition = Partition(CANCELLABLE)
    first, _other = partition.read(event(0, key="k1"), event(1, key="k2"))
    assert cancelled(partition, "orders/created/x") == []
    assert cancelled(partition, key=None) == []
    assert cancelled(partition, "shops/closed") == [(first, "cancelled")]
    assert cancelled(partition) == []


def test_what_waits_for_its_turn_is_left_alone_and_an_event_cancels_no_run_of_its_own() -> None:
    partition = Partition(flow(cancel_on="orders/created"))
    (first,) = partition.read(event(0, key="k1"))
    partition.commit()
    (second,) = partition.read(event(1, key="k1"))
    assert summary(partition.committed())[0][:2] == (first, "cancelled")
    assert list(partition.state.runs) == [second]


@pytest.mark.parametrize("loaded", [True, False], ids=["with code", "without code"])
def test_a_cold_run_remembers_its_key(loaded: bool) -> None:
    partition = Partition(CANCELLABLE)
    (run,) = partition.read(event(0, key="k1"))
    partition.ask(run, "approve", Suspend(data=b"null", deadline_ms=None))
    partition.commit()
    assert partition.entity(f"run:{run}".encode())["key"] == "k1"
    other = partition.takeover(*([CANCELLABLE] if loaded else []))
    assert cancelled(other, key="k2") == []
    assert cancelled(other) == [(run, "cancelled")]
    assert not other.state.keyed


def test_a_run_that_began_without_cancel_on_is_left_alone() -> None:
    partition = Partition(FLOW)
    (run,) = partition.read(event(0, key="k1"))
    partition.commit()
    assert "key" not in partition.entity(f"run:{run}".encode())
    partition.load(CANCELLABLE)
    assert cancelled(partition) == []


# --- cancel_filter --------------------------------------------------------------------------------------------------


def picky(**options: Any) -> Any:
    """Cancelled by those events of its key whose data says so."""
    cancels: dict[str, Any] = {
        "cancel_on": "orders/changed",
        "cancel_filter": lambda given: given["data"]["gone"],
    } | options
    return flow(**cancels)


def changed(partition: Partition, offset: int, data: Any, key: str | None = "k1") -> list[Any]:
    partition.read(event(offset, "orders/changed", key=key, data=data))
    made = partition.commit()
    return [] if made is None else [one[:2] for one in summary(made.outgoing)]


def test_only_events_that_the_filter_passes_cancel() -> None:
    partition = Partition(picky())
    (run,) = partition.read(event(0, key="k1"))
    assert changed(partition, 50, {"gone": False}) == []
    assert changed(partition, 51, {"gone": True}, key="k2") == []
    assert changed(partition, 52, {"gone": True}) == [(run, "cancelled")]


def test_a_filter_that_fails_cancels_nothing_and_says_so() -> None:
    partition = Partition(picky())
    (run,) = partition.read(event(0, key="k1"))
    partition.commit()
    partition.read(event(50, "orders/changed", key="k1", data={}))
    (letter,) = dead(partition.committed())
    assert (letter["code"], letter["workflow_id"]) == ("cancel_filter_failed", "charge")
    assert (
        letter["reason"]
        == "the cancel_filter of workflow 'charge' raised KeyError: 'gone'; its runs of the key 'k1' go on"
    )
    assert run in partition.state.runs


def test_without_the_code_such_an_event_sleeps_and_cancels_once_the_code_is_there() -> None:
    partition = Partition(picky())
    first, second = partition.read(event(0, key="k1"), event(1, key="k2"))
    partition.commit()
    other = partition.takeover(load=False)
    for offset, key, gone in ((50, "k1", True), (51, "k2", False), (52, "k3", True)):
        assert changed(other, offset, {"gone": gone}, key) == []
    assert asleep.count(other.state) == 2  # there is no run of k3
    last = other.takeover(load=False)
    last.load(picky())
    assert [one[:2] for one in summary(last.committed())] == [(first, "cancelled")]
    assert asleep.count(last.state) == 0
    assert last.kinds() == {"head": 1, "known": 1, "run": 1, "body": 1} | {
        kind: count for kind, count in last.kinds().items() if kind in ("out", "claim", "ids")
    }
    assert list(last.state.runs) == [second]


def test_an_event_that_starts_and_cancels_sleeps_once() -> None:
    given = picky(cancel_on=["orders/changed", "orders/created"], cancel_filter=lambda _: True)
    partition = Partition(given)
    (first,) = partition.read(event(0, key="k1"))
    partition.commit()
    other = partition.takeover(load=False)
    other.read(event(1, key="k1"))
    other.commit()
    assert asleep.count(other.state) == 1
    other.load(given)
    assert [one[:2] for one in summary(other.committed())] == [(first, "cancelled")]
    assert list(other.state.runs) == [run_id("charge", event(1, key="k1"))]


def test_what_slept_to_cancel_is_dropped_in_silence_when_there_is_nothing_left_to_cancel() -> None:
    partition = Partition(picky())
    (run,) = partition.read(event(0, key="k1"))
    partition.commit()
    other = partition.takeover(load=False)
    assert changed(other, 50, {"gone": True}) == []
    other.read(wish(CANCEL, run))
    other.commit()
    other.load(picky())
    assert dead(other.committed()) == []
    assert (asleep.count(other.state), list(other.state.runs)) == (0, [])


def test_a_form_without_the_filter_gives_an_event_back_that_slept_for_it() -> None:
    partition = Partition(picky())
    partition.read(event(0, key="k1"))
    partition.commit()
    other = partition.takeover(load=False)
    assert changed(other, 50, {"gone": True}) == []
    other.load(FLOW)
    assert [one["code"] for one in dead(other.committed())] == ["no_longer_triggered"]


def forged(offset: int, workflow_id: str) -> Envelope:
    """An event whose header says that a parent's partition knew the workflow, which anybody may write."""
    parent = Parent(0, "flow:1", str(offset), 0, waits=True, known=True)
    one = event(offset, start_topic(workflow_id), id=keys.child_event_id("flow:1", str(offset), 0))
    return one._replace(raw_headers=(parents.header(parent),))


@pytest.mark.parametrize("names", [1, 1_000])
def test_events_for_workflows_that_nobody_announces_leave_room_for_others(names: int) -> None:
    partition = Partition(announced=[flow("away", "orders/away")], asleep_events=2_000)
    partition.commit()
    partition.read(*(forged(n, f"nobody{n % names}") for n in range(1_000)))
    letters = dead(partition.committed())
    asleep = {name: len(numbers) for name, numbers in partition.state.asleep.items()}
    assert (sum(asleep.values()), len(asleep)) == ((200, 1) if names == 1 else (100, 100))
    waiting = "200 events of this partition wait" if names == 1 else "events of this partition wait for 100"
    assert {one["code"] for one in letters} == {"too_many_asleep"}
    assert all(f"is not announced here yet, and {waiting}" in one["reason"] for one in letters)
    assert len(letters) + sum(asleep.values()) == 1_000

    partition.read(*(event(1_000 + n, "orders/away") for n in range(1_500)))
    assert dead(partition.committed()) == []
    assert len(partition.state.asleep["away"]) == 1_500
