"""What runs ask of a pump: told once it is journaled, called again from the journal, and left to the next owner."""

from typing import Any

import pytest

from app.engine.effects import Go, Resolve, Rise
from app.engine.inputs import Ended, Evicted, Failure, StepAsked, StepEnded, WorkflowsLoaded
from app.engine.tables.run import RunStatus
from app.engine.values.asks import Ask, Await, EventCondition, Execute, Note, Outcome, Sleep
from app.engine.values.limits import Limits
from app.kafka.log import Entry
from app.kafka.memory import MemoryLog
from app.pump.pump import Pump
from tests.unit.app.pump.conftest import KEY, NOW, Gate, Room, defined, event, going, settle

EXECUTE = Execute(max_retries=2, base_delay_ms=1000, max_delay_ms=10_000)


def asks(room: Room, run: str, key: str, ask: Ask) -> None:
    room.runtime.reports[run](StepAsked(run, 1, key, key, ask))


async def waiting(room: Room, log: MemoryLog | None = None) -> tuple[Pump, str]:
    """A run that sleeps for an hour, after a step that is recorded."""
    room.runtime.slow.add("w")
    pump, _ = await going(room, log)
    await pump.offer_events(room.produce(event(id="e1", key=KEY)))
    await settle()
    (run,) = room.runtime.started
    asks(room, run, "now", Note(b"5"))
    await settle()
    asks(room, run, "nap", Sleep(until_ms=NOW + 3_600_000))
    await settle()
    return pump, run


async def test_the_runtime_is_told_of_a_step_only_once_it_is_journaled(room: Room) -> None:
    gate = Gate(room)
    room.runtime.slow.add("w")
    pump, _ = await going(room, gate)
    await pump.offer_events(room.produce(event(id="e1", key=KEY)))
    await settle()
    (run,) = room.runtime.started
    gate.open.clear()
    asks(room, run, "now", Note(b"5"))
    await settle()
    assert room.runtime.told == []
    gate.open.set()
    await settle()
    assert room.runtime.told == [Resolve(pump.state.runs[run], "now", Outcome(b"5"))]


async def test_a_first_step_waits_for_the_start_of_its_run_and_later_ones_for_no_append(room: Room) -> None:
    gate = Gate(room)
    room.runtime.slow = {"w"}
    pump, _ = await going(room, gate)
    gate.open.clear()
    await pump.offer_events(room.produce(event(id="e1", key=KEY)))
    await settle()
    (run_id,) = room.runtime.started
    report = room.runtime.reports[run_id]
    report(StepAsked(run_id, 1, "first", "run f", EXECUTE))
    await settle()
    assert room.runtime.told == []
    gate.open.set()
    await settle()
    assert room.runtime.told == [Go(pump.state.runs[run_id], "first", 1)]

    gate.open.clear()
    before = room.cluster.read("journal", 0)
    report(StepAsked(run_id, 1, "second", "run f", EXECUTE))
    report(StepAsked(run_id, 1, "third", "note n", Note(b"1")))  # the round has something to journal
    await settle()
    assert room.runtime.told[1:] == [Go(pump.state.runs[run_id], "second", 1)]
    assert room.cluster.read("journal", 0) == before
    gate.open.set()


async def test_a_run_goes_on_from_its_sleep_before_the_append_but_calls_nothing_and_sends_nothing(room: Room) -> None:
    gate = Gate(room)
    pump, run = await waiting(room, gate)
    before = (len(room.runtime.told), len(room.cluster.read("journal", 0)))
    room.runtime.then["nap"] = lambda: asks(room, run, "call", EXECUTE)
    gate.open.clear()
    room.clock.ms = NOW + 3_600_000
    pump.workflows_changed(WorkflowsLoaded([defined()], ()))
    await settle()
    nap = Resolve(pump.state.runs[run], "nap", Outcome(b"null"), woken=True, ahead=True)
    assert room.runtime.told[before[0] :] == [nap]
    assert len(room.cluster.read("journal", 0)) == before[1]
    gate.open.set()
    await settle()
    assert room.runtime.told[before[0] + 1 :] == [Go(pump.state.runs[run], "call", 1)]


