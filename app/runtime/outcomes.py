"""What the outcomes of steps mean to their authors: values, events, results of children, and errors."""

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from app.engine.values.asks import Fault, Outcome
from headgate.conditions import Met
from headgate.errors import ChildError, EventTimeout, StepError, TooManyWaits
from headgate.event import Event
from topics import commands
from topics.envelope import Envelope

Received = Callable[[Envelope], None]
"""Is told of each event that the run received."""


def value_of(key: str, outcome: Outcome) -> bytes:
    """Return the value (JSON). Raises StepError, and TooManyWaits, which is one."""
    if outcome.fault is not None:
        if outcome.fault.type == TooManyWaits.__name__:
            raise TooManyWaits(key, outcome.fault.message)
        raise StepError(key, outcome.fault.type, outcome.fault.message)
    return b"null" if outcome.value is None else outcome.value


def nothing(key: str, outcome: Outcome) -> None:
    value_of(key, outcome)


def awaited(key: str, outcome: Outcome, topic: str | None, timeout_ms: int | None) -> Any:
    """Return the value of a wait, from JSON. Raises EventTimeout and StepError."""
    fault = outcome.fault
    if fault is not None and fault.type == EventTimeout.__name__:
        raise EventTimeout(key, topic, (timeout_ms or 0) / 1000)
    return orjson.loads(value_of(key, outcome))


def first_met(value: Any, received: Received) -> Met:
    return Met(value["n"], _event(value.get("event"), received))


def all_met(value: Any, received: Received) -> list[Event[Any] | None]:
    return [_event(one, received) for one in value]


def only_met(value: Any, received: Received) -> list[Event[Any] | None]:
    return [first_met(value, received).event]


def results_of(key: str, value: Sequence[Any], workflow_ids: Sequence[str]) -> list[Any]:
    """Return what children returned. Raises ChildError for the first that did not complete."""
    results = [one.get("result") if one["status"] == "completed" else None for one in value]
    for number, (one, workflow_id) in enumerate(zip(value, workflow_ids, strict=False)):
        if one["status"] != "completed":
            error = one.get("error") or {}
            fault = Fault(error.get("type") or one["status"], error.get("message") or "it gave no reason")
            raise ChildError(
                key,
                fault.type,
                fault.message,
                workflow_id=workflow_id,
                status=one["status"],
                number=number,
                results=results,
            )
    return results


def _event(raw: Any, received: Received) -> Event[Any] | None:
    if raw is None:
        return None
    envelope = commands.event_of(raw)
    received(envelope)
    return Event(envelope.payload())
