"""Deadlines of retries, runs and batches: a heap of what is due. Who set one checks whether it still holds."""

import heapq
from collections.abc import Iterator

from app.engine.state import State, Timer


def arm(state: State, due_ms: int, kind: Timer, name: str, group: str | None = None) -> None:
    """Let `kind` fire for `name` (a run's id, or a lane's workflow and `group`) once it is `due_ms`."""
    state.timer_count += 1
    heapq.heappush(state.timers, (due_ms, state.timer_count, kind, name, group))


def due(state: State) -> Iterator[tuple[int, Timer, str, str | None]]:
    """Take every timer that is due at the state's time, in the order of their times."""
    heap = state.timers
    while heap and heap[0][0] <= state.now_ms:
        due_ms, _, kind, name, group = heapq.heappop(heap)
        yield due_ms, kind, name, group


def next_due_ms(state: State) -> int | None:
    """Return when `apply` must be called though nothing else happens."""
    return state.timers[0][0] if state.timers else None
