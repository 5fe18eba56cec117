"""The run that started another one: a header of the child's event names it, and it is told what the child came to.

Whoever ends the child's run tells, and whoever gives its event up. A header that does not fit its event means nothing:
somebody produced the event again under another id.
"""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from app.engine.tables.run import Run
from app.engine.tables.state import State
from app.engine.values.asks import Invoke
from topics import asked, facts, keys
from topics.envelope import Envelope
from topics.reserved import START, start_topic

HEADER: Final = "headgate-parent"
_TYPES: Final = [int, str, str, int, bool, bool]
_COMPLETED: Final = facts.RunStatus.COMPLETED.value
_FAILED: Final = facts.RunStatus.FAILED.value


@dataclass(frozen=True, slots=True)
class Parent:
    """Child `n` of the step `key` of `run`, which lives at `partition`."""

    partition: int
    run: str
    key: str
    n: int
    waits: bool
    """Whether the step waits for what the child comes to."""
    known: bool
    """Whether the parent's partition knew the child's workflow: then all will hear of it."""


def header(parent: Parent) -> tuple[str, bytes]:
    return HEADER, orjson.dumps([parent.partition, parent.run, parent.key, parent.n, parent.waits, parent.known])


def parent_of(envelope: Envelope) -> Parent | None:
    """Return which run started this one, if one did."""
    raw = next((raw for name, raw in envelope.raw_headers if name == HEADER), None)
    if raw is None:
        return None
    try:
        fields = orjson.loads(raw)
    except ValueError:
        return None
    # Anybody may write one, and what is made of it goes to other partitions: no field may be of another type.
    if type(fields) is not list or [type(one) for one in fields] != _TYPES:
        return None
    found = Parent(*fields)
    fits = envelope.explicit and found.n >= 0 and envelope.id == keys.child_event_id(found.run, found.key, found.n)
    return found if fits else None


def source_of(run: Run) -> str:
    """Return the source of the events that start the run's children."""
    return f"headgate/{run.workflow.id}"


def child_ids(run: Run, key: str, ask: Invoke, most: int | None = None) -> list[str]:
    """Return the ids of the runs that the step `key` starts, of the first `most`: known before they begin."""
    source = source_of(run)
    return [
        keys.run_id(child.workflow_id, keys.event_digest(source, None, keys.child_event_id(run.id, key, n)))
        for n, child in enumerate(ask.children[:most])
    ]


def ended(state: State, workflow_id: str, envelope: Envelope, status: str, result: bytes, error: Any) -> None:
    """The child's run ended. `error` is that of its result."""
    if envelope.topic == start_topic(workflow_id):
        value = result if status == _COMPLETED else _error(error["type"], error["message"])
        _tell(state, envelope, status, value)


def refused(state: State, envelope: Envelope, workflow_id: str | None, why: str, reason: str) -> None:
    """Nothing will run the event for that workflow, or for any."""
    if envelope.topic.startswith(START) and (workflow_id is None or envelope.topic == start_topic(workflow_id)):
        _tell(state, envelope, _FAILED, _error(why, reason))


def _error(kind: str, message: str) -> bytes:
    return orjson.dumps({"type": kind, "message": message})


def _tell(state: State, envelope: Envelope, status: str, value: bytes) -> None:
    parent = parent_of(envelope)
    if parent is not None and parent.waits and 0 <= parent.partition < state.limits.partitions:
        state.ask(parent.partition, asked.Child(parent.run, parent.key, parent.n, status, value))
