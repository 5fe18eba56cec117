"""Runs that are only in the journal go on, now that it was read. Which: `app.engine.runs.rising`. Called by `apply`.

One whose sleep ended in this very round goes on within it, as one whose function is in memory does (`ends`).
"""

from collections.abc import Mapping, Sequence

from app.engine.effects import Effects
from app.engine.inputs import CallAhead, RunsRead
from app.engine.runs import asleep, renewal, rising, runs
from app.engine.steps import ends
from app.engine.tables import recorded, timers
from app.engine.tables.run import Held, Run, RunStatus
from app.engine.tables.state import State
from app.engine.values.asks import Recorded, Sleep
from topics.envelope import Envelope


def runs_read(state: State, given: RunsRead, effects: Effects) -> None:
    """Go on with runs, or give them up, now that what the journal has of them is there."""
    for run_id, envelopes, records in given.runs:
        run = state.rising.get(run_id)
        if run is None:
            continue  # given up meanwhile
        steps = run.steps
        if steps is not None and steps.unplaced:
            if not rising.goes_ahead(run):
                continue  # a step ended in this round, and is read with the next
            assert steps.rung is not None
            if run_id not in state.fates:
                ends.go_ahead(state, run, steps.rung)
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


def call_ahead(state: State, given: CallAhead, _effects: Effects) -> None:
    """Call functions again whose sleep ends soon: they are in memory then.

    Such a run has nothing else open, so that nothing but its time lets it go on. Plain functions would hold a thread.
    """
    for due_ms, run_id, key in timers.ahead(state, given.most):
        run = state.runs.get(run_id)
        if run is None or run.status is not RunStatus.COLD or run.steps is None or run.id in state.fates:
            continue
        step = run.steps.open.get(key or "")
        waits = step is not None and step.due_ms == due_ms and type(step.ask) is Sleep and len(run.steps.open) == 1
        workflow = state.loaded.get(run.workflow.id)
        if waits and run.steps.resting and workflow is not None and workflow.is_async:
            rising.call_ahead(state, run)


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
        *recorded.of_run(steps, records, run.attempt),
    )
