"""Bodies come back from the journal in order, a piece at a time, whatever else stands between them."""

from pathlib import Path

import pytest

from app.engine.inputs import WorkflowsLoaded
from app.engine.journal.entities import Places
from app.engine.runs import asleep
from app.engine.values.known import Definition
from app.engine.values.limits import Limits
from app.engine.values.numbers import Numbers
from app.kafka.log import Entry
from app.pump import recall
from app.pump.pump import Pump
from app.pump.recall import Recall
from app.pump.snapshots import Snapshots, content_of
from app.pump.takeover import Owner, take_over
from tests.unit.app.engine.partition import event
from tests.unit.app.pump.conftest import NOW, Room, defined, settle
from tests.unit.app.pump.conftest import event as producible
from topics import commands, journal

WEIGHT = event(0).weight


def body(number: int) -> Entry:
    return Entry(journal.body_key(number), journal.encode(commands.raw_event(event(number)) | {"r": 1}))


def written(room: Room, *numbers: int) -> int:
    """Let the journal hold these bodies, each after something else; return the offset after them."""
    for number in numbers:
        for one in (Entry(b"head", b"{}"), body(number)):
            room.cluster.produce("journal", 0, [one])
    return room.cluster.partition("journal", 0).end


def offsets(found: recall.Bodies) -> list[int]:
    assert all(number == envelope.offset for number, envelope in found)
    return [number for number, _ in found]


async def test_bodies_are_read_in_pieces_by_one_way_through_the_journal(room: Room) -> None:
    end = written(room, *range(8))
    log = room.log(fetch_records=3)
    one = Recall(log)

    found = [offsets(await one.read([1, 3, 4, 6], end=end, most_bytes=2 * WEIGHT))]
    assert found == [[1, 3]]
    asked = one._next
    assert offsets(await one.read([4, 6], end=end, most_bytes=10**6)) == [4, 6]
    assert asked < one._next < end


async def test_where_it_stands_is_told_of_what_was_looked_for_by_its_number(room: Room) -> None:
    end = written(room, *range(4))
    places = Places()
    for number, offset in ((2, 5), (3, 7)):
        places.add(number, offset, Numbers([2, 3]))
    one = Recall(room.log(), at_hand={3: body(3).value or b"", 4: body(4).value or b""}, places=places)
    await one.read([0, 1], end=end, most_bytes=10**6)
    await one.read([3, 4], end=end, most_bytes=10**6)

    assert (one.take_places(), one.take_places()) == ({0: 1, 1: 3, 3: 7}, {})


async def test_what_stands_further_ahead_is_read_from_the_beginning_again(room: Room) -> None:
    end = written(room, *range(8))
    one = Recall(room.log())
    await one.read([5], end=end, most_bytes=10**6)

    assert offsets(await one.read([2, 7], end=end, most_bytes=10**6)) == [2, 7]


async def test_what_is_at_hand_is_not_read(room: Room) -> None:
    at_hand = {number: body(number).value or b"" for number in (0, 1, 2)}
    one = Recall(room.log(), at_hand=at_hand)

    assert offsets(await one.read([0, 2, 5], end=0, most_bytes=10**6)) == [0, 2]
    assert offsets(await one.read([0, 1, 2], end=0, most_bytes=2 * WEIGHT)) == [0, 1]


async def test_what_was_at_hand_is_read_from_the_journal_once_it_is_forgotten(room: Room) -> None:
    end = written(room, 0, 1)
    one = Recall(room.log(), at_hand={0: body(0).value or b""}, start=2)
    one.clear()

    assert offsets(await one.read([0, 1], end=end, most_bytes=10**6)) == [0, 1]


