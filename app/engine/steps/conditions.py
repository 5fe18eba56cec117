"""A step that waits for conditions: events, each by a wait registered elsewhere, and sleeps. Used by `steps`."""

from typing import Any, Final

import orjson

from app.engine.effects import Effects, Judge
from app.engine.runs import rising, runs
from app.engine.steps import ends
from app.engine.tables import receipts
from app.engine.tables.awaited import MOST_REFUSED, Condition, Progress
from app.engine.tables.recorded import Step
from app.engine.tables.run import Run
from app.engine.tables.state import State
from app.engine.values.asks import Await, EventCondition, Fault, Outcome, Sleep
from app.engine.waits import streams, wanted
from topics import commands, facts, keys
from topics.envelope import Envelope
from topics.patterns import Pattern
from topics.timestamps import rfc3339

_MOST_SEEN: Final = 20_000
"""Events that the conditions of a step may name together as those that the run has: 0.5 MB of its record."""


def begin(state: State, run: Run, step: Step, ask: Await, effects: Effects) -> None:
    step.wait = Progress([Condition() for _ in ask.conditions])
    named = 0
    for n, condition in enumerate(ask.conditions):
        if isinstance(condition, EventCondition):
            progress = step.wait.conditions[n]
            progress.since_ms, progress.seen = _since(run, condition)
            named += len(progress.seen)
    if named > _MOST_SEEN:  # each is named in the step's record and in the wait's
        message = (
            f"the conditions of step {step.key!r} match {named} times an event that the run has already, more than "
            f"{_MOST_SEEN}: wait on another topic than the batch's, name event_key or event_type, or give since='now'"
        )
        ends.end(state, run, step, Outcome(None, Fault("StepLimit", message)), effects)
        return
    ends.wait(state, run, step)
    for n, condition in enumerate(ask.conditions):
        if isinstance(condition, EventCondition):
            _register(state, run, step, n)
    _arm_await(state, run, step)


def _register(state: State, run: Run, step: Step, n: int) -> None:
    ask, progress = await_of(step), _progress(step).conditions[n]
    condition = ask.conditions[n]
    assert isinstance(condition, EventCondition)
    last_ms = None if ask.deadline_ms is None else ask.deadline_ms - 1  # in time is what comes before it is over
    wanted.register(state, run, step.key, n, condition, progress.since_ms, last_ms, progress.seen)


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
        wanted.more(state, run, step.key, n, asked_for.topic, condition.owed)
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
    since_ms, seen = receipts.past(run.steps, condition, run.events[0].timestamp_ms)
    own = [one for one in run.events if one.timestamp_ms >= since_ms]
    if own:
        takes = Pattern.parse(condition.topic).matches
        seen.extend([keys.digest_of(one).hex() for one in own if _may_meet(condition, one) and takes(one.topic)])
    return since_ms, sorted(set(seen))


def _may_meet(condition: EventCondition, event: Envelope) -> bool:
    return condition.event_key in (None, event.key) and condition.event_type in (None, event.event_type)


def has(run: Run, envelope: Envelope) -> bool:
    """Whether a wait of the run has received the event; or holds it, because it waits for others too."""
    steps = run.steps
    assert steps is not None
    digest = keys.digest_of(envelope).hex()
    if receipts.has(steps, digest):
        return True
    return any(digest == one.digest for step in steps.open.values() if step.wait for one in step.wait.conditions)


def is_free(run: Run, step: Step, n: int, envelope: Envelope) -> bool:
    """Whether condition `n` may have an event: no wait of the run has it, or only one that gives it up for this."""
    return _giver(step, n, envelope) is not None or not has(run, envelope)


def _giver(step: Step, n: int, envelope: Envelope) -> int | None:
    """Return which condition of the step holds the event, if that takes all that condition `n` does, and more.

    The broader one waits anew then: whatever else the narrower one may get, it may get as well. So conditions of which
    of any two one takes all of the other, or nothing of it, are all met wherever there are events enough.
    """
    digest, ask, progress = keys.digest_of(envelope).hex(), await_of(step), _progress(step)
    narrow, since_ms = ask.conditions[n], progress.conditions[n].since_ms
    assert isinstance(narrow, EventCondition)
    for m, condition in enumerate(progress.conditions):
        broad = ask.conditions[m]
        if condition.digest != digest or m == n or not isinstance(broad, EventCondition):
            continue
        takes_all = covers(broad, narrow) and condition.since_ms <= since_ms
        return m if takes_all and not (covers(narrow, broad) and since_ms <= condition.since_ms) else None
    return None


def covers(broad: EventCondition, narrow: EventCondition) -> bool:
    """Whether each event on which `narrow` waits is one for `broad`, as far as that is known without their filters."""
    if broad.stream or broad.event_key not in (None, narrow.event_key):
        return False
    return broad.event_type in (None, narrow.event_type) and covers_topic(broad.topic, narrow.topic)


def covers_topic(broad: str, narrow: str) -> bool:
    """Whether a topic or pattern takes every topic that the other one takes; False where that is not plain to see."""
    if broad == narrow:
        return True
    if "*" not in narrow:
        return Pattern.parse(broad).matches(narrow)
    rest = broad.removesuffix("**")
    return rest != broad and "*" not in rest and narrow.startswith(rest) and ("/" in broad) is ("/" in narrow)


def _give_up(state: State, run: Run, step: Step, n: int) -> None:
    """Let condition `n` wait anew, but not for the event that it holds."""
    condition = _progress(step).conditions[n]
    assert condition.digest is not None
    condition.seen = sorted({*condition.seen, condition.digest})
    condition.event = condition.digest = None
    condition.size = 0
    condition.met = condition.over = False
    ends.touch(state, step)
    _register(state, run, step, n)


def receive(state: State, run: Run, step: Step, n: int, envelope: Envelope, effects: Effects) -> None:
    """An event meets condition `n`. One that another wait of the run has meets none: the condition waits anew."""
    ask = await_of(step)
    asked_for = ask.conditions[n]
    assert isinstance(asked_for, EventCondition)
    condition = _progress(step).conditions[n]
    digest = keys.digest_of(envelope).hex()
    giver = _giver(step, n, envelope)
    if giver is not None:
        _give_up(state, run, step, giver)
    elif has(run, envelope):
        # From its own time on: another wait may have received a later one of the same pattern.
        condition.seen = sorted({*condition.seen, digest})
        ends.touch(state, step)
        _register(state, run, step, n)
        return
    condition.event = dict(commands.raw_event(envelope))
    condition.digest, condition.size = digest, envelope.size
    condition.met = condition.over = True
    state.unsettled.append(run)
    held = [one.size for one in _progress(step).conditions if one.met and one.event is not None]
    if ask.need > 1 and len(held) > 1 and sum(held) > state.limits.result_bytes:
        message = (
            f"the events that step {step.key!r} waits for have {sum(held)} bytes already, more than the "
            f"{state.limits.result_bytes} of limits.result_bytes; wait for them in several steps"
        )
        runs.withdraw(state, run, step)
        ends.end(state, run, step, Outcome(None, Fault("ResultTooLarge", message)), effects)
        return
    reconsider(state, run, step, effects)


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
                event = commands.event_of(raw)
                receipts.remember(step.steps, asked_for, keys.digest_of(event).hex(), event.timestamp_ms)
                rising.touch(state, run)
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