async def test_a_run_that_was_dropped_is_read_back_by_its_offsets_when_its_time_has_come(room: Room) -> None:
    pump, run = await waiting(room)
    room.runtime.reports[run](Evicted([run]))
    await settle()
    assert pump.state.runs[run].events == ()
    room.clock.ms = NOW + 3_600_000
    pump.workflows_changed(WorkflowsLoaded([defined()], ()))  # something happens: the clock of the test does not wake
    await settle()

    risen = room.runtime.told[-1]
    assert isinstance(risen, Rise)
    assert [(one.key, one.outcome) for one in risen.recorded] == [("now", Outcome(b"5")), ("nap", Outcome(b"null"))]
    assert [one.id for one in pump.state.runs[run].events] == ["e1"]


@pytest.mark.parametrize("at_hand_bytes", [None, 0])
async def test_the_next_owner_calls_a_run_anew_with_what_is_recorded(room: Room, at_hand_bytes: int | None) -> None:
    pump, run = await waiting(room)
    pump.stop()
    await settle()
    room.clock.ms = NOW + 3_600_000
    again = await room.pump(name="second", at_hand_bytes=at_hand_bytes)
    again.workflows_changed(WorkflowsLoaded([defined()], ()))
    room.run(again)
    await settle()

    risen = room.runtime.told[-1]
    assert isinstance(risen, Rise)
    assert [one.key for one in risen.recorded] == ["now", "nap"]
    room.runtime.reports[run](Ended(run, 1, b"1"))
    await settle()
    assert [one["status"] for one in room.values("results")] == ["completed"]


async def test_while_draining_a_run_that_only_waited_is_left_to_the_next_owner(room: Room) -> None:
    pump, run = await waiting(room)
    told = len(room.runtime.told)
    pump.drain()
    room.clock.ms = NOW + 3_600_000
    pump.workflows_changed(WorkflowsLoaded([defined()], ()))
    await settle()

    assert (len(room.runtime.told), pump.in_flight) == (told, 0)
    assert pump.state.runs[run].status is RunStatus.RUNNING


async def test_while_draining_a_run_that_goes_on_comes_to_its_next_steps(room: Room) -> None:
    room.runtime.slow = {"w"}
    pump, _ = await going(room)
    await pump.offer_events(room.produce(event(id="e1", key=KEY)))
    await settle()
    (run,) = room.runtime.started
    asks(room, run, "first", EXECUTE)
    await settle()
    pump.drain()
    room.runtime.then["first"] = lambda: asks(room, run, "second", EXECUTE)
    room.runtime.reports[run](StepEnded(run, 1, "first", b"1"))
    await settle()
    assert room.runtime.told[-1] == Go(pump.state.runs[run], "second", 1)


async def waiting_strictly(room: Room, **bounds: Any) -> Pump:
    """A partition with little room whose only run, in strict order, waits for an approval."""
    room.limits = Limits(partitions=1)
    room.runtime.slow.add("w")
    pump = await room.pump(held_bytes=2_000, **bounds)
    pump.workflows_changed(WorkflowsLoaded([defined(order="strict")], ()))
    room.run(pump)
    await pump.offer_events(room.produce(event(id="e0", key=KEY)))
    await settle()
    (first,) = room.runtime.started
    wait = Await(conditions=(EventCondition(topic="approvals/1"),), need=1, deadline_ms=None)
    asks(room, first, "approval", wait)
    await settle()
    return pump


