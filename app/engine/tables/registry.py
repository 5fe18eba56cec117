"""What a partition knows of waits, as registry of their topics and as home of events. Values and tables; no rules."""

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from app.engine.tables.arrivals import Arrivals
from app.engine.tables.openwaits import Waits
from app.engine.tables.wait import HeadKey, Offsets, Place, Wait, at_places, is_of_topic, topic_key
from topics import keys
from topics.envelope import Envelope
from topics.patterns import head_of


class Head:
    """What a registry has asked all partitions for (T)."""

    __slots__ = ("confirmed", "key", "since_ms")

    def __init__(self, key: HeadKey, since_ms: int, confirmed: dict[int, int] | None = None) -> None:
        self.key = key
        self.since_ms = since_ms
        self.confirmed = confirmed or {}
        """By partition, since when all that came there is told."""

    def confirmed_ms(self, partitions: int) -> int | None:
        """Return since when the events of all partitions are told, None if not all have answered."""
        return max(self.confirmed.values()) if len(self.confirmed) == partitions else None


class Interest:
    """What a registry wants to be told of by this partition (p)."""

    __slots__ = ("commands_from", "covered_ms", "events_from", "key", "look", "registry", "since_ms")

    def __init__(self, registry: int, key: HeadKey, since_ms: int, events_from: int, commands_from: int) -> None:
        self.registry = registry
        self.key = key
        self.since_ms = since_ms
        self.covered_ms: int | None = None
        """Since when everything was told; None until the first look-back is done."""
        self.events_from = events_from
        """From these offsets on everything is told as it comes."""
        self.commands_from = commands_from
        self.look: InterestLook | None = None

    def wants(self, topic: str, partitions: int) -> bool:
        if is_of_topic(self.key):
            return topic_key(topic) == self.key
        head, pattern = self.key
        if head and head_of(topic) != head:
            return False
        return pattern or keys.partition_of(topic.encode(), partitions) == self.registry


_REMEMBERED: Final = 10_000


class Interests:
    """All interests of a partition (p), remembered by topic: one look-up for each event."""

    __slots__ = ("_heads", "_known", "_partitions", "all")

    def __init__(self, partitions: int) -> None:
        self.all: dict[tuple[int, HeadKey], Interest] = {}
        self._partitions = partitions
        self._heads: dict[str, list[Interest]] = {}
        self._known: dict[str, tuple[int, ...]] = {}

    def add(self, interest: Interest) -> None:
        self.all[interest.registry, interest.key] = interest
        self._heads.setdefault(interest.key[0], []).append(interest)
        self._known.clear()

    def of(self, topic: str) -> tuple[int, ...]:
        """Return the registries that want to know of an event on `topic`."""
        found = self._known.get(topic)
        if found is None:
            texts = (topic_key(topic)[0], head_of(topic), "")
            near = [one for text in dict.fromkeys(texts) for one in self._heads.get(text, ())]
            found = tuple(sorted({one.registry for one in near if one.wants(topic, self._partitions)}))
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[topic] = found
        return found


@dataclass(slots=True, eq=False, kw_only=True)
class Look(ABC):
    """A look-back that the pump carries out: over what came since, up to these offsets of `events` and `commands`."""

    number: int
    since_ms: int
    events_end: int
    commands_end: int
    events_from: int = 0
    commands_from: int = 0
    """From these on, 0: by `since_ms`."""

    notices = False
    """Whether also what other partitions told counts."""

    @abstractmethod
    def wants(self, event: Envelope) -> bool:
        """Whether an event of this partition's that was read there, or was told, is to be given back."""


@dataclass(slots=True, eq=False, kw_only=True)
class InterestLook(Look):
    """For an interest (p): what came here before it. `before_ms`: what came then was told."""

    interest: Interest
    before_ms: int | None
    partitions: int

    def wants(self, event: Envelope) -> bool:
        if event.timestamp_ms < self.since_ms:
            return False
        if self.before_ms is not None and event.timestamp_ms >= self.before_ms:
            return False
        return self.interest.wants(event.topic, self.partitions)


@dataclass(slots=True, eq=False, kw_only=True)
class WaitsLook(Look):
    """For waits (T): what was told before they were confirmed."""

    waits: dict[str, Wait] = field(default_factory=dict)
    places: dict[Place, dict[str, Wait]] = field(default_factory=dict)
    alone: bool = False
    """Whether it is of one stream that goes on, which no other wait may join."""
    notices = True

    def join(self, wait: Wait) -> None:
        self.waits[wait.id] = wait
        self.places.setdefault(wait.place, {})[wait.id] = wait
        self.since_ms = min(self.since_ms, wait.asked.since_ms)

    def wants(self, event: Envelope) -> bool:
        return any(wait.takes(event) for wait in at_places(self.places, event))


@dataclass(slots=True)
class Flush:
    """A question to all partitions, in one pass or two, of a registry that has overdue waits (T)."""

    number: int
    started_ms: int
    second: bool
    waiting: set[int]
    quiet: bool = True
    """Whether nobody who answered has forwarded anything since the last one."""


@dataclass(slots=True)
class FlushAsked:
    """Such a question as a partition has it before its answer (p)."""

    number: int
    after: int
    question: int
    """The ends must have been read after this was asked."""
    ends: tuple[int, int] | None = None
    round: int | None = None
    """What goes out of this round and those before it must be delivered first."""


@dataclass(slots=True)
class Registry:
    """All that a partition knows of waits. Made with the first one: until then it costs nothing."""

    arrivals: Arrivals
    waits: Waits = field(default_factory=Waits)
    heads: dict[HeadKey, Head] = field(default_factory=dict)
    opening: deque[Wait] = field(default_factory=deque)
    """Waits for which everything was looked at, and that have not been opened yet."""
    fans: dict[tuple[int, int], Envelope] = field(default_factory=dict)
    """Events that meet more waits than a round takes: these go on in the next one."""
    overdue: dict[str, Wait] = field(default_factory=dict)
    due: dict[str, Wait] = field(default_factory=dict)
    """Waits of which it is certain that nothing came in time."""
    flush: Flush | None = None
    flushed: int = -1
    """The number of the last flush that all have answered to this owner."""
    flushed_ms: int = 0
    """What was appended anywhere by then is known here."""
    pouring: dict[str, Wait] = field(default_factory=dict)
    """Open streams that something came for in this round."""
    told: Offsets = (0, 0)
    """How far this partition had read when it last looked at what came."""
    settled: int = 0
    """Waits that were opened or ended since the last commit."""
