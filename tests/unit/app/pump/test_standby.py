"""Standbys read ahead within their bounds, and a takeover from one knows what a takeover without it knows."""

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from app.engine.inputs import WorkflowsLoaded
from app.engine.journal.restore import restore
from app.engine.tables.state import State, policy_of
from app.kafka.log import Entry, LogError
from app.kafka.memory import MemoryLog
from app.pump.pump import Pump
from app.pump.snapshots import MOST_AGE_MS, Snapshots, content_of
from app.pump.standby import Sources, Standby
from app.pump.takeover import Owner, Taken, take_over
from tests.unit.app.pump.conftest import NOW, Room, defined, event, settle
from topics import journal


class Counting(MemoryLog):
    """Counts what is read of the journal."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.offsets: list[int] = []
        self.before_read: Callable[[], Any] | None = None

    async def read(self, topic: str, start: int, end: int) -> Any:
        async for records in super().read(topic, start, end):
            if topic == "journal":
                self.offsets += [one.offset for one in records]
            if self.before_read is not None:
                await self.before_read()
            yield records


class Standbys:
    """A room of standbys over a room of partitions."""

    def __init__(self, room: Room, *, snapshots: Snapshots | None = None, **options: Any) -> None:
        self.room = room
        self.logs: list[Counting] = []
        self.asked: list[list[int]] = []
        self.before_read: Callable[[], Any] | None = None
        given: dict[str, Any] = {"most_bytes": 1_000_000, "at_hand_bytes": 10_000, "name": "second", **options}
        sources = Sources(open_log=self._open, ends=self._ends, snapshots=snapshots)
        self.standby = Standby(sources, room.limits, now_ms=room.clock.now_ms, **given)

    def _open(self, partition: int) -> Counting:
        log = self.log(partition)
        log.before_read = self.before_read
        self.logs.append(log)
        return log

    async def _ends(self, numbers: Collection[int]) -> dict[int, int]:
        self.asked.append(list(numbers))
        return {number: self.room.cluster.partition("journal", number).end for number in numbers}

    def log(self, partition: int = 0) -> Counting:
        log = self.room.log(partition)
        return Counting(partition, cluster=self.room.cluster, sender=log._sender, fetch_records=3)

    async def turns(self, count: int = 1) -> None:
        for _ in range(count):
            await self.standby.turn()

    async def take_over(self, log: MemoryLog | None = None, partition: int = 0) -> Taken:
        """Take a partition over from its standby, if there is one."""
        standby = await self.standby.take(partition)
        owner = Owner(worker="second", instance_id="second")
        now_ms = self.room.clock.now_ms
        return await take_over(log or self.log(partition), owner, self.room.limits, now_ms=now_ms, standby=standby)


@pytest.fixture
async def owner(room: Room) -> Pump:
    """An owner of partition 0 that has worked."""
    pump = await room.pump()
    pump.workflows_changed(WorkflowsLoaded([defined(), defined("slow")], ()))
    room.runtime.slow.add("slow")
    room.run(pump)
    await work(room, pump, 0, 5)
    return pump


async def work(room: Room, pump: Pump, begin: int, end: int) -> None:
    for number in range(begin, end):
        records = room.produce(event(number, id=f"e{number}", key="k4"))
        await pump.offer_events(records[-1:])
        await settle()


def known(state: State) -> object:
    return (
        (state.round, state.events_offset, state.delivered, state.bodies, state.known),
        sorted(state.runs),
        {name: list(numbers) for name, numbers in state.asleep.items()},
        (state.dedup.count, state.tail_ids, state.tail_slots, state.tail_from),
    )


def restored(room: Room) -> State:
    """What the journal defines now, whoever has read it before."""
    entities: dict[bytes, bytes] = {}
    for one in room.cluster.read("journal", 0):
        if one.key is None or one.key == journal.CLAIM:
            continue
        if one.value is None:
            entities.pop(one.key, None)
        else:
            entities[one.key] = one.value
    return restore(entities, 0, room.limits, journal_id="x").state


async def test_a_takeover_from_a_standby_reads_the_tail_alone_and_knows_everything(room: Room, owner: Pump) -> None:
    standbys = Standbys(room)
    standbys.standby.follow({0})
    await standbys.turns()
    ahead = room.cluster.partition("journal", 0).end
    await work(room, owner, 5, 8)
    owner.stop()
    log = standbys.log()
    taken = await standbys.take_over(log)

    assert taken.from_standby
    assert min(log.offsets) == ahead - 1, "the last record that was read, to compare it, and on from there"
    assert known(taken.state) == known(restored(room))
    assert taken.next_journal_offset == room.cluster.partition("journal", 0).end
    assert standbys.standby.numbers == frozenset()


async def test_an_idle_journal_costs_one_question_a_turn_for_all(room: Room, owner: Pump) -> None:
    standbys = Standbys(room)
    standbys.standby.follow({0, 1})
    await standbys.turns(3)
    read = [list(one.offsets) for one in standbys.logs]
    await standbys.turns(3)

    assert [one.offsets for one in standbys.logs] == read
    assert [sorted(one) for one in standbys.asked] == [[0, 1]] * 6
    assert owner.state.round


async def test_what_is_read_in_a_turn_is_bounded(room: Room, owner: Pump) -> None:
    standbys = Standbys(room, turn_bytes=1)
    standbys.standby.follow({0})
    await standbys.turns()
    assert len(standbys.logs[0].offsets) == 3, "one answer"
    await standbys.turns(100)
    taken = await standbys.take_over()
    assert taken.from_standby
    assert known(taken.state) == known(restored(room))
    assert owner.state.round


async def test_what_had_no_room_in_a_turn_is_the_first_in_the_next(room: Room) -> None:
    for partition in (0, 1):
        room.cluster.produce("journal", partition, [Entry(b"run:%d" % number, b"{}") for number in range(7)])
    standbys = Standbys(room, turn_bytes=1)
    standbys.standby.follow({0, 1})
    seen = []
    for _ in range(6):
        await standbys.turns()
        seen.append({one.partition: len(set(one.offsets)) for one in standbys.logs})
    first, second = (one.partition for one in standbys.logs)

    assert seen[:2] == [{first: 3}, {first: 3, second: 3}]
    assert seen[-1] == {first: 7, second: 7}


async def test_a_partition_that_is_owned_is_followed_no_more_and_anew_when_it_has_left(room: Room, owner: Pump) -> None:
    standbys = Standbys(room)
    standbys.standby.follow({0, 1})
    await standbys.turns()
    assert standbys.standby.numbers == frozenset({0}), "nothing was ever written to the other"
    standbys.standby.follow({1})
    assert standbys.standby.numbers == frozenset()
    standbys.standby.follow({0, 1})
    await standbys.turns()
    assert [one.offsets[0] for one in standbys.logs] == [0, 0]
    assert owner.state.round


async def test_beyond_the_bound_on_memory_a_standby_is_dropped_until_the_group_changes(
    room: Room, owner: Pump, caplog: pytest.LogCaptureFixture
) -> None:
    standbys = Standbys(room, most_bytes=10)
    standbys.standby.follow({0})
    with caplog.at_level("INFO"):
        await standbys.turns(3)
    assert caplog.messages.count("standby_left_out") == 1
    assert (standbys.standby.numbers, len(standbys.logs)) == (frozenset(), 1)
    assert not (await standbys.take_over()).from_standby
    standbys.standby.follow(set())
    standbys.standby.follow({0})
    await standbys.turns()
    assert len(standbys.logs) == 2
    assert owner.state.round


async def test_workers_leave_out_different_partitions(room: Room) -> None:
    ranks = set()
    for name in ("a", "b", "c", "d"):
        standby = Standbys(room, name=name).standby
        standby.follow(range(8))
        ranks.add(tuple(standby._wanted))
    assert len(ranks) == 4


@pytest.mark.parametrize("why", ["too old", "another topic"])
async def test_a_standby_that_is_void_is_not_used(room: Room, owner: Pump, why: str) -> None:
    standbys = Standbys(room)
    standbys.standby.follow({0})
    await standbys.turns()
    owner.stop()
    reader = await standbys.standby.take(0)
    assert reader is not None
    if why == "too old":
        reader.fresh_ms = NOW - MOST_AGE_MS - 1
    else:
        reader.journal_id = "journal-id-0"
    reader.entities.put(b"run:nonsense", b"{}")
    log = standbys.log()
    who = Owner(worker="second", instance_id="second")
    taken = await take_over(log, who, room.limits, now_ms=room.clock.now_ms, standby=reader)

    assert (taken.from_standby, log.offsets[0]) == (False, 0)
    assert known(taken.state) == known(restored(room))


async def test_a_standby_that_has_not_been_at_the_end_for_too_long_is_begun_anew(room: Room, owner: Pump) -> None:
    standbys = Standbys(room)
    standbys.standby.follow({0})
    await standbys.turns()
    room.clock.ms += MOST_AGE_MS
    await standbys.turns()
    assert len(standbys.logs) == 1, "an idle journal ends where it did: nothing is missing"
    room.clock.ms += MOST_AGE_MS + 1
    await standbys.turns()
    assert [one.offsets[0] for one in standbys.logs] == [0, 0]
    assert owner.state.round


async def test_a_journal_that_lost_its_end_is_read_again_from_its_beginning(room: Room, owner: Pump) -> None:
    standbys = Standbys(room)
    standbys.standby.follow({0})
    await standbys.turns()
    owner.stop()
    where = room.cluster.partition("journal", 0)
    where._stored = where._stored[:-3]
    where.end -= 3
    await standbys.turns()
    assert standbys.standby.numbers == frozenset()
    await standbys.turns()
    taken = await standbys.take_over()
    assert taken.from_standby
    assert known(taken.state) == known(restored(room))


async def test_a_journal_that_lost_its_end_just_before_the_takeover_is_read_again(room: Room, owner: Pump) -> None:
    standbys = Standbys(room)
    standbys.standby.follow({0})
    await standbys.turns()
    owner.stop()
    where = room.cluster.partition("journal", 0)
    where._stored = where._stored[:-2]
    where.end -= 2
    await room.take(room.log(), "between")
    taken = await standbys.take_over()
    assert not taken.from_standby
    assert known(taken.state) == known(restored(room))


async def test_a_standby_that_is_being_read_is_handed_over_whole(room: Room, owner: Pump) -> None:
    standbys = Standbys(room)
    half = asyncio.Event()

    async def stop_half_way() -> None:
        half.set()
        await asyncio.sleep(3600)

    standbys.before_read = stop_half_way
    standbys.standby.follow({0})
    turn = asyncio.create_task(standbys.standby.turn())
    await half.wait()
    owner.stop()
    taken = await standbys.take_over()
    await turn
    assert taken.from_standby
    assert known(taken.state) == known(restored(room))
    assert standbys.standby.numbers == frozenset()


async def test_a_journal_that_cannot_be_read_is_left_to_its_takeover(room: Room) -> None:
    room.cluster.produce("journal", 0, [Entry(journal.CLAIM, b"not json")])
    standbys = Standbys(room)
    standbys.standby.follow({0})
    await standbys.turns(2)
    assert (standbys.standby.numbers, len(standbys.logs)) == (frozenset(), 1)
    with pytest.raises(journal.UnreadableJournal):
        await standbys.take_over()


async def test_a_standby_begins_with_the_snapshot(room: Room, owner: Pump, tmp_path: Path) -> None:
    owner._mark()  # without the mark of the delivery no snapshot is possible
    await settle()
    snapshots = Snapshots(tmp_path, name="journal.")
    journal_id = room.cluster.topic_ids()["journal"]
    end = room.cluster.partition("journal", 0).end
    claim = {"producer_id": 1001, "instance_id": "first", "worker": "first", "topics": {}}
    await snapshots.write(0, await content_of(owner.state, next_offset=end, at_ms=NOW, claim=claim))
    assert await snapshots.read(0, policy=policy_of(room.limits), journal_id=journal_id, now_ms=NOW)
    await work(room, owner, 5, 7)
    standbys = Standbys(room, snapshots=snapshots)
    standbys.standby.follow({0})
    await standbys.turns()
    assert standbys.logs[0].offsets[0] == end
    owner.stop()
    taken = await standbys.take_over()
    assert taken.from_standby
    assert known(taken.state) == known(restored(room))


async def test_a_broker_that_does_not_answer_costs_only_time(room: Room, owner: Pump) -> None:
    standbys = Standbys(room, turn_seconds=0.0)
    answers = standbys._ends
    failures: list[int] = []

    async def ends(numbers: Collection[int]) -> dict[int, int]:
        if len(failures) < 3:
            failures.append(1)
            raise LogError("away")
        return await answers(numbers)

    standby = Standby(
        Sources(open_log=standbys._open, ends=ends),
        room.limits,
        name="second",
        now_ms=room.clock.now_ms,
        most_bytes=1_000_000,
        at_hand_bytes=10_000,
        turn_seconds=0.0,
    )
    standby.follow({0})
    running = asyncio.create_task(standby.run())
    await settle()
    assert (len(failures), standby.numbers) == (3, frozenset({0}))
    running.cancel()
    await asyncio.wait({running})
    assert owner.state.round
