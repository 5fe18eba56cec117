"""Steps that start runs of other workflows, each by an event on `headgate/start/<workflow id>`. Used by `steps`.

The event's id is derived from run, step and number, so a child lives at the home of that id, and its run's id is known
before it begins. It is a run like any other: it goes on when its parent ends.
"""

from collections.abc import Sequence
from typing import Final

import orjson

from app.engine.effects import Effects
from app.engine.runs import parents
from app.engine.steps import ends
from app.engine.tables.recorded import Step
from app.engine.tables.run import Run
from app.engine.tables.state import State
from app.engine.values.asks import Child, Fault, Invoke, Outcome
from app.engine.values.outgoing import Record
from topics import causation, codec, facts, keys
from topics.reserved import start_topic

_COMPLETED: Final = facts.RunStatus.COMPLETED.value


def begin(state: State, run: Run, step: Step, ask: Invoke, effects: Effects) -> None:
    try:
        records = [_event(state, run, step, n, child, waits=ask.wait) for n, child in enumerate(ask.children)]
    except codec.Malformed as wrong:
        ends.end(state, run, step, Outcome(None, Fault("Malformed", str(wrong))), effects)
        return
    message = _too_large(state, records)
    if message is not None:
        ends.end(state, run, step, Outcome(None, Fault("StepLimit", message)), effects)
        return
    state.outgoing.records.extend(records)
    if not ask.wait or not records:
        ends.end(state, run, step, Outcome(orjson.dumps(parents.child_ids(run, step.key, ask))), effects)
        return
    # What they were given is in their events from now on.
    step.ask = Invoke(
        children=tuple([Child(workflow_id=one.workflow_id, payload=b"") for one in ask.children]), wait=True
    )
    step.children = [None] * len(ask.children)
    ends.wait(state, run, step)


def ended(state: State, run: Run, step: Step, n: int, status: str, value: bytes, effects: Effects) -> None:
    """A child came to something: its result (JSON), or its error. Its first word counts."""
    children = step.children
    if children is None or not 0 <= n < len(children) or children[n] is not None:
        return
    name = b"result" if status == _COMPLETED else b"error"
    children[n] = b'{"status":%b,"%b":%b}' % (orjson.dumps(status), name, value)
    there = [one for one in children if one is not None]
    # Of more than a step may come to, `end` says so at once.
    if len(there) == len(children) or sum(map(len, there)) > state.limits.result_bytes:
        ends.end(state, run, step, Outcome(b"[" + b",".join(there) + b"]"), effects)
    else:
        ends.touch(state, step)


def _too_large(state: State, records: Sequence[Record]) -> str | None:
    """Say what is too large: one of the events, or all that one round would have to journal."""
    limits = state.limits
    sizes = [
        len(one.value or b"") + sum(len(name) + len(content or b"") for name, content in one.headers) for one in records
    ]
    if max(sizes, default=0) > limits.event_bytes:
        what, bound = f"the event of a child has {max(sizes)}", f"{limits.event_bytes} of limits.event_bytes"
    elif sum(sizes) > limits.run_bytes:
        what, bound = f"the events of all children have {sum(sizes)}", f"{limits.run_bytes} of limits.run_bytes"
    else:
        return None
    return f"{what} bytes, more than the {bound}; give references to the data instead"


def _event(state: State, run: Run, step: Step, n: int, child: Child, *, waits: bool) -> Record:
    event_id = keys.child_event_id(run.id, step.key, n)
    key, value, headers = codec.produce_form(
        start_topic(child.workflow_id),
        orjson.Fragment(child.payload),
        event_id=event_id,
        source=parents.source_of(run),
        traceparent=keys.traceparent_of(run.events[0].traceparent, run.id[-2 * keys.DIGEST_BYTES :]),
    )
    headers.extend(causation.headers(run.id, run.events[0].id, step.key))
    known = child.workflow_id in state.known
    headers.append(parents.header(parents.Parent(state.partition, run.id, step.key, n, waits, known)))
    home = keys.home(None, event_id, state.limits.partitions)
    return Record("events", home, key, value, tuple(headers))
