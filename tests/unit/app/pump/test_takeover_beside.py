"""While a partition is restored, however long that takes, its process does everything else."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.engine.journal import snapshot
from app.engine.journal.restore import restore
from app.engine.tables.state import policy_of
from app.pump import takeover
from app.pump.snapshots import Snapshots, content_of
from app.pump.takeover import Owner, Taken, take_over
from tests.unit.app.pump.conftest import NOW, Room, event, settle

SECONDS = 20.0
"""So long a restore waits for the loop before it says that the loop stands still."""


class Restores:
    """Restores that end once the loop has gone on, and how many there were at once."""

    def __init__(self, does: Callable[..., Any]) -> None:
        self.gone_on = threading.Event()
        self.most = 0
        self._does = does
        self._now = 0

    def __call__(self, *given: Any, **options: Any) -> Any:
        self._now += 1
        self.most = max(self.most, self._now)
        assert self.gone_on.wait(SECONDS), "the loop stood still"
        self._now -= 1
        return self._does(*given, **options)


@pytest.fixture(autouse=True)
def _everything_is_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeover, "AT_ONCE_BYTES", 0)


async def test_the_loop_goes_on_while_a_partition_is_restored(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    (await with_runs(room)).stop()
    restores = Restores(restore)
    monkeypatch.setattr(takeover, "restore", restores)
    asyncio.get_running_loop().call_later(0.01, restores.gone_on.set)
    taken = await room.take(room.log(), "second")
    assert taken.state.round > 0


async def test_partitions_that_come_together_are_restored_one_after_the_other(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    restores = Restores(restore)
    monkeypatch.setattr(takeover, "restore", restores)
    asyncio.get_running_loop().call_later(0.01, restores.gone_on.set)
    one_at_a_time = asyncio.Lock()

    async def taken(partition: int) -> Taken:
        owner = Owner(worker="first", instance_id="first")
        log = room.log(partition)
        return await take_over(log, owner, room.limits, now_ms=room.clock.now_ms, restoring=one_at_a_time)

    both = await asyncio.gather(taken(0), taken(1))
    assert [one.state.partition for one in both] == [0, 1]
    assert restores.most == 1


async def test_the_loop_goes_on_while_a_snapshot_is_taken_apart(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pump = await with_runs(room)
    snapshots = Snapshots(tmp_path, name="j.")
    await snapshots.write(0, await content_of(pump.state, next_offset=1, at_ms=NOW, claim={}))
    pump.stop()
    decodes = Restores(snapshot.decode)
    monkeypatch.setattr(snapshot, "decode", decodes)
    asyncio.get_running_loop().call_later(0.01, decodes.gone_on.set)
    journal_id = room.cluster.topic_ids()["journal"]
    found = await snapshots.read(0, policy=policy_of(room.limits), journal_id=journal_id, now_ms=NOW)
    assert found is not None


async def with_runs(room: Room) -> Any:
    pump = await room.pump()
    room.run(pump)
    await pump.offer_events(room.produce(event(id="e1", key="k4")))
    await settle()
    pump._mark()
    await settle()
    return pump
