"""Whether a partition has room for more: what is new, what slept, and runs that are read back. Asked by its pump."""

from app.engine.runs import asleep
from app.engine.starts import waking
from app.engine.tables.state import State
from app.pump.around import Bounds


class Room:
    """What one partition may take, by what goes on in it and its bounds."""

    def __init__(self, state: State, bounds: Bounds) -> None:
        self._state = state
        self._bounds = bounds
        self.draining = False
        """Nothing more is taken or started."""

    def may_rise(self) -> bool:
        """Whether there are runs to read back, and room: always while nothing runs, for what fills it may need them."""
        state, bounds = self._state, self._bounds
        if not state.rising or self.draining:
            return False
        room = state.running < bounds.running and self._taken_bytes() < bounds.held_bytes
        return room or not state.running

    def may_wake(self) -> bool:
        """Whether there is something to wake, and room for it: half of what waits may be what slept."""
        state = self._state
        return bool(state.waking) and not self.crowded() and state.recalled_bytes < self._bounds.held_bytes // 2

    def full(self) -> bool:
        """Whether nothing new is taken. What is unread costs nothing in Kafka."""
        state = self._state
        return self.crowded() or (bool(state.waking) and asleep.count(state) >= state.limits.asleep_events)

    def crowded(self) -> bool:
        """Whether so much is going on or waiting that there is room for no more."""
        state, bounds = self._state, self._bounds
        crowded = state.running >= bounds.running or self._taken_bytes() >= bounds.held_bytes
        return crowded or self.draining

    def stalled(self) -> bool:
        """Whether room is taken by events that wait behind runs which only wait: for what is unread, perhaps."""
        return not self.draining and self.crowded() and waking.may_spill(self._state)

    def _taken_bytes(self) -> int:
        """Return how much of the room is taken. What was read back counts as half of it at most, however large it is.

        It is not left to the journal a second time, and what it waits behind may wait for what is unread.
        """
        state = self._state
        recalled = min(state.recalled_bytes, self._bounds.held_bytes // 2)
        return state.held_bytes - state.recalled_bytes + recalled + state.run_bytes
