"""Kafka records to the engine's inputs. Whatever the bytes, each record becomes an input or a dead letter."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from app.engine.inputs import CommandsRead, EventsRead
from app.engine.values.outgoing import Record
from app.kafka.log import Unreadable
from topics import codec, commands
from topics.envelope import MOST_BYTES, Envelope
from topics.letters import dead_letter


class Read(Protocol):
    """What a record that was read looks like: aiokafka's ConsumerRecord and app.kafka.log.LogRecord both do."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...


def events(
    records: Iterable[Read], partition: int, next_offset: int, *, max_bytes: int, now_ms: int, prefix: str
) -> EventsRead:
    """Decode a chunk of `events`."""
    max_bytes = min(max_bytes, MOST_BYTES)
    envelopes: list[Envelope] = []
    malformed: list[Record] = []
    decode = codec.decode
    add = envelopes.append
    for one in records:
        try:
            add(
                decode(
                    one.value,
                    one.key,
                    one.headers,
                    partition=partition,
                    offset=one.offset,
                    timestamp_ms=one.timestamp,
                    max_bytes=max_bytes,
                )
            )
        except codec.Malformed as wrong:
            error = codec.Malformed(one.code, one.reason) if isinstance(one, Unreadable) else wrong
            malformed.append(_dead(prefix + "events", one, partition, error.code, error.reason, error.remedy, now_ms))
    return EventsRead(envelopes, malformed, next_offset)


def commands_read(
    records: Iterable[Read], partition: int, next_offset: int, *, now_ms: int, prefix: str
) -> CommandsRead:
    """Decode a chunk of `commands`. What no worker wrote is a dead letter."""
    found: list[commands.Command] = []
    malformed: list[Record] = []
    for one in records:
        try:
            found.append(commands.decode(one.value))
        except commands.UnreadableCommand as error:
            remedy = "only Headgate's workers may write to the commands topic: forbid it to others with ACLs"
            malformed.append(_dead(prefix + "commands", one, partition, "not_a_command", str(error), remedy, now_ms))
    return CommandsRead(found, malformed, next_offset)


def _dead(topic: str, one: Read, partition: int, code: str, reason: str, remedy: str, now_ms: int) -> Record:
    key, value, headers = dead_letter(
        code=code,
        reason=reason,
        remedy=remedy,
        source_topic=topic,
        partition=partition,
        offset=one.offset,
        timestamp_ms=one.timestamp,
        key=one.key,
        value=one.value,
        headers=() if isinstance(one, Unreadable) else one.headers,
        run_id=None,
        workflow_id=None,
        at_ms=now_ms,
    )
    return Record("dlq", None, key, value, tuple(headers))
