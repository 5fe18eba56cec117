"""The metrics of connectors: one typed list, each with its meaning. Docs are made from it."""

import re
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

MOST_LABELS: Final = 200
"""Different values of a label that sources choose; further ones are `other`."""
OTHER: Final = "other"
_LABEL: Final = re.compile(r"[A-Za-z0-9_.-]{1,50}", re.ASCII)
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class SourceMetrics:
    """All metrics of one process of connectors, in a registry of their own. `provider` is the kind of source."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._seen: dict[str, set[str]] = {}
        provider = ("provider",)

        def counter(name: str, meaning: str, labels: tuple[str, ...] = provider) -> Counter:
            return Counter(name, meaning, labels, registry=self.registry)

        def gauge(name: str, meaning: str, labels: tuple[str, ...]) -> Gauge:
            return Gauge(name, meaning, labels, registry=self.registry)

        self.received = counter(
            "triggers_events_received",
            "Events that were read and are done with: the broker has them or their dead letters, or a filter turned "
            "them away.",
        )
        self.filtered = counter(
            "triggers_events_filtered",
            "Events that a source's filter was asked about; `result` is passed, turned_away or failed.",
            ("provider", "result"),
        )
        self.published = counter("triggers_events_published", "Events that the broker has acknowledged.")
        self.dead = counter(
            "triggers_events_dead", "Events that became dead letters: unreadable, too large, a filter failed."
        )
        self.bytes = counter("triggers_received_bytes", "Bytes that came from the other side, whatever they mean.")
        self.reconnects = counter("triggers_reconnects", "Connections that ended, by reason.", ("provider", "reason"))
        self.crashed = counter(
            "triggers_sources_crashed", "Times that the code of a kind failed with what no kind is to raise."
        )
        self.noted = counter(
            "triggers_noted",
            "What kinds of sources count by themselves: redelivered, dropped, missed, late and others.",
            ("provider", "what"),
        )
        self.sent = counter(
            "triggers_messages_sent", "Messages sent through sources, by result.", ("provider", "result")
        )
        self.connected = gauge(
            "triggers_source_connected", "1 while the source is connected.", ("provider", "instance")
        )
        self.connection_seconds = counter("triggers_connection_seconds", "Seconds for which sources were connected.")
        self.position_age = gauge(
            "triggers_position_age_seconds", "Seconds since the source's position moved.", ("provider", "instance")
        )
        self.buffered = gauge(
            "triggers_buffered_events", "Events that were read and wait for the broker.", ("provider", "instance")
        )
        self.ack_seconds = Histogram(
            "triggers_ack_seconds",
            "Seconds from reading an event to the broker's acknowledgement.",
            provider,
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.late = counter(
            "triggers_acks_late", "Events whose time to be acknowledged upstream was over; the source repeats them."
        )
        self.instances = gauge("triggers_instances", "Sources that this process runs, by state.", ("state",))

    def bounded(self, label: str, value: str) -> str:
        """Return a value for a label that sources choose, such as a reason: a server may choose as many as it likes."""
        seen = self._seen.setdefault(label, set())
        if value not in seen:
            if len(seen) >= MOST_LABELS or _LABEL.fullmatch(value) is None:
                return OTHER
            seen.add(value)
        return value
