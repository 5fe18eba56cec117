"""What slept goes on: its bodies are read back from the journal, oldest first, while there is room.

The pump asks what is `wanted`, reads it, and gives it as `BodiesRead`. Until all that slept of a workflow was looked
at, its new events sleep behind it, so that those of one key keep their order.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from app.engine.effects import Effects
from app.engine.inputs import BodiesRead
from app.engine.runs import asleep, rising
from app.engine.starts import lanes, wishes
from app.engine.starts.lanes import Verdict
from app.engine.tables.matching import Cancellers, Match, Matcher
from app.engine.tables.run import Held, RunStatus
from app.engine.tables.state import Lane, Recalled, State
from app.engine.values.known import Definition
from app.engine.values.numbers import ascending
from topics import journal


def wanted(state: State, most: int) -> Sequence[int]:
    """Return the bodies of events that are to be read next, at most `most`, in the order of their numbers."""
    if not state.waking:
        return ()
    sleeping = [(state.asleep.get(name), first) for name, first in state.waking.items()]
    return list(islice(ascending(one.since(first) for one, first in sleeping if one is not None), most))


def begin(state: State, changed: Iterable[str], effects: Effects) -> None:
    """Workflows changed: look again at what sleeps for those that `changed`, and at what sleeps for those retired."""
    for run in list(state.rising.values()):
        name = run.workflow.id
        if name in state.loaded:
            run.workflow = state.loaded[name]
        elif name not in state.retired and run.id not in state.fates:
            rising.turn(state, run, RunStatus.ASLEEP)
            del state.rising[run.id]
    for name in [one for one in state.waking if one not in state.loaded and one not in state.retired]:
        del state.waking[name]
    for name in (*changed, *sorted(state.retired)):
        if name in state.asleep or name in state.falling:
            state.waking[name] = 0
    for number in [one for one, held in state.shared.items() if not held.refs]:
        del state.shared[number]
    bodies_read(state, BodiesRead(()), effects)  # what is in memory for others' sake
    rematch(state)


def rematch(state: State) -> None:
    """Events of a workflow that is waking, or that only a newer form of it takes, sleep: they match a definition."""
    given: list[Match] = [Definition.of(one) if one.id in state.waking else one for one in state.loaded.values()]
    state.matcher = Matcher([*given, *state.definitions.values()])
    state.cancellers = Cancellers.of_all([*state.loaded.values(), *state.definitions.values()])


def may_spill(state: State) -> bool:
    """Whether `spill` makes room: of events that were not read back before."""
    return any(any(not one.recalled for one in lane.pending) for lane in _halted(state))


def spill(state: State) -> None:
    """Leave to the journal what waits in lanes behind runs that wait themselves, to be read back when there is room.

    If nothing goes on at all, what waits behind any other as well.

    What they wait for may be among what the partition has not read for lack of room.
    """
    spilled = False
    for lane in _halted(state):
        waiting = list(lane.pending)
        lane.clear()
        for pending in waiting:
            if pending.recalled:
                lane.wait(pending)
            else:
                spilled = True
                asleep.doze(state, pending)
                state.waking[pending.workflow_id] = 0
    if spilled:
        rematch(state)


def _halted(state: State) -> Iterator[Lane]:
    if not state.running:
        return (lane for lane in state.lanes.values() if lane.active)
    return (lane for key in state.halted if (lane := state.lanes.get(key)) is not None)


def bodies_read(state: State, given: BodiesRead, effects: Effects) -> None:
    """Go on with what waited for these bodies."""
    shared = state.shared
    for number, envelope in given.bodies:
        if number not in shared:
            shared[number] = Held(envelope, number, offset=given.places.get(number, -1), journaled=True)
    looked_at = [number for number, _ in given.bodies]
    before = len(state.waking)
    for workflow_id in list(state.waking):
        looked_at.extend(_wake_events(state, workflow_id, effects))
    if len(state.waking) < before:
        rematch(state)
    for number in looked_at:  # what nothing sleeps for any more, or nobody has in memory, is not shared
        held = shared.get(number)
        if held is not None and not (held.refs and asleep.needed(state, number)):
            del shared[number]


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
    cancels = wishes.cancel_late(state, workflow_id, envelope, effects)
    asleep.rouse(state, workflow_id, held.number)
    state.counters.woken += 1
    held.refs += 1
    if verdict is Verdict.TAKE:
        state.held_bytes += held.weight
        state.recalled_bytes += held.weight
        lanes.readmit(state, state.loaded[workflow_id], Recalled(workflow_id, held, journaled=True), effects)
        return
    state.removed.append(journal.pending_key(held.number, workflow_id))
    state.changed = True
    if not cancels:
        lanes.give_up(state, workflow_id, envelope)
    asleep.release(state, held)
