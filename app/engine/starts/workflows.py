"""Workflows that come and go: what this owner loads, what others announced, what somebody retired.

What was once known is known until it is retired: an owner that has not heard of a workflow matches its events all the
same, as the journal says.
"""

from collections.abc import Mapping

from app.engine.effects import Effects
from app.engine.inputs import WorkflowsLoaded
from app.engine.runs import renewal
from app.engine.starts import lanes, schedules, waking
from app.engine.tables.state import State
from app.engine.values.known import Definition
from headgate.definition import Workflow


def changed(state: State, given: WorkflowsLoaded, effects: Effects) -> None:
    """Take in how workflows are now, and go on with all that waited for it."""
    loaded = {one.id: one for one in given.loaded}
    announced = {one.id: one for one in given.announced}
    newer = _learn(state, loaded, announced)
    anew = newer | {name for name, one in loaded.items() if state.loaded.get(name) is not one}
    state.loaded = loaded
    state.retired = {name for name, at_ms in given.retired.items() if _is_retired(state, name, at_ms, announced)}
    for name in state.retired:
        state.unheard.pop(name, None)
        if state.known.pop(name, None) is not None:
            state.definitions.pop(name, None)
            state.known_changed = state.changed = True
    lanes.regroup(state, effects)
    renewal.renew(state)
    renewal.retire(state, effects)
    waking.begin(state, sorted(anew), effects)
    schedules.follow(state, effects)


def _learn(state: State, loaded: Mapping[str, Workflow], announced: Mapping[str, Definition]) -> set[str]:
    """Keep the newest form of each workflow; return the ids of those whose events are to be judged anew: they take
    other topics now, or what others knew of them is known here at last.
    """
    changed: set[str] = set()
    new = state.round == 0 and not state.known
    for name in sorted({*loaded, *announced}):
        if name not in state.known:
            state.known[name] = 0 if new and state.limits.start_from_earliest else state.now_ms
            state.known_changed = True
        # What is loaded here and not heard of from others is announced all the same, and nobody knows when.
        found = announced.get(name) or Definition.of(loaded[name])
        before = state.definitions.get(name)
        if before is None or (found != before and found.announced_ms >= before.announced_ms):
            state.definitions[name] = found
            state.known_changed = True
            if before is None or found.triggers != before.triggers:
                changed.add(name)
    for name, at_ms in list(state.unheard.items()):
        newest = state.definitions.get(name)
        if newest is not None and newest.announced_ms >= at_ms:
            del state.unheard[name]
            state.known_changed = True
            changed.add(name)
    state.changed |= state.known_changed
    return changed


def _is_retired(state: State, name: str, at_ms: int, announced: Mapping[str, Definition]) -> bool:
    """Whether a retirement counts: not one of a workflow that is there, or that was announced anew since."""
    if name in state.loaded or name in announced:
        return False
    newest = state.definitions.get(name)
    return newest is None or newest.announced_ms <= at_ms
