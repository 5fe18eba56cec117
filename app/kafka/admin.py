"""Looks at a cluster and creates what is missing; it never alters or removes data.

Called by the commands `topics` and `doctor`, by a worker before it starts, and by tests. Every error says what to do.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeVar

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec, ResourceType

from app.kafka import broker_version, clients
from app.settings import KafkaSettings

CONNECT_TIMEOUT_SECONDS: Final = 10.0
PROBE_GROUP: Final = "doctor"
_OFFSETS_TOPIC: Final = "__consumer_offsets"
_GONE: Final = frozenset({KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._TIMED_OUT})
# Answers of the first moments: of a topic just created, of a broker just started, of a partition that changes hands.
_NOT_YET: Final = frozenset({
    KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.REPLICA_NOT_AVAILABLE,
    KafkaError.UNKNOWN_LEADER_EPOCH, KafkaError.FENCED_LEADER_EPOCH, KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_ID, KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR, KafkaError.NOT_CONTROLLER, KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.REQUEST_TIMED_OUT, KafkaError.NETWORK_EXCEPTION,
    KafkaError._NOENT,  # the library knows no leader of any of the partitions
})  # fmt: skip
_PATIENCE_SECONDS: Final = 10.0
# Of a machine under load: brokers hear of a new topic, and of its leaders, one after the other and late.
_CREATION_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 0.1
_REFUSED: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)
Answer = TypeVar("Answer")


class AdminError(Exception):
    """The cluster answered, and refused."""

    exit_code: Final = 1

    def __init__(self, fact: str, remedy: str) -> None:
        super().__init__(f"{fact}. {remedy}")
        self.fact, self.remedy = fact, remedy


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """One broker, where it says that it is."""

    id: int
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic that exists; `id` is another one after it was removed and created again."""

    name: str
    id: str
    partitions: int
    replication_factor: int
    config: Mapping[str, str] = field(default_factory=dict)
    out_of_sync: tuple[int, ...] = ()
    """Partitions whose copies are not all in sync."""
    offline: tuple[int, ...] = ()
    """Partitions that nobody leads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedTopic:
    """A topic as it should be created."""

    name: str
    partitions: int
    replication_factor: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member of a consumer group and the partitions that it has, by topic."""

    instance_id: str
    client_id: str
    host: str
    partitions: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A consumer group: its state as Kafka names it, its members, and its committed offsets by topic and partition."""

    name: str
    state: str
    members: tuple[Member, ...]
    committed: Mapping[tuple[str, int], int]


class Admin:
    """A connection to a cluster for looking and creating. Every call raises KafkaUnreachable or AdminError."""

    def __init__(self, kafka: KafkaSettings, client: AdminClient) -> None:
        self._kafka, self._client = kafka, client
        self._timeout = kafka.request_timeout_seconds

    @classmethod
    def connect(cls, kafka: KafkaSettings, *, timeout_seconds: float = CONNECT_TIMEOUT_SECONDS) -> Self:
        """Wait until a broker answers. Raises KafkaUnreachable at once where every address refuses."""
        heard: list[KafkaError] = []
        client = AdminClient(clients.confluent_config(kafka) | {"error_cb": heard.append})
        deadline = time.monotonic() + min(timeout_seconds, kafka.request_timeout_seconds)
        while True:
            try:
                client.list_topics(timeout=0.5)
                return cls(kafka, client)
            except KafkaException as raised:
                client.poll(0)
                reasons = [one for one in heard if one.code() != KafkaError._ALL_BROKERS_DOWN]
                final = raised.args[0].code() not in _GONE  # such as a controller's port, which answers something else
                if final or len(reasons) < len(heard) or time.monotonic() > deadline:
                    raise _unreachable(kafka, reasons or [raised.args[0]]) from None

    def brokers(self) -> tuple[Broker, ...]:
        """All brokers of the cluster."""
        nodes = self._wait(self._client.describe_cluster(request_timeout=self._timeout), "describe the cluster").nodes
        return tuple(sorted((Broker(id=n.id, host=n.host, port=n.port) for n in nodes), key=lambda b: b.id))

    def version(self, broker: Broker) -> broker_version.BrokerVersion:
        """What release a broker is of."""
        context = clients.ssl_context(self._kafka) if self._kafka.security_protocol.endswith("SSL") else None
        try:
            return broker_version.ask(broker.host, broker.port, context=context)
        except (OSError, broker_version.BrokerAnswerError) as error:
            where = f"{broker.host}:{broker.port}"
            remedy = "Brokers must be reachable from here under the addresses in their advertised.listeners"
            raise clients.KafkaUnreachable(where, f"broker {broker.id} does not answer ({error})", remedy) from error

    def broker_config(self, broker: Broker) -> dict[str, str]:
        """All settings of a broker that have a value."""
        return self._configs([ConfigResource(ResourceType.BROKER, str(broker.id))])[str(broker.id)]

    def topics(self, names: Iterable[str]) -> dict[str, Topic]:
        """Those of `names` that exist, with their settings. Asking creates none."""
        asked = self._client.describe_topics(TopicCollection(list(names)), request_timeout=self._timeout)
        found = {}
        for name, future in asked.items():
            try:
                found[name] = self._wait(future, f"describe topic {name}")
            except _NoSuchTopic:
                continue
        configs = self._configs([ConfigResource(ResourceType.TOPIC, name) for name in found]) if found else {}
        return {name: _topic(description, configs[name]) for name, description in found.items()}

    def create(self, wanted: Sequence[WantedTopic]) -> None:
        """Create topics, and wait until every partition of them has a leader that answers."""
        if not wanted:
            return
        new = [
            NewTopic(t.name, t.partitions, replication_factor=t.replication_factor, config=dict(t.config))
            for t in wanted
        ]

        def create() -> None:
            for name, future in self._client.create_topics(new, operation_timeout=self._timeout).items():
                self._wait(future, f"create topic {name}", accept=KafkaError.TOPIC_ALREADY_EXISTS)

        def answers() -> None:
            found = self._all([t.name for t in wanted])
            self.first_offsets({name: topic.partitions for name, topic in found.items()})

        for step in (create, answers):
            _patiently(step, refresh=self._refresh, seconds=_CREATION_SECONDS)

    def _all(self, names: Sequence[str]) -> dict[str, Topic]:
        """Like `topics`, of topics that must be there: one that is missing was not heard of yet."""
        found = self.topics(names)
        for name in names:
            if name not in found:
                raise _NoSuchTopic(f"cannot see topic {name}, which was just created", "Ask again in a moment")
        return found

    def end_offsets(self, topics: Mapping[str, int]) -> dict[tuple[str, int], int]:
        """The offset up to which every partition of `topics` (name: partition count) can be read, read_committed."""
        return self._offsets(topics, OffsetSpec.latest())

    def written_offsets(self, topics: Mapping[str, int]) -> dict[tuple[str, int], int]:
        """The offset after the last record of every partition, in transactions that are open too."""
        return self._offsets(topics, OffsetSpec.latest(), isolation=IsolationLevel.READ_UNCOMMITTED)

    def first_offsets(self, topics: Mapping[str, int]) -> dict[tuple[str, int], int]:
        """The first offset that is still kept in every partition of `topics` (name: partition count)."""
        return self._offsets(topics, OffsetSpec.earliest())

    def offsets_since(self, topics: Mapping[str, int], at_ms: int) -> dict[tuple[str, int], int]:
        """The offset of the first record with that time or a later one in every partition; its end where none is."""
        ends = self.end_offsets(topics)
        found = self._offsets(topics, OffsetSpec.for_timestamp(at_ms))
        return {place: ends[place] if at < 0 else at for place, at in found.items()}

    def _offsets(
        self, topics: Mapping[str, int], spec: OffsetSpec, *, isolation: IsolationLevel = IsolationLevel.READ_COMMITTED
    ) -> dict[tuple[str, int], int]:
        wanted = {TopicPartition(name, p): spec for name, count in topics.items() for p in range(count)}
        options: dict[str, Any] = {"isolation_level": isolation, "request_timeout": self._timeout}

        def ask() -> dict[tuple[str, int], int]:
            asked = self._client.list_offsets(wanted, **options) if wanted else {}
            return {
                (place.topic, place.partition): self._wait(future, f"list the offsets of {place.topic}").offset
                for place, future in asked.items()
            }

        return _patiently(ask, refresh=self._refresh)

    def group(self, name: str) -> Group:
        """A consumer group; one that never was has no members and no offsets."""
        return _patiently(lambda: self._group(name), refresh=self._refresh)

    def _group(self, name: str) -> Group:
        described = self._client.describe_consumer_groups([name], request_timeout=self._timeout)[name]
        try:
            found = self._wait(described, f"describe group {name}")
        except _NoSuchGroup:
            return Group(name=name, state="DEAD", members=(), committed={})
        wanted = ConsumerGroupTopicPartitions(name)
        listed = self._client.list_consumer_group_offsets([wanted], request_timeout=self._timeout)[name]
        committed = self._wait(listed, f"read the offsets of group {name}").topic_partitions
        return Group(
            name=name,
            state=found.state.name,
            members=tuple(_member(member) for member in found.members),
            committed={(place.topic, place.partition): place.offset for place in committed if place.offset >= 0},
        )

    def clock_difference_seconds(self, topic: str, *, clock: Callable[[], float] = time.time) -> float | None:
        """Seconds by which this machine's clock is behind (positive) or ahead of Kafka's; None where it may not ask.

        Kafka tells its time to nobody who only looks. A commit of a group that nobody uses makes the broker write one
        record with its own time into its offsets topic, which is read back; then the group is removed. No topic of
        ours is touched. What lies within the duration of the question itself counts as no difference.
        """
        group = f"{self._kafka.prefix}{PROBE_GROUP}"
        try:
            before, newest, after = _patiently(lambda: self._probe(group, topic, clock), refresh=self._refresh)
        except AdminError:
            return None
        finally:
            self._forget(group)
        return float(min(0.0, newest - before) or max(0.0, newest - after))

    def _probe(self, group: str, topic: str, clock: Callable[[], float]) -> tuple[float, float, float]:
        """Our time before, the newest time in the offsets topic, our time after; in seconds since 1970."""
        before = clock()
        commit = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 0)])
        asked = self._client.alter_consumer_group_offsets([commit], request_timeout=self._timeout)
        self._wait(asked[group], f"commit an offset of group {group}")
        described = self._client.describe_topics(TopicCollection([_OFFSETS_TOPIC]), request_timeout=self._timeout)
        partitions = len(self._wait(described[_OFFSETS_TOPIC], f"describe {_OFFSETS_TOPIC}").partitions)
        wanted = {TopicPartition(_OFFSETS_TOPIC, p): OffsetSpec.max_timestamp() for p in range(partitions)}
        listed = self._client.list_offsets(wanted, request_timeout=self._timeout).values()
        newest = max(self._wait(one, f"read {_OFFSETS_TOPIC}").timestamp for one in listed)
        if newest < 0:
            raise AdminError(f"{_OFFSETS_TOPIC} tells no time", "Compare the clocks by hand")
        return before, newest / 1000, clock()

    def _forget(self, group: str) -> None:
        removed = self._client.delete_consumer_groups([group], request_timeout=self._timeout)[group]
        try:
            self._wait(removed, f"remove group {group}")
        except AdminError:
            pass  # it has no members and no use, and Kafka forgets it after offsets.retention.minutes

    def leaderless(self) -> dict[str, tuple[int, ...]]:
        """All topics, whoever's, with partitions that nobody leads; and which."""
        found = {
            name: tuple(sorted(number for number, one in topic.partitions.items() if one.leader < 0))
            for name, topic in self._refresh().topics.items()
        }
        return {name: numbers for name, numbers in found.items() if numbers}

    def _refresh(self) -> Any:
        try:
            return self._client.list_topics(timeout=self._timeout)
        except KafkaException as raised:
            raise _translated(self._kafka, raised.args[0], "describe its topics") from None

    def _configs(self, resources: Sequence[ConfigResource]) -> dict[str, dict[str, str]]:
        asked = self._client.describe_configs(list(resources), request_timeout=self._timeout)
        return {
            resource.name: {
                name: entry.value
                for name, entry in self._wait(future, f"read the settings of {resource.name}").items()
                if entry.value is not None
            }
            for resource, future in asked.items()
        }

    def _wait(self, future: "Future[Answer]", what: str, *, accept: int | None = None) -> Answer:
        try:
            return future.result(timeout=self._timeout + 5)
        except KafkaException as raised:
            error: KafkaError = raised.args[0]
            if error.code() == accept:
                return None  # type: ignore[return-value]
            raise _translated(self._kafka, error, what) from None


