"""A runner of the frame around a source that a test writes: the broker is a list, the kinds are the test's."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from connectors.base.closing import end
from connectors.base.contract import Delivery, Item, Received, Refused, Site
from connectors.base.instance.events import Outgoing
from connectors.base.instance.runner import Runner
from connectors.base.instance.site import Around
from connectors.base.instance.watched import Watched
from connectors.base.kinds import registry
from connectors.base.metrics import SourceMetrics
from connectors.base.options import Field, Options, SecretStr
from connectors.base.reach.egress import Policy
from connectors.base.reach.folders import Folders
from connectors.base.reach.http import ClientHttp
from connectors.base.texts.secrets import EVERY, Variables
from topics.facts import Record
from topics.sources import Cursor, Spec

Reads = Callable[[Site, int], AsyncIterator[Item]]
"""Called for each connection, with its number."""
Use = Callable[[Reads], None]
FAST: Final = {"base_seconds": 0.01, "max_seconds": 0.1}
"""Pauses between connections."""


class Config(Options):
    """What the kind `scripted` takes."""

    token: SecretStr = Field(default=SecretStr("none"), description="A secret.")
    count: int = Field(default=1, description="A number.")


class Scripted:
    """A source whose reading the test has written."""

    def __init__(self, reads: Reads, config: Config, site: Site) -> None:
        self._reads, self._site, self._connections = reads, site, 0
        self.config = config

    def read(self) -> AsyncIterator[Item]:
        self._connections += 1
        return self._reads(self._site, self._connections)

    async def send(self, message: Mapping[str, Any], *, key: str) -> Mapping[str, Any] | None:
        if message.get("refuse"):
            raise Refused("not this one")
        return {"sent": dict(message), "key": key}


class Broker:
    """What has been published. While `away`, `publish` waits."""

    def __init__(self) -> None:
        self.events: list[Outgoing] = []
        self.letters: list[Record] = []
        self.back = asyncio.Event()
        self.back.set()
        self.told = asyncio.Event()

    async def publish(self, events: Sequence[Outgoing], letters: Sequence[Record]) -> None:
        await self.back.wait()
        self.events += events
        self.letters += letters
        self.told.set()


class Framed:
    """One runner and everything around it."""

    def __init__(
        self,
        spec: Spec,
        *,
        cursor: Cursor | None = None,
        environment: Mapping[str, str] | None = None,
        secret_names: Sequence[str] = EVERY,
        delivery: str = "exactly-once",
    ) -> None:
        self.broker = Broker()
        self.held = asyncio.Event()
        self.held.set()
        self.metrics = SourceMetrics()
        self.cursors: list[Cursor] = []
        self._epochs = 0
        around = Around(
            publish=self.broker.publish,
            lease=self._lease,
            http=lambda heard: ClientHttp(Policy(allowed=("*",)), heard=heard),
            resolve=Policy(allowed=("*",)).resolve,
            metrics=self.metrics,
            secrets_folder=None,
            folders=Folders(allowed=("/",)),
            event_bytes=10_000,
            environment=Variables(of_process=environment or {}, patterns=secret_names),
        )
        self.watched = Watched(spec, owner="me", delivery=delivery, metrics=self.metrics)
        self.runner = Runner(spec, around, self.watched, epoch=self._epoch, cursor=cursor)
        self.runner.moved = self.cursors.append

    def _epoch(self) -> str:
        self._epochs += 1
        return f"e{self._epochs}"

    async def _lease(self) -> None:
        await self.held.wait()


@asynccontextmanager
async def running(framed: Framed) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(framed.runner.run())
    try:
        yield task
    finally:
        await end([task])


def kind_of(reads: Reads, name: str = "scripted") -> registry.Kind:
    return registry.Kind(
        name=name,
        meaning="Scripted.",
        delivery=Delivery.EXACTLY_ONCE,
        example={},
        config=Config,
        make=lambda config, site: Scripted(reads, config, site),
        module=None,
    )


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Use]:
    """Makes the kind `scripted` read as a test says."""

    def use(reads: Reads) -> None:
        kind = kind_of(reads)
        known = registry.load

        def load(name: str) -> registry.Kind:
            return kind if name == "scripted" else known(name)

        monkeypatch.setattr(registry, "load", load)

    yield use  # noqa: PT022 the patch ends with the test


def spec(**fields: Any) -> Spec:
    return Spec(id="src", kind="scripted", **fields)


def event(number: int, **fields: Any) -> Received:
    return Received(id=f"id{number}", event_type="made", data={"n": number}, **fields)


async def for_ever() -> None:
    await asyncio.get_running_loop().create_future()
