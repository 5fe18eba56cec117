"""Lanes: events of one workflow and group that start in order or gather into batches (design 1.2, 3.3).

A lane without batches holds what waits behind a run of its key; a lane with batches holds what gathers. Both start
the next run by one rule: the lane is free, and what waits is enough.
"""

from enum import Enum
from typing import Final

from app.engine.effects import Effects
from app.engine.runs import asleep, letters, parents, rising, runs
from app.engine.starts import filters
from app.engine.tables import timers
from app.engine.tables.matching import Match
from app.engine.tables.run import Held, RunStatus, is_unloaded
from app.engine.tables.state import Lane, Pending, State, Timer
from app.engine.values import errors
from app.engine.values.known import Definition
from headgate.definition import Order, Workflow
from headgate.errors import Reject
from topics import keys
from topics.commands import Batched
from topics.envelope import Envelope

_NONE: Final = Order.NONE
_AGAIN: Final = "produce the event again with a new id, which starts the event's other workflows again too"


def admit(
    state: State, workflow: Match, envelope: Envelope, digest: bytes, held: Held | None, effects: Effects
) -> None:
    """Start a run of `workflow` on `envelope`, or let the event wait for its turn, its batch or its workflow's code."""
    if type(workflow) is Definition:
        asleep.sleep(state, workflow.id, envelope, held)
        return
    if workflow.filter is not None and not _passes(state, workflow, envelope):
        return
    if workflow.batch_size > 1:
        if workflow.filter is None and workflow.typed_data is not None and not _passes(state, workflow, envelope):
            return
        if workflow.batch_by == "workflow":
            home = keys.partition_of(workflow.id.encode(), state.limits.partitions)
            if home != state.partition:
                newest = state.definitions.get(workflow.id)
                known_ms = 0 if newest is None else newest.announced_ms
                state.gathers.setdefault(home, []).append(Batched(workflow.id, envelope, known_ms))
                return
        _queue(state, workflow, (workflow.id, _group(workflow, envelope)), held or Held.fresh(envelope, digest))
    elif (event_key := envelope.key) is None or workflow.order is _NONE:
        run_id = keys.run_id(workflow.id, digest)
        runs.start(state, workflow, (envelope,), run_id, None if held is None else (held,), None, effects)
    else:
        key = (workflow.id, event_key)
        if key in state.lanes:
            _queue(state, workflow, key, held or Held.fresh(envelope, digest))
        else:
            lane = state.lanes[key] = Lane(workflow, key)
            lane.active = 1
            run_id = keys.run_id(workflow.id, digest)
            runs.start(state, workflow, (envelope,), run_id, None if held is None else (held,), key, effects)


class Verdict(Enum):
    """What becomes of an event that was taken for a workflow, by the workflow as it is known now."""

    TAKE = "take"
    SLEEP = "sleep"
    """Its code is not there: the workflow is not loaded, or only a newer form of it takes the topic, or may take it."""
    GIVE_UP = "give up"
    """The workflow is retired; or neither what is loaded nor anything newer takes the topic."""


def judge(state: State, workflow_id: str, envelope: Envelope) -> Verdict:
    """Judge an event that was matched before, by another partition or in another form of the workflow.

    A function is never given an event of a topic that it does not name.
    """
    workflow = state.loaded.get(workflow_id)
    if workflow is None:
        return Verdict.GIVE_UP if workflow_id in state.retired else Verdict.SLEEP
    if _takes(workflow, envelope):
        return Verdict.TAKE
    newest = state.definitions.get(workflow_id)
    if workflow_id in state.unheard or (newest is not None and _takes(newest, envelope)):
        return Verdict.SLEEP
    return Verdict.GIVE_UP


def _takes(workflow: Match, envelope: Envelope) -> bool:
    """Say whether it names the event's topic; that of a schedule came to it alone, and it has one still."""
    return workflow.schedule is not None if envelope.scheduled else workflow.matches(envelope.topic)


def admit_gathered(state: State, given: Batched, effects: Effects) -> None:
    """Admit an event that another partition matched already. What that one knew and this one has not heard yet may
    take the topic: until it is heard, the event sleeps.
    """
    workflow_id, envelope, announced_ms = given
    verdict = judge(state, workflow_id, envelope)
    if verdict is Verdict.GIVE_UP and workflow_id in state.loaded:
        newest = state.definitions.get(workflow_id)
        if announced_ms > (0 if newest is None else newest.announced_ms):
            state.unheard[workflow_id] = announced_ms
            state.known_changed = True
            verdict = Verdict.SLEEP
    if verdict is Verdict.GIVE_UP:
        give_up(state, workflow_id, envelope)
    elif verdict is Verdict.SLEEP or workflow_id in state.waking:  # behind those that slept before it
        asleep.sleep(state, workflow_id, envelope, None)
    else:
        admit(state, state.loaded[workflow_id], envelope, keys.digest_of(envelope), None, effects)


