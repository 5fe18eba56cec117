"""Every Kafka topic of Headgate (design, section 2): the only list. Read by `topics apply`, the docs and the ACLs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
MIB: Final = 1024 * 1024


class Cleanup(StrEnum):
    """What Kafka does with old records."""

    DELETE = "delete"
    """Records go when they are older than the retention."""
    COMPACT = "compact"
    """The last record of every key stays."""


class Timestamps(StrEnum):
    """Whose time a record carries."""

    APPEND = "LogAppendTime"
    """The broker's, when it was appended: deadlines and look-backs count from it."""
    CREATE = "CreateTime"
    """The producer's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One Kafka topic: what is in it, and how it has to be configured."""

    name: str
    """Without the prefix."""
    meaning: str
    key: str
    record: str
    written_by: str
    cleanup: Cleanup
    retention_ms: int | None = None
    """How long records stay; None for compacted topics, which keep the last record of a key for ever."""
    fixed_partitions: int | None = None
    """None: co-partitioned, it has the installation's partition count."""
    max_message_bytes: int
    timestamps: Timestamps = Timestamps.CREATE
    settings: Mapping[str, str] = field(default_factory=dict)
    """Further topic settings of Kafka."""

    @property
    def co_partitioned(self) -> bool:
        """Whether partition n of this topic belongs to the owner of partition n of `events`."""
        return self.fixed_partitions is None

    def partitions(self, count: int) -> int:
        """Return its number of partitions in an installation with `count`."""
        return count if self.fixed_partitions is None else self.fixed_partitions


SOURCE_PARTITIONS: Final = 16
"""Of the topics about sources: as many processes of connectors can share them. All about one source has one number."""
JOURNAL_DELETE_RETENTION_MS: Final = DAY_MS
"""How long the journal keeps tombstones. Snapshots and standbys older than half of it are void."""

