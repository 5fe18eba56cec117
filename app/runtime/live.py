"""The runs that a worker has in hand: their tasks, the attempts that wait for steps, and which of those are dropped.

A run that only waits can be called again later, from what is recorded. Beyond a bound those that have waited longest
are dropped (`Evicted`); plain functions among them as well when other runs need their threads. Those that wait for
long, or nobody knows how long, have a bound of their own: an hour of sleep is not worth a function's memory.
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
from app.runtime.limits import StepLimits, suspended_beside, suspended_long
from app.runtime.threads import Threads
from app.runtime.waiting import waits_only
from topics.envelope import Envelope

Report = Callable[[Happened], None]
Task = asyncio.Task[None] | None
"""In which a function goes on; None where there is no driver."""
_MORE: Final = 64
"""How many further runs are looked at when some of those that wait longest do more than wait."""
SOON_MS: Final = 60_000
"""What is over within this time counts as soon."""
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
    @property
    def until_ms(self) -> int | None: ...
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
        self._soon: dict[str, Attempt] = {}
        """Those with a step that only waits, and is over soon; what has waited longest comes first."""
        self._long: dict[str, Attempt] = {}
        """Those that wait for long, or nobody knows how long."""
        self._weight = 0
        """Of the events of both, in bytes."""
        self._looking = False
        self._most = limits.suspended
        self._most_long = suspended_long(limits)
        self._collector = Collector()

    def beside(self, resting_bytes: int) -> None:
        """So much rests in memory without functions, which leaves the less for these the more it is."""
        self._most = suspended_beside(self.limits, resting_bytes)
        if self._excess > 0:
            self.look()

    @property
    def spare(self) -> int:
        """How many more may wait here for what is over soon, without another one being dropped."""
        if self._weight >= self.limits.suspended_bytes:
            return 0
        return max(0, self._most - len(self._soon) - len(self._long))

    def park(self, attempt: Attempt) -> None:
        """A run waits for a step: for an event, a time, a person, other runs."""
        run_id = attempt.run.id
        before = self._soon.pop(run_id, None) or self._long.pop(run_id, None)
        if before is not attempt:
            attempt.weight = attempt.weight or sum([one.weight for one in attempt.run.events])
            self._weight += attempt.weight - (0 if before is None else before.weight)
            self._collector.parked()
        until_ms = attempt.until_ms
        soon = until_ms is not None and until_ms <= self.now_ms() + SOON_MS
        (self._soon if soon else self._long)[run_id] = attempt
        if self._excess > 0 or self._weight > self.limits.suspended_bytes:
            self.look()
        elif attempt.plain:
            self.make_room()

    def unpark(self, attempt: Attempt) -> None:
        run_id = attempt.run.id
        for parked in (self._soon, self._long):
            if parked.get(run_id) is attempt:
                del parked[run_id]
                self._weight -= attempt.weight

    def leave(self, attempt: Attempt) -> None:
        """An attempt is over."""
        self.unpark(attempt)
        if self.attempts.get(attempt.run.id) is attempt:
            del self.attempts[attempt.run.id]

    def make_room(self) -> None:
        """Drop plain functions that wait, as many as there are others without a thread."""
        if self.threads.short and (self._soon or self._long):
            self.look()

    def look(self) -> None:
        """Drop what is too much, once everything has come to its next wait."""
        if not self._looking and self.loop is not None:
            self._looking = True
            self.loop.call_soon(self._drop)

    @property
    def _excess(self) -> int:
        """How many are too much: of those that wait for long, or of all."""
        long = len(self._long)
        return max(long - self._most_long, long + len(self._soon) - self._most)

    def _drop(self) -> None:
        self._looking = False
        excess = min(AT_ONCE, self._excess)
        dropped = self._first(self._long, excess, self._weight - self.limits.suspended_bytes)
        left = min(excess, len(self._soon) + len(self._long) - self._most) - len(dropped)
        heavy = self._weight - self.limits.suspended_bytes - sum([one.weight for one in dropped])
        dropped += self._first(self._soon, left, heavy)
        missing = self.threads.short - sum(one.plain for one in dropped)
        if missing > 0:
            gone = set(dropped)
            plain = (one for one in (*self._long.values(), *self._soon.values()) if one.plain and one not in gone)
            dropped.extend(islice(filter(self._only_waits, plain), missing))
        told: dict[Report, list[str]] = {}
        for attempt in dropped:
            self.tasks.pop(attempt.run.id, None)
            attempt.pause()
            told.setdefault(attempt.report, []).append(attempt.run.id)
        for report, run_ids in told.items():
            report(Evicted(run_ids))
        if dropped and self._excess > 0:
            self.look()

    def _first(self, parked: dict[str, Attempt], excess: int, heavy: int) -> list[Attempt]:
        """Return `excess` of them, or as many as weigh `heavy`, that have waited longest and do nothing else."""
        dropped: list[Attempt] = []
        most = None if heavy > 0 else excess + _MORE if excess > 0 else 0
        for attempt in list(islice(parked.values(), most)):
            if len(dropped) >= excess and heavy <= 0:
                break
            if self._only_waits(attempt):
                dropped.append(attempt)
                heavy -= attempt.weight
            else:  # it is looked at again when the others were
                del parked[attempt.run.id]
                parked[attempt.run.id] = attempt
        return dropped

    def _only_waits(self, attempt: Attempt) -> bool:
        task = self.tasks.get(attempt.run.id)
        return task is not None and attempt.is_passive and (attempt.plain or waits_only(task))
