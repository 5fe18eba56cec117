"""One event as every part of Headgate sees it, whatever form it was produced in. Made by `topics.codec` alone."""

from typing import Any, Final, NamedTuple

from topics.timestamps import rfc3339, utc

COMMA_BYTES: Final = 128
"""What a further element of JSON is taken to cost in memory, an estimate: an empty list in a list takes 64."""
HEADER_BYTES: Final = 160
"""What a header costs in memory beyond its name and content: a tuple, a text and bytes, measured with sys.getsizeof."""
MOST_BYTES: Final = 2 * 1024 * 1024
"""Of an event, whatever `limits.event_bytes` says: what the topic takes, though a record that came compressed may be
larger, and the most for which `topics.journal` holds its promise."""
MAX_HEADERS: Final = 256
"""Of an event. A header of two bytes on the wire takes 80 times as much in memory and 10 times in the journal."""


NOWHERE: Final = -1
"""Partition and offset of an event that is in no topic: that of a schedule."""
SCHEDULE: Final = "schedule/"
"""How the logical topic of such an event begins; the workflow's id follows."""


class Envelope(NamedTuple):
    """An event and where it landed.

    A NamedTuple and not a frozen dataclass because one is made per event: measured 0.3 us against 1.8 us, and an
    unchanging tuple of plain values costs the garbage collector less than an object with a dictionary.
    """

    id: str
    """The producer's id, or `<partition>-<offset>`."""
    source: str
    """Who says so: CloudEvents `source`, a connector's instance, or "". Ids are unique within a source."""
    explicit: bool
    """The producer gave the id, so events with an equal id, source and key are one event."""
    topic: str
    """The logical topic, such as `orders/created`; never a Kafka topic."""
    event_type: str | None
    key: str | None
    data: Any
    created_at: str | None
    """RFC 3339 as the producer gave it; None says that the append time counts."""
    traceparent: str | None
    reply_topic: str | None
    correlation_id: str | None
    partition: int
    offset: int
    timestamp_ms: int
    """Append time where it landed."""
    size: int
    """Bytes of the record: key, value and headers."""
    raw_key: bytes | None = None
    """This and the next two: the record as it was produced, for dead letters, forwards and the journal."""
    raw_value: bytes | None = None
    raw_headers: tuple[tuple[str, bytes | None], ...] = ()

    @property
    def weight(self) -> int:
        """Bytes that the event may take in memory: its JSON as objects is many times larger than as text."""
        raw = self.raw_value
        size = self.size + HEADER_BYTES * len(self.raw_headers)
        # Counted up to the last one, which memrchr finds: behind it there may be a long text.
        return size + COMMA_BYTES * raw.count(b",", 0, raw.rfind(b",") + 1) if raw else size

    @property
    def sequence_id(self) -> str:
        """`<partition>-<offset>` of the place where it landed; the id of one that landed nowhere."""
        return f"{self[11]}-{self[12]}" if self[12] >= 0 else self[0]

    @property
    def scheduled(self) -> bool:
        """Whether a schedule made it. Nobody else can: what a producer sends lands somewhere."""
        return self[12] < 0 and self[3].startswith(SCHEDULE)

    def payload(self) -> dict[str, Any]:
        """Return the event as an author's function receives it."""
        given = self[7]
        return {
            "id": self[0],
            "sequence_id": f"{self[11]}-{self[12]}" if self[2] and self[12] >= 0 else self[0],
            "topic": self[3],
            "event_type": self[4],
            "data": self[6],
            "created_at": rfc3339(self[13]) if given is None else utc(given),
            "key": self[5],
        }
