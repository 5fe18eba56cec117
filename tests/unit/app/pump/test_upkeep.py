"""A claim is renewed before the broker may forget it."""

from typing import Any

import orjson

from app.engine.inputs import WorkflowsLoaded
from app.pump.around import Bounds
from app.pump.pump import Pump
from app.pump.takeover import Owner
from app.pump.upkeep import Upkeep
from tests.unit.app.pump.conftest import NOW, Room, defined, settle
from topics import journal

KEY = "k4"  # its home is partition 0 of two


async def going(room: Room, *, claim_every_ms: int) -> Pump:
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
        snapshots=None,
        snapshot_due_ms=0,
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
