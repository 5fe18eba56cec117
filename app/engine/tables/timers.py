"""Deadlines of retries, runs and batches: a heap of what is due. Who set one checks whether it still holds."""

import heapq
from collections.abc import Iterator
from typing import Final

from app.engine.tables import resting
from app.engine.tables.later import Later
from app.engine.tables.run import RunStatus
from app.engine.tables.state import TIMERS_LEAST, State, Timer


def arm(
    state: State, due_ms: int, kind: Timer, name: str, group: str | None = None, *, far_ms: int | None = None
) -> None:
    """Let `kind` fire for `name` once it is `due_ms`: a run's id, with a step's key as `group`; or a lane's workflow
    and `group`. `far_ms`: what counts as far away, None for what is usual.
    """
    if far_ms is None:
        far_ms = AHEAD_MS if kind is _STEP else FAR_MS
    state.timer_count += 1
    if due_ms > state.now_ms + far_ms and len(name) < _LONGEST and len(group or "") < _LONGEST:
        _later_of(state, kind).add((due_ms, state.timer_count, kind.value, name, group))
    else:
        heapq.heappush(state.timers, (due_ms, state.timer_count, kind, name, group))
    if len(state.timers) + len(state.later) + len(state.later_ones) >= state.timers_most:
        _sweep(state)


FAR_MS: Final = 60_000
"""Timers that are further away are kept packed."""
AHEAD_MS: Final = 10_000
"""Those of steps are from here on, and so much before its time a run may be called again that waits for one."""
_LONGEST: Final = 8_000
"""Of a name or group that is packed, in characters."""
_STEP: Final = Timer.STEP
"""To look a member up takes 0.1 us until Python 3.12."""
_KINDS: Final = {one.value: one for one in Timer}
TOLD_AFTER_MS: Final = 1_000
"""A step's function that goes on for so long is told of."""
MOST_A_ROUND: Final = 5_000
"""Timers that fire in one round, so that its record batch stays below the limit; the others have their next round."""


def due(state: State) -> Iterator[tuple[int, Timer, str, str | None]]:
    """Take every timer that is due at the state's time, in the order of their times."""
    heap = state.timers
    for later in (state.later, state.later_ones):
        for due_ms, count, number, name, group in later.take(state.now_ms):
            heapq.heappush(heap, (due_ms, count, _KINDS[number], name, group))
    while heap and heap[0][0] <= state.now_ms and state.timers_fired < MOST_A_ROUND:
        state.timers_fired += 1
        due_ms, _, kind, name, group = heapq.heappop(heap)
        yield due_ms, kind, name, group


def next_due_ms(state: State) -> int | None:
    """Return when `apply` must be called though nothing else happens."""
    near_ms = state.timers[0][0] if state.timers else None
    times = (near_ms, state.later.first_ms(), state.later_ones.first_ms())
    return min([one for one in times if one is not None], default=None)


def next_told_ms(state: State) -> int | None:
    """Return when a function that began lately may have to be told of."""
    return state.begun[0][0] + TOLD_AFTER_MS if state.begun else None


def ahead(state: State, most: int) -> list[tuple[int, str, str | None]]:
    """Return some `most` timers of steps that are due soon, each once: when, the run's id, and the step's key."""
    found = state.later.look_ahead(state.now_ms + AHEAD_MS, most)
    return [(due_ms, name, group) for due_ms, _, kind, name, group in found if kind == _STEP.value]


def next_ahead_ms(state: State) -> int | None:
    """Return from when on `ahead` has more."""
    first_ms = state.later.first_ahead_ms()
    return None if first_ms is None else first_ms - AHEAD_MS


def _sweep(state: State) -> None:
    """Drop what holds no more: a run that ended leaves its deadline behind, and that may be far away."""
    state.timers = [one for one in state.timers if _holds(state, one)]
    heapq.heapify(state.timers)
    before = (state.later, state.later_ones)
    state.later, state.later_ones = Later(), Later()
    for later in before:
        for due_ms, count, number, name, group in later:
            kind = _KINDS[number]
            if _holds(state, (due_ms, count, kind, name, group)):
                _later_of(state, kind).add((due_ms, count, number, name, group))
    left = len(state.timers) + len(state.later) + len(state.later_ones)
    state.timers_most = max(TIMERS_LEAST, 2 * left)


def _later_of(state: State, kind: Timer) -> Later:
    return state.later if kind is Timer.STEP or kind is Timer.WAIT else state.later_ones


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
    run = state.runs.awake.get(name)
    if run is None:
        packed = state.runs.value_of(name) if state.runs.resting else None
        if packed is None or kind is Timer.RETRY:
            return False
        return kind is Timer.DEADLINE or resting.may_be_due(packed, due_ms)
    if kind is Timer.STEP:
        step = None if run.steps is None or group is None else run.steps.open.get(group)
        return step is not None and step.due_ms == due_ms
    if kind is Timer.DEADLINE:
        return run.deadline_ms == due_ms
    return run.status is RunStatus.RETRYING and run.due_ms == due_ms
