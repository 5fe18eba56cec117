"""Nothing is delivered and no offset moves before the append; any surprise ends the pump."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from app.engine.effects import Go, Resolve, Rise
from app.engine.inputs import Ended, Evicted, Failure, StepAsked, StepEnded, WorkflowsLoaded
from app.engine.tables.run import RunStatus
from app.engine.values.asks import Ask, Await, EventCondition, Execute, Note, Outcome, Sleep
from app.engine.values.limits import Limits
from app.kafka.log import AppendFailed, Entry, Fenced, LogError, LogRecord
from app.kafka.memory import MemoryLog, MemorySender
from app.pump.pump import Pump
from tests.unit.app.pump.conftest import NOW, Room, defined, event, settle
from topics import asked, commands, journal

EXECUTE = Execute(max_retries=2, base_delay_ms=1000, max_delay_ms=10_000)
KEY = "k4"  # its home is partition 0 of two


class Gate(MemoryLog):
    """Appends to the journal wait while the gate is closed."""

    def __init__(self, room: Room) -> None:
        super().__init__(0, cluster=room.cluster, sender=MemorySender(room.cluster))
        self.open = asyncio.Event()
        self.open.set()

    async def append(self, entries: Any) -> int:
        await self.open.wait()
        return await super().append(entries)


async def going(room: Room, log: MemoryLog | None = None, **options: Any) -> tuple[Pump, asyncio.Task[None]]:
    pump = await room.pump(log)
    pump.workflows_changed(WorkflowsLoaded([defined(**options)], ()))
    task = room.run(pump)
    await settle()
    return pump, task


def head(room: Room) -> dict[str, Any]:
    value = [one.value for one in room.cluster.read("journal", 0) if one.key == journal.HEAD][-1]
    found: dict[str, Any] = orjson.loads(value or b"")
    return found


async def test_nothing_is_delivered_before_the_append(room: Room) -> None:
    gate = Gate(room)
    pump, _ = await going(room, gate)
    gate.open.clear()
    await pump.offer_events(room.produce(event(id="e1", key=KEY)))
    await settle()
    assert room.runtime.started
    assert (room.values("results"), head(room)["events"]) == ([], 0)
    gate.open.set()
    await settle()
    assert [one["run_id"] for one in room.values("results")] == room.runtime.started
    assert head(room)["events"] == 1


async def test_an_append_at_an_unexpected_offset_stops_the_pump_before_anything_is_delivered(room: Room) -> None:
    log = room.log()
    pump, task = await going(room, log)
    room.cluster.produce("journal", 0, [Entry(b"stranger", b"{}")])
    await pump.offer_events(room.produce(event(id="e1", key=KEY)))
    with pytest.raises(AppendFailed, match="another producer wrote, or the append's fate is unknown"):
        await task
    assert room.values("results") == []


async def test_an_append_whose_answer_is_lost_stops_the_pump_and_may_have_landed(room: Room) -> None:
    class Lossy(MemoryLog):
        lose = False

        async def append(self, entries: Any) -> int:
            offset = await super().append(entries)
            if self.lose:
                raise AppendFailed("no answer")
            return offset

    log = Lossy(0, cluster=room.cluster, sender=MemorySender(room.cluster))
    pump, task = await going(room, log)
    log.lose = True
    await pump.offer_events(room.produce(event(id="e1", key=KEY)))
    with pytest.raises(AppendFailed):
        await task
    assert (room.values("results"), head(room)["events"]) == ([], 1)
    taken = await room.take(room.log(), "second")
    assert [len(one.results) for one in taken.deliver_again] == [1]


async def test_a_fenced_owner_stops(room: Room) -> None:
    pump, task = await going(room)
    await room.take(room.log(), "second")
    await pump.offer_events(room.produce(event(id="e1", key=KEY)))
    with pytest.raises(Fenced):
        await task
    assert room.values("results") == []


async def test_a_gap_is_read_again_from_the_log(room: Room) -> None:
    pump, _ = await going(room)
    records = room.produce(*(event(n, id=f"e{n}", key=KEY) for n in range(5)))
    await pump.offer_events(records[:1])
    await pump.offer_events(records[3:])
    await settle()
    assert [one["events"][0]["offset"] for one in room.values("results")] == [0, 1, 2, 3, 4]


async def test_what_the_fetch_knows_to_be_empty_is_no_gap_to_read(room: Room) -> None:
    class Reader(Gate):
        asked = 0

        def read(self, topic: str, start: int, end: int) -> AsyncIterator[list[LogRecord]]:
            self.asked += 1
            return super().read(topic, start, end)

    log = Reader(room)
    pump, _ = await going(room, log)
    log.asked = 0
    records = room.produce(*(event(n, id=f"e{n}", key=KEY) for n in range(6)))
    await pump.offer_events(records[1:2], 0)  # offset 0 is a marker, as of a transaction
    await pump.offer_events(records[4:], 2)
    await settle()
    assert [one["events"][0]["offset"] for one in room.values("results")] == [1, 4, 5]
    assert log.asked == 0


async def test_a_gap_that_is_read_while_the_group_changes_is_left_to_the_next_fetch(room: Room) -> None:
    class SlowReader(Gate):
        reading: asyncio.Event | None = None

        async def read(self, topic: str, start: int, end: int) -> AsyncIterator[list[LogRecord]]:
            async for records in super().read(topic, start, end):
                if self.reading is not None:
                    await self.reading.wait()
                yield records

    log = SlowReader(room)
    pump, _ = await going(room, log)
    records = room.produce(*(event(n, id=f"e{n}", key=KEY) for n in range(6)))
    log.open.clear()
    await pump.offer_events(records[:1])
    await settle()  # its round waits for the append
    await pump.offer_events(records[1:3])
    log.reading = asyncio.Event()
    late = asyncio.create_task(pump.offer_events(records[4:]))
    await settle()
    pausing = asyncio.create_task(pump.pause())
    await settle()
    log.open.set()
    await pausing  # what waited, offsets 1 and 2, is forgotten: it will be fetched again
    log.reading.set()
    await late
    pump.resume()
    await settle()
    assert pump.position("events") == 1
    await pump.offer_events(records[1:])
    await settle()
    assert [one["events"][0]["offset"] for one in room.values("results")] == [0, 1, 2, 3, 4, 5]


async def test_a_chunk_that_comes_again_changes_nothing(room: Room) -> None:
    pump, _ = await going(room)
    records = room.produce(event(id="e1", key=KEY))
    for _ in range(2):
        await pump.offer_events(records)
        await settle()
    assert len(room.values("results")) == 1


async def test_a_pause_waits_for_the_append_in_flight_and_starts_no_other(room: Room) -> None:
    gate = Gate(room)
    pump, _ = await going(room, gate)
    records = room.produce(event(1, id="e1", key=KEY), event(2, id="e2", key=KEY))
    gate.open.clear()
    await pump.offer_events(records[:1])
    await settle()
    pausing = asyncio.create_task(pump.pause())
    await pump.offer_events(records[1:])
    await settle()
    assert not pausing.done()
    gate.open.set()
    await pausing
    await settle()
    assert (head(room)["events"], pump.position("events")) == (1, 1)
    pump.resume()
    await pump.offer_events(records[1:])
    await settle()
    assert head(room)["events"] == 2


async def test_more_is_taken_only_while_there_is_room_for_runs(room: Room) -> None:
    room.runtime.slow.add("w")
    pump = await room.pump(running=1)
    pump.workflows_changed(WorkflowsLoaded([defined(order="none")], ()))
    room.run(pump)
    records = room.produce(event(1, id="e1", key=KEY), event(2, id="e2", key=KEY))
    await pump.offer_events(records[:1])
    await settle()
    await pump.offer_events(records[1:])
    await settle()
    assert len(room.runtime.started) == 1
    room.runtime.end(room.runtime.started[0])
    await settle()
    assert len(room.runtime.started) == 2


async def test_a_stop_delivers_what_is_decided_and_cancels_what_runs(room: Room) -> None:
    room.runtime.slow.add("slow")
    pump = await room.pump()
    pump.workflows_changed(WorkflowsLoaded([defined(), defined("slow")], ()))
    task = room.run(pump)
    await pump.offer_events(room.produce(event(id="e1", key=KEY)))
    await settle()
    pump.stop()
    await task
    assert [one["workflow_id"] for one in room.values("results")] == ["w"]
    assert [one.split(":")[0] for one in room.runtime.cancelled] == ["slow"]


async def test_a_stop_does_not_wait_for_deliveries_that_have_failed(room: Room) -> None:
    class Mute(MemoryLog):
        failing = asyncio.Event()

        async def deliver(self, topic: str, entries: Any) -> int:
            await self.failing.wait()
            raise LogError("no connection")

    log = Mute(0, cluster=room.cluster, sender=MemorySender(room.cluster))
    pump, task = await going(room, log)
    await pump.offer_events(room.produce(event(id="e1", key=KEY)))
    await settle()
    pump.stop()
    await settle()
    log.failing.set()
    with pytest.raises(LogError, match="no connection"):
        await asyncio.wait_for(task, 5)


async def test_an_idle_partition_journals_what_it_has_delivered(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.pump.pump.MARK_SECONDS", 0.0)
    pump, _ = await going(room)
    await pump.offer_events(room.produce(Entry(None, b"not json")))
    await settle()
    assert head(room)["delivered"] == pump.state.delivered == 2
    rounds = pump.state.round
    await settle()
    assert pump.state.round == rounds  # a mark alone sends nothing out, so that no other one follows
    assert (await room.take(room.log(), "second")).deliver_again == []


def told_of_a_flush(sequence: int, told: asked.Flushed) -> Entry:
    encoded = [commands.encode_ask(told)]
    value = commands.join(
        source=1, journal_id="j", sequence=sequence, partitions=2, events=(), batched=(), asks=encoded
    )
    return Entry(b"1", value)


async def test_a_question_for_a_flush_costs_no_append_of_its_own_and_is_journaled_when_nothing_else_is(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    pump, _ = await going(room)
    rounds = pump.state.round
    flush = told_of_a_flush(1, asked.Flushed(4))
    await pump.offer_commands(room.produce(flush, topic="commands"))
    await settle()
    assert (pump.state.commands_offset, pump.state.round, head(room)["commands"]) == (1, rounds, 0)
    monkeypatch.setattr("app.pump.pump.MARK_SECONDS", 0.0)
    again = told_of_a_flush(2, asked.Flushed(5))
    pump._mark_timer = None
    await pump.offer_commands(room.produce(again, topic="commands"))
    await settle()
    assert (pump.state.commands_offset, pump.state.round, head(room)["commands"]) == (2, rounds + 1, 2)


async def test_an_event_that_landed_elsewhere_is_forwarded_once_with_its_place_in_a_sequence(room: Room) -> None:
    pump, _ = await going(room)
    away = next(k for k in "abcdefgh" if _home(k) == 1)
    await pump.offer_events(room.produce(event(1, id="e1", key=away), event(2, id="e2", key=away)))
    await settle()
    commands = room.values("commands", 1)
    assert [(one["source"], one["sequence"], len(one["events"])) for one in commands] == [(0, 1, 2)]
    assert room.values("results") == []


async def test_malformed_records_become_dead_letters_and_the_partition_goes_on(room: Room) -> None:
    pump, _ = await going(room)
    await pump.offer_events(room.produce(Entry(None, b"not json"), event(id="e1", key=KEY)))
    await settle()
    letters = [one for number in range(8) for one in room.values("dlq", number)]
    assert [(one["code"], one["source"]["offset"]) for one in letters] == [("not_json", 0)]
    assert len(room.values("results")) == 1


def _home(key: str) -> int:
    from topics import keys

    return keys.partition_of(key.encode(), 2)


# --- steps ----------------------------------------------------------------------------------------------------------


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
