"""The steps of a run: what of them is in memory, and their records in the journal.

Only open steps are in memory. Of one that is done there is the offset of its record, from which it is read back when
the function is called anew. A step's number says in which order the journal first held it, and is part of its key.
"""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import orjson

from app.engine.tables import awaited
from app.engine.values.asks import (
    ABANDONED,
    Ask,
    Await,
    Child,
    Execute,
    Fault,
    Invoke,
    Kind,
    Note,
    Outcome,
    Recorded,
    Sleep,
    Suspend,
)
from topics import journal

NOWHERE: Final = -1
"""The place of a number that no record has: its step got another one."""
UNKNOWN: Final = 0
"""The place of a record that is about to be appended. The journal's first record is a claim, never a step."""
_VALUE: Final = b',"v":'
"""Stands before a step's value, which is the last field: a text within JSON has its quotes escaped."""
_OPEN: Final = "open"
_DONE: Final = "done"
_FAILED: Final = "failed"


class Step:
    """One step of one run, while it is open and until what it came to is journaled."""

    __slots__ = (
        "about",
        "ask",
        "asked",
        "asked_ms",
        "attempts",
        "children",
        "due_ms",
        "error",
        "executing",
        "finished_ms",
        "journaled",
        "key",
        "kind",
        "n",
        "outcome",
        "par",
        "retried",
        "started_ms",
        "steps",
        "told",
        "touched",
        "wait",
    )

    def __init__(self, steps: "Steps", key: str, kind: Kind, about: str, ask: Ask, asked_ms: int, *, par: bool) -> None:
        self.steps = steps
        self.n = NOWHERE
        self.key = key
        self.kind = kind
        self.about = about
        self.ask = ask
        self.par = par
        self.asked_ms = self.started_ms = asked_ms
        self.finished_ms = 0
        self.attempts = 0
        self.due_ms = 0
        """When a timer of the step fires next, 0 for none."""
        self.error: Fault | None = None
        """Why the last attempt failed."""
        self.outcome: Outcome | None = None
        self.wait: awaited.Progress | None = None
        self.children: list[bytes | None] | None = None
        """What the runs came to that the step waits for (JSON), by number."""
        self.asked = True
        """Whether the function, as it goes on now, has asked for it."""
        self.executing = self.journaled = self.touched = self.retried = False
        self.told = False
        """Whether those who follow the run have been told what the step came to."""

    @property
    def until_ms(self) -> int | None:
        """Until when it waits, if that is known."""
        if isinstance(self.ask, Sleep):
            return self.ask.until_ms
        return self.ask.deadline_ms if isinstance(self.ask, Await | Suspend) else None

    @property
    def offset(self) -> int:
        return self.steps.places[self.n]

    @offset.setter
    def offset(self, offset: int) -> None:
        self.steps.places[self.n] = offset


class Heard(NamedTuple):
    """What waits of one scope have received: the append time of the last event, the digests of those that came at that
    time, and the latest append time of one that is not among the last ones of the run any more.
    """

    last_ms: int
    same: list[str]
    forgotten_ms: int = -1


