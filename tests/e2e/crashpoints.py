"""The named points at which `tests.e2e.struck` has a worker kill itself: between two of its acts, with SIGKILL.

The program knows nothing of them. A point names a function of it, and whether the blow comes before or after that is
called; `arm` puts a wrapper in its place. A point whose function is gone cannot be armed: `resolve` raises.
"""

import asyncio
import contextvars
import functools
import inspect
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import orjson

from app.engine.inputs import Delivered
from app.kafka.requests import Produce
from topics import journal

Given = tuple[Any, ...]
"""The positional arguments of a call, `self` included."""


class Moment(Enum):
    """When the blow comes, seen from the call of the function."""

    BEFORE = "before"
    AFTER = "after"
    SENT = "sent"
    """A turn of the loop after it: what it wrote is on its way, and nobody has an answer."""


class Needs(Enum):
    """What must happen for a worker to pass the point, beside the load."""

    NOTHING = "the load alone"
    DEATH = "the worker before it died between a commit and its mark"
    MEMBER = "another worker joins"
    COLD = "no run stays in memory while it waits"
    FOLDER = "snapshots are written"
    CLAIMS = "claims are renewed every second"
    BULK = "a run that publishes megabytes at once"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Calls of a function: `module:name`, or `module:Class.method`, and which of them count."""

    function: str
    only: Callable[[Given], bool] | None = None

    def resolve(self) -> tuple[Any, str, Any]:
        """Return where the function is, its name there, and itself. Raises ImportError and AttributeError."""
        module, _, path = self.function.partition(":")
        *owners, name = path.split(".")
        owner = functools.reduce(getattr, owners, import_module(module))
        return owner, name, getattr(owner, name)


@dataclass(frozen=True, kw_only=True)
class Point:
    """One named crash point."""

    place: Place
    moment: Moment
    within: Place | None = None
    """Only what is called from there counts."""
    since: Place | None = None
    """Only what comes after that call, in the same task, counts."""
    passage: int = 1
    """The passage that is hit where a test strikes once; chaos draws others."""
    needs: Needs = Needs.NOTHING


# --- which calls count ----------------------------------------------------------------------------------------------

_left: list[Any] = []
"""Rounds that this worker has to deliver again."""
_heads: dict[tuple[str, int], dict[str, Any]] = {}
"""The head of each partition's last append, for each of those who compare it."""


def _delivered(given: Given) -> bool:
    return isinstance(given[1], Delivered)


def _again(given: Given) -> bool:
    """Whether what is delivered was decided by an earlier owner."""
    return any(one is other for one in given[1] for other in _left)


def _moved(name: str, fields: tuple[str, ...]) -> Callable[[Given], bool]:
    """Return whether the append of a round carries a change of one of `fields` of the head."""

    def moved(given: Given) -> bool:
        pump, made = given
        key, value = made.batch[-1]
        assert key == journal.HEAD, f"the last record of an append is {key!r}, not the head"
        head = orjson.loads(value)
        before = _heads.setdefault((name, pump.partition), head)
        _heads[name, pump.partition] = head
        return any(head[field] != before[field] for field in fields)

    return moved


def _appends_to_a_journal(given: Given) -> bool:
    request = given[1]
    return isinstance(request, Produce) and any(one.topic.endswith("journal") for one in request._batches)


def _without_head(given: Given) -> bool:
    return all(one.key != journal.HEAD for one in given[1])


def _owns_some(given: Given) -> bool:
    return bool(given[0].numbers)


def _some(given: Given) -> bool:
    return bool(given[1])


def _of_a_snapshot(given: Given) -> bool:
    return ".snapshot" in str(given[0])


# --- the points -----------------------------------------------------------------------------------------------------

TAKE_OVER: Final = Place(function="app.pump.partitions:take_over")
FENCE: Final = Place(function="app.pump.takeover:_fence")
CLAIM: Final = Place(function="app.pump.takeover:_claim")
LEFT: Final = Place(function="app.pump.takeover:_without_delivered")
READ: Final = Place(function="app.pump.reader:Reader._take")
APPEND: Final = Place(function="app.pump.pump:Pump._append")
DELIVER: Final = Place(function="app.kafka.journal:KafkaLog.deliver")
SEND: Final = Place(function="app.kafka.journal:KafkaLog.send")
AGAIN: Final = Place(function="app.pump.delivery:Delivery._deliver", only=_again)
RELEASE: Final = Place(function="app.pump.partitions:Partitions._release", only=_some)
RENEW: Final = Place(function="app.pump.upkeep:claim_again")


