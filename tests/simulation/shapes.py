"""The bounds of a scenario, drawn: small ones above all, for what happens at a bound is what goes wrong."""

from dataclasses import replace
from random import Random
from typing import Final

from app.engine.values.limits import Limits
from app.pump.around import Bounds
from app.pump.takeover import AT_ONCE_BYTES
from tests.simulation.worker import Shape

EVENT_BYTES: Final = 2_000


def draw(chance: Random, seed: int, partitions: int, *, tight_dedup: bool) -> Shape:
    """Return random bounds."""
    small = chance.random() < 0.4
    apart = Random(seed ^ 0x57A4DB1)  # so that what else a seed means stays as it was
    return Shape(
        limits=Limits(
            partitions=partitions,
            workflows_per_event=chance.choice((100, 100, 2)),
            batch_bytes=chance.choice((10_000, 10_000, 200)),
            dedup_ids=chance.choice((4, 4, 8, 16)) if tight_dedup else 100_000,
            asleep_events=chance.choice((250_000, 250_000, 250_000, 3)),
            topics_of_a_head=Random(seed ^ 0x70_91C5).choice((8, 8, 1, 0)),
            candidates=Random(seed ^ 0xCAD1DA7E).choice((1, 2, 16)),
            retry_base_ms=60,
            retry_max_ms=300,
            event_bytes=EVENT_BYTES,
            reply_allowed=lambda topic: topic in ("replies", "nowhere"),
        ),
        bounds=Bounds(
            round_events=chance.choice((1, 3, 7)) if small else 500,
            event_bytes=EVENT_BYTES,
            running=chance.choice((1, 2, 4)) if small else 100,
            held_bytes=chance.choice((300, 1_000, 2_000, 3_000)) if chance.random() < 0.5 else 1_000_000,
            inbox_bytes=chance.choice((100, 1_000_000)),
            facts_linger_seconds=0.0 if seed % 4 else 0.03,
        ),
        at_hand_bytes=chance.choice((0, 0, 200, 1_000_000)),
        scan_bytes=chance.choice((8_000_000, 400)),
        commit_bytes=chance.choice((4_000_000, 4_000_000, 1_000, 1)),
        fetch_records=chance.choice((1, 3, 10)) if small else 100,
        journal_fetch_records=chance.choice((3, 50, 500)),
        results_batch_bytes=chance.choice((600, 900_000)),
        send_records=chance.choice((1, 3, 500)),
        claim_every_ms=chance.choice((3_600_000, 3_600_000, 700)),
        snapshot_every_ms=chance.choice((None, None, 300)),
        tail_ids=apart.choice((4_096, 4_096, 5, 2)),
        tight=Random(seed ^ 0x7167_47ED).random() < 0.5,
        at_once_bytes=Random(seed ^ 0x7423_AD5).choice((0, AT_ONCE_BYTES)),
        standby_turn_seconds=apart.choice((None, 0.02, 0.02, 0.1, 0.5, 2.0)),
        standby_turn_bytes=apart.choice((1, 300, 3_000, 4_000_000)),
        standby_most_bytes=apart.choice((5_000, 20_000, 100_000_000, 100_000_000)),
    )


def for_steps(shape: Shape, apart: Random, *, strict: bool) -> Shape:
    """Return the bounds of a scenario with durable steps.

    What waits strictly behind a run that waits sleeps in the journal, and where that comes to `asleep_events` nothing
    is read any more, not even what the run waits for: the setting says so.
    """
    return replace(
        shape,
        limits=replace(
            shape.limits,
            dedup_ids=100_000,
            heads=apart.choice((256, 256, 1)),
            arrivals=apart.choice((10_000, 10_000, 2)),
            asleep_events=10_000 if strict else shape.limits.asleep_events,
        ),
        suspended=apart.choice((10_000, 10_000, 2, 1, 1)),
        a_round=apart.choice((5_000, 5_000, 1)),
        slice_events=apart.choice((500, 500, 1)),
        threads=apart.choice((1, 1, 2)),
    )


def crowded(shape: Shape, apart: Random) -> Shape:
    """Return the bounds with little to wait for, perhaps: fewer than the steps of some runs want."""
    if apart.random() < 0.8:
        return shape
    limits = replace(
        shape.limits, waits=apart.choice((2, 4, 8, 2_000_000)), waits_per_run=apart.choice((1, 2, 3, 1_000))
    )
    return replace(shape, limits=limits)
