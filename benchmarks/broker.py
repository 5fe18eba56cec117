"""The broker under all sides: the embedded Apache Kafka, or one that runs already; topics made and deleted by round."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where it listens, and its process if it is on this machine."""

    bootstrap: str
    pid: int | None


@contextmanager
def running(kafka: str | None, port: int | None) -> Iterator[Broker]:
    """Yield the broker at `kafka`, or an embedded one on `port` in a fresh folder."""
    if kafka is not None:
        yield _prepared(Broker(bootstrap=kafka, pid=_listener(kafka)))
        return
    from app.kafka.embedded import EmbeddedKafka, Tuning

    with (
        tempfile.TemporaryDirectory(prefix="headgate-bench-kafka-") as data,
        EmbeddedKafka(Path(data), port=port, tuning=Tuning.LOAD) as node,
    ):
        yield _prepared(Broker(bootstrap=node.bootstrap, pid=node.pid))


def create(broker: Broker, names: list[str], *, partitions: int) -> None:
    """Create topics with one replica; each must be new."""
    admin = _admin(broker)  # held until its futures are done
    made = admin.create_topics([NewTopic(name, num_partitions=partitions, replication_factor=1) for name in names])
    for future in made.values():
        future.result()


def delete(broker: Broker, prefix: str) -> None:
    """Delete every topic whose name begins with `prefix`, and the groups likewise: each round leaves nothing behind."""
    admin = _admin(broker)
    names = [name for name in admin.list_topics(timeout=30).topics if name.startswith(prefix)]
    if names:
        for future in admin.delete_topics(names, operation_timeout=60).values():
            try:
                future.result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise


def _prepared(broker: Broker) -> Broker:
    """Free the disk of deleted topics after a second instead of a minute."""
    admin = _admin(broker)
    resources = [
        ConfigResource(
            ResourceType.BROKER,
            str(number),
            incremental_configs=[
                ConfigEntry("log.segment.delete.delay.ms", "1000", incremental_operation=AlterConfigOpType.SET)
            ],
        )
        for number in admin.list_topics(timeout=30).brokers
    ]
    for future in admin.incremental_alter_configs(resources).values():
        future.result()
    return broker


def _admin(broker: Broker) -> AdminClient:
    return AdminClient({"bootstrap.servers": broker.bootstrap})


def _listener(bootstrap: str) -> int | None:
    """Return the process that listens on the port, if it is one of this machine that we may see."""
    port = int(bootstrap.rpartition(":")[2])
    for process in psutil.process_iter():
        try:
            connections = process.net_connections(kind="tcp")
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
        if any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in connections):
            return int(process.pid)
    return None
