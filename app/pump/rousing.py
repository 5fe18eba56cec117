"""What goes on next of what is not in memory, read back as far as there is room. Used by the pump."""

from typing import Final

from app.engine.inputs import BodiesRead, CallAhead, Reminded, RunsRead
from app.engine.runs import rising
from app.engine.runs.rising import Wanted
from app.engine.starts import waking
from app.engine.steps import reminders
from app.engine.tables import timers
from app.engine.tables.state import State
from app.pump.around import Bounds, Runtime
from app.pump.recall import Recall
from app.pump.room import Room

AHEAD_AT_ONCE: Final = 64
"""Runs that are called ahead of their time in one round: what is new has its turn between."""
NO_ROOM_MS: Final = 1_000
"""How long none are where there was no room for them."""


class Rousing:
    """Runs that rise and events that wake, of one partition. `end` is always the journal's next offset."""

    def __init__(self, state: State, recall: Recall, room: Room, runtime: Runtime, bounds: Bounds) -> None:
        self._state = state
        self._runtime = runtime
        self._no_room_until_ms = 0
        self._recall = recall
        self._room = room
        self._bounds = bounds

    async def next(self, *, end: int, now_ms: int) -> RunsRead | BodiesRead | Reminded | None:
        """Read back some of what is to go on: runs first, then what slept for workflows that are there now; last the
        events of runs that are to be told of again.
        """
        state = self._state
        if not (state.waking or state.rising):
            if state.loaded:
                self._recall.clear()
            return await self._reminders(end, now_ms)
        if self._room.may_rise():
            wanted = rising.wanted(state, self._bounds.round_events)
            if wanted:
                return await self._runs(wanted, end)
        numbers = waking.wanted(state, self._bounds.round_events) if self._room.may_wake() else ()
        if not numbers:
            return None
        most_bytes = max(1, self._bounds.held_bytes // 2 - state.recalled_bytes)
        bodies = await self._recall.read(numbers, end=end, most_bytes=most_bytes)
        return BodiesRead(bodies, self._recall.take_places()) if bodies else None

    async def rung(self, *, end: int) -> RunsRead | None:
        """Read back runs whose sleep ended in this round: they go on within it, which spares it to be journaled twice
        and read again.
        """
        if not self._state.rung:
            return None
        wanted = rising.rung(self._state, self._bounds.round_events if self._room.may_rise() else 0)
        return await self._runs(wanted, end) if wanted else None

    async def _reminders(self, end: int, now_ms: int) -> Reminded | None:
        wanted = [] if self._room.draining else reminders.wanted(self._state, now_ms)
        if not wanted:
            return None
        runs = (await self._runs(wanted, end)).runs
        reminders.put_back(self._state, [one.run_id for one in wanted[len(runs) :]])
        return Reminded([(run_id, events) for run_id, events, _ in runs])

    def next_reminder_ms(self, now_ms: int) -> int | None:
        """Return from when on there may be runs to tell of again; None while something else has its turn first."""
        if self._state.waking or self._state.rising or self._room.draining:
            return None
        return reminders.next_ms(self._state, now_ms)

    def ahead(self, now_ms: int) -> CallAhead | None:
        """Return what lets some runs be called again whose time is near, if there are such and there is room."""
        due_ms = self.next_ahead_ms()
        if due_ms is None or due_ms > now_ms:
            return None
        most = 0 if self._room.crowded() else min(AHEAD_AT_ONCE, self._runtime.spare())
        if most > 0:
            return CallAhead(most)
        self._no_room_until_ms = now_ms + NO_ROOM_MS
        return None

    def next_ahead_ms(self) -> int | None:
        """Return from when on `ahead` may have more; None while it has to wait for a round anyway."""
        due_ms = timers.next_ahead_ms(self._state)
        if due_ms is None or self._state.rising or self._room.draining:
            return None
        return max(due_ms, self._no_room_until_ms)

    async def _runs(self, wanted: list[Wanted], end: int) -> RunsRead:
        runs = await self._recall.runs(wanted, end=end, most_bytes=max(1, self._bounds.held_bytes // 2))
        return RunsRead(runs, self._recall.take_places())
