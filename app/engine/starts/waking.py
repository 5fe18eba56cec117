"""What slept goes on: its bodies are read back from the journal, oldest first, while there is room.

The pump asks what is `wanted`, reads it, and gives it as `BodiesRead`. Until all that slept of a workflow was looked
at, its new events sleep behind it, so that those of one key keep their order.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from app.engine.effects import Effects
from app.engine.inputs import BodiesRead, RunsRead
from app.engine.runs import asleep, renewal, rising, runs
from app.engine.starts import lanes
from app.engine.starts.lanes import Verdict
from app.engine.tables import recorded
from app.engine.tables.matching import Cancellers, Match, Matcher
from app.engine.tables.run import Held, Run, RunStatus
from app.engine.tables.state import Lane, Recalled, State
from app.engine.values.asks import Recorded
from app.engine.values.known import Definition
from app.engine.values.numbers import ascending
from topics import journal
from topics.envelope import Envelope


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


def runs_read(state: State, given: RunsRead, effects: Effects) -> None:
    """Go on with runs, or give them up, now that what the journal has of them is there."""
    for run_id, envelopes, records in given.runs:
        run = state.rising.get(run_id)
        if run is None or (run.steps is not None and run.steps.unplaced):
            continue  # given up meanwhile; or a step ended in this round, and is read with the next
        del state.rising[run_id]
        held = None
        if run.places is not None:
            held = _held(state, run, envelopes, given.places)
        runs.resume(state, run, held, _recorded(run, records), effects)
        for one in held or ():
            if one.refs and asleep.needed(state, one.number):
                state.shared[one.number] = one
            else:
                state.shared.pop(one.number, None)
    if state.retired and not state.rising:
        renewal.retire_more(state)


def _held(state: State, run: Run, envelopes: Sequence[Envelope], found: Mapping[int, int]) -> tuple[Held, ...]:
    places = list(rising.pairs(run.places))
    rising.warm(state, run)
    made: list[Held] = []
    for (number, offset), envelope in zip(places, envelopes, strict=True):
        held = state.shared.get(number) or Held(envelope, number, journaled=True)
        if held.offset < 0:
            held.offset = offset or found.get(number, -1)
        held.refs += 1
        made.append(held)
    return tuple(made)


def _recorded(run: Run, records: Sequence[bytes]) -> tuple[Recorded, ...]:
    steps = run.steps
    if steps is None:
        return ()
    published = () if steps.published is None else steps.published.items()
    return (
        *(recorded.of_published(key, event_id) for key, event_id in published),
        *(recorded.of_record(one) for one in records),
        *(recorded.of_step(one) for one in steps.open.values()),
    )


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
        state.held_bytes += held.weight
        state.recalled_bytes += held.weight
        lanes.readmit(state, state.loaded[workflow_id], Recalled(workflow_id, held, journaled=True), effects)
        return
    state.removed.append(journal.pending_key(held.number, workflow_id))
    lanes.give_up(state, workflow_id, envelope)
    asleep.release(state, held)
