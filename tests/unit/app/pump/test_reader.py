"""A journal is read on from where it was left, as long as it is still the same journal."""

from typing import Any

import orjson
import pytest

from app.engine.tables.state import policy_of
from app.kafka.log import Entry
from app.pump.reader import Diverged, Reader, is_kill
from tests.unit.app.pump.conftest import NOW, Room
from topics import journal


def reader(room: Room, **options: Any) -> Reader:
    policy = policy_of(room.limits)
    return Reader(room.log(**options), journal_id="j", policy=policy, fresh_ms=NOW, at_hand_bytes=None)


def write(room: Room, *keys: str, value: bytes = b'{"r":1}') -> None:
    room.cluster.produce("journal", 0, [Entry(key.encode(), value) for key in keys])


def keys_of(found: Reader) -> set[bytes]:
    return set(found.entities.others)


def cut(room: Room, end: int) -> None:
    """Lose the end of the journal, as after an unclean election."""
    where = room.cluster.partition("journal", 0)
    where._stored = [one for one in where._stored if one.record.offset < end]
    where.end = end


async def test_reading_on_takes_what_came_since_and_what_was_removed(room: Room) -> None:
    found = reader(room)
    write(room, "run:a", "run:b")
    await found.read_on()
    write(room, "run:c")
    room.cluster.produce("journal", 0, [Entry(b"run:a", None)])
    await found.read_on(sure=True)

    assert (keys_of(found), found.next_offset) == ({b"run:b", b"run:c"}, 4)


async def test_a_bounded_reading_stops_and_goes_on_later(room: Room) -> None:
    found = reader(room, fetch_records=1)
    write(room, "run:a", "run:b", "run:c")
    steps = []
    for _ in range(4):
        await found.read_on(end=3, most_bytes=1, sure=True)
        steps.append(found.next_offset)

    assert steps == [1, 2, 3, 3]


async def test_what_was_read_up_to_is_not_read_again_as_something_new(room: Room) -> None:
    found = reader(room)
    write(room, "claim", value=b'{"producer_id":7}')
    await found.read_on()
    found.claimants.clear()
    write(room, "run:a")
    await found.read_on()

    assert found.claimants == set()


async def test_a_journal_that_ends_earlier_than_it_did_is_another_one(room: Room) -> None:
    found = reader(room)
    write(room, "run:a", "run:b")
    await found.read_on()
    cut(room, 1)
    for end in (None, 1):
        with pytest.raises(Diverged, match=r"journal-0: read up to offset 2, but it ends at offset 1"):
            await found.read_on(end=end)


async def test_a_journal_that_lost_its_end_and_grew_again_is_another_one(room: Room) -> None:
    found = reader(room)
    write(room, "run:a", "run:b")
    await found.read_on()
    cut(room, 1)
    write(room, "run:x", "run:y")
    with pytest.raises(Diverged, match="offset 1 holds another record than before"):
        await found.read_on()
    assert b"run:y" not in keys_of(found)


async def test_where_compaction_took_what_was_read_last_only_a_takeover_of_its_own_goes_on(room: Room) -> None:
    sure, own = reader(room), reader(room)
    write(room, "run:a", "run:b")
    await sure.read_on()
    await own.read_on()
    write(room, "run:b", "run:c")
    room.cluster.compact("journal", 0, 4)
    await own.read_on()

    assert keys_of(own) == {b"run:a", b"run:b", b"run:c"}
    with pytest.raises(Diverged, match="offset 1 was read, and is there no more"):
        await sure.read_on(sure=True)


async def test_kill_records_are_nothing(room: Room) -> None:
    found = reader(room)
    room.cluster.produce("journal", 0, [Entry(b"fence", None, ((journal.FENCE_HEADER, b"1"),))])
    await found.read_on()

    assert (keys_of(found), found.next_offset) == (set(), 1)
    assert is_kill(room.cluster.read("journal", 0)[0])


async def test_packs_are_folded_once_their_commit_is_there(room: Room) -> None:
    found = reader(room)
    pack = {"r": 2, "d": journal.pack_digests([b"a" * 12, b"b" * 12])}
    room.cluster.produce("journal", 0, [Entry(journal.pack_key(0, 0), journal.encode(pack))])
    await found.read_on()
    await found.fold()
    before, early = found.weight, keys_of(found)
    head = orjson.dumps({"r": 2, "generations": {"0": 5}})
    room.cluster.produce("journal", 0, [Entry(journal.HEAD, head)])
    await found.read_on()
    await found.fold()

    assert early == {journal.pack_key(0, 0)}
    assert found.remembered is not None
    assert (found.remembered.dedup.count, keys_of(found)) == (2, {journal.HEAD})
    assert found.weight > before, "a table weighs more than two ids"


async def test_bodies_at_hand_again_need_no_reading_back(room: Room) -> None:
    found = Reader(room.log(), journal_id="j", policy=policy_of(room.limits), fresh_ms=NOW, at_hand_bytes=10)
    write(room, "body:0", "body:1")
    await found.read_on()
    assert found.first_unkept == 1
    room.cluster.produce("journal", 0, [Entry(b"body:1", None)])
    await found.read_on()
    assert found.first_unkept == 3
