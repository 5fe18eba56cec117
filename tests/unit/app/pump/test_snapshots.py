"""Snapshots in a folder: found again as they were written, and passed over whenever they cannot be trusted."""

import os
from pathlib import Path

import pytest

from app.engine.tables.state import policy_of
from app.pump.snapshots import MOST_AGE_MS, Snapshots, content_of
from tests.unit.app.engine.partition import JOURNAL, Partition, event, flow

AT = 1_769_860_800_000
CLAIM = {"producer_id": 7}


def settled() -> Partition:
    """A partition of which everything is journaled and delivered."""
    one = Partition(flow())
    one.read(event(0, id="x"), event(1, id="y"))
    one.commit()
    one.deliver(one.state.round)
    return one


async def written(folder: Path) -> Partition:
    one = settled()
    await Snapshots(folder, name="j.").write(0, await content_of(one.state, next_offset=42, at_ms=AT, claim=CLAIM))
    return one


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


async def test_what_was_written_is_found_again(tmp_path: Path) -> None:
    one = await written(tmp_path / "new")
    found = await Snapshots(tmp_path / "new", name="j.").read(
        0, policy=policy_of(one.limits), journal_id=JOURNAL, now_ms=AT + MOST_AGE_MS
    )
    assert found is not None
    assert (found.next_offset, found.about["claim"], found.remembered.dedup.count) == (42, CLAIM, 2)
    assert names(tmp_path / "new") == ["j.0.snapshot"]


@pytest.mark.parametrize(
    ("partition", "journal_id", "later_ms"),
    [
        pytest.param(1, JOURNAL, 0, id="of another partition"),
        pytest.param(0, "made-anew", 0, id="of another journal"),
        pytest.param(0, JOURNAL, MOST_AGE_MS + 1, id="too old"),
    ],
)
async def test_one_that_does_not_count_is_passed_over(
    tmp_path: Path, partition: int, journal_id: str, later_ms: int
) -> None:
    one = await written(tmp_path)
    snapshots = Snapshots(tmp_path, name="j.")
    found = await snapshots.read(partition, policy=policy_of(one.limits), journal_id=journal_id, now_ms=AT + later_ms)
    assert found is None


async def test_a_torn_one_is_passed_over(tmp_path: Path) -> None:
    one = await written(tmp_path)
    file = tmp_path / "j.0.snapshot"
    file.write_bytes(file.read_bytes()[:-20])
    snapshots = Snapshots(tmp_path, name="j.")
    assert await snapshots.read(0, policy=policy_of(one.limits), journal_id=JOURNAL, now_ms=AT) is None


async def test_a_folder_that_cannot_be_written_costs_the_snapshot_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    one = await written(tmp_path / "file")
    snapshots = Snapshots(tmp_path / "file", name="j.")
    assert await snapshots.read(0, policy=policy_of(one.limits), journal_id=JOURNAL, now_ms=AT) is None


async def test_what_a_process_that_died_left_unfinished_goes_once_it_is_old(tmp_path: Path) -> None:
    old, new, other = (tmp_path / name for name in (".j.0.snapshot.old", ".j.0.snapshot.new", ".j.1.snapshot.old"))
    for file in (old, new, other):
        file.write_bytes(b"half")
    for file in (old, other):
        os.utime(file, (0, 0))
    await written(tmp_path)
    assert names(tmp_path) == [new.name, other.name, "j.0.snapshot"]