class _NotYet(AdminError):
    """The same question will have an answer in a moment."""


def _patiently(
    ask: Callable[[], Answer], *, refresh: Callable[[], object], seconds: float = _PATIENCE_SECONDS
) -> Answer:
    """Ask again while the answer is that it is too early, for `seconds`.

    `refresh` makes the library look at the cluster anew: it would answer for many seconds from what it saw first.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except _NotYet:
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_SECONDS)
            refresh()


class _NoSuchTopic(_NotYet):
    """Also a topic that this broker has not heard of yet."""


class _NoSuchGroup(AdminError):
    pass


def _translated(kafka: KafkaSettings, error: KafkaError, what: str) -> Exception:
    if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        return _NoSuchTopic(f"cannot {what}: there is no such topic", "Run `headgate topics apply`")
    if error.code() == KafkaError.GROUP_ID_NOT_FOUND:
        return _NoSuchGroup(f"cannot {what}: there is no such group", "Start a worker")
    if error.code() in _GONE:
        return clients.KafkaUnreachable(kafka.bootstrap, f"it went away while asked to {what} ({error.str()})")
    if error.code() in _REFUSED:
        return AdminError(f"Kafka does not allow this user to {what}", f"Grant it ({error.name()}) with an ACL")
    if error.code() == KafkaError.INVALID_REPLICATION_FACTOR:
        return AdminError(
            f"cannot {what} with kafka.replication_factor {kafka.replication_factor}: {error.str()}",
            "Set HEADGATE_KAFKA_REPLICATION_FACTOR to at most the number of brokers",
        )
    kind = _NotYet if error.code() in _NOT_YET else AdminError
    return kind(f"cannot {what}: {error.str()} ({error.name()})", "The broker's log has the whole reason")


def _unreachable(kafka: KafkaSettings, reasons: Sequence[KafkaError]) -> clients.KafkaUnreachable:
    codes = {reason.code() for reason in reasons}
    text = re.sub(r"^\S+/(bootstrap|\d+): | \(after .*\)$", "", reasons[-1].str())
    if KafkaError._AUTHENTICATION in codes:
        return clients.KafkaUnreachable(kafka.bootstrap, text, "Mend kafka.sasl_username and kafka.sasl_password")
    if KafkaError._SSL in codes:
        return clients.KafkaUnreachable(kafka.bootstrap, text, "Mend kafka.security_protocol and kafka.ssl_cafile")
    if KafkaError._UNSUPPORTED_FEATURE in codes:
        return clients.KafkaUnreachable(kafka.bootstrap, text, "Name a broker's listener, not a controller's")
    if KafkaError._RESOLVE in codes:
        return clients.KafkaUnreachable(kafka.bootstrap, text, "Mend the host name in kafka.bootstrap")
    return clients.KafkaUnreachable(kafka.bootstrap, text)


def _topic(description: Any, config: Mapping[str, str]) -> Topic:
    return Topic(
        name=description.name,
        id=str(description.topic_id),
        partitions=len(description.partitions),
        replication_factor=min(len(p.replicas) for p in description.partitions),
        config=config,
        out_of_sync=tuple(p.id for p in description.partitions if len(p.isr) < len(p.replicas)),
        offline=tuple(p.id for p in description.partitions if p.leader is None or p.leader.id < 0),
    )


def _member(description: Any) -> Member:
    partitions: dict[str, list[int]] = {}
    for place in description.assignment.topic_partitions:
        partitions.setdefault(place.topic, []).append(place.partition)
    return Member(
        instance_id=description.group_instance_id or description.member_id,
        client_id=description.client_id,
        host=description.host,
        partitions={topic: tuple(sorted(numbers)) for topic, numbers in sorted(partitions.items())},
    )
