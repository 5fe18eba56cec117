"""Fixtures that all kinds of tests share: one real Kafka for the whole session, and brokers of one's own."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.kafka.embedded import EmbeddedKafka

_prefixes = itertools.count(1)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """A running Kafka, shared by the whole session: leave it running, and work under `kafka_prefix` alone."""
    with EmbeddedKafka(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture
def kafka_prefix() -> str:
    """A prefix of topics, groups and transactional ids that no other test of the session uses."""
    return f"test{next(_prefixes)}."


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[Callable[..., EmbeddedKafka]]:
    """Makes brokers that the test may kill, pause and restart: `own_kafka(overrides={...}).start()`.

    The arguments are those of EmbeddedKafka; `data` is a folder of the test unless it is given.
    """
    made: list[EmbeddedKafka] = []

    def make(data: Path | None = None, **options: Any) -> EmbeddedKafka:
        broker = EmbeddedKafka(data or tmp_path / f"kafka{len(made)}", **options)
        made.append(broker)
        return broker

    yield make
    for broker in made:
        broker.stop()
