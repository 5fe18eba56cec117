"""What a round writes to the journal: the keys, the order, and nothing that need not be there."""

from typing import Any

import pytest

from app.engine.effects import Commit
from app.engine.journal import commit as commit_module
from app.engine.journal import snapshot
from app.engine.values.asks import Note
from tests.unit.app.engine.partition import (
    NOW,
    Partition,
    canonical,
    commanded,
    dead,
    event,
    failure,
    flow,
    merge,
    results,
    run_id,
    summary,
)
from topics import journal


def keys_of(made: Commit | None) -> tuple[list[str], list[str]]:
    """The keys that are written ahead and in the batch; a minus stands before one that is removed."""
    assert made is not None

    def shown(entities: Any) -> list[str]:
        return [("" if value is not None else "-") + key.decode() for key, value in entities]

    return shown(made.ahead), shown(made.batch)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is too large for one batch."""
    monkeypatch.setattr(commit_module, "BATCH_BYTES", 1)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit_module, "PART_BYTES", 900)


# --- what is written ------------------------------------------------------------------------------------------------


def test_a_round_in_which_nothing_happened_writes_nothing() -> None:
    partition = Partition()

    assert partition.commit() is None


def test_a_run_that_starts_and_ends_in_one_round_leaves_its_result_its_id_and_the_offsets() -> None:
    partition = Partition(flow())
    partition.commit()
    (run,) = partition.read(event(0, id="e", key="k"))
    partition.complete(run)

    made = partition.commit()

    assert keys_of(made) == ([], ["out:0", "ids:0", "head"])
    assert made is not None
    assert partition.entity(b"out:0") == {
        "r": 2,
        "part": 0,
        "of": 1,
        "runs": [],
        "records": [],
        "parents": {},
        "lengths": [len(made.outgoing.results[0][1])],
        "results": results(made.outgoing),
    }


def test_the_head_says_how_far_everything_is() -> None:
    partition = Partition(flow())
    partition.read(event(6, id="a"))
    partition.commit()

    assert partition.entity(b"head") == {
        "r": 1,
        "v": journal.FORMAT,
        "partitions": 1,
        "events": 7,
        "commands": 0,
        "now": NOW,
        "bodies": 1,
        "received": {},
        "sent": {},
        "delivered": 0,
        "results_end": 0,
        "runs_end": 0,
        "ids_from": 0,
        "generations": {"0": NOW},
    }


def test_a_run_that_goes_on_is_written_with_its_event_and_again_when_it_changes() -> None:
    partition = Partition(flow(version="3"))
    one = event(0, data={"n": 1}, key="k")
    (run,) = partition.read(one)

    assert keys_of(partition.commit()) == ([], ["body:0", "out:0", f"run:{run}", "known", "head"])
    assert partition.entity(b"body:0") == {
        "p": 0,
        "o": 0,
        "t": NOW,
        "key": "k",
        "value": '{"topic":"orders/created","data":{"n":1}}',
        "headers": [],
        "r": 1,
    }
    expected = {
        "r": 1,
        "workflow": "charge",
        "version": "3",
        "bodies": [0],
        "lane": ["charge", "k"],
        "attempt": 1,
        "started": NOW,
        "due": 0,
        "status": "running",
    }
    assert partition.entity(journal.run_key(run)) == expected
    partition.publish(run, "tell")
    partition.fail(run, failure(retry_after_ms=5_000))
    assert keys_of(partition.commit()) == ([], ["out:1", f"run:{run}", f"step:{run}#0", "head"])
    changed = expected | {"r": 2, "due": NOW + 5_000, "status": "retrying"}
    assert partition.entity(journal.run_key(run)) == changed
    partition.wait(5_000)
    assert keys_of(partition.commit()) == ([], [f"run:{run}", "head"])
    assert partition.entity(journal.run_key(run)) == changed | {"r": 3, "attempt": 2, "due": 0, "status": "running"}
    partition.complete(run)
    assert keys_of(partition.commit()) == ([], ["out:2", f"-run:{run}", f"-step:{run}#0", "-body:0", "head"])


def test_runs_of_one_event_share_its_body_which_goes_with_the_last_of_them() -> None:
    partition = Partition(flow("a"), flow("b"), flow("c"))
    a, b, c = partition.read(event(0))
    partition.complete(b)

    assert keys_of(partition.commit()) == ([], ["body:0", "out:0", f"run:{a}", f"run:{c}", "known", "head"])
    partition.complete(a)
    assert keys_of(partition.commit()) == ([], ["out:1", f"-run:{a}", "head"])
    partition.complete(c)
    assert keys_of(partition.commit()) == ([], ["out:2", f"-run:{c}", "-body:0", "head"])


def test_what_waits_is_written_with_its_body_and_its_place_goes_when_its_run_starts() -> None:
    partition = Partition(flow())
    first, second = event(0, key="k"), event(1, key="k")
    (run,) = partition.read(first, second)
    ahead, batch = keys_of(partition.commit())
    assert (ahead, sorted(batch)) == (
        [],
        sorted(["body:0", "body:1", "out:0", "pending:0:charge", f"run:{run}", "known", "head"]),
    )

    (other,) = partition.complete(run)
    assert keys_of(partition.commit()) == (
        [],
        ["out:1", f"-run:{run}", "-body:1", "-pending:0:charge", f"run:{other}", "head"],
    )


def test_a_run_id_that_comes_back_in_the_round_in_which_it_ended_is_there_afterwards() -> None:
    partition = Partition(flow(), dedup_ids=4)
    (run,) = partition.read(event(0, id="a"))
    partition.commit()
    for n in range(1, 8):
        partition.read(event(n, "unheard", id=f"x{n}"))
        partition.commit()

    partition.complete(run)
    assert partition.read(event(9, id="a")) == [run]
    partition.commit()

    assert partition.takeover(flow()).in_hand == {run: 1}
    assert partition.kinds()["body"] == 1


# --- outgoing records -----------------------------------------------------------------------------------------------


def end_one(partition: Partition, offset: int) -> None:
    partition.complete(*partition.read(event(offset)))


def test_slots_of_outgoing_records_are_used_again_once_they_are_delivered() -> None:
    partition = Partition(flow())
    slots = []
    for n in range(8):
        end_one(partition, n)
        made = partition.commit()
        slots.append(keys_of(made)[1][0])
        if n >= 2:  # two rounds are on their way
            partition.deliver(partition.state.round - 2)

    assert slots == ["out:0", "out:1", "out:2", "out:0", "out:1", "out:2", "out:0", "out:1"]
    assert partition.kinds()["out"] == 3


def test_slots_are_not_used_again_before_they_are_delivered() -> None:
    partition = Partition(flow())
    for n in range(5):
        end_one(partition, n)
        partition.commit()
        partition.deliver(0)

    assert partition.kinds()["out"] == 5


def test_slots_of_a_burst_leave_the_journal_once_they_are_free(
    small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit_module, "SPARE_SLOTS", 2)
    partition = Partition(flow())
    for n in range(20):
        partition.complete(*partition.read(event(n)), result=b'"%s"' % (b"x" * 900))
    partition.commit()
    assert partition.kinds()["out"] > 10
    partition.deliver(1)
    partition.complete(*partition.read(event(20)))
    partition.commit()
    assert partition.kinds()["out"] == 3, "two that are free, and that of the round"
    again = partition.takeover(flow())
    assert [one.round for one in again.again] == [2]
    again.complete(*again.read(event(21)))
    again.commit()
    assert [one.round for one in again.takeover(flow()).again] == [2, 3]


def test_what_many_runs_leave_behind_is_removed_over_several_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit_module, "MOST_REMOVED", 50)
    partition = Partition(flow(batch_size=20, batch_timeout_seconds=5, order="none"))
    ended = [run for n in range(5) for run in partition.read(*(event(20 * n + m) for m in range(20)))]
    for run in ended:
        for n in range(30):
            partition.ask(run, f"s{n}", Note(b"1"))
    partition.commit()
    assert (partition.kinds()["body"], partition.kinds()["step"]) == (100, 150)
    partition.complete(*ended)
    made = partition.commit()
    assert made is not None
    assert sum(1 for _, value in made.batch if value is None) <= 50
    assert "run" not in partition.kinds()
    assert not snapshot.possible(partition.state)

    again = partition.takeover(flow(batch_size=20, batch_timeout_seconds=5, order="none"))
    again.state.changed = True  # whatever comes first
    for one in (partition, again):
        rounds = 0
        while (made := one.commit()) is not None:
            rounds += 1
            assert sum(1 for _, value in made.batch if value is None) <= 50
        assert rounds >= 4
        assert one.kinds().keys() & {"body", "step"} == set()


def test_steps_of_an_earlier_run_of_the_same_id_are_removed_before_it_has_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit_module, "MOST_REMOVED", 5)
    partition = Partition(flow(), dedup_ids=1)
    first = event(0, id="same")
    (run,) = partition.read(first)
    for n in range(20):
        partition.ask(run, f"s{n}", Note(b"1"))
    partition.commit()
    partition.complete(run)
    partition.commit()
    assert partition.kinds()["step"] > 10
    partition.state.dedup.generations.clear()  # it is forgotten
    assert partition.read(event(1, id="same")) == [run]
    partition.ask(run, "new", Note(b"1"))
    partition.commit()
    assert partition.kinds()["step"] == 1
    assert run not in partition.state.husks


def test_a_round_without_anything_to_send_needs_no_slot() -> None:
    partition = Partition(flow(filter=lambda _one: False))
    partition.read(event(0))

    assert keys_of(partition.commit()) == ([], ["known", "head"])
    assert partition.state.undelivered == type(partition.state.undelivered)()


def test_outgoing_records_are_cut_into_parts_that_come_back_whole(small_parts: None) -> None:
    partition = Partition(flow(max_retries=0))
    runs = partition.read(*(event(n, data="x" * n) for n in range(9)))
    partition.complete(*runs[:5])
    for run in runs[5:]:
        partition.fail(run)
    made = partition.commit()
    assert made is not None
    count = partition.kinds()["out"]

    assert count > 3
    assert [(partition.entity(b"out:%d" % n)["part"], partition.entity(b"out:%d" % n)["of"]) for n in range(count)] == [
        (n, count) for n in range(count)
    ]
    assert partition.takeover(flow()).again == [made.outgoing]
    assert len(dead(made.outgoing)) == 4


# --- rounds that are larger than one batch --------------------------------------------------------------------------


def test_what_nothing_refers_to_yet_goes_ahead_of_a_large_round(small: None) -> None:
    partition = Partition(flow())
    first, second = event(0, id="a", key="k"), event(1, id="b", key="k")
    (run,) = partition.read(first, second)

    assert keys_of(partition.commit()) == (
        ["body:0", "body:1", "out:0", "pending:0:charge", f"run:{run}"],
        ["ids:0", "known", "head"],
    )


def test_a_large_round_whose_commit_never_came_leaves_no_trace(small: None) -> None:
    partition = Partition(flow())
    (run,) = partition.read(event(0, key="k"))
    partition.commit()
    before, durable = canonical(partition.takeover(flow()).state), dict(partition.journal)
    partition.complete(run)
    partition.read(event(1, key="k"), event(2, key="k"))
    made = partition.commit()
    assert made is not None
    merge(durable, made.ahead)

    other = partition.takeover(flow(), journal_=durable)

    assert sorted(other.state.orphans) == sorted(key for key, _ in made.ahead)
    other.state.orphans, orphans = [], other.state.orphans
    assert other.state.bodies > max(int(key[5:]) for key in orphans if key.startswith(b"body:"))  # given only once
    assert canonical(other.state) | {"bodies": before["bodies"]} == before
    other.state.orphans = orphans
    other.complete(run)
    ahead, _ = keys_of(other.commit())
    assert ahead[: len(orphans)] == [f"-{key.decode()}" for key in orphans]
    assert other.kinds() == {"out": 2, "known": 1, "head": 1}
    assert summary(other.commits[-1].outgoing) == [(run, "completed", {"ok": True})]


def test_what_was_written_ahead_of_the_very_first_commit_is_removed(small: None) -> None:
    partition = Partition(flow())
    partition.read(event(0))
    made = partition.commit()
    assert made is not None

    other = partition.takeover(flow(), journal_={key: value for key, value in made.ahead if value is not None})

    assert other.state.round == 0
    assert other.read(event(0)) == [run_id("charge", event(0))]
    other.complete(*other.in_hand)
    other.commit()
    assert other.kinds() == {"out": 1, "known": 1, "head": 1}


# --- ids ------------------------------------------------------------------------------------------------------------


def test_ids_are_packed_now_and_then_and_small_records_are_written_over() -> None:
    partition = Partition(flow(), dedup_ids=10**6)
    rounds = 2 * commit_module._TAIL_SLOTS + 9
    for n in range(rounds):
        partition.complete(*partition.read(event(n, id=f"e{n}")))
        partition.commit()
        partition.deliver(partition.state.round)

    kinds = partition.kinds()
    assert kinds["ids"] <= commit_module._TAIL_SLOTS
    assert kinds["pack"] == 2
    again = partition.takeover(flow())
    assert canonical(again.state)["ids"] == canonical(partition.state)["ids"]
    assert again.state.dedup.count == rounds
    assert again.read(*(event(n, id=f"e{n}") for n in range(rounds))) == []


def test_many_ids_at_once_are_packed_at_once() -> None:
    partition = Partition(dedup_ids=10**6)
    count = commit_module._TAIL_IDS
    partition.read(*(event(n, id=f"e{n}") for n in range(count)))

    assert keys_of(partition.commit()) == ([], ["pack:0:0", "head"])
    assert partition.takeover().state.dedup.count == count


@pytest.mark.parametrize("a_round", [1, 3, 40])
def test_what_is_forgotten_leaves_the_journal_and_the_next_owner_alike(
    a_round: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit_module, "_TAIL_SLOTS", 5)
    partition = Partition(dedup_ids=32, dedup_window_ms=4_000)
    number = 0
    for _ in range(60):
        partition.now += 37
        partition.read(*(event(number + n, id=f"e{number + n}") for n in range(a_round)))
        number += a_round
        partition.commit()
        again = partition.takeover()

        assert canonical(again.state)["ids"] == canonical(partition.state)["ids"]
        assert [(g.number, g.count, g.packs) for g in again.state.dedup.generations] == [
            (g.number, g.count, g.packs) for g in partition.state.dedup.generations
        ]
        assert again.state.removed == []
    assert partition.kinds()["ids"] <= 6
    assert partition.kinds()["pack"] <= 32


# --- commands -------------------------------------------------------------------------------------------------------


def test_a_large_round_of_forwards_is_several_commands_in_order(small_parts: None) -> None:
    partition = Partition(flow(), partitions=2)
    partition.read(*(event(n, id=f"e{n}", data="x" * 300) for n in range(12)))
    partition.complete(*partition.in_hand)

    found = commanded(partition.committed())

    assert [(to, one.sequence) for to, one in found] == [(1, n) for n in range(1, len(found) + 1)]
    assert len(found) > 1
    assert all(sum(event.size for event in one.events) <= 900 or len(one.events) == 1 for _, one in found)
    offsets = [one.offset for _, command in found for one in command.events]
    assert offsets == sorted(offsets)
    assert len(offsets) == partition.state.counters.forwarded