class Steps:
    """All steps of one run."""

    __slots__ = (
        "ahead",
        "asked",
        "crossed",
        "executing",
        "had",
        "had_by",
        "had_ms",
        "open",
        "over",
        "par",
        "places",
        "published",
        "received",
        "resting",
        "run_id",
        "rung",
        "size",
        "stirred",
        "unplaced",
    )

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.open: dict[str, Step] = {}
        self.places = array("q")
        """By number, the offset of the step's last record."""
        self.asked = 0
        self.crossed: set[str] | None = None
        """Keys of steps that ended before the function, as it goes on now, has asked for them: its question may be on
        its way."""
        self.executing = 0
        """How many of the open ones the runtime executes."""
        self.size = 0
        """Bytes of what is recorded."""
        self.published: dict[str, str] | None = None
        """Ids of published events by step key, from journals that had no steps."""
        self.par = False
        """Whether the function may do other things while a step of it is open: then it must be called anew after a
        takeover, whatever is open."""
        self.stirred = False
        """Whether a step ended since the run last asked for something to wait for."""
        self.resting = False
        """Whether the journal has the run as waiting: nobody needs to call its function."""
        self.received: dict[str, Heard] | None = None
        """By the scope of waits (`receipts`), what they have received."""
        self.had: list[str] = []
        """The digests of the last events that were received by any of its waits: others may ask for them too."""
        self.had_ms: list[int] = []
        """Their append times."""
        self.had_by: list[str] = []
        """The scopes that received them."""
        self.ahead = False
        """Whether the function goes on before what a step came to is journaled: no step of it is called meanwhile."""
        self.rung: Step | None = None
        """A sleep whose end is not journaled yet, of a run whose function is not in memory: it may be called anew."""
        self.unplaced = 0
        """Steps that ended and have no record yet."""
        self.over = False
        """Whether the run has ended."""

    @property
    def any(self) -> bool:
        """Whether a function that is called anew has anything to be told."""
        return bool(self.open or self.published) or any(one != NOWHERE for one in self.places)

    def number(self) -> int:
        """Give a number to a step that gets its record now."""
        self.places.append(UNKNOWN)
        return len(self.places) - 1


def value(step: Step, round_: int) -> bytes:
    """Return the record of a step. Its round and what became of it come first, so that they are found unparsed."""
    outcome = step.outcome
    status = _OPEN if outcome is None else _DONE if outcome.fault is None else _FAILED
    about: dict[str, Any] = {
        "r": round_,
        "s": status,
        "k": step.key,
        "t": step.kind.value,
        "f": step.about,
        "a": step.attempts,
        "at": step.asked_ms,
    }
    if step.par:
        about["par"] = True
    if outcome is None:
        about["ask"] = _asked(step.ask)
        if step.due_ms:
            about["due"] = step.due_ms
        if step.error is not None:
            about["e"] = _fault(step.error)
        if step.wait is not None:
            about["wait"] = awaited.described(step.wait)
        if step.children is not None:
            about["children"] = [journal.bytes_field(one) for one in step.children]
    elif outcome.fault is not None:
        about["e"] = _fault(outcome.fault)
        if _is_abandoned(step.kind, outcome):
            about |= {"left": step.finished_ms, "ask": _asked(step.ask)}
    encoded = b"%b" % orjson.dumps(about)  # copied: what orjson writes has 4 KB at least
    if outcome is None or outcome.value is None:
        return encoded
    return encoded[:-1] + _VALUE + outcome.value + b"}"


def restored(steps: Steps, n: int, found: Mapping[str, Any]) -> Step:
    """Return an open step as its record `found` has it. Raises LookupError, ValueError, TypeError."""
    kind = Kind(found["t"])
    ask = _ask(kind, found["ask"])
    step = Step(steps, found["k"], kind, found["f"], ask, found["at"], par=bool(found.get("par")))
    step.n = n
    step.attempts = found["a"]
    step.due_ms = found.get("due", 0)
    step.journaled = True
    if "e" in found:
        step.error = Fault(found["e"]["type"], found["e"]["message"])
    if "wait" in found:
        assert isinstance(ask, Await)
        step.wait = awaited.restored(found["wait"])
    if "children" in found:
        step.children = [journal.field_bytes(one) for one in found["children"]]
    return step


def is_over(record: bytes) -> bool:
    """Whether a step's record says that it has ended; it is not read for that."""
    head = record[:64].split(b",", 2)
    return len(head) > 1 and head[1].startswith((b'"s":"done"', b'"s":"failed"'))


def stub(record: bytes) -> bytes:
    """Return what a takeover keeps of the record of a step that has ended."""
    return record[:64].split(b",", 1)[0] + b',"s":"done","z":%d}' % len(record)


def stub_of(size: int) -> bytes:
    """Return what a takeover keeps of a step that has ended, if what it came to has so many bytes."""
    return b'{"r":0,"s":"done","z":%d}' % size


