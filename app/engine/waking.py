"""What slept goes on: its bodies are read back from the journal, oldest first, while there is room.

The pump asks what is `wanted`, reads it, and gives it as `BodiesRead`. Until all that slept of a workflow was looked
at, its new events sleep behind it, so that those of one key keep their order.
"""

from collections.abc import Iterable, Sequence
from itertools import islice

from app.engine import asleep, lanes, runs
from app.engine.effects import Effects
from app.engine.inputs import BodiesRead
from app.engine.known import Definition
from app.engine.lanes import Verdict
from app.engine.matching import Match, Matcher
from app.engine.numbers import ascending
from app.engine.state import Held, Recalled, RunStatus, State
from topics import journal


def wanted(state: State, most: int, *, runs_only: bool = False) -> Sequence[int]:
    """Return the bodies that are to be read next, at most `most`, in the order of their numbers.

    Those of runs come first and whatever the room: a run that has some of its events could never start otherwise.
    """
    if state.waking_runs:
        missing = _awaited(state) - state.shared.keys()
        if missing:
            return sorted(missing)[:most]
    if runs_only or not state.waking:
        return ()
    sleeping = [(state.asleep.get(name), first) for name, first in state.waking.items()]
    return list(islice(ascending(one.since(first) for one, first in sleeping if one is not None), most))


def _awaited(state: State) -> set[int]:
    return {number for run_id in state.waking_runs for number in state.dormant[run_id]}


def begin(state: State, changed: Iterable[str], effects: Effects) -> None:
    """Workflows changed: look again at what sleeps for those that `changed`, and at what sleeps for those retired."""
    for run in state.runs.values():
        if run.status is RunStatus.ASLEEP and run.workflow.id in state.retired:
            run.status = RunStatus.WAKING
            state.waking_runs[run.id] = run
    for run in list(state.waking_runs.values()):
        name = run.workflow.id
        if name in state.loaded:
            run.workflow = state.loaded[name]
        elif name not in state.retired:
            run.status = RunStatus.ASLEEP
            del state.waking_runs[run.id]
    for name in [one for one in state.waking if one not in state.loaded and one not in state.retired]:
        del state.waking[name]
    for name in (*changed, *sorted(state.retired)):
        if name in state.asleep or name in state.falling:
            state.waking[name] = 0
    awaited = _awaited(state)
    for number in [one for one, held in state.shared.items() if not held.refs and one not in awaited]:
        del state.shared[number]
    bodies_read(state, BodiesRead(()), effects)  # what is in memory for others' sake
    rematch(state)


def rematch(state: State) -> None:
    """Events of a workflow that is waking, or that only a newer form of it takes, sleep: they match a definition."""
    given: list[Match] = [Definition.of(one) if one.id in state.waking else one for one in state.loaded.values()]
    state.matcher = Matcher([*given, *state.definitions.values()])


def bodies_read(state: State, given: BodiesRead, effects: Effects) -> None:
    """Go on with what waited for these bodies."""
    shared = state.shared
    for number, envelope in given.bodies:
        if number not in shared:
            shared[number] = Held(envelope, number, journaled=True)
    looked_at = [number for number, _ in given.bodies]
    for run_id in [one for one in state.waking_runs if all(number in shared for number in state.dormant[one])]:
        looked_at.extend(state.dormant[run_id])
        _wake_run(state, run_id, effects)
    before = len(state.waking)
    for workflow_id in list(state.waking):
        looked_at.extend(_wake_events(state, workflow_id, effects))
    if len(state.waking) < before:
        rematch(state)
    awaited = _awaited(state)
    for number in looked_at:  # what nothing sleeps for any more, or nobody has in memory, is not shared
        held = shared.get(number)
        if held is not None and number not in awaited and not (held.refs and asleep.needed(state, number)):
            del shared[number]


def _wake_run(state: State, run_id: str, effects: Effects) -> None:
    run = state.waking_runs.pop(run_id)
    numbers = state.dormant.pop(run_id)
    for number in numbers:
        left = state.dormant_bodies[number] - 1
        if left:
            state.dormant_bodies[number] = left
        else:
            del state.dormant_bodies[number]
    held = tuple(state.shared[number] for number in numbers)
    for one in held:
        one.refs += 1
    runs.resume(state, run, held, effects)


def _wake_events(state: State, workflow_id: str, effects: Effects) -> list[int]:
    """Look at what slept for a workflow, in order, as far as it is there; return the bodies."""
    looked_at: list[int] = []
    first = state.waking[workflow_id]
    while (numbers := state.asleep.get(workflow_id)) is not None:
        number = numbers.first(first)
        if number is None:
            break
        held = state.shared.get(number)
        if held is None:
            state.waking[workflow_id] = number
            return looked_at
        first = number + 1
        looked_at.append(number)
        _wake_one(state, workflow_id, held, effects)
    if workflow_id in state.falling:
        state.waking[workflow_id] = first
    else:
        del state.waking[workflow_id]
    return looked_at


def _wake_one(state: State, workflow_id: str, held: Held, effects: Effects) -> None:
    envelope = held.envelope
    verdict = lanes.judge(state, workflow_id, envelope)
    if verdict is Verdict.SLEEP:
        return
    asleep.rouse(state, workflow_id, held.number)
    state.counters.woken += 1
    held.refs += 1
    if verdict is Verdict.TAKE:
        state.held_bytes += envelope.weight
        state.recalled_bytes += envelope.weight
        lanes.readmit(state, state.loaded[workflow_id], Recalled(workflow_id, held, journaled=True), effects)
        return
    state.removed.append(journal.pending_key(held.number, workflow_id))
    lanes.give_up(state, workflow_id, envelope)
    asleep.release(state, held)
