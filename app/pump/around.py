"""What a pump needs around it: whoever drives the authors' code, a clock, and how much it may take."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from app.engine.effects import After
from app.engine.inputs import Happened
from app.engine.tables.run import Run


class Runtime(Protocol):
    """What drives authors' code (app.runtime.driver)."""

    async def start(self, runs: Sequence[Run], report: Callable[[Happened], None]) -> None:
        """Start an attempt of each run; return once those that need not wait have ended. `report` gets what happens."""

    def go_on(self, after: Sequence[After], report: Callable[[Happened], None]) -> None:
        """Do what follows the round that has been journaled, or need not wait for that, in this order. What a run is
        told that has no function here, because it was dropped meanwhile, means nothing: that was reported.
        """

    def spare(self) -> int:
        """Return how many functions more that wait for a time which is near would be kept in memory."""

    def cancel(self, runs: Sequence[Run]) -> None:
        """Stop the attempts of `runs`; nothing more is reported of them."""


class Clock(Protocol):
    """Time as the pump sees it; the simulation has its own."""

    def now_ms(self) -> int: ...

    async def wait(self, event: asyncio.Event, until_ms: int | None) -> None:
        """Wait for `event`, at most until `until_ms`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much a round takes, and when a partition stops taking more."""

    round_events: int = 2_000
    round_bytes: int = 8 * 1024 * 1024
    event_bytes: int = 1024 * 1024
    running: int = 1_000
    held_bytes: int = 8 * 1024 * 1024
    """Of events that wait or are being handled; a round may add its own on top."""
    inbox_bytes: int = 4 * 1024 * 1024
    facts_linger_seconds: float = 0.0
    """How long facts wait for the facts of later rounds, to share their request; results never wait."""
