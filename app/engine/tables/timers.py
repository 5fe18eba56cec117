"""Deadlines of retries, runs and batches: a heap of what is due. Who set one checks whether it still holds."""

import heapq
from collections.abc import Iterator
from typing import Final

from app.engine.tables.state import TIMERS_LEAST, RunStatus, State, Timer


def arm(state: State, due_ms: int, kind: Timer, name: str, group: str | None = None) -> None:
    """Let `kind` fire for `name` once it is `due_ms`: a run's id, with a step's key as `group`; or a lane's workflow
    and `group`.
    """
    state.timer_count += 1
    heapq.heappush(state.timers, (due_ms, state.timer_count, kind, name, group))
    if len(state.timers) >= state.timers_most:
        _sweep(state)


MOST_A_ROUND: Final = 5_000
"""Timers that fire in one round, so that its record batch stays below the limit; the others have their next round."""


def due(state: State) -> Iterator[tuple[int, Timer, str, str | None]]:
    """Take every timer that is due at the state's time, in the order of their times."""
    heap = state.timers
    while heap and heap[0][0] <= state.now_ms and state.timers_fired < MOST_A_ROUND:
        state.timers_fired += 1
        due_ms, _, kind, name, group = heapq.heappop(heap)
        yield due_ms, kind, name, group


def next_due_ms(state: State) -> int | None:
    """Return when `apply` must be called though nothing else happens."""
    return state.timers[0][0] if state.timers else None


def _sweep(state: State) -> None:
    """Drop what holds no more: a run that ended leaves its deadline behind, and that may be far away."""
    state.timers = [one for one in state.timers if _holds(state, one)]
    heapq.heapify(state.timers)
    state.timers_most = max(TIMERS_LEAST, 2 * len(state.timers))


def _holds(state: State, timer: tuple[int, int, Timer, str, str | None]) -> bool:
    due_ms, _, kind, name, group = timer
    if kind is Timer.BATCH:
        lane = state.lanes.get((name, group))
        return lane is not None and lane.armed_ms == due_ms
    if kind is Timer.WAIT:
        return state.registry is not None and name in state.registry.waits
    if kind is Timer.SCHEDULE:
        followed = state.schedules.get(name)
        return followed is not None and followed.armed_ms == due_ms
    run = state.runs.get(name)
    if run is None:
        return False
    if kind is Timer.STEP:
        step = None if run.steps is None or group is None else run.steps.open.get(group)
        return step is not None and step.due_ms == due_ms
    if kind is Timer.DEADLINE:
        return run.deadline_ms == due_ms
    return run.status is RunStatus.RETRYING and run.due_ms == due_ms
