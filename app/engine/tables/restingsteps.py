"""An open step of a run at rest as a JSON list, and back. Used by `resting`.

Times count from the run's start. What a run waits for has a short form: events, a time, a decision, children. All else
has the form of its journal record.
"""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from app.engine.tables import recorded
from app.engine.tables.awaited import Condition, Progress
from app.engine.tables.recorded import Step, Steps
from app.engine.tables.texts import Pieces
from app.engine.values.asks import Ask, Await, Child, EventCondition, Invoke, Kind, Sleep, Suspend

_OTHER: Final = 0
_AWAIT: Final = 1
_SLEEP: Final = 2
_SUSPEND: Final = 3
_CHILDREN: Final = 4
_DEFAULTS: Final[tuple[Any, ...]] = (*(None,) * 6, None, None, 1)
_OF_CONDITION: Final[tuple[Any, ...]] = (None, None, None, None, None, False, [])


def written(step: Step, started: int, pieces: Pieces) -> list[Any]:
    ask = step.ask
    form, content = _form(step, started, pieces)
    if form == _OTHER:
        return [_OTHER, step.n, orjson.Fragment(recorded.value(step, 0))]
    until = step.until_ms
    about: list[Any] = [
        form,
        step.n,
        pieces.cut(step.key),
        pieces.cut(step.about),
        step.asked_ms - started,
        content,
        None if until is None else until - started,
        None if step.due_ms == _usually_due(ask) else step.due_ms - started,
        ask.need if isinstance(ask, Await) else 1,
    ]
    return trimmed(about, _DEFAULTS)


def restored(steps: Steps, found: list[Any], started: int, pieces: Pieces) -> Step:
    """Return the step that `written` was given."""
    if found[0] == _OTHER:
        return recorded.restored(steps, found[1], found[2])
    form, n, key, about, asked, content, until, due, need = filled(found, _DEFAULTS)
    until_ms = None if until is None else until + started
    kind, ask, wait = _ask(form, content, until_ms, need, started, pieces)
    step = Step(steps, pieces.text(key), kind, pieces.text(about), ask, started + asked, par=False)
    step.n = n
    step.due_ms = _usually_due(ask) if due is None else due + started
    step.wait = wait
    if isinstance(ask, Invoke):
        step.children = [None] * len(ask.children)
    step.journaled = True
    return step


def _form(step: Step, started: int, pieces: Pieces) -> tuple[int, Any]:
    """Return the form of a step, and what it waits for."""
    ask = step.ask
    if step.par or step.attempts:
        return _OTHER, None
    if isinstance(ask, Await) and step.wait is not None:
        if not any(map(_is_on, step.wait.conditions)):
            conditions = zip(ask.conditions, step.wait.conditions, strict=True)
            return _AWAIT, [_condition(one, progress, started, pieces) for one, progress in conditions]
    elif isinstance(ask, Sleep):
        return _SLEEP, None
    elif isinstance(ask, Suspend):
        topic, data = pieces.cut(ask.topic), ask.data
        same = orjson.dumps(orjson.loads(data)) == data
        return _SUSPEND, [topic, orjson.Fragment(data)] if same else [topic, None, data.decode()]
    elif isinstance(ask, Invoke) and step.children == [None] * len(ask.children):
        return _CHILDREN, [pieces.cut(one.workflow_id) for one in ask.children]
    return _OTHER, None


def _ask(
    form: int, content: Any, until_ms: int | None, need: int, started: int, pieces: Pieces
) -> tuple[Kind, Ask, Progress | None]:
    if form == _AWAIT:
        pairs = [_condition_of(one, started, pieces) for one in content]
        ask = Await(conditions=tuple([one for one, _ in pairs]), need=need, deadline_ms=until_ms)
        return Kind.AWAIT, ask, Progress([progress for _, progress in pairs])
    if form == _SUSPEND:
        topic, data, *other = content
        encoded = other[0].encode() if other else orjson.dumps(data)
        return Kind.SUSPEND, Suspend(data=encoded, deadline_ms=until_ms, topic=pieces.full(topic)), None
    if form == _CHILDREN:
        children = tuple([Child(workflow_id=pieces.text(one), payload=b"") for one in content])
        return Kind.INVOKE, Invoke(children=children, wait=True), None
    assert form == _SLEEP
    assert until_ms is not None
    return Kind.SLEEP, Sleep(until_ms=until_ms), None


def _usually_due(ask: Ask) -> int:
    """Return when the timer of such a step fires, nearly always: 0 for none."""
    if isinstance(ask, Await):
        times = [one.until_ms for one in ask.conditions if type(one) is Sleep]
        return min(times) if times else 0
    return ask.until_ms if isinstance(ask, Sleep) else 0


def _is_on(one: Condition) -> bool:
    """Whether anything has happened to a condition."""
    return bool(one.over or one.met or one.expired or one.judging or one.owed or one.refused or one.candidates)


def _condition(asked: EventCondition | Sleep, progress: Condition, started: int, pieces: Pieces) -> list[Any] | int:
    if isinstance(asked, Sleep):
        return asked.until_ms - started
    about: list[Any] = [
        pieces.cut(asked.topic),
        pieces.cut(asked.event_key),
        progress.since_ms - started or None,
        pieces.cut(asked.event_type),
        asked.since_ms,
        asked.stream,
        progress.seen,
    ]
    return trimmed(about, _OF_CONDITION)


def _condition_of(found: list[Any] | int, started: int, pieces: Pieces) -> tuple[EventCondition | Sleep, Condition]:
    if isinstance(found, int):
        return Sleep(until_ms=found + started), Condition()
    topic, event_key, since, event_type, since_ms, stream, seen = filled(found, _OF_CONDITION)
    asked = EventCondition(
        topic=pieces.text(topic),
        event_key=pieces.full(event_key),
        event_type=pieces.full(event_type),
        since_ms=since_ms,
        stream=stream,
    )
    return asked, Condition(since_ms=(since or 0) + started, seen=list(seen))


def trimmed(given: list[Any], defaults: Sequence[Any]) -> list[Any]:
    """Leave out at the end what is as it nearly always is."""
    end = len(given)
    while end and given[end - 1] == defaults[end - 1]:
        end -= 1
    return given[:end]


def filled(found: list[Any], defaults: Sequence[Any]) -> list[Any]:
    return [*found, *defaults[len(found) :]]
