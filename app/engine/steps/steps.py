"""Steps of runs: asked for, ended, over. What a step came to is journaled before its function hears of it.

A step that is open is one of two kinds: the runtime executes its function, or something has to happen (time, an event,
somebody's decision). A run of which only such steps are open waits, and the runtime may drop its function. Called by
`apply`; by `waits` for events that met a condition, and for conditions whose time is over.
"""

from collections.abc import Callable
from typing import Any, Final

import orjson

from app.engine import inputs
from app.engine.effects import Effects
from app.engine.runs import notes, retry, rising, runs
from app.engine.steps import children, conditions, ends
from app.engine.tables import room
from app.engine.tables.awaited import Condition
from app.engine.tables.recorded import Step, Steps
from app.engine.tables.run import Run, RunStatus
from app.engine.tables.state import State
from app.engine.values.asks import (
    ABANDONED,
    KINDS,
    Await,
    EventCondition,
    Execute,
    Fault,
    Invoke,
    Kind,
    Note,
    Outcome,
    Sleep,
    Suspend,
)
from app.engine.waits import wanted
from topics import asked as asked_for
from topics import facts
from topics.envelope import Envelope
from topics.timestamps import rfc3339

_FAILED: Final = facts.RunStatus.FAILED.value
_NULL: Final = Outcome(b"null")


# --- what the runtime reports ---------------------------------------------------------------------------------------


def asked(state: State, given: inputs.StepAsked, effects: Effects) -> None:
    """A run asks for a step: for the first time, or again because its function was called anew."""
    run = state.runs.awake.get(given.run_id)
    if run is None or run.attempt != given.attempt or run.status not in rising.HOT:
        return
    ask = given.ask
    if type(ask) is Note and ask.quiet:
        state.outgoing.records.extend(ask.records)
        state.notes.append((run, given.key, given.about, ask.value, given.aside))
        state.changed = True
        return
    if state.notes:
        notes.keep(state)
    steps = run.steps
    if steps is None:
        steps = run.steps = Steps(run.id)
    step = steps.open.get(given.key)
    if step is not None:
        _again(state, run, step, effects)
        return
    if steps.crossed is not None and given.key in steps.crossed:
        return  # it has ended meanwhile, and the function is told so
    if steps.asked >= state.limits.steps_per_run:
        message = (
            f"run {run.id!r} has more than {state.limits.steps_per_run} steps (limits.steps_per_run); publish an event "
            "and go on in another workflow"
        )
        runs.end(state, run, _FAILED, inputs.Failure("StepLimit", message, None), effects)
        return
    steps.asked += 1
    par = given.aside or bool(steps.open)
    step = Step(steps, given.key, KINDS[type(ask)], given.about, ask, state.now_ms, par=par)
    if par and not steps.par:
        steps.par = True
        rising.touch(state, run)
    more = room.asks_for(ask)
    fault = room.refusal(state, run, given.key, more) if more else None
    if fault is not None:
        ends.end(state, run, step, Outcome(None, fault), effects)
    else:
        ASKED[type(ask)](state, run, step, ask, effects)


def ended(state: State, given: inputs.StepEnded, effects: Effects) -> None:
    """An attempt of a step's function ended. One that was overtaken counts no more."""
    found = _open(state, given.run_id, given.key)
    if found is None or found[0].attempt != given.attempt:
        return
    run, step = found
    # A filter could not judge an event, and nothing is passed by; or its workflow waits for them no more.
    if step.wait is not None and given.failure is not None:
        left = given.failure.type == ABANDONED
        if left:
            step.attempts = run.attempt  # the next one may wait for what this one has abandoned
        runs.withdraw(state, run, step)
        ends.end(state, run, step, Outcome(None, Fault(given.failure.type, given.failure.message)), effects)
        if left and given.failure.final:
            step.finished_ms -= 1  # what is asked for in this millisecond is asked for after it
        return
    if not step.executing:
        return
    assert isinstance(step.ask, Execute)
    step.executing = False
    step.steps.executing -= 1
    failure = given.failure
    if failure is None:
        ends.end(state, run, step, Outcome(given.value if given.value is not None else b"null"), effects)
        return
    over = failure.rejected or failure.final or not retry.may_retry(step.attempts, max_retries=step.ask.max_retries)
    if over:
        ends.end(state, run, step, Outcome(None, Fault(failure.type, failure.message)), effects)
        return
    fault = room.refusal(state, run, step.key, 1)
    if fault is not None:
        why = f"{fault.message}; its function failed with {failure.type}: {failure.message}"
        ends.end(state, run, step, Outcome(None, Fault(fault.type, why)), effects)
        return
    delay_ms = failure.retry_after_ms
    if delay_ms is None:
        base_ms, max_ms = step.ask.base_delay_ms, step.ask.max_delay_ms
        delay_ms = retry.step_delay_ms(run.id, step.key, step.attempts, base_ms=base_ms, max_ms=max_ms)
    step.attempts += 1
    step.error = Fault(failure.type, failure.message)
    step.retried = True
    ends.put_off(state, run, step, state.now_ms + delay_ms)
    state.unsettled.append(run)


