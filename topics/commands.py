"""What one partition's owner asks of another's: a record of `commands`, JSON, with its place in a sequence.

One record carries everything that a round of `source` has for one destination: events that have their home there,
and events of batches that gather there. Events travel as the records they were produced as, so that they are decoded
as if they had been read there.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson

from topics import codec, journal
from topics.envelope import Envelope

FORMAT: Final = 1
_MOST_NAME: Final = 100


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


class UnreadableCommand(Exception):
    """A record of `commands` that no worker of this release wrote."""


def raw_event(event: Envelope) -> dict[str, Any]:
    """Return the record of `event` as JSON: where it landed, when, and its bytes."""
    return {
        "p": event.partition,
        "o": event.offset,
        "t": event.timestamp_ms,
        "key": journal.bytes_field(event.raw_key),
        "value": journal.bytes_field(event.raw_value),
        "headers": journal.headers_field(event.raw_headers),
    }


def event_of(raw: dict[str, Any]) -> Envelope:
    """Return the event of `raw_event`. It was decoded once, so it decodes again. Else raises whatever comes."""
    if not type(raw["p"]) is type(raw["o"]) is type(raw["t"]) is int:
        raise TypeError("the place of an event is three numbers")
    return codec.decode(
        journal.field_bytes(raw["value"]),
        journal.field_bytes(raw["key"]),
        journal.field_headers(raw["headers"]),
        partition=raw["p"],
        offset=raw["o"],
        timestamp_ms=raw["t"],
        max_bytes=None,
    )


def encode(
    *,
    source: int,
    journal_id: str,
    sequence: int,
    partitions: int,
    events: Sequence[Envelope],
    batched: Sequence[Batched],
) -> bytes:
    return join(
        source=source,
        journal_id=journal_id,
        sequence=sequence,
        partitions=partitions,
        events=[encode_event(one) for one in events],
        batched=[encode_batched(one) for one in batched],
    )


def encode_event(event: Envelope) -> bytes:
    return orjson.dumps(raw_event(event))


def encode_batched(one: Batched) -> bytes:
    raw = raw_event(one.event)
    if one.announced_ms:  # within the event: releases that do not know it pass over it there
        raw["announced"] = one.announced_ms
    return orjson.dumps([one.workflow_id, raw])


def join(
    *,
    source: int,
    journal_id: str,
    sequence: int,
    partitions: int,
    events: Sequence[bytes],
    batched: Sequence[bytes],
) -> bytes:
    """Return the command of what was encoded one by one: only then is it known how much fits."""
    return orjson.dumps(
        {
            "v": FORMAT,
            "source": source,
            "journal": journal_id,
            "sequence": sequence,
            "partitions": partitions,
            "events": [orjson.Fragment(one) for one in events],
            "batched": [orjson.Fragment(one) for one in batched],
        }
    )


def decode(value: bytes | None) -> Command:
    """Return the command in `value`. Raises UnreadableCommand: a stranger wrote it, or a newer release."""
    try:
        found = orjson.loads(value or b"")
        if found["v"] != FORMAT:
            raise UnreadableCommand(f"a command of format {found['v']!r}; this release reads format {FORMAT}")
        return Command(
            int(found["source"]),
            _name(found["journal"]),
            int(found["sequence"]),
            int(found["partitions"]),
            [event_of(one) for one in found["events"]],
            [
                Batched(_text(workflow_id), event_of(one), int(one.get("announced", 0)))
                for workflow_id, one in found["batched"]
            ],
        )
    except (LookupError, TypeError, ValueError, AttributeError, codec.Malformed) as error:
        raise UnreadableCommand(f"no command: {type(error).__name__}: {error}") from None


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(f"a workflow's id is text, not {value!r}")
    return value


def _name(value: Any) -> str:
    name = str(value)
    if len(name) > _MOST_NAME:  # it is kept in every head of the journal
        raise ValueError(f"a topic id has at most {_MOST_NAME} characters")
    return name
