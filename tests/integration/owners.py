"""Owners of one partition on a real broker, each with connections of its own, as in a process of its own."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from app.engine.values.limits import Limits
from app.kafka import clients, provisioning
from app.kafka.admin import Admin
from app.kafka.appender import Appender
from app.kafka.journal import KafkaLog
from app.kafka.log import Entry, LogRecord
from app.kafka.sender import Sender
from app.kafka.wire import Wire
from app.pump.takeover import Owner, Taken, take_over
from app.settings import Settings
from topics import catalog

FIRST_MS = 1_800_000_000_000


@dataclass(slots=True, kw_only=True)
class Partition:
    """Partition 0 of an installation that has no other, and whoever wants to own it."""

    settings: Settings
    topic_ids: dict[str, str]
    stack: AsyncExitStack
    request_timeout_ms: int
    owners: list[KafkaLog] = field(default_factory=list)

    @property
    def limits(self) -> Limits:
        return Limits(partitions=1, prefix=self.settings.kafka.prefix)

    async def owner(self) -> KafkaLog:
        """Return a log that has claimed nothing yet."""
        config = clients.aiokafka_config(self.settings.kafka) | {"request_timeout_ms": self.request_timeout_ms}
        prefix = self.settings.kafka.prefix
        wire, sender = Wire(config), Sender(config, prefix=prefix)
        await wire.start()
        self.stack.push_async_callback(wire.close)
        await sender.start()
        self.stack.push_async_callback(sender.close)
        await wire.know([prefix + name for name, one in catalog.CATALOG.items() if one.co_partitioned])
        appender = Appender(wire)
        self.stack.push_async_callback(appender.close)
        log = KafkaLog(0, prefix=prefix, wire=wire, appender=appender, sender=sender, topic_ids=self.topic_ids)
        self.stack.push_async_callback(log.close)
        self.owners.append(log)
        return log

    async def taken(self, name: str = "w") -> tuple[KafkaLog, Taken]:
        """Return an owner that has gone through the whole takeover."""
        log = await self.owner()
        return log, await self.take_over(log, name)

    async def take_over(self, log: KafkaLog, name: str = "w") -> Taken:
        owner = Owner(worker=f"process-{len(self.owners)}", instance_id=name)
        return await take_over(log, owner, self.limits, now_ms=_now_ms, stop_ms=10**15, warn_ms=10**15)


def _now_ms() -> int:
    return FIRST_MS


@asynccontextmanager
async def partition(
    bootstrap: str, prefix: str, *, request_timeout_ms: int = 30_000, journal: dict[str, str] | None = None
) -> AsyncIterator[Partition]:
    """Make the topics of a new installation; `journal` are settings of that topic that win over the catalog's."""
    settings = Settings.load(
        {"kafka.bootstrap": bootstrap, "kafka.prefix": prefix, "kafka.partitions": 1}, dev=True, environ={}
    )
    admin = Admin.connect(settings.kafka)
    wanted = provisioning.wanted(settings.kafka)
    for topic in wanted:
        if topic.name == f"{prefix}journal":
            topic.config.update(journal or {})  # type: ignore[attr-defined]
    admin.create(wanted)
    names = {name: prefix + name for name, one in catalog.CATALOG.items() if one.co_partitioned}
    found = admin.topics(names.values())
    async with AsyncExitStack() as stack:
        yield Partition(
            settings=settings,
            topic_ids={name: found[qualified].id for name, qualified in names.items()},
            stack=stack,
            request_timeout_ms=request_timeout_ms,
        )


def entries(*keys: str, value: bytes | None = b'{"r":1}', **options: Any) -> list[Entry]:
    return [Entry(key.encode(), value, **options) for key in keys]


async def read(log: KafkaLog, topic: str = "journal") -> list[LogRecord]:
    """Return all committed records of a topic."""
    start, end = await log.bounds(topic)
    found: list[LogRecord] = []
    async for records in log.read(topic, start, end):
        found.extend(records)
    return found


def keys_of(records: Sequence[LogRecord]) -> list[str]:
    return [(one.key or b"").decode() for one in records]
