"""Runs that wait for long are told of again, before `headgate.runs` forgets that they began and what they wait for.

What is asked of such a run is why it still waits. A partition goes through its runs once a week, some at a time: the
pump has the events of those that are `wanted` read back, and gives them as `Reminded`. Those that are stuck, or to be
tried again or called as a whole, are not told of.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

from app.engine.effects import Effects
from app.engine.inputs import Reminded
from app.engine.runs import rising, runs
from app.engine.runs.rising import Wanted
from app.engine.steps import telling
from app.engine.tables.run import Run, RunStatus
from app.engine.tables.state import Reminding, State
from app.engine.values.asks import Kind
from topics import facts

DAY_MS: Final = 86_400_000
EVERY_MS: Final = 7 * DAY_MS
"""Facts are kept for 30 days (topics.catalog)."""
FIRST_MS: Final = 60_000
"""How long an owner leaves it alone at first."""
PAUSE_MS: Final = 1_000
"""Between some and the next ones."""
AT_ONCE: Final = 64
"""Runs that are told of in one round."""
_WAITS: Final = frozenset({RunStatus.COLD, RunStatus.WAITING})


def next_ms(state: State, now_ms: int) -> int:
    """Return from when on `wanted` may want some."""
    if not state.remind_ms:
        state.remind_ms = max(now_ms + FIRST_MS, state.reminded_ms + EVERY_MS)
    return state.remind_ms


def wanted(state: State, now_ms: int) -> list[Wanted]:
    """Return whose events are to be read for `told`, with what of them is not in memory; none if it is not time."""
    if now_ms < next_ms(state, now_ms):
        return []
    if state.reminding is None:
        state.reminding = Reminding(now_ms, _old(state, now_ms - EVERY_MS))
    found: list[Wanted] = []
    for run_id in state.reminding.left:
        run = state.runs.get(run_id) if run_id is not None else None
        if run is not None and _waits(run):
            found.append(Wanted(run.id, list(rising.pairs(run.places)), (), 0))
        if run_id is None or len(found) == AT_ONCE:
            state.remind_ms = now_ms + PAUSE_MS
            return found
    if found:  # the next look finds that these were the last
        state.reminding.left = iter(())
        state.remind_ms = now_ms + PAUSE_MS
        return found
    if state.reminding.told:
        state.reminded_ms = state.reminding.began_ms
        state.changed = True
    state.reminding = None
    state.remind_ms = max(now_ms + DAY_MS, state.reminded_ms + EVERY_MS)
    return []


def put_back(state: State, run_ids: Sequence[str]) -> None:
    """Take these first at the next look: there was no room for their events."""
    if run_ids and state.reminding is not None:
        state.reminding.left = chain(run_ids, state.reminding.left)


def told(state: State, given: Reminded, _effects: Effects) -> None:
    """Tell once more that these runs began, and what they wait for."""
    for run_id, events in given.runs:
        run = state.runs.get(run_id)
        if run is None or not _waits(run):
            continue
        started = facts.run_started(
            run_id=run.id,
            workflow_id=run.workflow.id,
            workflow_version=run.workflow.version,
            at_ms=run.started_ms,
            key=(run.events or events)[0].key,
            events=run.events or events,
        )
        runs.tell(state, started)
        for step in run.steps.open.values() if run.steps is not None else ():
            if not step.journaled:
                continue
            if step.kind is not Kind.RUN:
                telling.waiting(state, run, step)
            elif step.error is not None:
                telling.retried(state, run, step)
        if state.reminding is not None:
            state.reminding.told = True
        state.changed = True


def _old(state: State, before_ms: int) -> Iterator[str | None]:
    """Yield the ids of runs that began before a time and wait, and None now and then."""
    for run in list(state.runs.awake.values()):
        if run.started_ms <= before_ms and _waits(run):
            yield run.id
    yield None
    yield from state.runs.older(before_ms)


def _waits(run: Run) -> bool:
    """Whether the run waits, and its events are there or can be read."""
    return run.status in _WAITS and run.journaled and (run.places is None or 0 not in run.places[1::2])
