"""Dead letters: what could not be run, whole, with the reason and the remedy."""

from collections.abc import Sequence

from app.engine.outgoing import Record
from app.engine.state import State
from topics import facts
from topics.envelope import Envelope


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
    """Write a dead letter for each of `events`."""
    state.changed = True
    for envelope in events:
        key, value, headers = facts.dead_letter(
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
