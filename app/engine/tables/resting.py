"""A run at rest as bytes, and back. Used by `runs`: of a million runs that wait nothing else is in memory.

It is the digest of the run's id, when it started, and a JSON list; texts that many share are numbers, and so are those
that stand in it twice (`texts`).
"""

from array import array
from collections.abc import Sequence
from struct import Struct
from typing import Any, Final

import orjson

from app.engine.tables import receipts, restingsteps
from app.engine.tables.recorded import NOWHERE, Steps
from app.engine.tables.restingsteps import filled, trimmed
from app.engine.tables.run import Run, RunStatus
from app.engine.tables.texts import Pieces, Texts
from headgate.definition import Workflow
from topics.keys import DIGEST_BYTES

_HEAD: Final = Struct(f"<{DIGEST_BYTES}sq")
_HEAD_BYTES: Final = _HEAD.size


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
    pieces = Pieces(texts, digest)
    heard = receipts.written(steps)
    about: list[Any] = [
        workflow,
        before,
        places.tolist(),
        [None if one == NOWHERE else one - base for one in steps.places],
        [restingsteps.written(one, started, pieces) for one in steps.open.values()],
        alone,
        steps.asked,
        steps.size,
        run.attempt,
        [
            [pieces.cut(scope), at_ms - started, list(map(pieces.cut, seen))]
            for scope, (at_ms, seen) in heard.get("received", {}).items()
        ],
        list(map(pieces.cut, steps.had)),
        [one - started for one in steps.had_ms],
        heard.get("had_by", []),
        heard.get("forgotten", []),
    ]
    return _HEAD.pack(digest, started) + orjson.dumps(trimmed(about, _DEFAULTS))


_DEFAULTS: Final[tuple[Any, ...]] = (*(None,) * 5, True, 1, 0, 1, [], [], [], [], [])


def decode(value: bytes, workflows: Sequence[Workflow], texts: Texts) -> tuple[Run, bool]:
    """Return the run, and whether nothing else needs its events."""
    digest, started = _HEAD.unpack_from(value)
    found = orjson.loads(memoryview(value)[_HEAD_BYTES:])
    number, before, places, numbers, open_, alone, asked, size, attempt, *heard = filled(found, _DEFAULTS)
    received, had, had_ms, had_by, forgotten = heard
    run = Run.asleep(texts.id(before, digest), workflows[number], None, started)
    run.status = RunStatus.COLD
    run.attempt = attempt
    run.deadline_ms = deadline_ms(run.workflow, started)
    run.places = array("q", places)
    steps = run.steps = Steps(run.id)
    steps.places = array("q", [NOWHERE if one is None else one + places[1] for one in numbers])
    steps.asked, steps.size, steps.resting = asked, size, True
    pieces = Pieces(texts, digest)
    for one in open_:
        step = restingsteps.restored(steps, one, started, pieces)
        step.asked = False
        steps.open[step.key] = step
    if received:
        about = {
            "received": {
                pieces.text(scope): (at + started, list(map(pieces.text, seen))) for scope, at, seen in received
            },
            "had": list(map(pieces.text, had)),
            "had_at": [one + started for one in had_ms],
            "had_by": had_by,
        }
        receipts.take_back(steps, about | ({"forgotten": forgotten} if forgotten else {}))
    return run, alone


def head(value: bytes, texts: Texts) -> tuple[str, int, int]:
    """Return of a run at rest its id, the number of its workflow, and when it started."""
    digest, started = _HEAD.unpack_from(value)
    number, before = orjson.loads(memoryview(value)[_HEAD_BYTES:])[:2]
    return texts.id(before, digest), number, started


def may_be_due(value: bytes, due_ms: int) -> bool:
    """Whether a step of a run at rest may have to be woken at that time; without reading it."""
    _, started = _HEAD.unpack_from(value)
    return b"%d" % (due_ms - started) in value or b"%d" % due_ms in value
