"""What a workflow names in `on_failure`: started once when a run of it has failed for good. Called by `runs`.

It is started by an event whose id is derived from the run's. A handler that fails starts none itself.
"""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from app.engine.tables.run import Run, is_unloaded
from app.engine.tables.state import State
from app.engine.values.outgoing import Record
from topics import causation, codec, keys
from topics.envelope import Envelope
from topics.reserved import START, start_topic

HEADER: Final = "headgate-failed"
_MOST_EVENTS: Final = 100
"""Of a batch too large to be told with its data."""
_MOST_MESSAGE: Final = 4_096


@dataclass(frozen=True, slots=True)
class Failed:
    """The run of which an event tells its handler."""

    run: str
    workflow: str
    known: bool
    """Whether the run's partition knew the handler: then all will hear of it."""


def failed_of(envelope: Envelope) -> Failed | None:
    """Return the run that failed, if the event tells a handler of one. What does not fit its id means nothing."""
    raw = next((raw for name, raw in envelope.raw_headers if name == HEADER), None)
    if raw is None or not envelope.explicit:
        return None
    try:
        fields = orjson.loads(raw)
    except ValueError:
        return None
    if type(fields) is not list or [type(one) for one in fields] != [str, str, bool]:
        return None
    found = Failed(*fields)
    return found if envelope.id == keys.failure_event_id(found.run) else None


def start(state: State, run: Run, status: str, error: Any) -> None:
    """Start what is to look at a run that failed, or was rejected."""
    newest = state.definitions.get(run.workflow.id)
    if is_unloaded(run.workflow):
        workflow_id = None if newest is None else newest.on_failure
    else:
        workflow_id = run.workflow.on_failure
    if workflow_id is None or _handles(run.events[0]):
        return
    told = {"run_id": run.id, "workflow_id": run.workflow.id, "status": status}
    try:
        record = _record(state, run, workflow_id, told | {"error": error, "events": [e.payload() for e in run.events]})
    except codec.Malformed:  # what was nested as deep as is allowed is nested deeper now
        record = None
    if record is None:
        short = error | {"message": error["message"][:_MOST_MESSAGE], "traceback": None}
        events = [one.payload() | {"data": None} for one in run.events[:_MOST_EVENTS]]
        record = _record(state, run, workflow_id, told | {"error": short, "events": events, "omitted": True})
    if record is not None:
        state.outgoing.records.append(record)


def _handles(envelope: Envelope) -> bool:
    return envelope.topic.startswith(START) and envelope.id.endswith("#failed")


def _record(state: State, run: Run, workflow_id: str, data: dict[str, Any]) -> Record | None:
    """Return the event, None if it is too large."""
    event_id = keys.failure_event_id(run.id)
    key, value, headers = codec.produce_form(
        start_topic(workflow_id),
        data,
        event_id=event_id,
        source=f"headgate/{run.workflow.id}",
        traceparent=keys.traceparent_of(run.events[0].traceparent, run.id[-2 * keys.DIGEST_BYTES :]),
    )
    headers.extend(causation.headers(run.id, run.events[0].id, None))
    headers.append((HEADER, orjson.dumps([run.id, run.workflow.id, workflow_id in state.known])))
    if len(value) + sum(len(name) + len(content) for name, content in headers) > state.limits.event_bytes:
        return None
    return Record("events", keys.home(None, event_id, state.limits.partitions), key, value, tuple(headers))
