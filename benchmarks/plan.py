"""What one invocation of the benchmarks measures: sides, rounds, sizes; handed to every mode."""

import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import broker, catalog

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Sides, rounds and sizes."""

    broker: broker.Broker
    folder: Path
    sides: tuple[catalog.Side, ...]
    rounds: int
    quick: bool
    workers_by_side: Mapping[str, int] = field(default_factory=dict)
    events_by_side: Mapping[str, int] = field(default_factory=dict)
    durable_sides: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    """Which kinds of sources; none: all."""
    waiting: int | None = None
    """How many runs wait; None: as many as the mode wants."""

    @property
    def live_seconds(self) -> float:
        """How long the producer runs in the live form."""
        return 2.0 if self.quick else 12.0

    @property
    def long_rounds(self) -> int:
        """How often a mode runs whose one round takes many minutes."""
        return max(1, self.rounds // 2)

    @property
    def live_events(self) -> int:
        """More events than a producer can send in `live_seconds`."""
        return int(self.live_seconds * 300_000)

    def count(self, side: catalog.Side) -> int:
        """How many events the side drains: about ten seconds of its work, two when quick."""
        return self.events_by_side.get(side.name, side.quick_events if self.quick else side.events)

    def workers(self, side: catalog.Side) -> int:
        """With how many worker processes the side runs."""
        return self.workers_by_side.get(side.name, side.workers)

    def stage(self, side: catalog.Side, label: str, *, settings: Mapping[str, str] | None = None) -> catalog.Stage:
        """Return a stage with a prefix that no other stage has."""
        name = f"bench-{os.getpid()}-{next(_numbers)}-{side.name}-{label}"
        return catalog.Stage(
            side=side, broker=self.broker, prefix=name + ".", folder=self.folder / name, settings=settings or {}
        )