def _appends(name: str, *fields: str) -> Place:
    return Place(function=APPEND.function, only=_moved(name, fields))


def _before(function: str | Place, **more: Any) -> Point:
    return Point(place=_place(function), moment=Moment.BEFORE, **more)


def _after(function: str | Place, **more: Any) -> Point:
    return Point(place=_place(function), moment=Moment.AFTER, **more)


def _place(function: str | Place) -> Place:
    return function if isinstance(function, Place) else Place(function=function)


POINTS: Final[Mapping[str, Point]] = {
    "restore: journal half read": _before(READ, within=TAKE_OVER, passage=20),
    "restore: journal read, nothing claimed": _after("app.pump.reader:Reader.read_on", within=TAKE_OVER),
    "fence: before": _before(FENCE),
    "fence: fenced, outputs open": _before("app.kafka.journal:KafkaLog.close_outputs"),
    "fence: after": _after(FENCE, passage=2),
    "claim: before": _before(CLAIM),
    "claim: after": _after(CLAIM, passage=2),
    "read on: to the own claim": _before(READ, within=TAKE_OVER, since=CLAIM),
    "read on: state whole": _after("app.pump.takeover:restore"),
    "read on: inputs found": _after("app.pump.takeover:_find_inputs", passage=2),
    "deliver again: before": _before(AGAIN, needs=Needs.DEATH),
    "deliver again: results out, nothing else": _after(DELIVER, within=AGAIN, needs=Needs.DEATH),
    "deliver again: after": _after(AGAIN, needs=Needs.DEATH),
    "append: before": _before(APPEND, passage=20),
    "append: on its way": Point(
        place=Place(function="app.kafka.line:Line.ask", only=_appends_to_a_journal), moment=Moment.SENT, passage=30
    ),
    "append: parts there, their commit not": _after(
        Place(function="app.pump.pump:Pump._append_one", only=_without_head), needs=Needs.BULK
    ),
    "append: after": _after(APPEND, passage=20),
    "deliver: before": _before(DELIVER, passage=10),
    "deliver: results out, nothing else": _after(DELIVER, passage=10),
    "deliver: before the rest": _before(SEND, passage=10),
    "deliver: after": _after(SEND, passage=10),
    "mark: delivered, not journaled": _before(Place(function="app.pump.pump:Pump._note", only=_delivered), passage=10),
    "mark: before": _before(_appends("before", "delivered"), passage=5),
    "mark: after": _after(_appends("after", "delivered"), passage=5),
    "ack: before": _before(_appends("before", "events", "commands"), passage=10),
    "ack: after": _after(_appends("after", "events", "commands"), passage=10),
    "ack: group offsets, before": _before("app.kafka.chunks:ChunkConsumer._commit"),
    "ack: group offsets, after": _after("app.kafka.chunks:ChunkConsumer._commit"),
    # The group is large enough for two changes in which each gives something away: those that need it come first.
    "rebalance: giving away": _before(RELEASE, needs=Needs.MEMBER),
    "rebalance: one given away": _after("app.kafka.journal:KafkaLog.close", within=RELEASE, needs=Needs.MEMBER),
    "rebalance: given away": _after(RELEASE, needs=Needs.MEMBER),
    "rebalance: heard of": _before(
        Place(function="app.pump.partitions:Partitions.pause", only=_owns_some), needs=Needs.MEMBER
    ),
    "rebalance: paused": _after(
        Place(function="app.pump.partitions:Partitions.pause", only=_owns_some), needs=Needs.MEMBER
    ),
    "rebalance: taking": _before("app.pump.partitions:Partitions._acquire"),
    "rebalance: half taken": _after("app.pump.partitions:Partitions._acquire", passage=2),
    "rebalance: taken": _after(Place(function="app.pump.partitions:Partitions.assign", only=_some)),
    "standby: reading ahead": _before(READ, within=Place(function="app.pump.standby:Standby._step"), passage=20),
    "look-back: before": _before("app.pump.lookback:LookBack._scan"),
    "look-back: in the log": _before("app.pump.lookback:LookBack._look_at", passage=5),
    "look-back: after": _after("app.pump.lookback:LookBack._scan"),
    "time-out: before the ends are known": _before("app.pump.lookback:LookBack._end"),
    "recall: before": _before("app.pump.recall:Recall.runs", needs=Needs.COLD),
    "recall: in the journal": _after("app.pump.recall:Recall._at", needs=Needs.COLD),
    "recall: after": _after("app.pump.recall:Recall.runs", needs=Needs.COLD),
    "snapshot: before": _before("app.pump.snapshots:Snapshots.write", needs=Needs.FOLDER),
    "snapshot: empty": _after("app.pump.snapshots:tempfile.mkstemp", needs=Needs.FOLDER),
    "snapshot: beside the old one": _before(
        Place(function="app.pump.snapshots:Path.replace", only=_of_a_snapshot), needs=Needs.FOLDER
    ),
    "snapshot: after": _after("app.pump.snapshots:Snapshots.write", needs=Needs.FOLDER),
    "claim again: before": _before(RENEW, needs=Needs.CLAIMS),
    "claim again: fenced": _after(FENCE, within=RENEW, needs=Needs.CLAIMS),
    "claim again: after": _after(RENEW, needs=Needs.CLAIMS),
}


