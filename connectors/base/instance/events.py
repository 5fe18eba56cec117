"""Makes the record of `events` of what a source has read: its topic, its key, its id and its headers.

Called by the frame for everything that is read, and by the gateway for webhooks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

from connectors.base.contract import Received, Unreadable
from connectors.base.texts.filters import Filter, FilterFailed
from connectors.base.texts.templates import Template, TemplateError
from topics import codec, reserved
from topics.facts import Record
from topics.letters import dead_letter
from topics.malformed import Malformed
from topics.provenance import INSTANCE, PROVIDER, RECEIVED_AT, SOURCE, TYPE
from topics.sources import Spec

MOST_ID_CHARS: Final = 400
_RECORD_BYTES: Final = 96
"""What a batch and a record take besides key, value and headers: 61, and lengths and offsets of 5 to 10 each."""
_HEADER_BYTES: Final = 10
"""The lengths of a header's name and value. Names are ASCII."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A record of `events`. `home` is the text whose partition it belongs to: its key, else its id."""

    home: str
    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]]

    @property
    def size_bytes(self) -> int:
        """What it takes in a batch at most."""
        headers = sum(_HEADER_BYTES + len(name) + len(raw) for name, raw in self.headers)
        return _RECORD_BYTES + len(self.value) + len(self.key or b"") + headers


class NotAnEvent(Exception):
    """What was read cannot be published: it becomes a dead letter with these words."""

    def __init__(self, *, code: str, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.code, self.reason, self.remedy = code, reason, remedy


class TooLargeForKafka(Exception):
    """The broker takes everything but these events: the topic's max.message.bytes is below limits.event_bytes."""

    def __init__(self, events: Sequence[Outgoing]) -> None:
        super().__init__(
            f"Kafka refuses {len(events)} events as too large, such as one of {events[0].size_bytes} bytes"
        )
        self.events = events

    def reason_of(self, event: Outgoing) -> NotAnEvent:
        """Return why one of them is a dead letter."""
        return NotAnEvent(
            code="too_large",
            reason=f"the event has {event.size_bytes} bytes, and its topic in Kafka takes no record of that size",
            remedy="raise the topic's max.message.bytes (`headgate topics apply`), or lower limits.event_bytes",
        )


def source_of(instance_id: str) -> str:
    """Return the CloudEvents source of a source's events: ids are unique within it."""
    return SOURCE + instance_id


def bounded_id(text: str) -> str:
    """Return the id itself, or a digest of it where it is too long for an event's id."""
    if len(text) <= MOST_ID_CHARS and text.isprintable():
        return text
    return f"blake2b:{blake2b(text.encode(errors='surrogatepass'), digest_size=24).hexdigest()}"


class Maker:
    """Makes the events of one source. Raises TemplateError and FilterError for a spec that cannot be followed."""

    def __init__(self, spec: Spec, *, max_bytes: int) -> None:
        self._id, self._kind, self._max_bytes = spec.id, spec.kind, max_bytes
        self._topic = None if spec.topic is None else Template.parse(spec.topic)
        # Whoever writes the topic out means it; what comes from outside never starts, resumes or cancels anything.
        self._is_ours = self._topic is not None and self._topic.parts[0].startswith(reserved.PREFIX)
        self._key = None if spec.key is None else Template.parse(spec.key)
        self._filter = None if spec.filter is None else Filter(spec.filter)
        self._source = {"id": spec.id, "kind": spec.kind}
        self._headers = [(PROVIDER, spec.kind.encode()), (INSTANCE, spec.id.encode())]

    def event(self, received: Received, *, at_ms: int) -> Outgoing | None:
        """Return the record of an event, None for one that the filter turns away. Raises NotAnEvent."""
        key = received.key
        if self._filter or self._topic or self._key:
            scope = {
                "id": received.id,
                "type": received.event_type,
                "key": key,
                "data": received.data,
                "source": self._source,
            }
            try:
                if self._filter is not None and not self._filter.takes(scope):
                    return None
                if self._key is not None:
                    key = self._key.render(scope)
                topic = self._default(received) if self._topic is None else self._topic.render(scope)
            except FilterFailed as error:
                raise NotAnEvent(
                    code="filter_failed",
                    reason=f"the filter of source {self._id!r} failed: {error}",
                    remedy="ask it of a field that has that type in every event, or ask for `exists` first",
                ) from None
            except TemplateError as error:
                raise NotAnEvent(
                    code="template_failed",
                    reason=f"topic or key of source {self._id!r} could not be made: {error}",
                    remedy="use fields in `topic` and `key` that every event has, or filter those without",
                ) from None
        else:
            topic = self._default(received)
        if topic.startswith(reserved.PREFIX) and not self._is_ours:
            raise NotAnEvent(
                code="topic_reserved",
                reason=f"an event of source {self._id!r} would have a topic of Headgate's own: {topic!r:.200}",
                remedy=f"begin `topic` with something that is not in the event, or with `{reserved.PREFIX}` itself",
            )
        created = received.created_at
        try:
            made_key, value, headers = codec.produce_form(
                topic,
                received.data,
                event_type=received.event_type,
                event_id=bounded_id(received.id),
                key=key,
                created_at=None if created is None else _shown(created),
                source=source_of(self._id),
            )
        except Malformed as error:
            raise NotAnEvent(code=error.code, reason=error.reason, remedy=error.remedy) from None
        headers += self._headers
        headers.append((TYPE, received.event_type.encode()))
        headers.append((RECEIVED_AT, b"%d" % at_ms))
        made = Outgoing(home=key or bounded_id(received.id), key=made_key, value=value, headers=headers)
        if made.size_bytes > self._max_bytes:
            raise NotAnEvent(
                code="too_large",
                reason=f"the event has {made.size_bytes} bytes, {self._max_bytes} are allowed",
                remedy="let the source read less of each event, or raise the setting limits.event_bytes",
            )
        return made

    def dead_letter(self, item: Received | Unreadable, why: NotAnEvent, *, at_ms: int) -> Record:
        """Return the dead letter of something that is no event, with what came of it."""
        raw = item.raw if isinstance(item, Unreadable) else _readable(item.data)
        return dead_letter(
            code=why.code,
            reason=why.reason,
            remedy=why.remedy,
            source_topic=source_of(self._id),
            partition=-1,
            offset=-1,
            timestamp_ms=at_ms,
            key=None,
            value=raw,
            headers=[*self._headers, ("id", bounded_id(item.id).encode())],
            at_ms=at_ms,
        )

    def unreadable(self, item: Unreadable) -> NotAnEvent:
        """Return why something that a source could not read is a dead letter."""
        return NotAnEvent(
            code="source_unreadable",
            reason=f"source {self._id!r} could not read it: {item.reason}",
            remedy="mend what sends it, or its options if they do not fit; the original is in this letter",
        )

    def _default(self, received: Received) -> str:
        return f"{self._id}/{received.event_type}"


def _shown(created: datetime) -> str | None:
    """Return a time in UTC; None for one at the ends of all time whose zone leads beyond them."""
    try:
        return created.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, ValueError):
        return None


def _readable(data: Any) -> bytes:
    try:
        return codec.encode_data(data, "the data")
    except Malformed:
        pass
    try:
        return repr(data).encode(errors="replace")
    except RecursionError:
        return b"(it is nested too deep to be shown)"
    except ValueError:
        return b"(it has a number that is too long to be shown)"
