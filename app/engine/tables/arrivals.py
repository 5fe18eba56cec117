"""The events of which a registry was told lately: by topic, in memory alone, bounded by count and bytes.

A wait that comes late is answered from here. What is `covered` says whether the answer is whole: after a takeover
nothing is for a while, and what had to make room is no more.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Final

from topics.envelope import Envelope
from topics.patterns import head_of

SKEW_MS: Final = 60_000
"""Most that the clocks of brokers and workers differ: a worker whose clock is further off stops (app.pump.takeover)."""


def order(event: Envelope) -> tuple[int, int, int]:
    """Return where an event stands among those of all partitions: by append time, then by place."""
    return event.timestamp_ms, event.partition, event.offset


class Arrivals:
    """Whether everything since a time is there is known per head."""

    __slots__ = ("_bytes", "_evicted", "_floor_ms", "_keyed", "_most", "_most_bytes", "_places", "_topics", "_waiting")

    def __init__(self, *, most: int, most_bytes: int) -> None:
        self._floor_ms = 0
        self._most, self._most_bytes = most, most_bytes
        self._bytes = 0
        self._waiting: deque[Envelope] = deque()
        self._places: set[tuple[int, int]] = set()
        self._topics: dict[str, dict[str, list[Envelope]]] = {}
        """By head, then by topic, in their `order`."""
        self._keyed: dict[tuple[str, str], list[Envelope]] = {}
        """Those with a key by topic and key."""
        self._evicted: dict[str, int] = {}
        """By head, from when on nothing was dropped."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, event: Envelope) -> bool:
        """Take an event; return False if the same record is there already."""
        place = (event.partition, event.offset)
        if place in self._places:
            return False
        self._places.add(place)
        self._waiting.append(event)
        _put(self._topics.setdefault(head_of(event.topic), {}).setdefault(event.topic, []), event)
        if event.key is not None:
            _put(self._keyed.setdefault((event.topic, event.key), []), event)
        self._bytes += event.weight
        while len(self._waiting) > self._most or self._bytes > self._most_bytes:
            self._drop()
        return True

    def covered_ms(self, head: str) -> int:
        """Return since when all events of a head are here; "" is of every head."""
        if not head:
            return max(self._floor_ms, max(self._evicted.values(), default=0))
        return max(self._floor_ms, self._evicted.get(head, 0))

    def miss(self, head: str, before_ms: int) -> None:
        """Some of a head ("" is any) that were appended before are not here, as after a takeover."""
        if head:
            self._evicted[head] = max(self._evicted.get(head, 0), before_ms)
        else:
            self._floor_ms = max(self._floor_ms, before_ms)

    def of_topic(self, topic: str, key: str | None, since_ms: int = 0) -> Iterator[Envelope]:
        """Yield the events of a topic that were appended since then, in their `order`; with `key`, those of it."""
        if key is not None:
            events = self._keyed.get((topic, key), [])
        else:
            events = self._topics.get(head_of(topic), {}).get(topic, [])
        yield from _since(events, since_ms)

    def of_head(self, head: str, since_ms: int = 0) -> Iterator[Envelope]:
        """Yield the events of a head, "" is of all, topic by topic."""
        for topics in self._topics.values() if not head else (self._topics.get(head, {}),):
            for events in topics.values():
                yield from _since(events, since_ms)

    def _drop(self) -> None:
        event = self._waiting.popleft()
        self._places.discard((event.partition, event.offset))
        self._bytes -= event.weight
        head = head_of(event.topic)
        topics = self._topics[head]
        _take(topics[event.topic], event)
        if not topics[event.topic]:
            del topics[event.topic]
            if not topics:
                del self._topics[head]
        if event.key is not None:
            keyed = self._keyed[event.topic, event.key]
            _take(keyed, event)
            if not keyed:
                del self._keyed[event.topic, event.key]
        self.miss(head, event.timestamp_ms + 1)
        if len(self._evicted) > self._most:  # heads without number: what is known of all is enough
            self._floor_ms = max(self._floor_ms, *self._evicted.values())
            self._evicted.clear()


def _put(events: list[Envelope], event: Envelope) -> None:
    if not events or order(events[-1]) < order(event):  # nearly always
        events.append(event)
    else:
        insort(events, event, key=order)


def _take(events: list[Envelope], event: Envelope) -> None:
    del events[0 if events[0] is event else bisect_left(events, order(event), key=order)]


def _since(events: list[Envelope], since_ms: int) -> Iterator[Envelope]:
    return islice(events, bisect_left(events, since_ms, key=lambda one: one.timestamp_ms), None)