# --- arming ---------------------------------------------------------------------------------------------------------

_inside: Final[contextvars.ContextVar[frozenset[str]]] = contextvars.ContextVar("inside", default=frozenset())
_passed: Final[contextvars.ContextVar[frozenset[str]]] = contextvars.ContextVar("passed", default=frozenset())


def arm(name: str, passage: int, note: Path) -> None:
    """Have this process kill itself at the n-th passage of a point, once it has written that into `note`."""
    point = POINTS[name]
    left = passage

    def strike() -> None:
        with note.open("a") as out:
            out.write(f"{name}\t{passage}\t{os.getpid()}\n")
        os.kill(os.getpid(), signal.SIGKILL)

    def pass_by() -> None:
        nonlocal left
        if point.within is not None and point.within.function not in _inside.get():
            return
        if point.since is not None and point.since.function not in _passed.get():
            return
        left -= 1
        if left > 0:
            return
        if point.moment is Moment.SENT:
            asyncio.get_running_loop().call_soon(strike)
        else:
            strike()

    for guide in (point.within, point.since):
        if guide is not None:
            _wrap(guide)
    if AGAIN in (point.place, point.within):
        _wrap(LEFT, seen=_left.extend)
    if point.moment is Moment.BEFORE:
        _wrap(point.place, before=pass_by)
    else:
        _wrap(point.place, after=pass_by)


def _nothing(*_: Any) -> None: ...


def _wrap(
    place: Place,
    *,
    before: Callable[[], None] = _nothing,
    after: Callable[[], None] = _nothing,
    seen: Callable[[Any], None] = _nothing,
) -> None:
    """Put a wrapper in the function's place that calls `before` and `after`, and says where the call is.

    `seen` is called with what the function returned.
    """
    owner, name, fn = place.resolve()
    only = place.only

    def enter(given: Given) -> bool:
        counts = only is None or only(given)
        if counts:
            before()
        return counts

    def leave(result: Any, *, counts: bool) -> Any:
        if counts:
            _passed.set(_passed.get() | {place.function})
            seen(result)
            after()
        return result

    async def called(*given: Any, **named: Any) -> Any:
        counts = enter(given)
        token = _inside.set(_inside.get() | {place.function} if counts else _inside.get())
        try:
            result = await fn(*given, **named)
        finally:
            _inside.reset(token)
        return leave(result, counts=counts)

    def called_plainly(*given: Any, **named: Any) -> Any:
        counts = enter(given)
        token = _inside.set(_inside.get() | {place.function} if counts else _inside.get())
        try:
            result = fn(*given, **named)
        finally:
            _inside.reset(token)
        return leave(result, counts=counts)

    wrapper = called if inspect.iscoroutinefunction(fn) else called_plainly
    setattr(owner, name, functools.wraps(fn)(wrapper))
