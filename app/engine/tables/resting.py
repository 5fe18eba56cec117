"""A run at rest as bytes, and back. Used by `runs`: of a million runs that wait nothing else is in memory.

It is the digest of the run's id and a JSON list; texts that many share are numbers (`texts`). Steps that wait for one
event or for a time have a short form, all others that of their journal record.
"""

from array import array
from collections.abc import Sequence
from typing import Any, Final

import orjson

from app.engine.tables import recorded
from app.engine.tables.awaited import Condition, Progress
from app.engine.tables.recorded import NOWHERE, Step, Steps
from app.engine.tables.run import Run, RunStatus
from app.engine.tables.texts import Text, Texts
from app.engine.values.asks import Await, EventCondition, Kind, Sleep
from headgate.definition import Workflow
from topics.keys import DIGEST_BYTES

_EVENT: Final = 0
_SLEEP: Final = 1
_OTHER: Final = 2


def deadline_ms(workflow: Workflow, started_ms: int) -> int | None:
    """Return until when a run of the workflow may take."""
    seconds = workflow.timeout_seconds
    return None if seconds is None else started_ms + int(seconds * 1000)


def encode(run: Run, workflow: int, texts: Texts, *, alone: bool) -> bytes | None:
    """Return a run at rest, None for one that has no such form. `workflow` is a number.

    `alone`: nothing but this run needs its events.
    """
    steps, places = run.steps, run.places
    if steps is None or places is None or steps.published or steps.par or steps.unplaced or steps.crossed is not None:
        return None
    before, digest = texts.id_of(run.id)
    base, started = places[1], run.started_ms
    about: list[Any] = [
        workflow,
        before,
        started,
        places.tolist(),
        [None if one == NOWHERE else one - base for one in steps.places],
        [_step(one, started, texts) for one in steps.open.values()],
        alone,
        steps.asked,
        steps.size,
        run.attempt,
        steps.received,
        steps.had,
    ]
    return digest + orjson.dumps(_trimmed(about, _DEFAULTS))


_DEFAULTS: Final[tuple[Any, ...]] = (*(None,) * 6, True, 1, 0, 1, None, [])


def decode(value: bytes, workflows: Sequence[Workflow], texts: Texts) -> tuple[Run, bool]:
    """Return the run, and whether nothing else needs its events."""
    found = orjson.loads(memoryview(value)[DIGEST_BYTES:])
    number, before, started, places, numbers, open_, alone, asked, size, attempt, received, had = _filled(
        found, _DEFAULTS
    )
    run = Run.asleep(texts.id(before, value[:DIGEST_BYTES]), workflows[number], None, started)
    run.status = RunStatus.COLD
    run.attempt = attempt
    run.deadline_ms = deadline_ms(run.workflow, started)
    run.places = array("q", places)
    steps = run.steps = Steps(run.id)
    steps.places = array("q", [NOWHERE if one is None else one + places[1] for one in numbers])
    steps.asked, steps.size, steps.resting = asked, size, True
    steps.had = list(had)
    if received is not None:
        steps.received = {topic: (at_ms, seen) for topic, (at_ms, seen) in received.items()}
    for one in open_:
        step = _restored(steps, one, started, texts)
        step.asked = False
        steps.open[step.key] = step
    return run, alone


def head(value: bytes, texts: Texts) -> tuple[str, int, int]:
    """Return of a run at rest its id, the number of its workflow, and when it started."""
    number, before, started = orjson.loads(memoryview(value)[DIGEST_BYTES:])[:3]
    return texts.id(before, value[:DIGEST_BYTES]), number, started


def may_be_due(value: bytes, due_ms: int) -> bool:
    """Whether a step of a run at rest may have to be woken at that time; without reading it."""
    return b"%d" % due_ms in value


def _step(step: Step, started: int, texts: Texts) -> list[Any]:
    ask = step.ask
    if isinstance(ask, Sleep) and not step.attempts and not step.par:
        about = [_SLEEP, step.n, texts.short(step.key), texts.short(step.about), step.asked_ms - started]
        return [*about, ask.until_ms, step.due_ms]
    if isinstance(ask, Await) and _is_plain(step, ask):
        one, progress = ask.conditions[0], step.wait.conditions[0]  # type: ignore[union-attr]
        assert isinstance(one, EventCondition)
        of_event: list[Any] = [
            _EVENT,
            step.n,
            texts.short(step.key),
            _about(step.about, one, texts),
            step.asked_ms - started,
            texts.short(one.topic),
            one.event_key,
            progress.since_ms - started,
            texts.short(one.event_type),
            ask.deadline_ms,
            one.since_ms,
            one.stream,
            progress.seen,
        ]
        return _trimmed(of_event, _OF_EVENT)
    return [_OTHER, step.n, recorded.value(step, 0).decode()]


_OF_EVENT: Final[tuple[Any, ...]] = (*(None,) * 8, None, None, None, False, [])


def _is_plain(step: Step, ask: Await) -> bool:
    if len(ask.conditions) != 1 or ask.need != 1 or step.due_ms or step.attempts or step.wait is None:
        return False
    one = step.wait.conditions[0]
    plain = Condition(since_ms=one.since_ms, seen=one.seen)
    return isinstance(ask.conditions[0], EventCondition) and not step.par and one == plain


def _about(about: str, one: EventCondition, texts: Texts) -> list[Text] | Text:
    """Return what is told of a wait, in which its event's key stands: the text before it and the one behind it."""
    key = one.event_key
    before, found, behind = (about, "", "") if not key else about.partition(key)
    return [texts.short(before), texts.short(behind)] if found else texts.short(about)


def _restored(steps: Steps, found: list[Any], started: int, texts: Texts) -> Step:
    form, n = found[:2]
    if form == _OTHER:
        return recorded.restored(steps, n, orjson.loads(found[2]))
    if form == _SLEEP:
        _, _, key, about, asked, until_ms, due_ms = found
        ask = Sleep(until_ms=until_ms)
        step = Step(steps, texts.text(key), Kind.SLEEP, texts.text(about), ask, started + asked, par=False)
        step.due_ms = due_ms
    else:
        _, _, key, about, asked, topic, event_key, since, event_type, deadline, since_ms, stream, seen = _filled(
            found, _OF_EVENT
        )
        condition = EventCondition(
            topic=texts.text(topic),
            event_key=event_key,
            event_type=texts.full(event_type),
            since_ms=since_ms,
            stream=stream,
        )
        if isinstance(about, list):
            told = f"{texts.text(about[0])}{event_key}{texts.text(about[1])}"
        else:
            told = texts.text(about)
        waits = Await(conditions=(condition,), need=1, deadline_ms=deadline)
        step = Step(steps, texts.text(key), Kind.AWAIT, told, waits, started + asked, par=False)
        step.wait = Progress([Condition(since_ms=started + since, seen=list(seen))])
    step.n = n
    step.journaled = True
    return step


def _trimmed(given: list[Any], defaults: Sequence[Any]) -> list[Any]:
    """Leave out at the end what is as it nearly always is."""
    end = len(given)
    while end and given[end - 1] == defaults[end - 1]:
        end -= 1
    return given[:end]


def _filled(found: list[Any], defaults: Sequence[Any]) -> list[Any]:
    return [*found, *defaults[len(found) :]]
