"""The consumer group over `triggers`: which partitions this process owns, what is in them, and until when.

A process that was frozen, or that Kafka cannot reach, may no longer own what it thinks it does. So it has a lease: the
broker's last word, not older than the group's patience with a silent member. Nothing is published without it.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import orjson
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition, errors
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.protocol.group import SyncGroupRequest

from connectors.base.batches import guard, say_passed_over
from connectors.base.closing import close, start
from connectors.base.fleet import sharing
from connectors.base.fleet.refusals import FOR_GOOD
from connectors.base.logs import warn

HEARTBEAT_SECONDS: Final = 1.0
REBALANCE_SHARE: Final = 0.5
"""Part of the session time-out for which the group waits, when somebody has come or gone, until all have said that they
are there still, and then until all have asked for their shares.

Who has asked to join is not counted as silent before that is over, and its session begins anew then: a process that
dies amidst a rebalance would be missed for twice the session time-out if the group waited as long as for heartbeats.
"""
POLL_SECONDS: Final = 0.25
FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 5.0


def rebalance_seconds(session_seconds: float) -> float:
    """Return for how long the group waits for a silent member while it is amidst a rebalance."""
    return session_seconds * REBALANCE_SHARE


class Read(Protocol):
    """Called with records of an owned partition; `whole` says that all that was there at the beginning has come.

    After each word of the group everything comes again, from the beginning.
    """

    async def __call__(self, partition: int, records: Sequence[Any], *, whole: bool) -> None: ...


class Lease:
    """The broker's word that this process is a member of the group, and until when it counts."""

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`seconds` is the shortest time after which the group gives to others what a silent member has."""
        self._seconds, self._clock = seconds, clock
        self.now = clock
        self._until = 0.0
        self._asked_at = -math.inf
        self._renewed = asyncio.Event()

    @property
    def held(self) -> bool:
        """Whether it counts now."""
        return self._clock() < self._until

    def renew(self, asked_at: float) -> None:
        """The broker has answered what it was asked at `asked_at`: its own time began no earlier."""
        self._until = max(self._until, asked_at + self._seconds)
        self._asked_at = max(self._asked_at, asked_at)
        self._renewed.set()

    def drop(self) -> None:
        """It counts no more, until it is renewed."""
        self._until = 0.0

    async def wait(self) -> None:
        """Return once it is held."""
        while not self.held:
            self._renewed.clear()
            await self._renewed.wait()

    async def confirmed(self) -> None:
        """Return once the broker has renewed it, asked after now."""
        now = self._clock()
        while self._asked_at <= now:
            self._renewed.clear()
            await self._renewed.wait()


class Group:
    """One member. Its owner runs `run()` as a task; `owned` and `read` are called from it, in order."""

    def __init__(
        self,
        topic: str,
        *,
        client: Mapping[str, Any],
        group: str,
        lease: Lease,
        session_seconds: float,
        dwell_seconds: float,
        owned: Callable[[Sequence[int]], Awaitable[None]],
        read: "Read",
    ) -> None:
        self.topic, self._client, self._group = topic, client, group
        self._lease, self._session_seconds, self._dwell_seconds = lease, session_seconds, dwell_seconds
        self._owned, self._read = owned, read
        self._since: dict[int, float] = {}
        self._synced_at = -math.inf
        self._changed = False
        self._is_lost = False
        """Whether the group has forgotten this process since: others may have had meanwhile what it still runs."""
        self._again_in: float | None = None
        self.last_error: str | None = "Kafka has not been reached yet"

    @property
    def partitions(self) -> frozenset[int]:
        """What this process owns, as far as it knows; nothing of what is still to be ended counts."""
        return frozenset() if self._is_lost else frozenset(self._since)

    async def run(self) -> None:
        """Be a member until cancelled, then leave. Raises what trying again does not cure."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            consumer = self._made()
            try:
                await start(consumer.start())
                guard(consumer, say_passed_over, unreadable="pass over")
                self._beat_with(consumer)
                consumer.subscribe([self.topic], listener=_Listener(self))
                pause = FIRST_PAUSE_SECONDS
                await self._follow(consumer)
            except (errors.KafkaError, OSError) as error:
                if isinstance(error, FOR_GOOD):
                    raise
                reason = f"{type(error).__name__}: {error}"
                if reason != self.last_error:
                    warn("connectors_not_in_group", topic=self.topic, reason=reason)
                self.last_error = reason
            finally:
                self._forgotten()  # it leaves the group: others may own at once what was ours
                await close(consumer.stop())
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _made(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **self._client,
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            session_timeout_ms=int(self._session_seconds * 1000),
            rebalance_timeout_ms=int(rebalance_seconds(self._session_seconds) * 1000),
            heartbeat_interval_ms=int(HEARTBEAT_SECONDS * 1000),
            partition_assignment_strategy=(self._assignor(),),
        )

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        rejoin_at: float | None = None
        ends: dict[TopicPartition, int] = {}
        while True:
            fetched = await consumer.getmany(timeout_ms=int(POLL_SECONDS * 1000))
            if self._is_lost:
                await self._owned(())
                self._is_lost = False
            if self._changed:
                self._changed = False
                self.last_error = None
                mine = [TopicPartition(self.topic, partition) for partition in sorted(self._since)]
                try:
                    # Whatever offsets somebody has committed: what is set up is all that is there.
                    if mine:
                        await consumer.seek_to_beginning(*mine)
                except errors.IllegalStateError:
                    continue  # given back meanwhile: the group has another word
                fetched = {}
                ends = dict(await consumer.end_offsets(mine)) if mine else {}
                await self._owned(sorted(self._since))
                if self._again_in is not None:
                    rejoin_at, self._again_in = time.monotonic() + self._again_in + HEARTBEAT_SECONDS, None
            for one, records in fetched.items():
                if one.partition in self._since:
                    await self._read(one.partition, records, whole=False)
            for one in [one for one in ends if one.partition in self._since and not self._changed]:
                try:
                    position = await consumer.position(one)
                except errors.IllegalStateError:
                    break  # given back meanwhile: what is ours then is read anew
                if position >= ends[one]:
                    del ends[one]
                    await self._read(one.partition, (), whole=True)
            if rejoin_at is not None and time.monotonic() >= rejoin_at:
                rejoin_at = None
                consumer._coordinator.request_rejoin()

    def _beat_with(self, consumer: AIOKafkaConsumer) -> None:
        """Hear each heartbeat that the broker answers, when it was asked for partitions, and when it knows us no more:
        aiokafka tells nobody.
        """
        coordinator = consumer._coordinator
        beat, send, reset = coordinator._do_heartbeat, coordinator._send_req, coordinator.reset_generation

        async def asked(request: Any) -> Any:
            if isinstance(request, SyncGroupRequest):
                self._synced_at = self._lease.now()
            return await send(request)

        async def heard() -> bool:
            asked_at = self._lease.now()
            fine: bool = await beat()
            # Amidst a rebalance it is answered as well, but the group's patience has begun before it was asked.
            if fine and not coordinator._rejoin_needed_fut.done():
                self._lease.renew(asked_at)
            return fine

        def forgotten() -> None:
            self._forgotten()
            reset()

        coordinator._do_heartbeat, coordinator._send_req, coordinator.reset_generation = heard, asked, forgotten

    def _forgotten(self) -> None:
        """What this process runs is none of its own any more, also if the same partitions are given to it again."""
        self._is_lost = True
        self._lease.drop()

    def take(self, partitions: frozenset[int]) -> None:
        """Called by the listener: these are ours, by the broker's answer to what it was asked last."""
        now = time.monotonic()
        self._since = {partition: self._since.get(partition, now) for partition in sorted(partitions)}
        # Who was frozen amidst a rebalance finds its old answer when it wakes: others may own all this long since.
        self._lease.renew(self._synced_at)
        self._changed = True

    def _assignor(self) -> type[AbstractPartitionAssignor]:
        group = self

        class Staying(AbstractPartitionAssignor):  # type: ignore[misc]
            """aiokafka asks classes, and each member has to say what it owns: so each has a class of its own."""

            name = "headgate-staying"

            @classmethod
            def assign(cls, cluster: Any, members: Mapping[str, Any]) -> dict[str, Any]:
                has = {member: _owned_by(metadata) for member, metadata in members.items()}
                # Brokers that come back may not know of the topic for a moment: then everything stays where it is.
                known = max((partition for its in has.values() for partition in its), default=-1) + 1
                count = len(cluster.partitions_for_topic(group.topic) or ()) or known
                shares = sharing.share(count, has, dwell_seconds=group._dwell_seconds)
                group._again_in = shares.again_in_seconds
                return {
                    member: ConsumerProtocolMemberAssignment(0, [(group.topic, list(its))], b"")
                    for member, its in shares.of.items()
                }

            @classmethod
            def metadata(cls, topics: Any) -> Any:
                now = time.monotonic()
                ages = {str(partition): round(now - since, 1) for partition, since in group._since.items()}
                return ConsumerProtocolMemberMetadata(0, list(topics), orjson.dumps(ages))

            @classmethod
            def on_assignment(cls, _assignment: Any) -> None:
                pass

        return Staying


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Partitions are given back and come again at each rebalance; only what is different after it counts."""

    def __init__(self, group: Group) -> None:
        self._group = group

    async def on_partitions_revoked(self, revoked: Any) -> None:
        pass

    async def on_partitions_assigned(self, assigned: Any) -> None:
        self._group.take(frozenset(one.partition for one in assigned))


def _owned_by(metadata: Any) -> dict[int, float]:
    try:
        found = orjson.loads(metadata.user_data or b"{}")
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        int(name): float(age)
        for name, age in found.items()
        if name.isascii() and name.isdigit() and len(name) < 8 and isinstance(age, int | float)
    }
