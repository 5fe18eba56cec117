"""`apply(state, inputs, now) -> effects`: the only entrance to the core. Called by the pump, once or more a round.

The state changes in place and only here; nothing waits, nothing reads a clock. Within a call, due timers come first,
then the inputs in order, then the lanes that something happened to.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from app.engine import inputs, mail
from app.engine.effects import Effects
from app.engine.runs import letters, runs
from app.engine.starts import lanes, schedules, waking, wishes, workflows
from app.engine.steps import reminders, risen, steps, telling
from app.engine.tables import timers
from app.engine.tables.run import Held
from app.engine.tables.state import State, Timer
from app.engine.values import errors
from app.engine.waits import flushes, interests, lookbacks, waits
from topics import asked, journal, keys
from topics.commands import Command
from topics.reserved import PREFIX


def apply(state: State, given: Sequence[inputs.Input], now_ms: int, *, timers_too: bool = True) -> Effects:
    """Take `given` into the state at `now_ms` and return what the runtime must do. Raises EngineError.

    Without `timers_too`, what fell due meanwhile has the next round: it goes on in the round in which its timer fires.
    """
    state.now_ms = max(now_ms, state.now_ms)
    effects = Effects()
    for due_ms, kind, name, group in timers.due(state) if timers_too else ():
        if kind is Timer.BATCH:
            lanes.batch_due(state, (name, group), due_ms)
        elif kind is Timer.RETRY:
            runs.retry_due(state, name, due_ms, effects)
        elif kind is Timer.WAIT:
            waits.due(state, name, due_ms)
        elif kind is Timer.STEP:
            steps.due(state, name, group or "", due_ms, effects)
        elif kind is Timer.SCHEDULE:
            schedules.due(state, name, due_ms, effects)
        else:
            runs.deadline_due(state, name, effects)
    for one in given:
        HANDLERS[type(one)](state, one, effects)
    if state.mail or state.registry is not None or state.flushes:
        mail.handle(state, effects)
    if state.begun:
        telling.begun(state)
    if state.unsettled:
        steps.settle(state)
    if state.ready or state.freed:
        lanes.fire_ready(state, effects)
    return effects


def _events_read(state: State, read: inputs.EventsRead, effects: Effects) -> None:
    state.changed = True
    state.events_offset = read.next_offset
    counters = state.counters
    counters.events += len(read.envelopes) + len(read.malformed)
    if read.malformed:
        counters.malformed += len(read.malformed)
        state.outgoing.records.extend(read.malformed)
    partition, partitions = state.partition, state.limits.partitions
    for envelope in read.envelopes:
        home = keys.home_of(envelope, partitions)
        if home != partition:
            state.forwards.setdefault(home, []).append(envelope)
            counters.forwarded += 1
        else:
            _arrived(state, envelope, effects)


def _arrived(state: State, envelope: Any, effects: Effects) -> None:
    """Take one event at its home: drop a duplicate, then start or queue a run of each workflow that it triggers."""
    digest = keys.digest_of(envelope)
    if envelope.explicit and state.dedup.seen(digest, state.now_ms):
        state.counters.duplicates += 1
        return
    if state.interests is not None:
        interests.arrived(state, state.interests, envelope)
    if state.cancellers is not None:
        wishes.cancel_by_key(state, state.cancellers, envelope, effects)
    topic = envelope.topic
    matching = state.matcher.of(topic)
    if topic.startswith(PREFIX):
        wishes.arrived(state, envelope, matching)
    if not matching:
        state.counters.unmatched += 1
        return
    if len(matching) == 1:
        workflow = matching[0]
        if state.known[workflow.id] <= envelope.timestamp_ms or wishes.starts(workflow, envelope):
            lanes.admit(state, workflow, envelope, digest, None, effects)
        return
    since = envelope.timestamp_ms
    matching = tuple(one for one in matching if state.known[one.id] <= since or wishes.starts(one, envelope))
    if len(matching) > state.limits.workflows_per_event:
        letters.bury(
            state,
            (envelope,),
            code="too_many_workflows",
            reason=f"topic {envelope.topic!r} triggers {len(matching)} workflows, more than "
            f"{state.limits.workflows_per_event}",
            remedy="narrow the trigger patterns, or raise limits.workflows_per_event",
            run_id=None,
            workflow_id=None,
        )
        return
    held = Held.fresh(envelope, digest)
    for workflow in matching:
        lanes.admit(state, workflow, envelope, digest, held, effects)


def _commands_read(state: State, read: inputs.CommandsRead, effects: Effects) -> None:
    received = dict(state.received)
    new = [one for one in read.commands if _is_next(received, one, state.limits.partitions)]
    if read.malformed or not new or any(map(_leaves_traces, new)):
        state.changed = True
    else:  # who takes over reads them again, so that may ride along with the next append
        state.unsaved = True
    state.commands_offset = read.next_offset
    state.received = received
    if read.malformed:
        state.counters.malformed += len(read.malformed)
        state.outgoing.records.extend(read.malformed)
    for command in new:
        for envelope in command.events:
            _arrived(state, envelope, effects)
        for gathered in command.batched:
            lanes.admit_gathered(state, gathered, effects)
        if command.asks:
            state.mail.extend([(command.source, one) for one in command.asks])


def _leaves_traces(command: Command) -> bool:
    """Whether a command changes more than what the partition has heard of flushes: an owner may forget that."""
    if command.events or command.batched:
        return True
    return not all(type(one) is asked.Flush or type(one) is asked.Flushed for one in command.asks)


def _is_next(received: dict[str, int], command: Command, partitions: int) -> bool:
    """Count `command` in; say whether it is new, and not one that came again. Raises EngineError."""
    if command.partitions != partitions:
        raise errors.WrongPartitionCount(journal=partitions, found=command.partitions)
    source = f"{command.source}/{command.journal}"
    last = received.get(source, 0)
    if command.sequence <= last:
        return False
    if command.sequence != last + 1:
        raise errors.CommandGap(source=command.source, expected=last + 1, found=command.sequence)
    received[source] = command.sequence
    return True


def _delivered(state: State, given: inputs.Delivered, _effects: Effects) -> None:
    mark_delivered(state, given)


def mark_delivered(state: State, given: inputs.Delivered) -> None:
    """What rounds up to `given.round` sent out is acknowledged: their journal slots are free."""
    while state.undelivered and state.undelivered[0].round <= given.round:
        state.free_slots.extend(state.undelivered.popleft().slots)
    state.delivered = max(state.delivered, given.round)
    state.results_end = given.results_end
    state.runs_end = given.runs_end
    if given.parked:  # journaled by the append that marks their rounds
        state.parked.update(given.parked)
        state.fresh_parked.update(given.parked)
        state.changed = True


def _unparked(state: State, given: inputs.Unparked, _effects: Effects) -> None:
    for number in given.numbers:
        del state.parked[number]
        if state.fresh_parked.pop(number, None) is None:
            state.removed.append(journal.parked_key(number))
            state.changed = True


def _time_passed(_state: State, _given: inputs.TimePassed, _effects: Effects) -> None:
    """Timers fired already."""


HANDLERS: Final[dict[type, Callable[[State, Any, Effects], None]]] = {
    inputs.EventsRead: _events_read,
    inputs.CommandsRead: _commands_read,
    inputs.StepAsked: steps.asked,
    inputs.StepEnded: steps.ended,
    inputs.Judged: steps.judged,
    inputs.Evicted: steps.evicted,
    inputs.Ended: runs.ended,
    inputs.CallAhead: risen.call_ahead,
    inputs.Reminded: reminders.told,
    inputs.TimePassed: _time_passed,
    inputs.Crowded: lambda state, _given, _: waking.spill(state),
    inputs.WorkflowsLoaded: workflows.changed,
    inputs.BodiesRead: waking.bodies_read,
    inputs.RunsRead: risen.runs_read,
    inputs.Delivered: _delivered,
    inputs.Unparked: _unparked,
    inputs.LookedBack: lambda state, given, _: lookbacks.looked_back(state, given),
    inputs.CaughtUp: lambda state, given, _: flushes.caught_up(state, given),
}
