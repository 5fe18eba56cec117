"""The Faust application: group membership, co-partitioned assignment, and records delivered in chunks.

Stock Faust delivers event by event through several tasks, acknowledges and commits with known gaps, and restores
tables record by record (ADR 0003). Here a Faust event is a chunk of records, offsets and state come from our journal,
and Faust's own recovery finds nothing left to read. `tests/integration/test_faust_app.py` fails when the internals that
are overridden here change.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol, cast

import faust
from faust.stores.memory import Store as MemoryStore
from faust.tables.base import Collection
from faust.tables.manager import TableManager
from faust.types import TP

from app.kafka import clients
from app.kafka.chunks import ChunkConsumer, ChunkTransport
from app.kafka.fetching import Fetching
from app.kafka.wire import Wire
from app.settings import Settings

BUFFERED_CHUNKS = 4
"""Chunks that may wait for an agent. A partition's room does not know of them."""


class Owner(Protocol):
    """Who owns the partitions, asked and told by the application."""

    def position(self, topic: str, partition: int) -> int | None:
        """Return the offset to fetch next from `events` or `commands`."""

    def has_room(self, topic: str, partition: int) -> bool:
        """Whether the partition takes another chunk now."""

    async def pause(self) -> None:
        """The group is about to change: stop after the appends in flight."""

    async def assign(self, partitions: frozenset[int], still: Callable[[], bool]) -> None:
        """Own exactly these partitions. `still`: whether the group has not given them to others meanwhile."""


class JournalTable(Collection):
    """The table whose changelog is the journal. Its content is the engine's state, kept by the pumps."""

    def _has_key(self, _key: Any) -> bool:
        return False

    def _get_key(self, key: Any) -> Any:
        raise KeyError(key)

    def _set_key(self, _key: Any, _value: Any) -> None:
        raise TypeError("the journal is written by the pump alone")

    def _del_key(self, _key: Any) -> None:
        raise TypeError("the journal is written by the pump alone")

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0

    def as_ansitable(self, **_kwargs: Any) -> str:
        return ""

    def hopping(self, *_args: Any, **_kwargs: Any) -> Any:
        raise TypeError("the journal has no windows")

    tumbling = hopping
    using_window = hopping

    def _new_store(self) -> Any:
        return MemoryStore("memory://", self.app, self, table_name=self.name, loop=self.loop)

    def apply_changelog_batch(self, batch: Any) -> None:
        """Nothing: the takeover restored the partition."""

    async def on_rebalance(
        self,
        assigned: set[TP],
        revoked: set[TP],  # noqa: ARG002 Faust's signature, here and below
        newly_assigned: set[TP],  # noqa: ARG002
        generation_id: int = 0,  # noqa: ARG002
    ) -> None:
        app = cast("HeadgateApp", self.app)
        await app.assigned(assigned)


class PromptTableManager(TableManager):
    """Starts without Faust's second of waiting for tables that are declared late: ours is there before."""

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


class HeadgateApp(faust.App):
    """The application of one worker. `failed` is told of an error that must end the process."""

    owner: Owner
    fetching: Fetching
    failed: Callable[[BaseException], None]
    home: asyncio.AbstractEventLoop
    """Where `failed` is called: the consumer crashes in a thread of its own."""
    events_topic: str
    commands_topic: str

    def position(self, tp: TP) -> int | None:
        name = self._input(tp.topic)
        return None if name is None else self.owner.position(name, tp.partition)

    def has_room(self, tp: TP) -> bool:
        name = self._input(tp.topic)
        return name is None or self.owner.has_room(name, tp.partition)

    def is_input(self, tp: TP) -> bool:
        return self._input(tp.topic) is not None

    def _input(self, topic: str) -> str | None:
        if topic == self.events_topic:
            return "events"
        return "commands" if topic == self.commands_topic else None

    async def assigned(self, assigned: set[TP]) -> None:
        partitions = frozenset(tp.partition for tp in assigned if tp.topic == self.events_topic)
        try:
            await self.owner.assign(partitions, cast(ChunkConsumer, self.consumer).membership())
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.failed(error)
            raise

    def _crash(self, reason: BaseException) -> None:
        """A part of Faust ended, and nothing would be read any more: say so at once, and what the reason was."""
        super()._crash(reason)
        self.home.call_soon_threadsafe(self.failed, reason)

    def _create_directories(self) -> None:
        """Make none: Faust would put them into the working directory, which may be read-only. No table needs them."""


def build(settings: Settings, owner: Owner, wire: Wire, failed: Callable[[BaseException], None]) -> HeadgateApp:
    """Return the application of a worker, with its agents' topics not yet declared (app.agents does that)."""
    kafka, worker = settings.kafka, settings.worker
    for name in (__name__, ChunkConsumer.__module__, "faust", "mode"):  # a service logs under its module's name
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what must be said of a failure, `failed` says once
    app = HeadgateApp(
        settings.consumer_group,
        broker=["kafka://" + one for one in kafka.bootstrap.split(",")],
        broker_client_id=clients.CLIENT_ID,
        broker_credentials=_credentials(settings),
        broker_session_timeout=worker.session_timeout_seconds,
        broker_heartbeat_interval=worker.session_timeout_seconds / 4,
        broker_rebalance_timeout=60.0,
        broker_max_poll_interval=86_400.0,
        broker_max_poll_records=None,
        broker_commit_interval=3_600.0,
        broker_request_timeout=kafka.request_timeout_seconds + worker.session_timeout_seconds,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=worker.instance_id,
        topic_allow_declare=False,
        topic_disable_leader=True,
        topic_partitions=kafka.partitions,
        table_standby_replicas=0,
        stream_wait_empty=False,
        stream_buffer_maxsize=BUFFERED_CHUNKS,
        stream_recovery_delay=0.0,
        store="memory://",
        web_enabled=False,
        TableManager=PromptTableManager,
        key_serializer="raw",
        value_serializer="raw",
        processing_guarantee="at_least_once",
    )
    app.owner = owner
    app.failed = failed
    app.fetching = Fetching(wire)
    app.home = asyncio.get_running_loop()
    app.events_topic = kafka.prefix + "events"
    app.commands_topic = kafka.prefix + "commands"
    app.transport = ChunkTransport(app.conf.broker_consumer, app)
    table = JournalTable(
        app,
        name=f"{kafka.prefix}journal",
        partitions=kafka.partitions,
        changelog_topic=app.topic(kafka.prefix + "journal", key_type=bytes, value_type=bytes, internal=True),
        key_type=bytes,
        value_type=bytes,
    )
    app.tables.add(table)

    async def revoked(_app: Any, _revoked: Any, **_kwargs: Any) -> None:
        try:
            await owner.pause()
        except BaseException as error:
            failed(error)
            raise

    app.on_partitions_revoked.connect(cast(Any, revoked), weak=False)
    return app


def _credentials(settings: Settings) -> Any:
    kafka = settings.kafka
    if kafka.security_protocol == "PLAINTEXT":
        return None
    context = clients.ssl_context(kafka) if kafka.security_protocol.endswith("SSL") else None
    if kafka.security_protocol == "SSL":
        return faust.SSLCredentials(context)
    password = None if kafka.sasl_password is None else kafka.sasl_password.get_secret_value()
    return faust.SASLCredentials(
        username=kafka.sasl_username, password=password, ssl_context=context, mechanism=kafka.sasl_mechanism
    )
