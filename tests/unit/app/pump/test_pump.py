"""Nothing is delivered and no offset moves before the append; any surprise ends the pump."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from app.engine.inputs import WorkflowsLoaded
from app.kafka.log import AppendFailed, Entry, Fenced, LogError, LogRecord
from app.kafka.memory import MemoryLog, MemorySender
from tests.unit.app.pump.conftest import KEY, Gate, Room, defined, event, going, settle
from topics import asked, commands, journal


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
