"""Notes that nobody waits for, as of published events: most runs that make some end in the same round without steps.

Whoever has to know all steps of a run calls `keep` first.
"""

from app.engine.runs import rising
from app.engine.tables.recorded import Step, Steps
from app.engine.tables.state import State
from app.engine.values.asks import Kind, Note, Outcome


def keep(state: State) -> None:
    """Make steps of the notes whose runs go on."""
    notes, state.notes = state.notes, []
    for run, key, about, value, aside in notes:
        if state.runs.awake.get(run.id) is not run:
            continue
        steps = run.steps
        if steps is None:
            steps = run.steps = Steps(run.id)
        if aside and not steps.par:
            steps.par = True
            rising.touch(state, run)
        outcome = Outcome(value)
        step = Step(steps, key, Kind.NOTE, about, Note(value), state.now_ms, par=aside or bool(steps.open))
        step.outcome = outcome
        step.finished_ms = state.now_ms
        step.touched = True
        steps.asked += 1
        steps.unplaced += 1
        steps.size += len(value)
        state.touched_steps.append(step)