def judged(state: State, given: inputs.Judged, effects: Effects) -> None:
    """An author's filter has looked at the first of the events that may meet a condition."""
    found = _open(state, given.run_id, given.key)
    if found is None or found[0].attempt != given.attempt or found[1].wait is None:
        return
    run, step = found
    assert step.wait is not None
    condition = step.wait.conditions[given.condition]
    if not condition.judging or not condition.candidates:
        return
    condition.judging = False
    envelope = condition.candidates.pop(0)
    if given.passed and conditions.is_free(run, step, given.condition, envelope):
        asked_for = conditions.await_of(step).conditions[given.condition]
        assert isinstance(asked_for, EventCondition)
        wanted.withdraw(state, run, step.key, given.condition, asked_for.topic)
        condition.candidates.clear()
        conditions.receive(state, run, step, given.condition, envelope, effects)
        return
    conditions.refuse(state, run, step, given.condition, envelope)
    if condition.candidates:
        conditions.ask_filter(run, step, given.condition, effects)
    elif condition.expired:
        condition.over = True
        conditions.reconsider(state, run, step, effects)
    state.unsettled.append(run)


def evicted(state: State, given: inputs.Evicted, _effects: Effects) -> None:
    """The runtime has dropped functions: of runs that only waited, or that had to go on before it heard of that."""
    if state.notes:
        notes.keep(state)
    settle(state)  # what was asked for in this round counts
    for run_id in given.run_ids:
        run = state.runs.awake.get(run_id)
        if run is None or run.status not in rising.HOT:
            continue
        steps = run.steps
        rests = run.status is RunStatus.WAITING and steps is not None and not steps.stirred
        if rests and steps is not None and not any(_wants(one) for one in steps.open.values()):
            rising.chill(state, run, RunStatus.COLD)
        else:
            rising.wake(state, run)


# --- what happens otherwise -----------------------------------------------------------------------------------------


def due(state: State, run_id: str, key: str, due_ms: int, effects: Effects) -> None:
    """A timer of a step fires."""
    found = _open(state, run_id, key)
    if found is None or found[1].due_ms != due_ms:
        return
    run, step = found
    ask = step.ask
    if isinstance(ask, Execute):
        state.waiting -= 1
        step.due_ms = 0
        if run.status in rising.HOT and step.asked:
            ends.go(state, run, step, effects)
        elif run.status is RunStatus.COLD:
            rising.wake(state, run)
        return
    step.due_ms = 0
    if isinstance(ask, Sleep):
        ends.end(state, run, step, _NULL, effects)
    elif isinstance(ask, Suspend):
        _not_resumed(state, run, step, ask, effects)
    else:
        conditions.due(state, run, step, effects)


def resume(state: State, run_id: str, key: str, value: bytes, effects: Effects) -> bool:
    """Let a suspended step end with `value` (JSON). Return whether there was one to resume."""
    found = _open(state, run_id, key)
    if found is None or not isinstance(found[1].ask, Suspend):
        return False
    ends.end(state, *found, Outcome(value), effects)
    return True


def met(state: State, run_id: str, key: str, n: int, envelope: Envelope, effects: Effects) -> None:
    """An event matches condition `n` of a step; what is over or gone needs it no more."""
    suspended = _open(state, run_id, key)
    if suspended is not None and isinstance(suspended[1].ask, Suspend):
        resume(state, run_id, key, orjson.dumps(envelope.payload()["data"]), effects)
        return
    found = _awaiting(state, run_id, key, n)
    if found is None:
        return
    run, step, condition = found
    asked_for = conditions.await_of(step).conditions[n]
    assert isinstance(asked_for, EventCondition)
    if not asked_for.stream:
        conditions.receive(state, run, step, n, envelope, effects)
        return
    condition.candidates.append(envelope)
    ends.touch(state, step)
    state.unsettled.append(run)
    if run.status is RunStatus.COLD:
        rising.wake(state, run)
    elif run.status in rising.HOT and step.asked and not condition.judging:
        conditions.ask_filter(run, step, n, effects)


