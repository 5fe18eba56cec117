"""Runs that are only in the journal, but for their open steps; and how they come back.

A run is chilled when its function is not in the runtime any more; it is woken when it has to go on, or to be given up.
The pump asks what is `wanted`, reads it by its offsets, and gives it as `RunsRead` (app.engine.steps.risen).
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from app.engine.effects import After
from app.engine.tables.recorded import UNKNOWN
from app.engine.tables.run import Run, RunStatus
from app.engine.tables.state import State

HOT: Final = frozenset({RunStatus.RUNNING, RunStatus.WAITING})
"""The runtime has the function."""
_UNCOUNTED: Final = frozenset({RunStatus.WAITING, RunStatus.COLD, RunStatus.STUCK})


@dataclass(slots=True)
class Wanted:
    """What of a run is to be read back: numbers and offsets of bodies, offsets of steps."""

    run_id: str
    bodies: Sequence[tuple[int, int]]
    steps: Sequence[int]
    size: int
    """Bytes of the steps, as far as they are known."""

    @property
    def records(self) -> int:
        """How many records those are."""
        return len(self.bodies) + len(self.steps)


def wanted(state: State, most: int) -> list[Wanted]:
    """Return what is to be read next, the runs that were woken first first, some `most` records of them."""
    found: list[Wanted] = []
    for run in state.rising.values():
        if most <= 0:
            break
        steps = run.steps
        if steps is not None and steps.unplaced:
            continue  # what a step came to is journaled with this round
        found.append(_wanted(state, run))
        most -= found[-1].records
    return found


def rung(state: State, most: int) -> list[Wanted]:
    """Return the same of runs whose functions may go on from a sleep that ended in this round. The rest waits for the
    next round, as others do.
    """
    runs, state.rung = state.rung, []
    found: list[Wanted] = []
    for run in runs:
        if most <= 0:
            break
        if run.id in state.rising and goes_ahead(run):
            found.append(_wanted(state, run))
            most -= found[-1].records
    return found


def goes_ahead(run: Run) -> bool:
    """Whether all that is not journaled yet of a run's steps is the end of a sleep: its function may be called anew."""
    return run.steps is not None and run.steps.rung is not None and run.steps.unplaced == 1


def _wanted(state: State, run: Run) -> Wanted:
    steps = run.steps
    bodies = list(pairs(run.places))
    if steps is None:
        return Wanted(run.id, bodies, (), 0)
    offsets = [] if run.id in state.fates else [one for one in steps.places if one > UNKNOWN]
    if offsets:
        still = {one.offset for one in steps.open.values() if one.journaled}
        if steps.rung is not None:
            still.add(steps.rung.offset)
        offsets = [one for one in offsets if one not in still]
    return Wanted(run.id, bodies, offsets, steps.size)


def hot(state: State, after: Sequence[After]) -> list[After]:
    """Return what still concerns somebody: not a run that ended in the same round, or whose function did not stay."""
    return [one for one in after if one.run.status in HOT and state.runs.awake.get(one.run.id) is one.run]


def running_but(state: State, left: "set[str]") -> int:
    """Return how many runs go on, not counting those that were `left` to the next owner."""
    if not left:
        return state.running
    return sum(one.status is RunStatus.RUNNING and one.id not in left for one in state.runs.awake.values())


def pairs(places: "array[int] | None") -> Iterator[tuple[int, int]]:
    """Return number and offset of each body."""
    return iter(()) if places is None else zip(places[::2], places[1::2], strict=True)


def turn(state: State, run: Run, status: RunStatus) -> None:
    """Give the run another status, and count it where it belongs."""
    counted = weighs(run)
    if run.status is RunStatus.RUNNING:
        state.running -= 1
    run.status = status
    if status is RunStatus.RUNNING:
        state.running += 1
    if counted is not weighs(run):
        weight = sum([one.weight for one in run.events])
        state.run_bytes += -weight if counted else weight


def weighs(run: Run) -> bool:
    """Whether the run's events count as those of one that goes on."""
    return run.journaled and run.status not in _UNCOUNTED


def wake(state: State, run: Run) -> None:
    """Let the run go on, or be given up, once what it needs is read back and its workflow is there."""
    forget_attempt(run)
    state.stuck.pop(run.id, None)
    name = run.workflow.id
    there = run.id in state.fates or name in state.loaded or name in state.retired
    turn(state, run, RunStatus.WAKING if there else RunStatus.ASLEEP)
    if there:
        state.rising[run.id] = run
    if run.steps is not None and run.steps.resting:
        run.steps.resting = False
        touch(state, run)


def call_ahead(state: State, run: Run) -> None:
    """Have the function called again before the time for which the run waits. It waits on, for the journal as well."""
    forget_attempt(run)
    turn(state, run, RunStatus.WAKING)
    state.rising[run.id] = run


def chill(state: State, run: Run, status: RunStatus) -> None:
    """The runtime has the function no more: leave the events to the journal, if they are there."""
    forget_attempt(run)
    turn(state, run, status)
    state.runs.idle.append(run)
    held = run.held
    # One that the journal does not have yet keeps its events for the record that is made of it.
    if held is None or not run.journaled or any(one.offset < 0 for one in held):
        return
    run.places = array("q")
    for one in held:
        run.places.extend((one.number, one.offset))
        state.runs.bodies[one.number] = state.runs.bodies.get(one.number, 0) + 1
        one.refs -= 1
        if one.refs:
            state.shared[one.number] = one
        else:
            state.shared.pop(one.number, None)
    if weighs(run):
        state.run_bytes -= sum([one.weight for one in run.events])
    run.held, run.events, run.key = None, (), None


def cool(state: State) -> None:
    """Runs that wait for their next attempt leave their events to the journal. Called once their round is durable."""
    cooling, state.cooling = state.cooling, []
    for run in cooling:
        if run.status is RunStatus.RETRYING and run.places is None and state.runs.awake.get(run.id) is run:
            chill(state, run, RunStatus.RETRYING)


def warm(state: State, run: Run) -> None:
    """The run's events are in memory again."""
    assert run.places is not None
    numbers = run.places[::2]
    run.places = None
    for number in numbers:
        left = state.runs.bodies[number] - 1
        if left:
            state.runs.bodies[number] = left
        else:
            del state.runs.bodies[number]


def halt(state: State, run: Run) -> None:
    """The run waits, or is stuck: what is behind it in its lane goes on, but for those that want a strict order."""
    if run.lane is None:
        return
    if run.workflow.order == "strict":
        state.halted.add(run.lane)
        return
    state.freed.append(run.lane)
    run.lane = None
    touch(state, run)


def forget_attempt(run: Run) -> None:
    """What the function had begun is begun anew when it asks again."""
    steps = run.steps
    if steps is None:
        return
    for step in list(steps.open.values()):
        step.asked = False
        if step.wait is not None:
            for condition in step.wait.conditions:
                condition.judging = False
        if step.executing:
            step.executing = False
            if not step.journaled and not step.touched:
                del steps.open[step.key]
                steps.asked -= 1
    steps.executing = 0
    steps.stirred = False
    steps.crossed = None


def touch(state: State, run: Run) -> None:
    """The run's record changes."""
    state.touched_runs[run.id] = run
    state.changed = True
