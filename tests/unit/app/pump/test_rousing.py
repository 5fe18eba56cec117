"""What is read back goes on as soon as it may: a run whose sleep ends, in that very round; or before its time."""

from typing import Any

from app.engine.effects import Go, Resolve, Rise
from app.engine.inputs import Ended, Evicted, StepAsked, WorkflowsLoaded
from app.engine.values.asks import Execute, Sleep
from app.pump.pump import Pump
from app.pump.rousing import NO_ROOM_MS
from tests.unit.app.pump.conftest import KEY, NOW, Gate, Room, defined, event, settle

HOUR = 3_600_000
DAY_MS = 24 * HOUR
EXECUTE = Execute(max_retries=2, base_delay_ms=1000, max_delay_ms=10_000)


async def dropped(
    room: Room, log: Gate, *, count: int = 1, until_ms: int = NOW + HOUR, **bounds: Any
) -> tuple[Pump, list[str]]:
    """Runs that sleep, for an hour, whose functions are in memory no more."""
    room.runtime.slow.add("w")
    pump = await room.pump(log, **bounds)
    changed(pump)
    room.run(pump)
    await settle()
    await pump.offer_events(room.produce(*(event(id=f"e{number}", key=KEY) for number in range(count))))
    await settle()
    runs = list(room.runtime.started)
    for run in runs:
        room.runtime.reports[run](StepAsked(run, 1, "nap", "nap", Sleep(until_ms=until_ms)))
    await settle()
    room.runtime.reports[runs[0]](Evicted(runs))
    await settle()
    return pump, runs


def changed(pump: Pump) -> None:
    """Something happens: the clock of the test wakes nobody."""
    pump.workflows_changed(WorkflowsLoaded([defined(order="none")], ()))


async def strike(room: Room, pump: Pump) -> None:
    room.clock.ms = NOW + HOUR
    changed(pump)
    await settle()


async def test_a_dropped_run_goes_on_before_the_append_but_calls_nothing_and_sends_nothing(room: Room) -> None:
    gate = Gate(room)
    pump, (run,) = await dropped(room, gate)
    room.runtime.then[run] = lambda: room.runtime.reports[run](StepAsked(run, 1, "call", "call", EXECUTE))
    before = len(room.cluster.read("journal", 0))
    gate.open.clear()
    await strike(room, pump)
    assert [type(one) for one in room.runtime.told] == [Rise]
    assert len(room.cluster.read("journal", 0)) == before
    gate.open.set()
    await settle()
    assert room.runtime.told[1:] == [Go(pump.state.runs[run], "call", 1)]


async def test_one_that_ends_then_is_journaled_once(room: Room) -> None:
    gate = Gate(room)
    pump, (run,) = await dropped(room, gate)
    room.runtime.then[run] = lambda: room.runtime.reports[run](Ended(run, 1, b"1"))
    rounds = pump.state.round
    await strike(room, pump)
    assert [one["status"] for one in room.values("results")] == ["completed"]
    assert pump.state.round == rounds + 1
    assert [one["fact"] for one in room.values("runs")][-2:] == ["step_finished", "run_finished"]


async def test_those_that_a_round_has_no_room_for_go_on_after_it(room: Room) -> None:
    gate = Gate(room)
    pump, runs = await dropped(room, gate, count=3, round_events=2)
    gate.open.clear()
    await strike(room, pump)
    assert [one.run.id for one in room.runtime.told] == runs[:2]
    gate.open.set()
    await settle()
    assert [one.run.id for one in room.runtime.told] == runs
    assert pump.state.rung == []


async def test_nothing_goes_on_while_draining(room: Room) -> None:
    gate = Gate(room)
    pump, _ = await dropped(room, gate)
    pump.drain()
    await strike(room, pump)
    assert room.runtime.told == []
    assert pump.state.rung == []


async def near(room: Room, pump: Pump) -> None:
    """The last seconds of the sleep begin."""
    room.clock.ms = NOW + HOUR - 5_000
    changed(pump)
    await settle()


async def test_functions_are_called_again_before_their_sleep_ends_as_many_as_there_is_room_for(room: Room) -> None:
    pump, runs = await dropped(room, Gate(room), count=3)
    room.runtime.places = 2
    await near(room, pump)
    assert [(type(one), one.run.id) for one in room.runtime.told] == [(Rise, one) for one in runs]
    appended = len(room.cluster.read("journal", 0))
    for run in runs:
        room.runtime.reports[run](StepAsked(run, 1, "nap", "nap", Sleep(until_ms=NOW + HOUR)))
    await settle()
    assert len(room.cluster.read("journal", 0)) == appended
    await strike(room, pump)
    assert [(type(one), one.run.id) for one in room.runtime.told[3:]] == [(Resolve, one) for one in runs]


async def test_where_there_is_no_room_they_are_called_ahead_a_second_later_if_there_is_then(room: Room) -> None:
    pump, runs = await dropped(room, Gate(room))
    await near(room, pump)
    assert room.runtime.told == []
    room.runtime.places = 1
    room.clock.ms += NO_ROOM_MS - 1
    changed(pump)
    await settle()
    assert room.runtime.told == []
    room.clock.ms += 1
    changed(pump)
    await settle()
    assert [one.run.id for one in room.runtime.told] == runs


async def test_none_are_called_ahead_while_the_partition_is_full(room: Room) -> None:
    pump, runs = await dropped(room, Gate(room), running=1)
    await pump.offer_events(room.produce(event(id="busy", key=KEY))[-1:])
    await settle()
    room.runtime.places = 9
    await near(room, pump)
    assert room.runtime.told == []
    room.runtime.end(room.runtime.started[-1])
    await settle()
    room.clock.ms += NO_ROOM_MS
    changed(pump)
    await settle()
    assert [one.run.id for one in room.runtime.told] == runs


async def test_none_are_called_ahead_while_draining(room: Room) -> None:
    pump, _ = await dropped(room, Gate(room))
    room.runtime.places = 9
    pump.drain()
    await near(room, pump)
    assert room.runtime.told == []


async def test_runs_that_wait_for_weeks_are_told_of_again_with_their_events(room: Room) -> None:
    pump, runs = await dropped(room, Gate(room), count=2, until_ms=NOW + 60 * DAY_MS)
    before = [one for one in room.values("runs") if one["fact"] == "run_started"]
    assert len(before) == len(runs)
    room.clock.ms = NOW + 8 * DAY_MS
    for _ in range(3):
        room.clock.ms += 1_000
        changed(pump)
        await settle()
    told = [one for one in room.values("runs") if one["fact"] == "run_started"]
    assert told == [*before, *before]
    assert [one["step"] for one in room.values("runs") if one["fact"] == "step_waiting"] == ["nap"] * 4


async def test_nobody_is_told_of_again_while_draining(room: Room) -> None:
    pump, _ = await dropped(room, Gate(room), until_ms=NOW + 60 * DAY_MS)
    pump.drain()
    room.clock.ms = NOW + 8 * DAY_MS
    for _ in range(3):
        room.clock.ms += 1_000
        changed(pump)
        await settle()
    assert [one["fact"] for one in room.values("runs")] == ["run_started", "step_waiting"]