def expired(state: State, run_id: str, key: str, n: int, effects: Effects) -> None:
    """The time for condition `n` of a step is over; candidates that are there already are judged all the same."""
    suspended = _open(state, run_id, key)
    if suspended is not None and isinstance(suspended[1].ask, Suspend):
        _not_resumed(state, *suspended, suspended[1].ask, effects)
        return
    found = _awaiting(state, run_id, key, n)
    if found is None:
        return
    run, step, condition = found
    condition.expired = True
    ends.touch(state, step)
    if not condition.candidates:
        condition.over = True
        conditions.reconsider(state, run, step, effects)


def child(state: State, one: asked_for.Child, effects: Effects) -> None:
    """A run that a step started came to something."""
    found = _open(state, one.run, one.key)
    if found is not None:
        children.ended(state, *found, one.n, one.status, one.value, effects)


def settle(state: State) -> None:
    """Decide which of the runs whose steps changed go on, and which only wait."""
    unsettled, state.unsettled = state.unsettled, []
    for run in unsettled:
        steps = run.steps
        if steps is None or steps.over or run.status not in rising.HOT:
            continue
        waits_now = not steps.executing and any(one.asked for one in steps.open.values())
        if waits_now is (run.status is RunStatus.RUNNING):
            rising.turn(state, run, RunStatus.WAITING if waits_now else RunStatus.RUNNING)
        if waits_now and run.lane is not None:
            rising.halt(state, run)
        rests = waits_now and not steps.stirred and not steps.par
        rests = rests and not any(_wants(one) for one in steps.open.values())
        if rests is not steps.resting:
            steps.resting = rests
            rising.touch(state, run)


# --- asked for the first time ---------------------------------------------------------------------------------------


def _note(state: State, run: Run, step: Step, ask: Note, effects: Effects) -> None:
    state.outgoing.records.extend(ask.records)
    ends.end(state, run, step, Outcome(ask.value), effects)


def _execute(state: State, run: Run, step: Step, _ask: Execute, effects: Effects) -> None:
    # Nothing is journaled of a first attempt before it has ended: a crash has it begun anew.
    step.steps.open[step.key] = step
    step.attempts = 1
    ends.go(state, run, step, effects)


def _sleep(state: State, run: Run, step: Step, ask: Sleep, _effects: Effects) -> None:
    ends.wait(state, run, step)
    ends.arm(state, run, step, ask.until_ms)


def _suspend(state: State, run: Run, step: Step, ask: Suspend, _effects: Effects) -> None:
    ends.wait(state, run, step)
    if ask.topic is not None:
        last_ms = None if ask.deadline_ms is None else ask.deadline_ms - 1
        wanted.register(
            state, run, step.key, 0, EventCondition(topic=ask.topic), run.events[0].timestamp_ms, last_ms, ()
        )
    elif ask.deadline_ms is not None:
        ends.arm(state, run, step, ask.deadline_ms)


def _not_resumed(state: State, run: Run, step: Step, ask: Suspend, effects: Effects) -> None:
    until = rfc3339(ask.deadline_ms or 0)
    fault = Fault("EventTimeout", f"nobody resumed step {step.key!r} of run {run.id!r} until {until}")
    ends.end(state, run, step, Outcome(None, fault), effects)


def _again(state: State, run: Run, step: Step, effects: Effects) -> None:
    """The function was called anew and has come to a step that is open still."""
    step.asked = True
    state.unsettled.append(run)
    if step.kind is Kind.RUN:
        if not step.executing and not step.due_ms:
            ends.go(state, run, step, effects)
        return
    step.steps.stirred = False
    if step.wait is not None:
        for n, condition in enumerate(step.wait.conditions):
            if condition.candidates and not condition.judging:
                conditions.ask_filter(run, step, n, effects)


# --- the steps' own -------------------------------------------------------------------------------------------------


def _open(state: State, run_id: str, key: str) -> tuple[Run, Step] | None:
    run = state.runs.get(run_id)
    if run is None or run.steps is None or run_id in state.fates:
        return None
    step = run.steps.open.get(key)
    return None if step is None else (run, step)


def _wants(step: Step) -> bool:
    """Whether the function has to be there for an open step to come further."""
    if step.wait is not None:
        return any(one.candidates for one in step.wait.conditions)
    return step.kind is Kind.RUN and not step.due_ms


def _awaiting(state: State, run_id: str, key: str, n: int) -> tuple[Run, Step, Condition] | None:
    found = _open(state, run_id, key)
    if found is None or found[1].wait is None:
        return None
    conditions = found[1].wait.conditions
    if n >= len(conditions) or conditions[n].over:
        return None
    return (*found, conditions[n])


Asked = Callable[[State, Run, Step, Any, Effects], None]
ASKED: Final[dict[type, Asked]] = {
    Note: _note,
    Execute: _execute,
    Sleep: _sleep,
    Suspend: _suspend,
    Await: conditions.begin,
    Invoke: children.begin,
}
