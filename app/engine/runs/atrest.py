"""Runs and waits at rest leave their objects behind: they are packed. Called by the pump after each round.

By then all that they need is in the journal, and nobody else has them in hand.
"""

from app.engine.runs import rising
from app.engine.tables.recorded import UNKNOWN
from app.engine.tables.run import Run, RunStatus
from app.engine.tables.state import State
from app.engine.tables.wait import Wait
from topics import journal


def pack(state: State) -> None:
    """Pack what came to rest in this round, and what was only looked at."""
    runs = state.runs
    if runs.idle:
        idle, runs.idle = runs.idle, []
        for run in idle:
            if runs.awake.get(run.id) is not run:
                continue
            if run.status is RunStatus.COLD and run.places is None:  # its events were not in the journal then
                rising.chill(state, run, RunStatus.COLD)
            if _rests(state, run) and runs.pack(run, alone=_is_alone(state, run)) and state.keyed.any:
                state.keyed.pack(run.id)
    registry = state.registry
    if registry is not None and registry.waits.idle:
        waits, registry.waits.idle = registry.waits.idle, []
        for wait in waits:
            if registry.waits.awake.get(wait.id) is wait and _is_quiet(state, wait):
                registry.waits.pack(wait)


def _rests(state: State, run: Run) -> bool:
    """Whether a run waits, with all that is known of it in its journal records."""
    steps = run.steps
    if run.status is not RunStatus.COLD or run.places is None or steps is None or run.lane is not None:
        return False
    if not steps.resting or 0 in run.places[1::2]:  # the place of an event is not known
        return False
    if run.id in state.fates or run.id in state.touched_runs or run.due_ms or steps.stirred:
        return False
    return UNKNOWN not in steps.places and not any(
        one.touched
        or not one.journaled
        or one.executing
        or (one.wait is not None and any(condition.candidates for condition in one.wait.conditions))
        for one in steps.open.values()
    )


def _is_alone(state: State, run: Run) -> bool:
    """Whether nothing but this run needs its events."""
    assert run.places is not None
    numbers = run.places[::2]
    return not any(
        state.runs.bodies[number] != 1
        or number in state.shared
        or any(number in sleeping for sleeping in state.asleep.values())
        for number in numbers
    )


def _is_quiet(state: State, wait: Wait) -> bool:
    """Whether a wait is open or blocked, and nothing is on its way to it."""
    registry = state.registry
    if registry is None or not wait.journaled or wait.flow is not None or wait.found is not None:
        return False
    if not wait.open and not registry.waits.is_blocked(wait):
        return False
    on_its_way = wait.id in registry.overdue or wait.id in registry.due
    return not on_its_way and journal.wait_key(wait.id) not in state.touched_waits
