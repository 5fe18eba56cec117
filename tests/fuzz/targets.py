"""What a target is: how its inputs are made, and what has to hold for each. `__main__` lists them all."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import orjson

from connectors.base.contract import UNMOVED, Item, Moved, Received, Unreadable
from connectors.base.instance.events import Maker, NotAnEvent
from tests.fuzz.mutation import Mutator
from topics import codec
from topics.sources import POSITION_BYTES, Cursor, Spec, Unsuitable, cursor_moved, cursor_of

Result = TypeVar("Result")

AT_MS: Final = 1_780_000_000_000
MOST_BYTES: Final = 1_000_000
MAKER: Final = Maker(Spec(id="src", kind="fuzz"), max_bytes=MOST_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One parser. `check` returns what became of an input, in a word for the table; whatever it raises is a failure."""

    name: str
    make: Callable[[Mutator], Any]
    check: Callable[[Any], str]
    cost: int = 1
    """One input in so many is tried of a parser that is so much slower than others."""
    chunk: int = 1_000
    """Inputs that one process tries in one go."""


def at_once(work: Coroutine[Any, Any, Result]) -> Result:
    """Run what waits for nothing, without a loop."""
    try:
        work.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    finally:
        work.close()
    raise AssertionError("it waits for something")


def named(error: Exception) -> str:
    """Return the name of an error that is allowed; it says something."""
    assert str(error), "an error without words"
    return type(error).__name__.lower()


def landed(item: Item | None) -> str:
    """Take what a source has read to where it goes: the log, as an event that decodes, or a dead letter."""
    if item is not None and item.position is not UNMOVED:
        stored(item.position)
    match item:
        case None:
            return "nothing"
        case Moved():
            return "moved"
        case Unreadable():
            assert isinstance(item.raw, bytes)
            MAKER.dead_letter(item, MAKER.unreadable(item), at_ms=AT_MS)
            return "unreadable"
        case Received():
            try:
                made = MAKER.event(item, at_ms=AT_MS)
            except NotAnEvent as why:
                MAKER.dead_letter(item, why, at_ms=AT_MS)
                return why.code
            assert made is not None
            envelope = codec.decode(
                made.value, made.key, made.headers, partition=0, offset=0, timestamp_ms=AT_MS, max_bytes=None
            )
            assert envelope.explicit
            assert envelope.source.endswith("src")
            return "event"


def stored(position: Any) -> None:
    """A position goes through the log and back, and is the same."""
    try:
        _, value = cursor_moved("src", Cursor(position=position, epoch="1", kind="fuzz"), at_ms=AT_MS)
    except Unsuitable:
        if len(orjson.dumps(position)) > POSITION_BYTES:
            return
        raise
    assert cursor_of(value).position == position
