"""A cluster of values: what an Admin would say, without a broker."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from app.cli import cluster
from app.kafka.admin import Broker, Group, Topic, WantedTopic
from app.kafka.broker_version import BrokerVersion
from app.settings import Settings

NOBODY = Group(name="headgate.worker", state="DEAD", members=(), committed={})


@dataclass(kw_only=True)
class FakeAdmin:
    """Holds topics as Kafka would; `create` adds to them."""

    found: dict[str, Topic] = field(default_factory=dict)
    config: dict[str, str] = field(default_factory=lambda: {"auto.create.topics.enable": "false"})
    nodes: tuple[Broker, ...] = (Broker(id=1, host="a", port=1),)
    speaks: BrokerVersion = field(default_factory=lambda: BrokerVersion(release="4.3", at_least_4_0=True))
    workers: Group = field(
        default_factory=lambda: Group(name="headgate.worker", state="DEAD", members=(), committed={})
    )
    ends: dict[tuple[str, int], int] = field(default_factory=dict)
    stable: dict[tuple[str, int], int] = field(default_factory=dict)
    """Where the open transaction of a partition begins."""
    clock: float | None = 0.0
    lost: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def leaderless(self) -> dict[str, tuple[int, ...]]:
        return self.lost

    def brokers(self) -> tuple[Broker, ...]:
        return self.nodes

    def version(self, broker: Broker) -> BrokerVersion:
        assert broker in self.nodes
        return self.speaks

    def broker_config(self, broker: Broker) -> dict[str, str]:
        assert broker in self.nodes
        return self.config

    def topics(self, names: Iterable[str]) -> dict[str, Topic]:
        return {name: self.found[name] for name in names if name in self.found}

    def create(self, wanted: Sequence[WantedTopic]) -> None:
        for topic in wanted:
            self.found[topic.name] = Topic(
                name=topic.name,
                id="x",
                partitions=topic.partitions,
                replication_factor=topic.replication_factor,
                config=dict(topic.config),
            )

    def group(self, name: str) -> Group:
        assert name == self.workers.name
        return self.workers

    def end_offsets(self, topics: Mapping[str, int]) -> dict[tuple[str, int], int]:
        return self.written_offsets(topics) | {where: at for where, at in self.stable.items() if where[0] in topics}

    def written_offsets(self, topics: Mapping[str, int]) -> dict[tuple[str, int], int]:
        return {(name, p): self.ends.get((name, p), 0) for name, count in topics.items() for p in range(count)}

    def first_offsets(self, topics: Mapping[str, int]) -> dict[tuple[str, int], int]:
        return {(name, p): 0 for name, count in topics.items() for p in range(count)}

    def clock_difference_seconds(self, topic: str) -> float | None:
        assert topic in self.found
        return self.clock


@pytest.fixture
def admin() -> FakeAdmin:
    return FakeAdmin()


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of development, whatever the machine's environment says; no gateway answers at their address."""
    return Settings.load({"gateway.url": "http://127.0.0.1:1"}, dev=True, environ={})


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch, admin: FakeAdmin, settings: Settings) -> Callable[[], cluster.Cluster]:
    """Makes every command find this cluster."""
    made = cluster.Cluster(admin=admin, settings=settings, development=False)  # type: ignore[arg-type]
    monkeypatch.setattr(cluster, "connect", lambda: made)
    return cluster.connect