async def test_a_large_journal_is_read_a_part_at_a_time(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    end = written(room, *range(30))
    monkeypatch.setattr(recall, "SCAN_BYTES", 200)
    one = Recall(room.log(fetch_records=4))

    tries = [offsets(await one.read([25, 29], end=end, most_bytes=10**6)) for _ in range(3)]
    assert tries == [[], [], []]
    while not (found := offsets(await one.read([25, 29], end=end, most_bytes=10**6))):
        pass
    assert found == [25]
    while not (found := offsets(await one.read([29], end=end, most_bytes=10**6))):
        pass
    assert found == [29]


async def test_tombstones_and_what_compaction_took_mean_nothing(room: Room) -> None:
    end = written(room, 0, 1, 2)
    room.cluster.produce("journal", 0, [Entry(journal.body_key(1), None)])
    room.cluster.compact("journal", 0, end)

    assert offsets(await Recall(room.log()).read([0, 2], end=end + 1, most_bytes=10**6)) == [0, 2]


@pytest.mark.parametrize("numbers", [[3], [1, 3]])
async def test_a_body_that_is_not_there_is_an_error(room: Room, numbers: list[int]) -> None:
    end = written(room, 0, 1, 2)
    one = Recall(room.log())
    for number in numbers[:-1]:
        assert offsets(await one.read(numbers, end=end, most_bytes=10**6)) == [number]

    with pytest.raises(journal.UnreadableJournal) as caught:
        await one.read(numbers[-1:], end=end, most_bytes=10**6)

    assert caught.value.key == "body:3"


# --- with its pump --------------------------------------------------------------------------------------------------

THERE = "there"


def workflows(*loaded: str, announced: tuple[str, ...] = ()) -> WorkflowsLoaded:
    return WorkflowsLoaded(
        [defined(name) for name in loaded], [Definition.of(defined(name)) for name in (*loaded, *announced)]
    )


async def slept(room: Room, count: int, *, held_bytes: int = 10**6) -> Pump:
    """An owner that lacks a workflow, and so many events, each in a round of its own."""
    pump = await room.pump(held_bytes=held_bytes)
    pump.workflows_changed(workflows("w", announced=(THERE,)))
    room.run(pump)
    for number in range(count):
        await pump.offer_events(room.produce(producible(number, data="x" * 300)))
        await settle()
    return pump


def ended(room: Room, workflow: str) -> list[int]:
    found = [one for one in room.values("results") if one["workflow_id"] == workflow]
    return [one["events"][0]["offset"] for one in found]


async def test_a_partition_goes_on_for_the_others_however_much_sleeps(room: Room) -> None:
    pump = await slept(room, 20, held_bytes=1_000)

    assert ended(room, "w") == list(range(20))
    assert (ended(room, THERE), asleep.count(pump.state)) == ([], 20)
    assert pump.state.held_bytes + pump.state.run_bytes == 0


@pytest.mark.parametrize("at_hand_bytes", [None, 0, 1_000])
async def test_what_slept_is_run_by_the_next_owner_that_has_its_code(room: Room, at_hand_bytes: int | None) -> None:
    before = await slept(room, 20)
    before.stop()
    await settle()

    pump = await room.pump(name="second", at_hand_bytes=at_hand_bytes, held_bytes=1_000)
    pump.workflows_changed(workflows("w", THERE))
    room.run(pump)
    await settle()

    assert ended(room, THERE) == list(range(20))
    assert asleep.count(pump.state) == 0


async def test_what_slept_before_a_snapshot_is_read_from_the_journal(room: Room, tmp_path: Path) -> None:
    before = await slept(room, 5)
    before.stop()
    await settle()
    snapshots = Snapshots(tmp_path, name="j.")
    end = room.cluster.partition("journal", 0).end
    claim = {"producer_id": 1, "instance_id": "a", "worker": "a", "topics": {}}
    await snapshots.write(0, await content_of(before.state, next_offset=end, at_ms=NOW, claim=claim))

    log = room.log()
    taken = await take_over(
        log, Owner(worker="b", instance_id="b"), room.limits, now_ms=lambda: NOW, snapshots=snapshots
    )
    numbers = list(taken.state.asleep[THERE])
    found = await taken.recall.read(numbers, end=taken.next_journal_offset, most_bytes=10**6)

    assert [envelope.offset for _, envelope in found] == [0, 1, 2, 3, 4]


async def keyed_asleep(room: Room) -> Pump:
    """Twenty events of one key slept; now there is code for them, which is slow, and room for a few at a time."""
    before = await room.pump()
    before.workflows_changed(workflows(announced=(THERE,)))
    room.run(before)
    await before.offer_events(room.produce(*(producible(n, data="x" * 300, key="k4") for n in range(20))))
    await settle()
    before.stop()
    await settle()
    room.runtime.slow.add(THERE)
    pump = await room.pump(name="second", at_hand_bytes=0, held_bytes=4_000)
    pump.workflows_changed(workflows("w", THERE))
    room.run(pump)
    await settle()
    return pump


async def finish(room: Room, count: int) -> None:
    """End what runs until so many have ended."""
    while len(ended(room, THERE)) < count:
        for run in room.runtime.started:
            if run.startswith(THERE):
                room.runtime.end(run)
        await settle()


async def test_no_more_wakes_than_there_is_room_for(room: Room) -> None:
    pump = await keyed_asleep(room)

    (one,) = {pending.held.envelope.weight for lane in pump.state.lanes.values() for pending in lane.pending}
    assert 0 < pump.state.recalled_bytes <= 2_000 + one
    await pump.offer_events(room.produce(producible(99)))
    await settle()
    assert ended(room, "w") == [20]  # what is new goes on beside it
    await finish(room, 21)
    assert [one for one in ended(room, THERE) if one < 20] == list(range(20))
    assert asleep.count(pump.state) == pump.state.recalled_bytes == 0


async def test_above_the_bound_what_wakes_goes_before_anything_new(room: Room) -> None:
    room.limits = Limits(partitions=2, asleep_events=30)
    pump = await keyed_asleep(room)
    pump.state.limits = Limits(partitions=2, asleep_events=3)

    await pump.offer_events(room.produce(producible(99)))
    await settle()
    assert pump.state.events_offset == 20

    await finish(room, 21)
    assert pump.state.events_offset == 21
    assert pump.state.counters.overslept == 0
