"""What goes on next of what is not in memory, read back as far as there is room. Used by the pump."""

from app.engine.inputs import BodiesRead, RunsRead
from app.engine.runs import rising
from app.engine.runs.rising import Wanted
from app.engine.starts import waking
from app.engine.tables.state import State
from app.pump.around import Bounds
from app.pump.recall import Recall
from app.pump.room import Room


class Rousing:
    """Runs that rise and events that wake, of one partition. `end` is always the journal's next offset."""

    def __init__(self, state: State, recall: Recall, room: Room, bounds: Bounds) -> None:
        self._state = state
        self._recall = recall
        self._room = room
        self._bounds = bounds

    async def next(self, *, end: int) -> RunsRead | BodiesRead | None:
        """Read back some of what is to go on: runs first, then what slept for workflows that are there now."""
        state = self._state
        if not (state.waking or state.rising):
            if state.loaded:
                self._recall.clear()
            return None
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

    async def _runs(self, wanted: list[Wanted], end: int) -> RunsRead:
        runs = await self._recall.runs(wanted, end=end, most_bytes=max(1, self._bounds.held_bytes // 2))
        return RunsRead(runs, self._recall.take_places())
