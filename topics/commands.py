"""What one partition's owner asks of another's: a record of `commands`, JSON, with its place in a sequence.

One record carries everything that a round of `source` has for one destination: events that have their home there,
events of batches that gather there, and what is asked of it (`topics.asked`), in order. Events travel as the records
they were produced as, so that they are decoded as if they had been read there.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson

from topics import asked, codec
from topics.asked import Ask
from topics.envelope import Envelope
from topics.rawevents import event_of, raw_event

__all__ = [
    "FORMAT",
    "FORMAT_PLAIN",
    "Batched",
    "Chunk",
    "Command",
    "UnreadableCommand",
    "cut",
    "decode",
    "encode",
    "encode_ask",
    "encode_batched",
    "encode_event",
    "event_of",
    "join",
    "raw_event",
]

FORMAT: Final = 2
FORMAT_PLAIN: Final = 1
"""Of a command that asks for nothing: a former release reads it."""
_MOST_NAME: Final = 100
_MOST_PARTS: Final = 500
"""Of events, batched events and asks in one command."""


class Batched(NamedTuple):
    """An event of a batch that gathers at the destination."""

    workflow_id: str
    event: Envelope
    announced_ms: int = 0
    """When the newest form of the workflow that the source knew was announced; 0: nobody knows, or an older release."""


class Command(NamedTuple):
    """One decoded record of `commands`."""

    source: int
    journal: str
    """Topic id of the source's journal: a journal created anew counts from 1 again."""
    sequence: int
    """Contiguous per source and destination, from 1."""
    partitions: int
    """Partition count that the source works with."""
    events: Sequence[Envelope]
    batched: Sequence[Batched]
    asks: Sequence[Ask] = ()


class UnreadableCommand(Exception):
    """A record of `commands` that no worker of this release wrote."""


def encode(
    *,
    source: int,
    journal_id: str,
    sequence: int,
    partitions: int,
    events: Sequence[Envelope],
    batched: Sequence[Batched],
    asks: Sequence[Ask] = (),
) -> bytes:
    return join(
        source=source,
        journal_id=journal_id,
        sequence=sequence,
        partitions=partitions,
        events=[encode_event(one) for one in events],
        batched=[encode_batched(one) for one in batched],
        asks=[encode_ask(one) for one in asks],
    )


def encode_event(event: Envelope) -> bytes:
    return b"%b" % orjson.dumps(raw_event(event))


def encode_batched(one: Batched) -> bytes:
    raw = raw_event(one.event)
    if one.announced_ms:  # within the event: releases that do not know it pass over it there
        raw["announced"] = one.announced_ms
    return b"%b" % orjson.dumps([one.workflow_id, raw])


encode_ask = asked.encode


Chunk = tuple[list[bytes], list[bytes], list[bytes]]


def cut(events: Sequence[bytes], batched: Sequence[bytes], asks: Sequence[bytes], *, most_bytes: int) -> list[Chunk]:
    """Cut what was encoded one by one into what single commands take, in order."""
    chunks: list[Chunk] = [([], [], [])]
    size = count = 0
    for kind, parts in enumerate((events, batched, asks)):
        for one in parts:
            length = len(one) + 1
            if count and (size + length > most_bytes or count >= _MOST_PARTS):
                chunks.append(([], [], []))
                size = count = 0
            chunks[-1][kind].append(one)
            size += length
            count += 1
    return chunks


def join(
    *,
    source: int,
    journal_id: str,
    sequence: int,
    partitions: int,
    events: Sequence[bytes],
    batched: Sequence[bytes],
    asks: Sequence[bytes] = (),
) -> bytes:
    """Return the command of what was encoded one by one: only then is it known how much fits."""
    made: dict[str, Any] = {
        "v": FORMAT if asks else FORMAT_PLAIN,
        "source": source,
        "journal": journal_id,
        "sequence": sequence,
        "partitions": partitions,
        "events": [orjson.Fragment(one) for one in events],
        "batched": [orjson.Fragment(one) for one in batched],
    }
    if asks:
        made["asks"] = [orjson.Fragment(one) for one in asks]
    return b"%b" % orjson.dumps(made)


def decode(value: bytes | None) -> Command:
    """Return the command in `value`. Raises UnreadableCommand: a stranger wrote it, or a newer release."""
    try:
        found = orjson.loads(value or b"")
        if found["v"] not in (FORMAT, FORMAT_PLAIN):
            raise UnreadableCommand(f"a command of format {found['v']!r}; this release reads format {FORMAT}")
        partitions = _number(found["partitions"])
        return Command(
            _number(found["source"], most=partitions - 1),
            _name(found["journal"]),
            _number(found["sequence"]),
            partitions,
            [event_of(one) for one in found["events"]],
            [
                Batched(_text(workflow_id), event_of(one), _number(one.get("announced", 0)))
                for workflow_id, one in found["batched"]
            ],
            [asked.decode(one) for one in found["asks"]] if found["v"] == FORMAT else (),
        )
    except (LookupError, TypeError, ValueError, AttributeError, codec.Malformed) as error:
        raise UnreadableCommand(f"no command: {type(error).__name__}: {error}") from None


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(f"a workflow's id is text, not {value!r}")
    return value


def _number(value: Any, most: int = asked.MOST_NUMBER) -> int:
    if type(value) is not int or not 0 <= value <= most:  # else the journal of whoever reads it could not hold it
        raise TypeError(f"a number from 0 to {most} is asked for, not {value!r}")
    return value


def _name(value: Any) -> str:
    name = str(value)
    if len(name) > _MOST_NAME:  # it is kept in every head of the journal
        raise ValueError(f"a topic id has at most {_MOST_NAME} characters")
    return name
