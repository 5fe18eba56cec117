"""A step that waits for conditions: events, each by a wait registered elsewhere, and sleeps. Used by `steps`."""

from typing import Any, Final

import orjson

from app.engine.effects import Effects, Judge
from app.engine.runs import rising, runs
from app.engine.steps import ends
from app.engine.tables.awaited import MOST_REFUSED, Condition, Progress
from app.engine.tables.recorded import Step
from app.engine.tables.state import Run, State
from app.engine.values.asks import Await, EventCondition, Fault, Outcome, Sleep
from app.engine.waits import streams, waits
from topics import commands, facts, keys
from topics.envelope import Envelope
from topics.timestamps import rfc3339

_MOST_HAD: Final = 32
"""Events that a run has received and that no wait on another topic gets again."""


def begin(state: State, run: Run, step: Step, ask: Await, _effects: Effects) -> None:
    ends.wait(state, run, step)
    step.wait = Progress([Condition() for _ in ask.conditions])
    last_ms = None if ask.deadline_ms is None else ask.deadline_ms - 1  # in time is what comes before it is over
    for n, condition in enumerate(ask.conditions):
        if isinstance(condition, Sleep):
            continue
        progress = step.wait.conditions[n]
        progress.since_ms, progress.seen = _since(run, condition)
        waits.register(state, run, step.key, n, condition, progress.since_ms, last_ms, progress.seen)
    _arm_await(state, run, step)


def ask_filter(run: Run, step: Step, n: int, effects: Effects) -> None:
    condition = _progress(step).conditions[n]
    condition.judging = True
    effects.after.append(Judge(run, step.key, n, condition.candidates[0]))


def refuse(state: State, run: Run, step: Step, n: int, envelope: Envelope) -> None:
    """The filter refused an event. So that people can be told why nothing came of it, the first ones are facts."""
    ends.touch(state, step)
    condition = _progress(step).conditions[n]
    condition.owed += streams.cost(envelope)
    asked_for = await_of(step).conditions[n]
    if condition.owed >= max(1, state.limits.candidates // 2) and isinstance(asked_for, EventCondition):
        waits.more(state, run, step.key, n, asked_for.topic, condition.owed)
        condition.owed = 0
    if condition.refused < MOST_REFUSED:
        condition.refused += 1
        told = facts.step_refused(
            run_id=run.id, workflow_id=run.workflow.id, at_ms=state.now_ms, key=step.key, refused=(envelope,)
        )
        runs.tell(state, told)


def await_of(step: Step) -> Await:
    assert isinstance(step.ask, Await)
    return step.ask


def _progress(step: Step) -> Progress:
    assert step.wait is not None
    return step.wait


def _since(run: Run, condition: EventCondition) -> tuple[int, list[str]]:
    """Return from which append time on events count, and the digests of those that never do."""
    since_ms = run.events[0].timestamp_ms if condition.since_ms is None else condition.since_ms
    seen: list[str] = []
    steps = run.steps
    if steps is not None and steps.received is not None:
        last_ms, same = steps.received.get(condition.topic, (-1, []))
        if last_ms >= since_ms:
            since_ms = last_ms
            seen.extend(same)
        seen.extend(steps.had)
    own = [keys.digest_of(one).hex() for one in run.events if one.timestamp_ms >= since_ms]
    return since_ms, sorted({*seen, *own})


def _remember(state: State, run: Run, topic: str, envelope: Envelope) -> None:
    """Let no later wait of the run get this event again, nor one on the same topic one from before it."""
    steps = run.steps
    assert steps is not None
    if steps.received is None:
        steps.received = {}
    digest = keys.digest_of(envelope).hex()
    last_ms, same = steps.received.get(topic, (-1, []))
    if envelope.timestamp_ms > last_ms:
        steps.received[topic] = (envelope.timestamp_ms, [digest])
    elif envelope.timestamp_ms == last_ms and digest not in same:
        steps.received[topic] = (last_ms, [*same, digest])
    if digest not in steps.had:
        steps.had = [*steps.had, digest][-_MOST_HAD:]
    rising.touch(state, run)


def receive(state: State, run: Run, step: Step, n: int, envelope: Envelope, effects: Effects) -> None:
    asked_for = await_of(step).conditions[n]
    assert isinstance(asked_for, EventCondition)
    condition = _progress(step).conditions[n]
    condition.event = dict(commands.raw_event(envelope))
    condition.met = condition.over = True
    reconsider(state, run, step, effects)
    state.unsettled.append(run)


def reconsider(state: State, run: Run, step: Step, effects: Effects) -> None:
    """A condition is met or over: end the step if enough are met, or no longer can be."""
    ask, conditions = await_of(step), _progress(step).conditions
    met_now = [n for n, one in enumerate(conditions) if one.met]
    if len(met_now) >= ask.need:
        if ask.need == 1:
            n = met_now[0]
            value: Any = {"n": n, "event": conditions[n].event}
        else:
            value = [one.event for one in conditions]
        for n in met_now[:1] if ask.need == 1 else met_now:
            asked_for, raw = ask.conditions[n], conditions[n].event
            if isinstance(asked_for, EventCondition) and raw is not None:
                _remember(state, run, asked_for.topic, commands.event_of(raw))
        outcome = Outcome(orjson.dumps(value))
    elif len(met_now) + sum(_may_be_met(ask, n, one) for n, one in enumerate(conditions)) < ask.need:
        until = "" if ask.deadline_ms is None else f" until {rfc3339(ask.deadline_ms)}"
        outcome = Outcome(None, Fault("EventTimeout", f"step {step.key!r} ({step.about}) was not met{until}"))
    else:
        ends.touch(state, step)
        return
    runs.withdraw(state, run, step)
    ends.end(state, run, step, outcome, effects)


def _may_be_met(ask: Await, n: int, condition: Condition) -> bool:
    asked_for = ask.conditions[n]
    if condition.over:
        return False
    if not isinstance(asked_for, Sleep) or ask.deadline_ms is None:
        return True
    # The end of the whole is told by the waits for events, where there are any: a sleep beyond it never ends.
    return asked_for.until_ms <= ask.deadline_ms


def _arm_await(state: State, run: Run, step: Step) -> None:
    """Let the next sleep among the conditions end; and the whole, if there is nothing but sleeps."""
    ask, conditions = await_of(step), _progress(step).conditions
    sleeps = [
        one.until_ms
        for n, one in enumerate(ask.conditions)
        if isinstance(one, Sleep) and not conditions[n].over and _may_be_met(ask, n, conditions[n])
    ]
    if ask.deadline_ms is not None and all(isinstance(one, Sleep) for one in ask.conditions):
        sleeps.append(ask.deadline_ms)
    if sleeps:
        ends.arm(state, run, step, min(sleeps))


def due(state: State, run: Run, step: Step, effects: Effects) -> None:
    ask, conditions = await_of(step), _progress(step).conditions
    ends.touch(state, step)
    for n, one in enumerate(ask.conditions):
        if isinstance(one, Sleep) and not conditions[n].over and one.until_ms <= state.now_ms:
            conditions[n].met = conditions[n].over = True
    if ask.deadline_ms is not None and ask.deadline_ms <= state.now_ms:
        for n, one in enumerate(ask.conditions):
            if isinstance(one, Sleep) and not conditions[n].over:
                conditions[n].over = True
    reconsider(state, run, step, effects)
    if step.outcome is None:
        _arm_await(state, run, step)
