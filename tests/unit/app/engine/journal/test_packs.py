"""Packs become tables before the takeover; what the state is afterwards does not depend on it."""

from unittest import mock

import pytest

from app.engine.journal import commit, packs
from app.engine.journal.entities import Entities
from app.engine.journal.restore import restore
from app.engine.tables.dedup import Dedup
from app.engine.tables.state import State, policy_of
from tests.unit.app.engine.partition import JOURNAL, Partition, event, flow
from topics import journal


@pytest.fixture
def packed() -> Partition:
    """A partition with packs and a tail, over two generations."""
    one = Partition(flow(), dedup_ids=16)
    with mock.patch.object(commit, "_TAIL_IDS", 3):
        for number in range(7):
            one.read(event(number, id=f"e{number}"))
            one.commit()
    assert sum(key.startswith(packs.PREFIX) for key in one.journal) == 3
    return one


def pack_keys(entities: Entities) -> list[bytes]:
    return [key for key in entities.others if key.startswith(packs.PREFIX)]


def remembered_of(dedup: Dedup) -> list[tuple[int, int, int, set[bytes]]]:
    found = []
    for one in dedup.generations:
        whole = b"".join([bytes(bucket) for bucket in one.buckets if bucket is not None])
        ids = {whole[at : at + 12] for at in range(0, len(whole), 12)}
        found.append((one.number, one.count, one.packs, ids))
    return found


def about(state: State) -> object:
    return remembered_of(state.dedup), state.dedup.count, state.tail_ids, state.tail_slots, state.tail_from, state.round


def test_a_state_is_the_same_whether_packs_were_folded_or_not(packed: Partition) -> None:
    plain = restore(Entities(packed.journal), 0, packed.limits, journal_id=JOURNAL).state
    entities, remembered = Entities(packed.journal), packs.nothing(policy_of(packed.limits))

    for key in packs.ripe(entities, pack_keys(entities)):
        packs.fold(entities, remembered, key)
    folded = restore(entities, 0, packed.limits, journal_id=JOURNAL, remembered=remembered).state

    assert pack_keys(entities) == []
    assert about(folded) == about(plain)
    assert plain.dedup.count == 7


def test_a_pack_ahead_of_its_commit_stays_what_it_is(packed: Partition) -> None:
    entities = Entities(packed.journal)
    ahead = journal.pack_key(0, 9)
    entities.put(ahead, journal.encode({"r": packed.state.round + 1, "d": journal.pack_digests([b"x" * 12])}))

    assert ahead not in packs.ripe(entities, pack_keys(entities))


def test_a_pack_of_a_generation_that_is_forgotten_stays_what_it_is(packed: Partition) -> None:
    entities = Entities(packed.journal)
    late = journal.pack_key(99, 0)
    entities.put(late, journal.encode({"r": 1, "d": ""}))

    assert late not in packs.ripe(entities, pack_keys(entities))


def test_nothing_is_ripe_in_a_journal_without_a_commit() -> None:
    key = journal.pack_key(0, 0)
    assert packs.ripe(Entities({key: b'{"r":1,"d":""}'}), [key]) == []


def test_tables_of_generations_that_the_journal_has_forgotten_go(packed: Partition) -> None:
    entities, remembered = Entities(packed.journal), packs.nothing(policy_of(packed.limits))
    remembered.dedup.restore(77, 0, b"y" * 12, packed=True)

    packs.forget(entities, remembered)

    assert (remembered.dedup.generations, remembered.dedup.count) == ([], 0)


@pytest.mark.parametrize("value", [b'{"r":1,"d":"AAAA"}', b'{"r":1}', b'{"r":1,"d":7}'])
def test_a_pack_that_is_none_is_an_error(packed: Partition, value: bytes) -> None:
    entities = Entities(packed.journal)
    key = journal.pack_key(0, 0)
    entities.put(key, value)
    with pytest.raises((ValueError, LookupError, TypeError)):
        packs.fold(entities, packs.nothing(policy_of(packed.limits)), key)
