"""A claim is renewed before its time, or its sequence numbers, run out."""

from typing import Any

import orjson
import pytest

from app.engine.inputs import WorkflowsLoaded
from app.pump import upkeep as module
from app.pump.pump import Bounds, Pump
from app.pump.takeover import Owner
from app.pump.upkeep import LOOK_MS, Upkeep
from tests.unit.app.pump.conftest import NOW, Room, defined, event, settle
from topics import journal

KEY = "k4"  # its home is partition 0 of two
DAY_MS = 24 * LOOK_MS


async def going(room: Room, *, claim_every_ms: int = DAY_MS) -> Pump:
    """Return the running pump of partition 0, whose claim is renewed as often as that at least."""
    log = room.log()
    taken = await room.take(log)
    upkeep = Upkeep(
        log=log,
        owner=Owner(worker="first", instance_id="first"),
        limits=room.limits,
        claim=taken.claim,
        claimed_at_offset=taken.term,
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


async def handle(room: Room, pump: Pump, count: int) -> None:
    """Have so many events handled: a result each."""
    known = len(room.cluster.read("events", 0))
    entries = [event(id=f"e{known + number}", key=KEY) for number in range(count)]
    await pump.offer_events(room.produce(*entries)[known:])
    await settle()


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


@pytest.mark.parametrize(("rounds", "events", "topic"), [(15, 1, "journal"), (3, 15, "results")])
async def test_a_claim_with_many_records_is_renewed_within_an_hour_whatever_its_time(
    room: Room, monkeypatch: pytest.MonkeyPatch, rounds: int, events: int, topic: str
) -> None:
    monkeypatch.setattr(module, "MOST_RECORDS", 30)
    pump = await going(room)
    await passes(room, pump, LOOK_MS)  # the outputs count from the first look on
    before = {name: len(room.cluster.read(name, 0)) for name in ("journal", "results", "runs")}
    for _ in range(rounds):
        await handle(room, pump, events)
    after = {name: len(room.cluster.read(name, 0)) for name in before}
    assert [name for name in before if after[name] - before[name] >= 30] == [topic]

    await passes(room, pump, LOOK_MS - 1)
    assert len(claims(room)) == 1
    await passes(room, pump, 1)
    assert len(claims(room)) == 2

    await handle(room, pump, 15)
    await passes(room, pump, LOOK_MS)
    assert len(claims(room)) == 2, "the count begins again with the claim"
    assert len(room.values("results")) == rounds * events + 15