def give_up(state: State, workflow_id: str, envelope: Envelope) -> None:
    """Write the dead letter of an event that nothing will run."""
    if workflow_id in state.retired:
        code, reason = "workflow_retired", f"the event waited for workflow {workflow_id!r}, which was retired"
        remedy = "deploy the workflow again and produce the event again with a new id"
    else:
        code = "no_longer_triggered"
        reason = f"the event waited for workflow {workflow_id!r}, which no longer triggers on topic {envelope.topic!r}"
        remedy = "if it is to be handled, let a workflow trigger on its topic, and produce it again with a new id"
    letters.bury(state, (envelope,), code=code, reason=reason, remedy=remedy, run_id=None, workflow_id=workflow_id)


def _passes(state: State, workflow: Workflow, envelope: Envelope) -> bool:
    """Ask the filter; and, where the event would join others, whether its data is of the declared type."""
    if envelope.scheduled:
        return True  # the filter is for what others produce
    try:
        event = workflow.build_payload((envelope,))["events"][0]
    except BaseException as error:  # noqa: BLE001 an author's type may raise anything, and it concerns this event alone
        if workflow.batch_size == 1:
            return True  # the run says so
        why = errors.words(error)
        letters.bury(
            state,
            (envelope,),
            code="wrong_type",
            reason=why if isinstance(error, Reject) else f"the type of its data raised {type(error).__name__}: {why}",
            remedy=f"correct the data, or the type that workflow {workflow.id!r} declares, then {_AGAIN}",
            run_id=None,
            workflow_id=workflow.id,
        )
        return False
    if workflow.filter is None:
        return True
    remedy = f"make the filter answer for every event of its topics, then {_AGAIN}"
    passes = filters.answer(state, workflow, workflow.filter, event, envelope, name="filter", remedy=remedy)
    if passes is False:
        state.counters.filtered += 1
        parents.refused(state, envelope, workflow.id, "filtered", f"the filter of {workflow.id!r} did not pass it")
    return bool(passes)


def _group(workflow: Workflow, envelope: Envelope) -> str | None:
    return envelope.key if workflow.batch_by == "key" else None


def _queue(state: State, workflow: Workflow, key: tuple[str, str | None], held: Held) -> None:
    lane = state.lanes.get(key)
    if lane is None:
        lane = state.lanes[key] = Lane(workflow, key)
    held.refs += 1
    pending = Pending(workflow.id, held)
    state.fresh_pending.append(pending)
    state.held_bytes += held.weight
    lane.wait(pending)
    state.ready[key] = lane


def leave(state: State, pending: Pending) -> None:
    """Take `pending` out of the waiting; its body stays with whoever goes on with the event."""
    pending.left = True
    weight = pending.held.weight
    state.held_bytes -= weight
    if pending.recalled:
        state.recalled_bytes -= weight
    if pending.journaled:
        state.removed.append(asleep.pending_key(pending))
        state.changed = True


def fire_ready(state: State, effects: Effects) -> None:
    """Start what may start in every lane that something happened to."""
    while state.freed or state.ready:
        freed, state.freed = state.freed, []
        for key in freed:
            _free(state, key)
        ready, state.ready = state.ready, {}
        for key, lane in ready.items():
            _fire(state, lane, effects)
            if not lane.pending and not lane.active:
                state.lanes.pop(key, None)


def _fire(state: State, lane: Lane, effects: Effects) -> None:
    workflow = lane.workflow
    while lane.pending and (not lane.active or workflow.order == "none"):
        if workflow.batch_timeout_seconds is not None and not _full(state, lane):
            due_ms = lane.pending[0].held.envelope.timestamp_ms + int(workflow.batch_timeout_seconds * 1000)
            if due_ms > state.now_ms:
                if lane.armed_ms != due_ms:
                    lane.armed_ms = due_ms
                    timers.arm(state, due_ms, Timer.BATCH, *lane.key)
                return
        first = lane.pending[0]
        run_id = keys.run_id(workflow.id, first.held.digest)
        if run_id in state.runs:  # a repeat of what was forgotten; the others are not
            state.counters.duplicates += 1
            lane.take()
            leave(state, first)
            asleep.release(state, first.held)
            continue
        taken = _take(state, lane)
        if len(taken) == 1:  # nearly always, and a third of the time
            held: tuple[Held, ...] = (taken[0].held,)
            events: tuple[Envelope, ...] = (held[0].envelope,)
        else:
            held = tuple([one.held for one in taken])
            events = tuple([one.envelope for one in held])
        lane.active += 1
        runs.start(state, workflow, events, run_id, held, lane.key, effects)
        for one in held:  # the run has references of its own now
            asleep.release(state, one)


