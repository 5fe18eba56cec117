"""What tests on a real broker share: settings, the command line, and kinds of sources that they write themselves."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from app.cli import main
from app.kafka.embedded import EmbeddedKafka
from app.settings import Settings
from connectors.base.contract import Item, Moved, Site
from connectors.base.kinds import registry
from tests.integration.gateway_process import make_topics, settings_for
from tests.integration.kafka_source import Cluster
from tests.unit.connectors.base.framed import Reads, kind_of
from tests.unit.connectors.standing import StandIn


@pytest.fixture
def settings(kafka: EmbeddedKafka, kafka_prefix: str) -> Settings:
    """Settings of a gateway whose topics are there."""
    made = settings_for(kafka.bootstrap, kafka_prefix)
    make_topics(made)
    return made


@pytest.fixture
def run(
    kafka: EmbeddedKafka, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs `headgate` with topics that are there; the exit code must be the expected one.

    Returns what it printed on standard output, with `errors` what it said on the other one as well.
    """
    monkeypatch.setenv("HEADGATE_KAFKA_BOOTSTRAP", kafka.bootstrap)
    monkeypatch.setenv("HEADGATE_KAFKA_PREFIX", kafka_prefix)

    def call(*arguments: str, code: int = 0, errors: bool = False) -> str:
        assert main.run(list(arguments)) == code
        found = capsys.readouterr()
        return found.out + found.err if errors else found.out

    call("topics", "apply")
    return call


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Reads], None]:
    """Adds a kind of source that reads as a test says."""
    kinds: dict[str, registry.Kind] = {}
    known = registry.load
    monkeypatch.setattr(registry, "load", lambda name: kinds[name] if name in kinds else known(name))

    def add(name: str, reads: Reads) -> None:
        kinds[name] = kind_of(reads, name)

    return add


@pytest.fixture
def idle(scripted: Callable[[str, Reads], None]) -> list[str]:
    """Adds the kind `idle`, which connects and has nothing to read; returns whose connections there were."""
    read: list[str] = []

    async def reads(site: Site, number: int) -> AsyncIterator[Item]:
        read.append(site.instance_id)
        site.connected()
        yield Moved(position=number)
        await asyncio.get_running_loop().create_future()

    scripted("idle", reads)
    return read


@pytest.fixture
def cluster(kafka: EmbeddedKafka, kafka_prefix: str) -> Cluster:
    """The broker, as sources of kind `kafka` see it."""
    return Cluster(kafka.bootstrap, kafka_prefix)


@pytest.fixture
def site() -> StandIn:
    """What such a source is given, with a real clock."""
    return StandIn(real_time=True)
