"""What is relied on inside Faust (ADR 0003): chunks, positions from the journal, and a recovery that reads nothing.

A new release of faust-streaming has to pass this file before anything else is looked at.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Sized
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import faust
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.protocol.group import LeaveGroupRequest
from faust.tables.base import Collection
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.transport import consumer as base
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import ConsumerMessage

from app.kafka import chunks, clients, faust_app, fetching, provisioning
from app.kafka.admin import Admin
from app.kafka.embedded import EmbeddedKafka
from app.kafka.wire import Wire
from app.settings import Settings
from topics import catalog

PARTITIONS = 4
PATIENCE_SECONDS = 30.0


# --- names and signatures -------------------------------------------------------------------------------------------


def _parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (chunks.ChunkConsumer.getmany, base.Consumer.getmany),
        (chunks.ChunkConsumer.perform_seek, base.Consumer.perform_seek),
        (chunks.ChunkConsumer.highwaters, base.Consumer.highwaters),
        (chunks.ChunkConsumer.earliest_offsets, base.Consumer.earliest_offsets),
        (chunks.ChunkConsumer.on_buffer_full, base.Consumer.on_buffer_full),
        (chunks.ChunkConsumer._add_gap, base.Consumer._add_gap),
        (chunks.ChunkConsumer.verify_event_path, driver.Consumer.verify_event_path),
        (faust_app.JournalTable.on_rebalance, Collection.on_rebalance),
        (faust_app.JournalTable.apply_changelog_batch, None),
        (faust_app.JournalTable._new_store, Collection._new_store),
        (faust_app.HeadgateApp._create_directories, faust.App._create_directories),
    ],
)
def test_what_is_overridden_is_there_with_the_same_parameters(
    ours: Callable[..., Any], theirs: Callable[..., Any] | None
) -> None:
    if theirs is None:  # Collection names them `*args`
        assert Collection.apply_changelog_batch is not None
        return
    assert _parameters(ours) == _parameters(theirs)


def test_what_is_called_inside_the_consumer_is_there() -> None:
    assert _parameters(base.Consumer._get_active_partitions) == ["self"]
    assert _parameters(driver.Consumer._commit) == ["self", "offsets"]
    assert _parameters(base.Consumer.highwaters)[1:] == ["partitions"]
    made_by_init = inspect.getsource(base.Consumer.__init__)
    for attribute in ("can_resume_flow", "not_waiting_next_records", "_read_offset"):
        assert f"self.{attribute}" in made_by_init
    for attribute in ("flow_active", "wait", "should_stop", "assignment"):
        assert hasattr(driver.Consumer, attribute)
    assert "generation_id" in inspect.getsource(ConsumerMessage.__init__)
    assert {"_has_key", "_get_key", "_set_key", "_del_key", "_new_store"} <= set(dir(Collection))


def test_the_consumer_of_the_thread_can_be_kept_from_fetching() -> None:
    made_by_init = inspect.getsource(Fetcher.__init__)
    assert "self._fetch_task = create_task(" in made_by_init
    assert "self._subscriptions = " in made_by_init
    assert _parameters(SubscriptionState.fetch_context) == ["self"]


def test_heartbeats_can_begin_before_partitions_are_taken_over() -> None:
    assert "await self._on_join_complete(" in inspect.getsource(GroupCoordinator._do_rejoin_group)
    assert "if self._heartbeat_task is None" in inspect.getsource(GroupCoordinator._start_heartbeat_task)
    assert inspect.iscoroutinefunction(GroupCoordinator._on_join_complete)


def test_who_is_not_in_the_group_any_more_has_no_generation() -> None:
    source = inspect.getsource(GroupCoordinator.reset_generation)
    assert "self.generation = OffsetCommitRequest.DEFAULT_GENERATION_ID" in source


def test_recovery_asks_for_the_ends_of_changelogs_and_says_when_it_is_done() -> None:
    assert "consumer.highwaters" in inspect.getsource(Recovery._build_highwaters)
    assert "consumer.earliest_offsets" in inspect.getsource(Recovery._build_offsets)
    assert "self.completed" in inspect.getsource(Recovery.__init__)
    assert "table.on_rebalance" in inspect.getsource(TableManager.on_rebalance)


# --- on a broker ----------------------------------------------------------------------------------------------------


class Owner:
    """Owns what it is given, and remembers what it was told."""

    app: Any
    """Whose partitions these are."""

    def __init__(self, start: int = 0) -> None:
        self.start = start
        self.room = True
        self.taking = asyncio.Event()
        """Whether the agent takes what waits for it."""
        self.taking.set()
        self.assigned: list[frozenset[int]] = []
        self.paused = 0
        self.chunks: list[tuple[str, int, Any]] = []
        self.failures: list[BaseException] = []
        self.changelog: list[Any] = []

    def position(self, topic: str, partition: int) -> int | None:
        return self.start if topic == "events" else 0

    def has_room(self, topic: str, partition: int) -> bool:
        return self.room

    async def pause(self) -> None:
        self.paused += 1

    async def assign(self, partitions: frozenset[int], still: Callable[[], bool]) -> None:
        self.assigned.append(partitions)

    def offsets(self, partition: int) -> list[int]:
        return [record.offset for _, number, chunk in self.chunks if number == partition for record in chunk]

    def has_read(self, partition: int, offsets: Iterable[int]) -> bool:
        return self.offsets(partition) == list(offsets)

    def went_on_from(self, start: int, partition: int) -> bool:
        """Whether it read 10 records, and after each change of the group (one or more) those from `start` on."""
        again = self.offsets(partition)[10:]
        once = list(range(start, 10))
        return bool(again) and again == once * (len(again) // len(once))

    def told(self) -> str:
        offsets = {partition: self.offsets(partition) for partition in range(PARTITIONS)}
        return f"assigned {self.assigned}, paused {self.paused} times, read {offsets}, failures {self.failures}"


def _settings(kafka: EmbeddedKafka, prefix: str, instance_id: str) -> Settings:
    return Settings.load(
        {
            "kafka.bootstrap": kafka.bootstrap,
            "kafka.prefix": prefix,
            "kafka.partitions": PARTITIONS,
            "worker.group": f"{prefix}worker",
            "worker.instance_id": instance_id,
        },
        dev=True,
        environ={},
    )


@asynccontextmanager
async def _running(settings: Settings, owner: Owner) -> AsyncIterator[faust_app.HeadgateApp]:
    wire = Wire(clients.aiokafka_config(settings.kafka))
    await wire.start()
    await wire.know([settings.kafka.prefix + name for name in ("events", "commands")])
    owner.app = app = faust_app.build(settings, owner, wire, owner.failures.append)
    for table in app.tables.values():
        table.apply_changelog_batch = owner.changelog.append

    async def take(stream: Any) -> None:
        async for event in stream.noack().events():
            await owner.taking.wait()
            owner.chunks.append((event.message.topic, event.message.partition, event.value.take()))

    channel = app.topic(
        app.events_topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
    )
    app.agent(channel, name="events")(take)
    await app.start()
    try:
        yield app
    finally:
        await app.stop()
        await app.fetching.close()
        await wire.close()


async def _produce(settings: Settings, topic: str, count: int, *, key: bytes | None = None) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as producer:
        sends = [
            await producer.send(settings.kafka.prefix + topic, b"%d" % number, key=key, partition=number % PARTITIONS)
            for number in range(count)
        ]
        await asyncio.gather(*sends)


def _make_topics(settings: Settings) -> None:
    provisioning.apply(Admin.connect(settings.kafka), settings.kafka)


def _recovery(app: faust_app.HeadgateApp) -> Recovery:
    return cast(TableManager, app.tables).recovery


async def _until(holds: Callable[[], object], what: str, else_show: Callable[[], str] = str) -> None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not holds():  # noqa: ASYNC110 it changes without an event
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"never: {what}; {else_show()}") from None


def _longer_than(asked: Sized, before: int) -> bool:
    return len(asked) > before


def _complete(owner: Owner, wanted: Iterable[int]) -> bool:
    wanted = list(wanted)
    return all(owner.has_read(partition, wanted) for partition in range(PARTITIONS))


async def test_chunks_of_records_come_from_where_the_journal_says(kafka: EmbeddedKafka, kafka_prefix: str) -> None:
    settings = _settings(kafka, kafka_prefix, "w0")
    await asyncio.to_thread(_make_topics, settings)
    await _produce(settings, "events", 400)
    owner = Owner(start=30)
    async with _running(settings, owner):
        await _until(lambda: _complete(owner, range(30, 100)), "everything from offset 30 on is delivered, once")
        assert all(type(chunk) is list for _, _, chunk in owner.chunks)
        assert len(owner.chunks) < 70, "records travel in chunks"
        await _produce(settings, "events", 40)
        await _until(lambda: _complete(owner, range(30, 110)), "what comes later is delivered")
    assert owner.assigned[-1] == frozenset(range(PARTITIONS))
    assert not owner.failures


async def test_recovery_reads_nothing_of_the_journal(kafka: EmbeddedKafka, kafka_prefix: str) -> None:
    settings = _settings(kafka, kafka_prefix, "w0")
    await asyncio.to_thread(_make_topics, settings)
    await _produce(settings, "journal", 2_000, key=b"k")
    owner = Owner()
    async with _running(settings, owner) as app:
        await _until(_recovery(app).completed.is_set, "recovery is over")
        await _produce(settings, "events", 4)
        await _until(lambda: _complete(owner, range(1)), "events are delivered")
        assert owner.changelog == []
        assert not _recovery(app).in_recovery
        assert _recovery(app).active_remaining_total() == 0
    assert not owner.failures


async def test_nothing_is_fetched_for_a_partition_without_room(kafka: EmbeddedKafka, kafka_prefix: str) -> None:
    settings = _settings(kafka, kafka_prefix, "w0")
    await asyncio.to_thread(_make_topics, settings)
    await _produce(settings, "events", 40)
    owner = Owner()
    owner.room = False
    async with _running(settings, owner) as app:
        await _until(lambda: owner.assigned and _recovery(app).completed.is_set(), "it is assigned")
        asked = 0

        def crowded(topic: str, partition: int) -> bool:
            nonlocal asked
            asked += 1
            return asked > 100

        owner.has_room = crowded  # type: ignore[method-assign]
        await _until(lambda: asked > 50, "it asks again and again")
        assert owner.chunks == []
        await _until(lambda: _complete(owner, range(10)), "with room, everything is delivered")


async def test_partitions_that_fill_up_hold_back_no_other(kafka: EmbeddedKafka, kafka_prefix: str) -> None:
    settings = _settings(kafka, kafka_prefix, "w0")
    await asyncio.to_thread(_make_topics, settings)
    owner = Owner()
    full: set[int] = set()

    def has_room(topic: str, partition: int) -> bool:
        return partition not in full

    owner.has_room = has_room  # type: ignore[method-assign]
    async with _running(settings, owner):
        sent = 0
        for closed in ({0}, {0, 1, 2}, set(), {1, 2}, {3}, set()):
            full.clear()
            full.update(closed)
            await _produce(settings, "events", 4)
            sent += 1
            for number in set(range(PARTITIONS)) - closed:
                await _until(partial(owner.has_read, number, range(sent)), f"{number} is read")
        assert _complete(owner, range(sent))
    assert not owner.failures


async def test_every_partition_is_asked_for_while_chunks_wait_for_the_agent(
    kafka: EmbeddedKafka, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _settings(kafka, kafka_prefix, "w0")
    await asyncio.to_thread(_make_topics, settings)
    owner = Owner()
    async with _running(settings, owner) as app:
        await _produce(settings, "events", 4)
        await _until(lambda: _complete(owner, range(1)), "it reads")
        asked: list[int] = []
        some = app.fetching.some

        def recorded(wanted: Any, **more: Any) -> Any:
            asked.append(len(wanted))
            return some(wanted, **more)

        monkeypatch.setattr(app.fetching, "some", recorded)
        owner.taking.clear()
        # One more than waits in the buffer is in the agent's hands.
        for number in range(1, faust_app.BUFFERED_CHUNKS + 2):
            more = partial(_longer_than, asked, len(asked))
            await _produce(settings, "events", 1)
            await _until(more, f"it has fetched {number} and asks for more")
        assert asked == [PARTITIONS] * len(asked)
        owner.taking.set()
        await _until(lambda: owner.has_read(0, range(faust_app.BUFFERED_CHUNKS + 2)), "all is read")
    assert not owner.failures


async def test_crash_inside_faust_is_told_at_once_and_with_its_reason(
    kafka: EmbeddedKafka, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _settings(kafka, kafka_prefix, "w0")
    await asyncio.to_thread(_make_topics, settings)
    owner = Owner()
    async with _running(settings, owner):
        await _until(lambda: owner.assigned, "it is assigned")

        def broken(*_args: Any, **_more: Any) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(fetching.Fetching, "_poll", broken)
        await _until(lambda: owner.failures, "the failure is told")
        assert {type(failure) for failure in owner.failures} == {ZeroDivisionError}


async def test_group_changes_pause_the_owner_and_seek_anew(kafka: EmbeddedKafka, kafka_prefix: str) -> None:
    settings = _settings(kafka, kafka_prefix, "w0")
    await asyncio.to_thread(_make_topics, settings)
    await _produce(settings, "events", 40)
    first, second = Owner(), Owner()
    async with _running(settings, first):
        await _until(lambda: _complete(first, range(10)), "the first one has everything")
        generation = len(first.assigned)
        first.start = 5  # as a journal that is behind what was delivered
        async with _running(_settings(kafka, kafka_prefix, "w1"), second):
            await _until(lambda: len(first.assigned) > generation and second.assigned, "both are assigned")
            await _until(
                lambda: first.assigned[-1] | second.assigned[-1] == set(range(PARTITIONS)), "all are given out"
            )
            assert first.paused >= 1, "the owner is paused before the group changes"
            assert not first.assigned[-1] & second.assigned[-1]
            for kept in first.assigned[-1]:
                await _until(partial(first.went_on_from, 5, kept), f"partition {kept} goes on from 5", first.told)
            for moved in second.assigned[-1]:
                await _until(partial(second.has_read, moved, range(10)), "the second one reads it")
    assert not first.failures
    assert not second.failures


async def test_takeovers_that_take_long_keep_their_place_in_the_group(
    kafka: EmbeddedKafka, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _settings(kafka, kafka_prefix, "w0")
    await asyncio.to_thread(_make_topics, settings)
    beats = 0
    beat = GroupCoordinator._do_heartbeat

    async def counted(self: GroupCoordinator) -> bool:
        nonlocal beats
        fine: bool = await beat(self)
        beats += fine
        return fine

    class Slow(Owner):
        async def assign(self, partitions: frozenset[int], still: Callable[[], bool]) -> None:
            await _until(lambda: beats >= 2, "the broker answers heartbeats while partitions are taken over")
            assert still()
            await super().assign(partitions, still)

    monkeypatch.setattr(GroupCoordinator, "_do_heartbeat", counted)
    owner = Slow()
    async with _running(settings, owner):
        await _until(lambda: owner.assigned or owner.failures, "they are taken over")
    assert owner.assigned == [frozenset(range(PARTITIONS))]
    assert not owner.failures


async def _joins_again(settings: Settings, owner: Owner) -> None:
    async with _running(settings, owner):
        await _until(lambda: len(owner.assigned) >= 2 or owner.failures, "it joins again")
    assert not owner.failures


async def test_a_takeover_hears_that_the_group_has_given_its_partitions_away(
    kafka: EmbeddedKafka, kafka_prefix: str
) -> None:
    settings = _settings(kafka, kafka_prefix, "w0")
    await asyncio.to_thread(_make_topics, settings)
    heard: list[bool] = []

    class Thrown(Owner):
        """Out of its group at its first takeover, as one that was frozen for longer than its session."""

        async def assign(self, partitions: frozenset[int], still: Callable[[], bool]) -> None:
            heard.append(still())
            if len(heard) == 1:
                await self._leave()
                await _until(lambda: not still(), "the takeover hears of it")
            await super().assign(partitions, still)

        async def _leave(self) -> None:
            coordinator = self.app.consumer._thread._ensure_consumer()._coordinator
            client = AIOKafkaClient(bootstrap_servers=settings.kafka.bootstrap)
            await client.bootstrap()
            node = await client.coordinator_lookup(CoordinationType.GROUP, coordinator.group_id)
            request = LeaveGroupRequest(coordinator.group_id, coordinator.member_id)
            answer = await client.send(node, request, group=ConnectionGroup.COORDINATION)
            assert answer.error_code == 0
            await client.close()

    await _joins_again(settings, Thrown())
    assert heard[:2] == [True, True]


async def test_who_has_heard_nothing_for_a_session_gives_its_partitions_up_and_asks_for_them_again(
    kafka: EmbeddedKafka, kafka_prefix: str
) -> None:
    settings = _settings(kafka, kafka_prefix, "w0")
    await asyncio.to_thread(_make_topics, settings)
    heard: list[bool] = []

    class Silent(Owner):
        async def assign(self, partitions: frozenset[int], still: Callable[[], bool]) -> None:
            if not heard:
                self.app.consumer._thread.heard_at -= settings.worker.session_timeout_seconds
            heard.append(still())
            await super().assign(partitions, still)

    await _joins_again(settings, Silent())
    assert heard[:2] == [False, True]


async def test_changelog_is_the_journal_and_everything_is_co_partitioned(
    kafka: EmbeddedKafka, kafka_prefix: str
) -> None:
    settings = _settings(kafka, kafka_prefix, "w0")
    await asyncio.to_thread(_make_topics, settings)
    owner = Owner()
    async with _running(settings, owner) as app:
        await _until(lambda: owner.assigned, "it is assigned")
        journal = settings.kafka.prefix + catalog.CATALOG["journal"].name
        assert [table.changelog_topic.get_topic_name() for table in app.tables.values()] == [journal]
        assigned = {tp for tp in app.consumer.assignment() if tp.topic in (journal, app.events_topic)}
        by_topic = {
            topic: {tp.partition for tp in assigned if tp.topic == topic} for topic in (journal, app.events_topic)
        }
        assert by_topic[journal] == by_topic[app.events_topic] == set(range(PARTITIONS))
