"""What one partition's owner asks of another's, or tells it, within a command: small JSON objects with a type.

Three meet in a wait: the partition of the run (P), the registry of the topic (T), and the home of an event (p).
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Final

import orjson

from topics import journal
from topics.envelope import Envelope
from topics.patterns import Pattern
from topics.rawevents import event_of, raw_event

MOST_NUMBER: Final = 2**53
"""Milliseconds, counts and numbers are below: what is added to one is still a number that the journal can hold."""


@dataclass(frozen=True, slots=True)
class Wait:
    """P to T: condition `n` of the step `key` of `run` waits for an event on `topic`, which may be a pattern."""

    run: str
    key: str
    n: int
    topic: str
    event_key: str | None
    event_type: str | None
    since_ms: int
    deadline_ms: int | None
    seen: tuple[bytes, ...]
    """Digests of events that the run has had already."""
    stream: bool
    """A filter decides on each match, so the wait goes on until it is withdrawn."""


@dataclass(frozen=True, slots=True)
class Withdraw:
    """P to T: nothing waits there any more."""

    run: str
    key: str
    n: int


@dataclass(frozen=True, slots=True)
class More:
    """P to T: of the events that met this stream, `count` were judged (app.engine.waits.streams); send more."""

    run: str
    key: str
    n: int
    count: int


@dataclass(frozen=True, slots=True)
class Met:
    """T to P: this event meets the wait."""

    run: str
    key: str
    n: int
    event: Envelope


@dataclass(frozen=True, slots=True)
class Expired:
    """T to P: no event came in time."""

    run: str
    key: str
    n: int


@dataclass(frozen=True, slots=True)
class Interest:
    """T to p: tell of every event since then whose topic begins with `head`; "" is any, and "/name" that topic alone.

    Without `pattern`, of those alone whose topic has its registry at T.
    """

    head: str
    pattern: bool
    since_ms: int


@dataclass(frozen=True, slots=True)
class Notice:
    """p to T: this event came."""

    event: Envelope


@dataclass(frozen=True, slots=True)
class Confirmed:
    """p to T: whatever came since then you have been told before this."""

    head: str
    pattern: bool
    since_ms: int


@dataclass(frozen=True, slots=True)
class Flush:
    """T to p: answer once you have handled what your topics hold by now, and what you forward is at its home.

    `after`: the last one that all have answered, before T asked this.
    """

    number: int
    after: int = -1


@dataclass(frozen=True, slots=True)
class Flushed:
    """p to T: so it is, and you were told of it before this. `quiet`: nothing was forwarded since that `after`."""

    number: int
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Child:
    """To P: what child `n` of a step of `run` came to: its run's status and, as JSON, its result or its error."""

    run: str
    key: str
    n: int
    status: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Cancel:
    """To all partitions: whichever has the run ends it."""

    run: str
    reason: str


@dataclass(frozen=True, slots=True)
class Retry:
    """To all partitions: whichever has the run lets it go on if it is stuck."""

    run: str


Ask = Wait | Withdraw | More | Met | Expired | Interest | Notice | Confirmed | Flush | Flushed | Child | Cancel | Retry
"""Anything of these."""


def encode(one: Ask) -> bytes:
    return b"%b" % orjson.dumps(shown(one))


def shown(one: Ask) -> dict[str, Any]:
    """Return it as a JSON object: its type under "a", then its fields. Raises TypeError for what nobody could read.

    A field that older releases do not know has a default, and is left out where it has no other value.
    """
    made: dict[str, Any] = {"a": _NAMES[type(one)]}
    for name, short, codec, default in _CODECS[made["a"]]:
        value = getattr(one, name)
        if default is MISSING or value != default:
            made[short] = codec.write(value)
    return made


def decode(found: Mapping[str, Any]) -> Ask:
    """Return what `shown` was given. Raises whatever comes for anything else."""
    name = _text(found["a"])
    made: Ask = _TYPES[name](
        *[
            codec.read(found[short]) if default is MISSING or short in found else default
            for _, short, codec, default in _CODECS[name]
        ]
    )
    if type(made) is Wait:
        Pattern.parse(made.topic)
    return made


@dataclass(frozen=True, slots=True)
class _Codec:
    read: Callable[[Any], Any]
    write: Callable[[Any], Any]


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(f"this is text, not {value!r}")
    return value


def _number(value: Any) -> int:
    if type(value) is not int or not -MOST_NUMBER <= value <= MOST_NUMBER:
        raise TypeError(f"this is a number, not {value!r}")
    return value


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise TypeError(f"this is true or false, not {value!r}")
    return value


def _bytes(value: Any) -> bytes:
    found = journal.field_bytes(value)
    if found is None:
        raise TypeError("this is JSON as text, not null")
    return found


def _digests(value: Any) -> tuple[bytes, ...]:
    if type(value) is not list:
        raise TypeError(f"these are digests, not {value!r}")
    return tuple(bytes.fromhex(_text(one)) for one in value)


def _is(kind: type, value: Any) -> Any:
    """Check what is written: an ask that nobody can read would be in the journal for good, all after it a gap."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"a {kind.__name__} is asked for, not {value!r:.100}")
    return value


def _checked(kind: type, read: Callable[[Any], Any]) -> _Codec:
    return _Codec(read, lambda value: _is(kind, value))


def _or_none(codec: _Codec) -> _Codec:
    def unless_none(one: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda value: None if value is None else one(value)

    return _Codec(unless_none(codec.read), unless_none(codec.write))


_TEXT: Final = _checked(str, _text)
_NUMBER: Final = _checked(int, _number)
_READERS: Final[Mapping[Any, _Codec]] = {
    str: _TEXT,
    str | None: _or_none(_TEXT),
    int: _NUMBER,
    int | None: _or_none(_NUMBER),
    bool: _checked(bool, _flag),
    bytes: _Codec(_bytes, journal.bytes_field),
    tuple[bytes, ...]: _Codec(_digests, lambda given: [one.hex() for one in given]),
    Envelope: _Codec(event_of, raw_event),
}
_TYPES: Final[Mapping[str, Callable[..., Any]]] = {
    "wait": Wait,
    "withdraw": Withdraw,
    "more": More,
    "met": Met,
    "expired": Expired,
    "interest": Interest,
    "notice": Notice,
    "confirmed": Confirmed,
    "flush": Flush,
    "flushed": Flushed,
    "child": Child,
    "cancel": Cancel,
    "retry": Retry,
}
_NAMES: Final = {kind: name for name, kind in _TYPES.items()}
_CODECS: Final[Mapping[str, tuple[tuple[str, str, _Codec, Any], ...]]] = {
    name: tuple((one.name, one.name.removesuffix("_ms"), _READERS[one.type], one.default) for one in fields(kind))  # type: ignore[arg-type]
    for name, kind in _TYPES.items()
}
