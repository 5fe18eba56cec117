"""A wait as the registry of its topic (T) has it in memory."""

from dataclasses import dataclass
from functools import lru_cache

from topics import keys
from topics.asked import Wait as Asked
from topics.envelope import Envelope
from topics.patterns import Pattern, head_of

HeadKey = tuple[str, bool]
"""The first segment of topics, "" for all; and whether patterns wait for it, or literal topics of one registry.

What is asked for may also be one topic: a slash, which no first segment has, and its name.
"""


def wait_id(run: str, key: str, n: int) -> str:
    return f"{run}#{key}#{n}"


Offsets = tuple[int, int]
"""Of `events` and `commands`."""


@dataclass(slots=True)
class Flow:
    """How far a stream was sent (app.engine.waits.streams)."""

    credit: int
    """How many more the run's partition takes."""
    start: Offsets | None = None
    """What this partition was told before was sent; None: what came before the wait's time."""
    end: Offsets | None = None
    """Up to here what was told since is sent in order; None: up to now."""
    after: tuple[int, int, int] | None = None
    """The last one of these that was sent."""
    overflowed: bool = False
    """Whether more was found than was kept."""


class Wait:
    """A wait at the registry of its topic (T)."""

    __slots__ = ("asked", "flow", "found", "head", "id", "journaled", "open", "pattern", "seen", "source")

    def __init__(self, asked: Asked, source: int) -> None:
        self.asked = asked
        self.id = wait_id(asked.run, asked.key, asked.n)
        self.source = source
        """Partition of its run."""
        self.pattern, self.head, _ = _place_of(asked.topic)
        self.seen = frozenset(asked.seen)
        self.open = False
        """Whether whatever came before was looked at: from then on the next event that matches meets it."""
        self.found: list[Envelope] | None = None
        """What matches so far, while it is being looked back for; of an open stream, in this round."""
        self.flow: Flow | None = None
        """Of a stream."""
        self.journaled = False

    @property
    def place(self) -> "Place":
        return self.pattern is not None, self.head[0] if self.pattern else self.asked.topic, self.asked.event_key

    def takes(self, event: Envelope) -> bool:
        """Whether an event of its place meets it."""
        asked = self.asked
        if event.timestamp_ms < asked.since_ms or (
            asked.deadline_ms is not None and event.timestamp_ms > asked.deadline_ms
        ):
            return False
        if asked.event_key is not None and event.key != asked.event_key:
            return False
        if asked.event_type is not None and event.event_type != asked.event_type:
            return False
        if self.pattern is None:
            if event.topic != asked.topic:
                return False
        elif not self.pattern.matches(event.topic):
            return False
        return not self.seen or keys.digest_of(event) not in self.seen


@lru_cache(maxsize=1_024)
def _place_of(topic: str) -> tuple[Pattern | None, HeadKey, tuple[HeadKey, ...]]:
    """Return the pattern that a topic is, if it is one, its head, and what covers it: many waits are for one topic."""
    pattern = Pattern.parse(topic)
    literal = pattern.is_literal
    head = "" if "*" in (first := head_of(topic)) else first
    own = (topic_key(topic),) if literal else ()
    broader = ((head, not literal), (head, True), ("", not literal), ("", True))
    return None if literal else pattern, broader[0], tuple(dict.fromkeys((*own, *broader)))


def covering(topic: str) -> tuple[HeadKey, ...]:
    """Return all that tells, once it is asked for, of every event that a wait for a topic or pattern may meet."""
    return _place_of(topic)[2]


def topic_key(topic: str) -> HeadKey:
    """Return what asks for one topic alone."""
    return f"/{topic}", False


def is_of_topic(key: HeadKey) -> bool:
    """Whether one topic alone is asked for."""
    return key[0].startswith("/")


def head_asked(key: HeadKey) -> HeadKey:
    """Return the head of what is asked for."""
    return (head_of(key[0][1:]), False) if is_of_topic(key) else key


Place = tuple[bool, str, str | None]
"""Where a wait is looked up by an event: whether it is a pattern, its head or topic, and its event key."""


def places_of(event: Envelope) -> list[Place]:
    """Return the places of the waits that an event may meet."""
    topic, key, head = event.topic, event.key, head_of(event.topic)
    found: list[Place] = []
    for pattern, text in ((False, topic), (True, head), (True, "")) if head else ((False, topic), (True, "")):
        found.append((pattern, text, None))
        if key is not None:
            found.append((pattern, text, key))
    return found


def at_places(places: dict[Place, dict[str, Wait]], event: Envelope) -> list[Wait]:
    """Return the waits that an event may meet, in the order in which they came."""
    found: list[Wait] = []
    for place in places_of(event):
        waits = places.get(place)
        if waits:
            found.extend(waits.values())
    return found