CATALOG: Final[Mapping[str, Topic]] = MappingProxyType(
    {
        topic.name: topic
        for topic in (
            Topic(
                name="events",
                meaning="What happened outside and inside: everything that can start or wake a run.",
                key="the event's key, or none",
                record="an event in one of the accepted forms (topics.codec)",
                written_by="anyone",
                cleanup=Cleanup.DELETE,
                retention_ms=7 * DAY_MS,
                # Twice the default limit of an event: one that is a little too large becomes a dead letter with a
                # reason, instead of an error that only its producer sees.
                max_message_bytes=2 * MIB,
                timestamps=Timestamps.APPEND,
            ),
            Topic(
                name="commands",
                meaning="What one partition asks of another.",
                key="none; the partition is chosen explicitly",
                record="a command (topics.commands)",
                written_by="owners of partitions",
                cleanup=Cleanup.DELETE,
                retention_ms=7 * DAY_MS,
                max_message_bytes=8 * MIB,
                timestamps=Timestamps.APPEND,
            ),
            Topic(
                name="journal",
                meaning="The state of each partition; nothing else defines it.",
                key="the entity's key",
                record="a journal record (topics.journal)",
                written_by="the owner of the partition alone, fenced",
                cleanup=Cleanup.COMPACT,
                max_message_bytes=8 * MIB,
                # The append time of a claim shows how far the worker's clock is off.
                timestamps=Timestamps.APPEND,
                settings=MappingProxyType(
                    {
                        # Restore reads all of it, and the segment that is open is never compacted: 32 MiB of each of
                        # 8 partitions were 2.7 s of 4.8 s without results. A compaction writes all that lives anew,
                        # beside fresh runs: where a million wait it has to wait for as much as one of 32 MiB has.
                        "segment.bytes": str(8 * MIB),
                        "segment.ms": str(10 * 60_000),
                        "min.cleanable.dirty.ratio": "0.4",
                        # Standbys go on behind the last record that they read, which the next round makes out of date.
                        "min.compaction.lag.ms": "5000",
                        "max.compaction.lag.ms": str(HOUR_MS),
                        "delete.retention.ms": str(JOURNAL_DELETE_RETENTION_MS),
                    }
                ),
            ),
            Topic(
                name="results",
                meaning="One record per finished run.",
                key="run id, in the run's partition",
                record="a result (topics.facts)",
                written_by="the owner of the partition, fenced",
                cleanup=Cleanup.DELETE,
                retention_ms=7 * DAY_MS,
                max_message_bytes=8 * MIB,
            ),
            Topic(
                name="runs",
                meaning="What happened to runs that outlive one batch, in the past tense.",
                key="run id",
                record="a fact (topics.facts)",
                written_by="the owner of the partition, fenced",
                cleanup=Cleanup.DELETE,
                retention_ms=30 * DAY_MS,
                max_message_bytes=8 * MIB,
            ),
            Topic(
                name="dlq",
                meaning="Records and runs that failed for good: the original, the reason and the remedy.",
                key="the source record's key",
                record="a dead letter (topics.facts)",
                written_by="owners of partitions, connectors, gateway",
                cleanup=Cleanup.DELETE,
                retention_ms=90 * DAY_MS,
                fixed_partitions=8,
                max_message_bytes=8 * MIB,
            ),
            Topic(
                name="workflows",
                meaning="Which workflows there are, with triggers, batching, schema; and what each worker has loaded.",
                key="workflow id, or `worker/` and an instance id",
                record="an announcement, a retirement, or what a worker has loaded (topics.facts)",
                written_by="workers; `headgate workflows retire`",
                cleanup=Cleanup.COMPACT,
                fixed_partitions=1,
                max_message_bytes=MIB,
                # A worker whose last word is old is gone, whatever its own clock says.
                timestamps=Timestamps.APPEND,
                # Everybody reads all of it, and every worker writes there all the time.
                settings=MappingProxyType({"segment.bytes": str(8 * MIB), "segment.ms": str(10 * 60_000)}),
            ),
            Topic(
                name="triggers",
                meaning="Which sources there are, and how they are set up.",
                key="id of the source",
                record="how a source is set up (topics.sources)",
                written_by="connectors, from their files; owners of partitions, for runs",
                cleanup=Cleanup.COMPACT,
                fixed_partitions=SOURCE_PARTITIONS,
                max_message_bytes=MIB,
                settings=MappingProxyType({"segment.ms": str(HOUR_MS)}),
            ),
            Topic(
                name="cursors",
                meaning="How far each source has been read.",
                key="id of the source",
                record="a position (topics.sources)",
                written_by="connectors, fenced",
                cleanup=Cleanup.COMPACT,
                fixed_partitions=SOURCE_PARTITIONS,
                # A position may name every file of a large folder.
                max_message_bytes=8 * MIB,
                settings=MappingProxyType(
                    {"segment.bytes": str(32 * MIB), "segment.ms": str(10 * 60_000), "min.cleanable.dirty.ratio": "0.1"}
                ),
            ),
            Topic(
                name="actions",
                meaning="What runs ask sources to send.",
                key="id of the source",
                record="a message to be sent (topics.sources)",
                written_by="owners of partitions",
                cleanup=Cleanup.DELETE,
                retention_ms=DAY_MS,
                fixed_partitions=SOURCE_PARTITIONS,
                max_message_bytes=2 * MIB,
                timestamps=Timestamps.APPEND,
            ),
            Topic(
                name="sources",
                meaning="How each source is: connected or not, since when, what it has received.",
                key="id of the source",
                record="a status (topics.sources)",
                written_by="connectors; gateways, of webhooks",
                cleanup=Cleanup.COMPACT,
                fixed_partitions=1,
                max_message_bytes=MIB,
                settings=MappingProxyType({"segment.bytes": str(8 * MIB), "segment.ms": str(10 * 60_000)}),
            ),
        )
    }
)
"""name without prefix -> topic."""


def qualified(prefix: str, name: str) -> str:
    """Return the Kafka name of a topic of the catalog. Raises KeyError for a name that is not in it."""
    return prefix + CATALOG[name].name


def config_of(
    topic: Topic, *, min_insync_replicas: int, retention_ms: Mapping[str, int] = MappingProxyType({})
) -> dict[str, str]:
    """Return the Kafka settings of a topic; `retention_ms` replaces the catalog's per name."""
    config = {
        "cleanup.policy": topic.cleanup.value,
        "max.message.bytes": str(topic.max_message_bytes),
        "message.timestamp.type": topic.timestamps.value,
        "min.insync.replicas": str(min_insync_replicas),
        "compression.type": "producer",
        **topic.settings,
    }
    if topic.retention_ms is not None:
        config["retention.ms"] = str(retention_ms.get(topic.name, topic.retention_ms))
    return config