async def test_an_event_that_a_run_waits_for_is_read_though_those_behind_the_run_take_all_room(room: Room) -> None:
    pump = await waiting_strictly(room, round_events=1)

    produced = room.produce(*(event(n, id=f"e{n}", key=KEY) for n in range(1, 100)))
    produced = room.produce(Entry(None, b'{"topic": "approvals/1", "data": null}'))
    for one in produced[1:]:
        await pump.offer_events([one])
    await settle()
    await settle()

    assert [one.key for one in room.runtime.told if isinstance(one, Resolve)] == ["approval"]
    assert pump.state.held_bytes < 4_000
    for n in range(100):
        await settle()
        assert len(room.runtime.started) == n + 1
        room.runtime.end(room.runtime.started[n])
    await settle()
    assert [one["events"][0]["id"] for one in room.values("results")] == [f"e{n}" for n in range(100)]


async def test_an_event_that_a_run_waits_for_is_read_though_one_behind_the_run_was_read_back_and_is_large(
    room: Room,
) -> None:
    pump = await waiting_strictly(room)
    await pump.offer_events(room.produce(event(id="e1", key=KEY, data="x" * 2_500))[1:])
    await settle()
    assert pump.state.recalled_bytes > 2_000

    await pump.offer_events(room.produce(Entry(None, b'{"topic": "approvals/1", "data": null}'))[2:])
    await settle()

    assert [one.key for one in room.runtime.told if isinstance(one, Resolve)] == ["approval"]
    for n in range(2):
        room.runtime.end(room.runtime.started[n])
        await settle()
    assert [one["events"][0]["id"] for one in room.values("results")] == ["e0", "e1"]


async def test_runs_that_wait_for_their_next_attempt_take_no_room_and_come_back_with_their_events(room: Room) -> None:
    room.limits = Limits(partitions=1)
    room.runtime.slow.add("w")
    pump = await room.pump(held_bytes=2_000)
    pump.workflows_changed(WorkflowsLoaded([defined()], ()))
    room.run(pump)
    for n in range(20):
        await pump.offer_events(room.produce(event(id=f"e{n}", data="x" * 500)))
        await settle()
        assert len(room.runtime.started) == n + 1, "events that failed before take the room"
        run = room.runtime.started[n]
        room.runtime.reports[run](Ended(run, 1, None, Failure("RetryLater", "later", None, retry_after_ms=3_600_000)))
        await settle()
    state = pump.state
    assert (state.run_bytes, [one.events for one in state.runs.values()]) == (0, [()] * 20)

    room.runtime.slow.clear()
    room.clock.ms = NOW + 3_600_000
    pump.workflows_changed(WorkflowsLoaded([defined()], ()))  # something happens: the clock of the test does not wake
    await settle()
    assert sorted(one["events"][0]["id"] for one in room.values("results")) == sorted(f"e{n}" for n in range(20))
    assert {one["attempts"] for one in room.values("results")} == {2}
    assert (state.run_bytes, list(state.runs), state.runs.bodies) == (0, [], {})


async def test_what_is_new_has_every_other_round_while_much_wakes(room: Room) -> None:
    room.limits = Limits(partitions=1)
    room.runtime.slow.add("w")
    pump = await room.pump(round_events=1)
    pump.workflows_changed(WorkflowsLoaded([defined(), defined("other", "others")], ()))
    task = room.run(pump)
    await pump.offer_events(room.produce(*(event(n, id=f"e{n}") for n in range(50))))
    await settle()
    for run in room.runtime.started:
        asks(room, run, "nap", Sleep(until_ms=NOW + 3_600_000))
    await settle()
    room.runtime.reports[room.runtime.started[0]](Evicted(list(room.runtime.started)))
    await settle()
    room.clock.ms = NOW + 3_600_000
    pump.stop()
    await task

    await pump.offer_events(room.produce(Entry(None, b'{"topic": "others", "data": 1}')))
    for _ in range(4):
        await pump.round()
    assert pump.state.rising, "not all are awake"
    assert [one for one in room.runtime.started if one.startswith("other:")]