def of_record(record: bytes) -> Recorded:
    """Return the step that a record holds. Raises UnreadableJournal."""
    about, written = _parts(record)
    outcome = None
    try:
        if about["s"] == _DONE:
            outcome = Outcome(written)
        elif about["s"] == _FAILED:
            outcome = Outcome(None, Fault(about["e"]["type"], about["e"]["message"]))
        return Recorded(
            key=about["k"], kind=Kind(about["t"]), about=about["f"], par=bool(about.get("par")), outcome=outcome
        )
    except (LookupError, ValueError, TypeError) as error:
        raise journal.UnreadableJournal("step", f"{type(error).__name__}: {error}") from None


def of_run(steps: Steps, records: Sequence[bytes], attempt: int) -> list[Recorded]:
    """Return the steps of a run for its attempt; `records` are of those that have ended. Raises UnreadableJournal.

    What was abandoned stays so where the function went on to other steps in the same attempt. Else nobody knows how it
    would have gone on, and it is asked for anew.
    """
    found = [of_record(one) for one in records]
    still = [*steps.open.values(), *(() if steps.rung is None else (steps.rung,))]
    if any(one.outcome is not None and _is_abandoned(one.kind, one.outcome) for one in found):
        last_ms = max([one.asked_ms for one in still], default=0)
        for n in range(len(found) - 1, -1, -1):
            one, (about, _) = found[n], _parts(records[n])
            left = one.outcome is not None and _is_abandoned(one.kind, one.outcome)
            if left and (about["a"] != attempt or last_ms <= about["left"]):
                found[n] = replace(one, outcome=None, ask=awaited.ask(about["ask"]))
            last_ms = max(last_ms, about["at"])
    return [*found, *map(of_step, still)]


def _parts(record: bytes) -> tuple[dict[str, Any], bytes]:
    """Return what a record says of its step, and the value, which is not read for that."""
    head, found, rest = record.partition(_VALUE)
    return journal.decode(b"step", head + b"}" if found else record), rest[:-1]


def _is_abandoned(kind: Kind, outcome: Outcome) -> bool:
    return kind is Kind.AWAIT and outcome.fault is not None and outcome.fault.type == ABANDONED


def of_step(step: Step) -> Recorded:
    until_ms = step.until_ms if step.outcome is None else None
    return Recorded(
        key=step.key, kind=step.kind, about=step.about, par=step.par, outcome=step.outcome, until_ms=until_ms
    )


def of_published(key: str, event_id: str) -> Recorded:
    return Recorded(key=key, kind=Kind.NOTE, about="", outcome=Outcome(orjson.dumps(event_id)))


def _fault(fault: Fault) -> dict[str, str]:
    return {"type": fault.type, "message": fault.message}


def _asked(ask: Ask) -> dict[str, Any]:
    if isinstance(ask, Execute):
        return {"retries": ask.max_retries, "base": ask.base_delay_ms, "max": ask.max_delay_ms}
    if isinstance(ask, Sleep):
        return {"until": ask.until_ms}
    if isinstance(ask, Suspend):
        suspended = {"data": orjson.Fragment(ask.data), "deadline": ask.deadline_ms}
        return suspended if ask.topic is None else suspended | {"topic": ask.topic}
    if isinstance(ask, Await):
        return awaited.asked(ask)
    if isinstance(ask, Invoke):
        return {"workflows": [one.workflow_id for one in ask.children]}
    assert not isinstance(ask, Note), "a note is done at once"
    raise TypeError(type(ask).__name__)


def _ask(kind: Kind, found: Mapping[str, Any]) -> Ask:
    if kind is Kind.RUN:
        return Execute(max_retries=found["retries"], base_delay_ms=found["base"], max_delay_ms=found["max"])
    if kind is Kind.SLEEP:
        return Sleep(until_ms=found["until"])
    if kind is Kind.SUSPEND:
        data = orjson.dumps(found["data"])
        return Suspend(data=data, deadline_ms=found["deadline"], topic=found.get("topic"))
    if kind is Kind.AWAIT:
        return awaited.ask(found)
    if kind is Kind.INVOKE:
        return Invoke(children=tuple([Child(workflow_id=one, payload=b"") for one in found["workflows"]]), wait=True)
    raise ValueError(f"no step of kind {kind.value!r} is ever open")
