"""A claim is renewed before the broker may forget it, and snapshots are written beside the work."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from app.engine.inputs import WorkflowsLoaded
from app.engine.journal import snapshot
from app.engine.journal.snapshot import Content
from app.pump.around import Bounds
from app.pump.pump import Pump
from app.pump.snapshots import Snapshots
from app.pump.takeover import Owner
from app.pump.upkeep import Upkeep
from tests.unit.app.pump.conftest import NOW, Room, defined, event, settle
from topics import journal

KEY = "k4"  # its home is partition 0 of two


async def going(room: Room, *, claim_every_ms: int, snapshots: Snapshots | None = None) -> Pump:
    """Return the running pump of partition 0, whose claim is renewed as often as that at least."""
    log = room.log()
    taken = await room.take(log)
    upkeep = Upkeep(
        log=log,
        owner=Owner(worker="first", instance_id="first"),
        limits=room.limits,
        claim=taken.claim,
        claim_due_ms=NOW + claim_every_ms,
        claim_every_ms=claim_every_ms,
        snapshots=snapshots,
        snapshot_due_ms=NOW + 60_000,
        snapshot_every_ms=60_000,
    )
    pump = Pump(
        taken.state,
        log,
        room.runtime,
        room.clock,
        next_journal_offset=taken.next_journal_offset,
        bounds=Bounds(),
        upkeep=upkeep,
    )
    pump.workflows_changed(WorkflowsLoaded([defined()], ()))
    room.run(pump)
    await settle()
    return pump


async def passes(room: Room, pump: Pump, milliseconds: int) -> None:
    """Let time pass, and the pump see that it did."""
    room.clock.ms += milliseconds
    pump.workflows_changed(WorkflowsLoaded([defined()], ()))
    await settle()


def claims(room: Room) -> list[Any]:
    found = [one.value for one in room.cluster.read("journal", 0) if one.key == journal.CLAIM]
    return [orjson.loads(one)["epoch"] for one in found if one is not None]


async def test_a_claim_is_renewed_when_its_time_has_come(room: Room) -> None:
    pump = await going(room, claim_every_ms=10_000)
    await passes(room, pump, 9_999)
    assert len(claims(room)) == 1
    await passes(room, pump, 1)
    first, second = claims(room)
    assert second > first

    await passes(room, pump, 9_999)
    assert len(claims(room)) == 2
    await passes(room, pump, 1)
    assert len(claims(room)) == 3


class SlowDisk(Snapshots):
    """A disk that takes as long to write as the test says."""

    def __init__(self) -> None:
        super().__init__(Path("nowhere"), name="")
        self.begun: list[int] = []
        self.goes_on = asyncio.Event()
        self.error: Exception | None = None

    async def write(self, partition: int, content: Content) -> None:
        self.begun.append(partition)
        await self.goes_on.wait()
        if self.error is not None:
            raise self.error


async def works(room: Room, pump: Pump, event_id: str) -> None:
    """Let the partition take an event and come to rest, its mark in the journal."""
    await pump.offer_events(room.produce(event(id=event_id, key=KEY)))
    await settle()
    pump._mark()
    await settle()


async def test_a_partition_goes_on_while_its_snapshot_is_written(room: Room) -> None:
    disk = SlowDisk()
    pump = await going(room, claim_every_ms=10**9, snapshots=disk)
    await works(room, pump, "a")
    await passes(room, pump, 60_000)
    assert disk.begun == [0]

    await works(room, pump, "b")
    assert len(room.values("results")) == 2
    await passes(room, pump, 60_000)
    assert disk.begun == [0], "the disk is slow: one at a time"

    disk.goes_on.set()
    await passes(room, pump, 60_000)
    assert disk.begun == [0, 0]


async def test_others_have_their_turns_while_a_snapshot_is_taken_and_the_partition_waits_for_it(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "SLICE", 1)
    disk = SlowDisk()
    pump = await going(room, claim_every_ms=10**9, snapshots=disk)
    await works(room, pump, "a")
    turns: list[int] = []
    in_slices = snapshot.in_slices

    def noted(*args: Any, **options: Any) -> Any:
        rounds = pump.state.round
        asyncio.get_running_loop().call_soon(turns.append, rounds)
        await_offer = asyncio.ensure_future(pump.offer_events(room.produce(event(id="b", key=KEY))))
        yield from in_slices(*args, **options)
        assert turns == [rounds]
        assert await_offer.done()
        assert pump.state.round == rounds, "what came meanwhile waits"

    monkeypatch.setattr(snapshot, "in_slices", noted)
    await passes(room, pump, 60_000)
    assert disk.begun == [0]
    assert len(room.values("results")) == 2


async def test_what_goes_wrong_with_a_snapshot_in_a_way_that_is_not_known_ends_the_partition(room: Room) -> None:
    disk = SlowDisk()
    disk.error = RuntimeError("broken")
    disk.goes_on.set()
    pump = await going(room, claim_every_ms=10**9, snapshots=disk)
    await works(room, pump, "a")
    await passes(room, pump, 60_000)
    await works(room, pump, "b")
    await passes(room, pump, 60_000)
    with pytest.raises(RuntimeError, match="broken"):
        await room.running[0]


async def test_a_stop_in_order_waits_until_the_last_snapshot_is_written(room: Room) -> None:
    disk = SlowDisk()
    pump = await going(room, claim_every_ms=10**9, snapshots=disk)
    await works(room, pump, "a")
    pump.stop()
    await settle()
    assert disk.begun == [0]
    assert not room.running[0].done()
    disk.goes_on.set()
    await room.running[0]