def _full(state: State, lane: Lane) -> bool:
    """Whether what waits is a whole batch, by count or by bytes."""
    return len(lane.pending) >= lane.workflow.batch_size or lane.size >= state.limits.batch_bytes


def _take(state: State, lane: Lane) -> list[Pending]:
    taken: list[Pending] = []
    size = 0
    while lane.pending and len(taken) < lane.workflow.batch_size:
        size += lane.pending[0].held.envelope.size
        if taken and size > state.limits.batch_bytes:
            break
        pending = lane.take()
        leave(state, pending)
        taken.append(pending)
    return taken


def _free(state: State, key: tuple[str, str | None]) -> None:
    """A run of the lane ended: the next may start."""
    lane = state.lanes.get(key)
    state.halted.discard(key)
    if lane is None:
        return
    lane.active -= 1
    if lane.pending:
        state.ready[key] = lane
    elif not lane.active:
        del state.lanes[key]


def batch_due(state: State, key: tuple[str, str | None], due_ms: int) -> None:
    lane = state.lanes.get(key)
    if lane is not None and lane.armed_ms == due_ms:
        lane.armed_ms = None
        state.ready[key] = lane


def regroup(state: State, effects: Effects) -> None:
    """Workflows changed: what waits in lanes is admitted again, in order, by the workflows as they are now."""
    waiting: dict[str, list[Pending]] = {}
    for lane in state.lanes.values():
        if lane.pending:
            waiting.setdefault(lane.key[0], []).extend(lane.pending)
            lane.clear()
        lane.armed_ms = None
        current = state.loaded.get(lane.key[0])
        if current is not None:
            lane.workflow = current
    state.ready.clear()
    for key in [key for key, lane in state.lanes.items() if not lane.active]:
        del state.lanes[key]
    for run in state.runs.awake.values():
        workflow = state.loaded.get(run.workflow.id)
        if workflow is None:
            continue
        if is_unloaded(run.workflow):
            run.workflow = workflow
            if run.lane is not None:
                state.lanes.setdefault(run.lane, Lane(workflow, run.lane)).active += 1
                if run.status in (RunStatus.COLD, RunStatus.STUCK):
                    state.halted.add(run.lane)
        if run.status is RunStatus.ASLEEP:
            rising.wake(state, run)
    for workflow_id in sorted(waiting):
        for pending in sorted(waiting[workflow_id], key=_age):
            _admit_again(state, workflow_id, pending, effects)


def _age(pending: Pending) -> int:
    return pending.held.number if pending.held.number >= 0 else 1 << 62


def _admit_again(state: State, workflow_id: str, pending: Pending, effects: Effects) -> None:
    verdict = judge(state, workflow_id, pending.held.envelope)
    if verdict is Verdict.TAKE:
        readmit(state, state.loaded[workflow_id], pending, effects)
    elif verdict is Verdict.SLEEP:
        asleep.doze(state, pending)
    else:
        leave(state, pending)
        give_up(state, workflow_id, pending.held.envelope)
        asleep.release(state, pending.held)


def readmit(state: State, workflow: Workflow, pending: Pending, effects: Effects) -> None:
    """Put `pending` into its lane as it is, so that nothing is journaled anew; else let `admit` decide."""
    envelope = pending.held.envelope
    judged = workflow.filter is not None or (workflow.batch_size > 1 and workflow.typed_data is not None)
    if judged and not _passes(state, workflow, envelope):
        leave(state, pending)
        asleep.release(state, pending.held)
        return
    batched = workflow.batch_size > 1
    ordered = envelope.key is not None and workflow.order != "none"
    local = workflow.batch_by != "workflow" or (
        keys.partition_of(workflow.id.encode(), state.limits.partitions) == state.partition
    )
    if (batched and local) or (not batched and ordered):
        key = (workflow.id, _group(workflow, envelope) if batched else envelope.key)
        lane = state.lanes.get(key)
        if lane is None:
            lane = state.lanes[key] = Lane(workflow, key)
        lane.wait(pending)
        state.ready[key] = lane
        return
    leave(state, pending)
    held = pending.held
    admit(state, workflow, envelope, held.digest, held, effects)
    asleep.release(state, held)
