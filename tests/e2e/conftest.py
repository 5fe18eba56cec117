"""A service of one's own for each test, on the shared broker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.kafka.embedded import EmbeddedKafka
from tests.e2e.load import Load
from tests.e2e.service import Service
from tests.e2e.tally import Tally


@pytest.fixture
def service(kafka: EmbeddedKafka, kafka_prefix: str, tmp_path: Path) -> Iterator[Service]:
    """Topics and processes under a prefix of their own."""
    with Service(kafka, kafka_prefix, tmp_path / "service") as service:
        yield service


@pytest.fixture
def load(service: Service) -> Iterator[Load]:
    """Numbered events for the service."""
    with Load(service) as load:
        yield load


@pytest.fixture
def tally(service: Service) -> Iterator[Tally]:
    """The results of the service."""
    with Tally(service) as tally:
        yield tally
