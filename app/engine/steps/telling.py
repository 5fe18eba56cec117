"""What `headgate.runs` is told of steps: that one waits, takes its time, is tried again, has come to something.

Used by `commit`, and by `ends` and `apply` for what cannot wait for that.
"""

from app.engine.runs import parents, runs
from app.engine.tables import awaited, timers
from app.engine.tables.recorded import Step
from app.engine.tables.run import Run
from app.engine.tables.state import State
from app.engine.values.asks import Invoke, Suspend
from topics import facts


def waiting(state: State, run: Run, step: Step) -> None:
    told = facts.step_waiting(
        run_id=run.id,
        workflow_id=run.workflow.id,
        at_ms=state.now_ms,
        key=step.key,
        kind=step.kind.value,
        what=step.about,
        since_ms=step.asked_ms,
        until_ms=step.until_ms,
        data_json=step.ask.data if isinstance(step.ask, Suspend) else None,
        events_since_ms=() if step.wait is None else awaited.since_ms(step.wait, step.ask),
        children=_children(run, step),
    )
    runs.tell(state, told)


def begun(state: State) -> None:
    """Tell of functions of steps that have been executed for a second and go on: what a run is doing is asked then."""
    while state.begun and state.begun[0][0] + timers.TOLD_AFTER_MS <= state.now_ms:
        started_ms, run_id, key, attempt = state.begun.popleft()
        run = state.runs.awake.get(run_id)
        step = None if run is None or run.steps is None else run.steps.open.get(key)
        if run is None or step is None or not step.executing:
            continue
        if step.started_ms == started_ms and step.attempts == attempt:
            _started(state, run, step)


def _started(state: State, run: Run, step: Step) -> None:
    told = facts.step_started(
        run_id=run.id,
        workflow_id=run.workflow.id,
        at_ms=state.now_ms,
        key=step.key,
        kind=step.kind.value,
        what=step.about,
        attempt=step.attempts,
        asked_at_ms=step.asked_ms,
        started_at_ms=step.started_ms,
    )
    runs.tell(state, told)
    state.changed = True


def retried(state: State, run: Run, step: Step) -> None:
    assert step.error is not None
    told = facts.step_retried(
        run_id=run.id,
        workflow_id=run.workflow.id,
        at_ms=state.now_ms,
        key=step.key,
        attempt=step.attempts - 1,
        error=facts.error_of(step.error.type, step.error.message),
        retry_at_ms=step.due_ms,
        kind=step.kind.value,
        what=step.about,
        asked_at_ms=step.asked_ms,
    )
    runs.tell(state, told)


def finished(state: State, run: Run, step: Step) -> None:
    assert step.outcome is not None
    fault = step.outcome.fault
    told = facts.step_finished(
        run_id=run.id,
        workflow_id=run.workflow.id,
        at_ms=state.now_ms,
        key=step.key,
        kind=step.kind.value,
        what=step.about,
        asked_at_ms=step.asked_ms,
        started_at_ms=step.started_ms,
        finished_at_ms=step.finished_ms,
        attempts=step.attempts,
        error=None if fault is None else facts.error_of(fault.type, fault.message),
        received=() if step.wait is None else awaited.events(step.wait),
        children=_children(run, step) if fault is None or step.children is not None else None,
    )
    runs.tell(state, told)


def _children(run: Run, step: Step) -> facts.Children | None:
    """Return the runs that the step has started: derived, so that they are known before they begin."""
    ask = step.ask
    if not isinstance(ask, Invoke):
        return None
    return facts.Children(len(ask.children), parents.child_ids(run, step.key, ask, facts.MOST_CHILDREN))
