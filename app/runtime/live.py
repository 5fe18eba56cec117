"""The runs that a worker has in hand: their tasks, the attempts that wait for steps, and which of those are dropped.

A run that only waits can be called again later, from what is recorded. Beyond a bound the driver drops those that have
waited longest (`Evicted`); plain functions among them as well when other runs need their threads.
"""

import asyncio
import time
from collections.abc import Callable
from itertools import islice
from typing import Final, Protocol

from app.engine.inputs import Evicted, Happened
from app.engine.tables.run import Run
from app.engine.values.asks import Outcome
from app.runtime.collector import Collector
from app.runtime.limits import StepLimits, suspended_beside
from app.runtime.threads import Threads
from app.runtime.waiting import waits_only
from topics.envelope import Envelope

Report = Callable[[Happened], None]
Task = asyncio.Task[None] | None
"""In which a function goes on; None where there is no driver."""
_MORE: Final = 64
"""How many further runs are looked at when some of those that wait longest do more than wait."""
AT_ONCE: Final = 500
"""So many are dropped in one go when less has become possible: others have their turns between."""


def wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class Attempt(Protocol):
    """What this has to know of an attempt (app.runtime.attempt)."""

    run: Run
    plain: bool
    report: Report
    weight: int

    @property
    def is_passive(self) -> bool: ...
    def resolve(self, key: str, outcome: Outcome) -> None: ...
    def go(self, key: str, attempt: int) -> None: ...
    def judge(self, key: str, condition: int, envelope: Envelope) -> None: ...
    def pause(self) -> None: ...


class Live:
    """What the attempts of a worker share."""

    def __init__(self, limits: StepLimits, threads: Threads, now_ms: Callable[[], int] = wall_clock_ms) -> None:
        self.limits = limits
        self.threads = threads
        self.now_ms = now_ms
        self.loop: asyncio.AbstractEventLoop | None = None
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.attempts: dict[str, Attempt] = {}
        """Those that asked for a step, or were called anew."""
        self._parked: dict[str, Attempt] = {}
        """Those with a step that only waits; what has waited longest comes first."""
        self._weight = 0
        """Of their events, in bytes."""
        self._looking = False
        self._most = limits.suspended
        self._collector = Collector()

    def beside(self, resting_bytes: int) -> None:
        """So much rests in memory without functions, which leaves the less for these the more it is."""
        self._most = suspended_beside(self.limits, resting_bytes)
        if len(self._parked) > self._most:
            self.look()

    def park(self, attempt: Attempt) -> None:
        """A run waits for a step: for an event, a time, a person, other runs."""
        before = self._parked.pop(attempt.run.id, None)
        if before is not attempt:
            attempt.weight = attempt.weight or sum([one.weight for one in attempt.run.events])
            self._weight += attempt.weight - (0 if before is None else before.weight)
            self._collector.parked()
        self._parked[attempt.run.id] = attempt
        if len(self._parked) > self._most or self._weight > self.limits.suspended_bytes:
            self.look()
        elif attempt.plain:
            self.make_room()

    def unpark(self, attempt: Attempt) -> None:
        if self._parked.get(attempt.run.id) is attempt:
            del self._parked[attempt.run.id]
            self._weight -= attempt.weight

    def leave(self, attempt: Attempt) -> None:
        """An attempt is over."""
        self.unpark(attempt)
        if self.attempts.get(attempt.run.id) is attempt:
            del self.attempts[attempt.run.id]

    def make_room(self) -> None:
        """Drop plain functions that wait, as many as there are others without a thread."""
        if self.threads.short and self._parked:
            self.look()

    def look(self) -> None:
        """Drop what is too much, once everything has come to its next wait."""
        if not self._looking and self.loop is not None:
            self._looking = True
            self.loop.call_soon(self._drop)

    def _drop(self) -> None:
        self._looking = False
        dropped: list[Attempt] = []
        excess = min(AT_ONCE, len(self._parked) - self._most)
        heavy = self._weight - self.limits.suspended_bytes
        most = None if heavy > 0 else excess + _MORE if excess > 0 else 0
        for attempt in list(islice(self._parked.values(), most)):
            if len(dropped) >= excess and heavy <= 0:
                break
            if self._only_waits(attempt):
                dropped.append(attempt)
                heavy -= attempt.weight
            else:  # it is looked at again when the others were
                del self._parked[attempt.run.id]
                self._parked[attempt.run.id] = attempt
        missing = self.threads.short - sum(one.plain for one in dropped)
        if missing > 0:
            plain = (one for one in self._parked.values() if one.plain and one not in dropped and self._only_waits(one))
            dropped.extend(islice(plain, missing))
        told: dict[Report, list[str]] = {}
        for attempt in dropped:
            self.tasks.pop(attempt.run.id, None)
            attempt.pause()
            told.setdefault(attempt.report, []).append(attempt.run.id)
        for report, run_ids in told.items():
            report(Evicted(run_ids))
        if dropped and len(self._parked) > self._most:
            self.look()

    def _only_waits(self, attempt: Attempt) -> bool:
        task = self.tasks.get(attempt.run.id)
        return task is not None and attempt.is_passive and (attempt.plain or waits_only(task))
