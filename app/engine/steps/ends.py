"""How a step goes on and how it ends, whatever its kind. Used by `steps` and `conditions`."""

from app.engine import inputs
from app.engine.effects import After, Effects, Go, Resolve, Rise
from app.engine.runs import rising, runs
from app.engine.steps import telling
from app.engine.tables import room, timers
from app.engine.tables.recorded import Step
from app.engine.tables.run import Run, RunStatus
from app.engine.tables.state import State, Timer
from app.engine.values.asks import Fault, Kind, Outcome, Sleep
from topics import facts


def go(state: State, run: Run, step: Step, effects: Effects) -> None:
    step.executing = True
    step.started_ms = state.now_ms
    step.steps.executing += 1
    effects.after.append(Go(run, step.key, step.attempts))
    state.begun.append((state.now_ms, run.id, step.key, step.attempts))
    state.unsettled.append(run)


def may_go_at_once(one: Go) -> bool:
    """Whether everything is in the journal that must be there before the step's function is called."""
    step = None if one.run.steps is None else one.run.steps.open.get(one.key)
    return one.run.journaled and step is not None and not step.touched and not step.steps.ahead


def need_not_wait(one: After) -> bool:
    """Whether the runtime may be told before the round is journaled, which has nothing that this depends on."""
    if isinstance(one, Go):
        return may_go_at_once(one)
    return one.ahead if isinstance(one, Resolve) else isinstance(one, Rise)


def put_off(state: State, run: Run, step: Step, due_ms: int) -> None:
    """Let the step's function be tried again later."""
    state.waiting += 1
    arm(state, run, step, due_ms)
    touch(state, step)


def arm(state: State, run: Run, step: Step, due_ms: int) -> None:
    step.due_ms = due_ms
    timers.arm(state, due_ms, Timer.STEP, run.id, step.key)


def touch(state: State, step: Step) -> None:
    if not step.touched:
        step.touched = True
        state.touched_steps.append(step)
    state.changed = True


def end(state: State, run: Run, step: Step, outcome: Outcome, effects: Effects) -> None:
    """The step came to something: it is recorded, and whoever waits for it goes on after that."""
    limits = state.limits
    # Events that were accepted are received, whatever JSON makes of them: topics.journal says how large that may be.
    bounded = outcome.value is not None and step.kind is not Kind.AWAIT
    if outcome.value is not None and bounded and len(outcome.value) > limits.result_bytes:
        message = (
            f"what step {step.key!r} came to has {len(outcome.value)} bytes, more than the {limits.result_bytes} of "
            "limits.result_bytes; return less, for example a reference"
        )
        outcome = Outcome(None, Fault("ResultTooLarge", message))
    step.outcome = outcome
    hot = run.status in rising.HOT
    ahead = _is_known(step) and step.asked is hot
    if hot:
        effects.after.append(Resolve(run, step.key, outcome, run.status is RunStatus.WAITING, ahead))
        step.steps.stirred = True
        if not step.asked:
            step.steps.crossed = {step.key, *(step.steps.crossed or ())}
    _over(state, run, step, effects)
    if ahead and hot and not step.steps.over:
        go_ahead(state, run, step)
    if hot:
        state.unsettled.append(run)
    elif run.status is RunStatus.COLD:
        if ahead:
            step.steps.rung = step
            state.rung.append(run)
        rising.wake(state, run)


def go_ahead(state: State, run: Run, step: Step) -> None:
    """The function goes on before the step's end is journaled. It is told now: the run may end in this round."""
    step.steps.ahead = step.told = True
    telling.finished(state, run, step)


def _is_known(step: Step) -> bool:
    """Whether the journal knows already what the step comes to, so that its function may go on at once: a sleep is over
    at its time, whoever owns the partition then.

    Nothing leaves the worker before its end is journaled: no record, and no step's function is called
    (`may_go_at_once`). Where a function does several things at a time, each hears of its step in the journal's order.
    """
    steps = step.steps
    alone = not steps.par and not steps.unplaced and len(steps.open) == 1
    return alone and step.journaled and isinstance(step.ask, Sleep)


def _over(state: State, run: Run, step: Step, effects: Effects) -> None:
    steps = step.steps
    if steps.open.pop(step.key, None) is not None:
        state.waiting -= room.taken_by(step)
    steps.unplaced += 1
    if steps.resting:  # also of a run that was called ahead of this, and whose steps are being read back
        steps.resting = False
        rising.touch(state, run)
    step.finished_ms = state.now_ms
    outcome = step.outcome
    assert outcome is not None
    steps.size += len(outcome.value) if outcome.value is not None else 0
    touch(state, step)
    if steps.size > state.limits.run_bytes:
        message = (
            f"the steps of run {run.id!r} came to {steps.size} bytes, more than the {state.limits.run_bytes} of "
            "limits.run_bytes; return less from its steps, for example references"
        )
        runs.end(state, run, facts.RunStatus.FAILED.value, inputs.Failure("StepLimit", message, None), effects)


def wait(state: State, run: Run, step: Step) -> None:
    step.steps.open[step.key] = step
    state.waiting += room.taken_by(step)
    step.steps.stirred = False
    touch(state, step)
    state.unsettled.append(run)
