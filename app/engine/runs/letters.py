"""Dead letters: what could not be run, whole, with the reason and the remedy."""

from collections.abc import Sequence
from typing import Final

from app.engine.inputs import Failure
from app.engine.runs import parents
from app.engine.tables.run import Run
from app.engine.tables.state import State
from app.engine.values.outgoing import Record
from topics import facts
from topics.envelope import Envelope
from topics.letters import dead_letter

CANCELLED: Final = "RunCancelled"
"""Why a run ended that somebody cancelled: that is no dead letter, for nobody need look at it."""
_REJECTED: Final[str] = facts.RunStatus.REJECTED.value


def bury(
    state: State,
    events: Sequence[Envelope],
    *,
    code: str,
    reason: str,
    remedy: str,
    run_id: str | None,
    workflow_id: str | None,
) -> None:
    """Write a dead letter for each of `events`. Of those that no run had, whoever waits for one is told."""
    state.changed = True
    for envelope in events:
        if run_id is None:
            parents.refused(state, envelope, workflow_id, code, reason)
        key, value, headers = dead_letter(
            code=code,
            reason=reason,
            remedy=remedy,
            source_topic=state.limits.prefix + "events",
            partition=envelope.partition,
            offset=envelope.offset,
            timestamp_ms=envelope.timestamp_ms,
            key=envelope.raw_key,
            value=envelope.raw_value,
            headers=envelope.raw_headers,
            run_id=run_id,
            workflow_id=workflow_id,
            at_ms=state.now_ms,
        )
        state.outgoing.records.append(Record("dlq", None, key, value, tuple(headers)))


def bury_run(state: State, run: Run, status: str, failure: Failure) -> None:
    """Write dead letters of the events of a run that did not complete."""
    if failure.type == CANCELLED and status == facts.RunStatus.CANCELLED.value:
        return
    name = run.workflow.id
    bury(
        state,
        run.events,
        code="run_rejected" if status == _REJECTED else "run_failed",
        reason=f"{failure.type}: {failure.message}",
        remedy=f"mend workflow {name!r}; its next run starts at the next instant of its schedule"
        if run.events[0].scheduled
        else f"mend workflow {name!r} or the event, then produce the event again with a new id",
        run_id=run.id,
        workflow_id=name,
    )
