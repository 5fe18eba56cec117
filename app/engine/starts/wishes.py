"""What is asked of Headgate by events on topics of its own, at the home of each (topics.reserved). Called by `apply`.

The home of a run's id does not know where the run is: it asks all partitions, and whichever has it does what is asked.
"""

from collections.abc import Sequence
from typing import Any, Final

from app.engine import inputs
from app.engine.effects import Effects
from app.engine.runs import asleep, handlers, letters, parents, runs
from app.engine.starts import filters
from app.engine.tables.matching import Cancellers, Match
from app.engine.tables.state import State
from app.engine.values.known import Definition
from headgate.event import Event
from topics import asked, facts
from topics.envelope import Envelope
from topics.reserved import CANCEL, RETRY, START, start_topic

_MEND: Final = (
    "make it answer for every event of its topics, then produce the event again with a new id, or end the runs with "
    "`headgate runs cancel`"
)
_MOST_UNHEARD: Final = 100
"""Workflows that are not announced and that events sleep for."""
_SHARE_OF_UNHEARD: Final = 10
"""Of all that may sleep, their events may be the tenth part."""


def arrived(state: State, envelope: Envelope, matching: Sequence[Match]) -> None:
    """Take an event on a topic of Headgate's own; what it starts is in `matching`."""
    topic, key = envelope.topic, envelope.key
    if topic.startswith(START):
        workflow_id = topic[len(START) :]
        if not any(one.id == workflow_id for one in matching):
            _nothing_starts(state, envelope, workflow_id)
    elif topic == CANCEL and key is not None:
        _ask_all(state, asked.Cancel(key, f"an event on {CANCEL!r} asked for it"))
    elif topic == RETRY and key is not None:
        _ask_all(state, asked.Retry(key))


def cancel(state: State, run_id: str, reason: str, effects: Effects) -> None:
    """End a run because somebody wants it, if it is here and has not ended."""
    run = state.runs.get(run_id)
    if run is not None:
        failure = inputs.Failure(letters.CANCELLED, f"the run was cancelled: {reason}", None)
        runs.end(state, run, facts.RunStatus.CANCELLED.value, failure, effects)


def retry(state: State, run_id: str) -> None:
    """Let a run go on, if it is here and stuck."""
    runs.retry_stuck(state, run_id)


def cancel_by_key(state: State, cancellers: Cancellers, envelope: Envelope, effects: Effects) -> None:
    """Cancel the runs of the event's key of each workflow that names its topic in `cancel_on`: they live here.

    Where only its code can tell (`cancel_filter`), and that is not there, the event sleeps for it as others do.
    """
    if envelope.key is None or not state.keyed.any:
        return
    for workflow_id in cancellers.of(envelope.topic):
        found = state.keyed.runs_of(workflow_id, envelope.key)
        if found and not _is_late(state, workflow_id, envelope):
            _cancel_all(state, workflow_id, envelope, found, effects)


def cancel_late(state: State, workflow_id: str, envelope: Envelope, effects: Effects) -> bool:
    """Let an event that slept cancel what it may. Return whether the workflow wants to be asked about such."""
    workflow = state.loaded.get(workflow_id)
    if workflow is None or workflow.cancel_filter is None or envelope.key is None:
        return False
    if not any(one.matches(envelope.topic) for one in workflow.cancel_patterns):
        return False
    found = state.keyed.runs_of(workflow_id, envelope.key)
    if found:
        _cancel_all(state, workflow_id, envelope, found, effects)
    return True


def _is_late(state: State, workflow_id: str, envelope: Envelope) -> bool:
    """Whether the event cancels later, once the workflow's code is there: it sleeps, if it does not do so anyway."""
    workflow = state.loaded.get(workflow_id)
    newest = state.definitions.get(workflow_id)
    known: Match | None = newest if workflow is None else workflow
    if isinstance(known, Definition):
        asks = known.has_cancel_filter
    else:
        asks = known is not None and known.cancel_filter is not None and workflow_id in state.waking
    if asks and known is not None and not known.matches(envelope.topic):
        asleep.sleep(state, workflow_id, envelope, None)
    return asks


def _cancel_all(state: State, workflow_id: str, envelope: Envelope, found: Sequence[str], effects: Effects) -> None:
    workflow = state.loaded.get(workflow_id)
    if workflow is not None and workflow.cancel_filter is not None:
        event: Event[Any] = Event(envelope.payload())
        then = f"; its runs of the key {envelope.key!r} go on"
        if not filters.answer(
            state, workflow, workflow.cancel_filter, event, envelope, name="cancel_filter", remedy=_MEND, then=then
        ):
            return
    for run_id in found:
        cancel(state, run_id, f"event {envelope.id!r} on {envelope.topic!r} has its key (cancel_on)", effects)


def starts(workflow: Match, envelope: Envelope) -> bool:
    """Whether the event asks for that workflow by name: then it need not have been known when the event came."""
    return envelope.topic == start_topic(workflow.id)


def _ask_all(state: State, one: asked.Cancel | asked.Retry) -> None:
    for partition in range(state.limits.partitions):
        state.ask(partition, one)


def _nothing_starts(state: State, envelope: Envelope, workflow_id: str) -> None:
    """No workflow of that id is known here. Where the one that asks knows it, its announcement is on its way."""
    parent, failed = parents.parent_of(envelope), handlers.failed_of(envelope)
    was_known = (parent is not None and parent.known) or (failed is not None and failed.known)
    unheard = workflow_id not in state.known and workflow_id not in state.retired
    reason = f"no workflow {workflow_id!r} was known when the event came"
    code = "no_such_workflow"
    remedy = f"start a worker that loads {workflow_id!r}, then produce the event again with a new id"
    if was_known and unheard:
        refusal = _no_room(state, workflow_id)
        if refusal is None:
            asleep.sleep(state, workflow_id, envelope, None)
            return
        state.counters.overslept += 1
        code, reason = "too_many_asleep", f"workflow {workflow_id!r} is not announced here yet, and {refusal} already"
        remedy += f". Events for {_MOST_UNHEARD} such workflows may wait, and a tenth of limits.asleep_events in all"
    if failed is not None:
        reason += f"; {failed.workflow!r} names it in on_failure, and run {failed.run!r} has failed"
    letters.bury(
        state,
        (envelope,),
        code=code,
        reason=reason,
        remedy=remedy,
        run_id=None,
        workflow_id=workflow_id,
    )


def _no_room(state: State, workflow_id: str) -> str | None:
    """Say why no more events may sleep for a workflow that is not announced yet; None: one more may.

    Its header says that it is, and anybody may write that: what sleeps in vain must not take all room.
    """
    unheard = {name for name in (*state.asleep, *state.falling) if name not in state.known}
    if workflow_id not in unheard and len(unheard) >= _MOST_UNHEARD:
        return f"events of this partition wait for {len(unheard)} such workflows"
    count = sum(len(state.asleep.get(name, ())) + state.falling.get(name, 0) for name in unheard)
    if count >= max(1, state.limits.asleep_events // _SHARE_OF_UNHEARD):
        return f"{count} events of this partition wait for such workflows"
    return None
