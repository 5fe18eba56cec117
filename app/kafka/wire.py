"""One client that all partitions of a worker share, and the Kafka requests over it that no client offers: what a
takeover needs (fetch a range, list offsets, claim an id, end an empty transaction), and lean appends and fetches.

These classes are low-level in aiokafka: the version is pinned, and `tests/integration/test_fence.py` shows that they
still do what is relied on here.
"""

import asyncio
import enum
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from aiokafka import errors
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest
from aiokafka.structs import TopicPartition

from app.kafka import batches
from app.kafka.contact import Contact
from app.kafka.line import Line
from app.kafka.log import LogError, LogRecord, Producer
from app.kafka.offsets import EARLIEST, LATEST, Offsets
from app.kafka.requests import Asked, Fetch, Fetched, Produce, Produced, Request

Answer = TypeVar("Answer")

FETCH_BYTES: Final = 4 * 1024 * 1024
FEW_BYTES: Final = 64 * 1024
RECORD_BYTES: Final = 1024
"""Few records are asked for in few bytes, with so many for each: a broker would send all that come after them too."""
TRANSACTION_TIMEOUT_MS: Final = 60_000
PAUSE_SECONDS: Final = 0.05
LOOK_SECONDS: Final = 5.0
CLOSE_SECONDS: Final = 1.0  # for a connection that is just being opened
ANY_NODE: Final = -1


class _Use(enum.IntEnum):
    """Connections to a broker beside aiokafka's own: it answers the requests of one in order, one after the other."""

    APPENDS = 2
    FETCHES = 3
    READS = 4


class Unanswered(LogError):
    """The broker did not answer within the time that a takeover may take."""

    exit_code: Final = 3


class OffsetGone(LogError):
    """The broker does not have the offset that was asked for: retention took it, or the log is another one."""


_TARGET: Final[ContextVar[tuple[object, ...]]] = ContextVar("target")


class _Client(AIOKafkaClient):  # type: ignore[misc]  # untyped in aiokafka
    """One whose connections open side by side: aiokafka's own opens one at a time, so that a broker which takes a
    connection and says nothing would keep all others waiting.
    """

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self._gates: dict[tuple[object, ...], asyncio.Lock] = {}
        self._openings: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        """Close all connections, those that are just opened as well: aiokafka forgets one whose opener is cancelled."""
        await super().close()
        if self._openings:
            await asyncio.wait(self._openings, timeout=CLOSE_SECONDS)
            for task in self._openings:
                task.cancel()
        await super().close()  # what was opened meanwhile

    async def _get_conn(self, node_id: Any, *, group: Any = ConnectionGroup.DEFAULT, no_hint: bool = False) -> Any:
        if (node_id, group) in self._conns:
            return await self._opened(node_id, group, no_hint=no_hint)
        task = asyncio.create_task(self._opened(node_id, group, no_hint=no_hint))
        self._openings.add(task)
        task.add_done_callback(self._openings.discard)
        task.add_done_callback(_heard)
        return await asyncio.shield(task)

    async def _opened(self, node_id: Any, group: Any, *, no_hint: bool) -> Any:
        before = _TARGET.set((node_id, group))
        try:
            return await super()._get_conn(node_id, group=group, no_hint=no_hint)
        finally:
            _TARGET.reset(before)

    @property
    def _get_conn_lock(self) -> asyncio.Lock:
        """What aiokafka holds while it opens a connection; asked for within `_get_conn` alone."""
        return self._gates.setdefault(_TARGET.get(), asyncio.Lock())


def _heard(task: "asyncio.Task[Any]") -> None:
    """Whoever asked may have gone: then nobody else takes note of an error."""
    if not task.cancelled():
        task.exception()


class Wire:
    """Requests of takeovers. `patience_seconds`: how long retriable errors are retried before Unanswered."""

    def __init__(self, config: Mapping[str, Any], *, patience_seconds: float = 30.0) -> None:
        self._client = _Client(**config)
        self._patience = patience_seconds
        self._timeout_seconds = config.get("request_timeout_ms", 40_000) / 1000
        self._lines: dict[tuple[int, _Use], Line] = {}
        self._opening: dict[tuple[int, _Use], asyncio.Lock] = {}
        self._offsets = Offsets(self._to)
        self.contact = Contact()

    async def start(self) -> None:
        await self._client.bootstrap()

    async def close(self) -> None:
        for line in self._lines.values():
            line.close()
        self._offsets.close()
        await self._client.close()

    async def has(self, topic: str) -> bool:
        """Ask whether a topic is there. Asked for it by its name, many a broker would create it."""
        return bool((await self._client.fetch_all_metadata()).partitions_for_topic(topic))

    async def know(self, topics: Sequence[str]) -> None:
        """Learn where the partitions of `topics` are, once for all that follows."""
        await self._client.set_topics(topics)

    def partitions_of(self, topic: str) -> int:
        """Return how many partitions a topic that is known has. Raises UnknownTopicOrPartitionError."""
        found = self._client.cluster.partitions_for_topic(topic)
        if not found:
            raise errors.UnknownTopicOrPartitionError(topic)
        return len(found)

    def leader(self, topic: str, partition: int) -> int:
        """Return the node that leads the partition. Raises LeaderNotAvailableError, which `retried` waits for."""
        node = self._client.cluster.leader_for_partition(TopicPartition(topic, partition))
        if node is None or node == -1:
            raise errors.LeaderNotAvailableError(f"{topic}-{partition}")
        return int(node)

    async def append_to(self, node: int, request: Produce) -> list[Produced]:
        """Raises KafkaError."""
        answer: list[Produced] = await self._ask(node, _Use.APPENDS, request)
        return answer

    async def fetch_from(self, node: int, request: Fetch) -> list[Fetched]:
        """Raises KafkaError."""
        answer: list[Fetched] = await self._ask(node, _Use.FETCHES, request)
        return answer

    async def _ask(self, node: int, use: _Use, request: Request) -> Any:
        self.contact.asked(node)
        try:
            line = self._lines.get((node, use))
            if line is None or line.closed:
                line = await self._open(node, use)
            answer = await line.ask(request)
        except BaseException as error:
            self.contact.failed(node, error)
            raise
        self.contact.answered(node)
        return answer

    async def _open(self, node: int, use: _Use) -> Line:
        async with self._opening.setdefault((node, use), asyncio.Lock()):
            line = self._lines.get((node, use))
            if line is None or line.closed:
                if not await self._client.ready(node, group=use):
                    raise errors.NodeNotReadyError(f"node {node}")
                line = Line(self._client._conns.pop((node, use)), timeout_seconds=self._timeout_seconds)
                self._lines[node, use] = line
            return line

    async def look_again(self) -> None:
        """Ask anew where the partitions are; within bounds, whatever becomes of the answer."""
        await asyncio.wait({self._client.force_metadata_update()}, timeout=LOOK_SECONDS)

    async def knock(self, seconds: float) -> None:
        """Ask for metadata, so that `contact` knows of a broker that nothing else is asked."""
        self.contact.asked(ANY_NODE)
        asked = asyncio.ensure_future(self._client.force_metadata_update())
        await asyncio.wait({asked}, timeout=seconds)
        if asked.done() and asked.result():
            self.contact.answered(ANY_NODE)
        else:
            self.contact.failed(ANY_NODE, errors.NodeNotReadyError())

    async def bounds(self, topic: str, partition: int, *, committed: bool = False) -> tuple[int, int]:
        """Return the first offset that is kept and the one after the last record or marker, or `committed` one."""
        first = await self._offset(topic, partition, EARLIEST)
        return first, await self._offset(topic, partition, LATEST, committed=committed)

    async def end(self, topic: str, partition: int) -> int:
        """Return the offset after the last record or marker."""
        return await self._offset(topic, partition, LATEST)

    async def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int:
        """Return the first offset whose record is as late as that, or else the end."""
        found = await self._offset(topic, partition, timestamp_ms)
        return found if found >= 0 else await self.end(topic, partition)

    async def _offset(self, topic: str, partition: int, when: int, *, committed: bool = False) -> int:
        async def ask() -> int:
            return await self._offsets.ask(self.leader(topic, partition), topic, partition, when, committed=committed)

        return await self.patiently(f"the offsets of {topic}-{partition}", ask)

    async def ends(self, topic: str, partitions: Collection[int]) -> dict[int, int]:
        """Return the offset after the last record of each, by one request for each broker; none where it fails.

        Raises LogError for what no later request could mend.
        """
        found: dict[int, int] = {}
        by_node: dict[int, list[int]] = {}
        for partition in partitions:
            with suppress(errors.LeaderNotAvailableError):
                by_node.setdefault(self.leader(topic, partition), []).append(partition)
        for node, numbers in by_node.items():
            request = OffsetRequest(-1, 0, [(topic, [(number, LATEST) for number in numbers])])
            try:
                reply = await self._to(node, request)
            except errors.KafkaError as error:
                if not may_work_later(error):
                    raise LogError(f"the ends of {topic}: {type(error).__name__}: {error}") from error
                continue
            found.update({one[0]: one[3] for one in reply.topics[0][1] if not one[1]})
        if len(found) < len(partitions):
            await self.look_again()
        return found

    async def read(
        self,
        topic: str,
        partition: int,
        start: int,
        end: int,
        *,
        transactions: bool,
        most_bytes: int = FETCH_BYTES,
    ) -> AsyncIterator[list[LogRecord]]:
        """Yield records of `[start, end)` in order, without those that retention took. Raises LogError.

        With `transactions` those that are committed, waiting for transactions that are open. Else those that are in no
        transaction, and nothing is waited for. `most_bytes`: of one answer, though a broker gives a whole batch at
        least.
        """
        position = start
        while position < end:
            most = min(most_bytes, FEW_BYTES + (end - position) * RECORD_BYTES)
            try:
                records, position = await self._fetch(topic, partition, position, end, most, transactions=transactions)
            except OffsetGone:
                first, _ = await self.bounds(topic, partition)
                if first <= position:
                    raise
                position = first
                continue
            if records:
                yield records

    async def _fetch(
        self, topic: str, partition: int, position: int, end: int, most_bytes: int, *, transactions: bool
    ) -> tuple[list[LogRecord], int]:
        async def ask() -> tuple[list[LogRecord], int]:
            asked = [Asked(topic, partition, position)]
            request = Fetch(
                asked, wait_ms=100, most_bytes=most_bytes, partition_bytes=most_bytes, committed=transactions
            )
            answer: list[Fetched] = await self._ask(self.leader(topic, partition), _Use.READS, request)
            if not answer:
                return [], position
            one = answer[0]
            _raise(one.error)
            if not one.data:
                return [], position
            if transactions:
                found, after = batches.committed(one.data, one.aborted, position, end)
            else:
                found, after = batches.plain(one.data, position, end)
            return [_record(one) for one in found], after

        return await self.patiently(f"records of {topic}-{partition} from offset {position}", ask)

    async def init_producer(self, transactional_id: str | None) -> Producer:
        """Return id and bumped epoch of `transactional_id`, its open transaction aborted first; a new id for none."""

        async def ask() -> Producer:
            request = InitProducerIdRequest(transactional_id, TRANSACTION_TIMEOUT_MS)
            reply = await self._to_coordinator(transactional_id, request)
            _raise(reply.error_code)
            return Producer(reply.producer_id, reply.producer_epoch)

        return await self.patiently(f"a producer id for {transactional_id or 'this process'}", ask)

    async def abort_empty(self, transactional_id: str, producer: Producer, topics: Sequence[tuple[str, int]]) -> None:
        """Add `topics` (name, partition) to an empty transaction of `producer` and abort it. Markers follow later."""
        by_topic = [(topic, [partition]) for topic, partition in topics]

        async def add() -> None:
            request = AddPartitionsToTxnRequest(transactional_id, producer.producer_id, producer.epoch, by_topic)
            reply = await self._to_coordinator(transactional_id, request)
            for _, partitions in reply.errors:
                for _, error_code in partitions:
                    _raise(error_code)

        async def end() -> None:
            request = EndTxnRequest(transactional_id, producer.producer_id, producer.epoch, transaction_result=False)
            reply = await self._to_coordinator(transactional_id, request)
            _raise(reply.error_code)

        await self.patiently(f"partitions added to {transactional_id}", add)
        await self.patiently(f"the end of {transactional_id}", end)

    async def _to(self, node: int | None, request: Any) -> Any:
        if node is None or not await self._client.ready(node):
            raise errors.NodeNotReadyError(f"node {node}")
        return await self._client.send(node, request)

    async def _to_coordinator(self, transactional_id: str | None, request: Any) -> Any:
        if transactional_id is None:
            return await self._to(self._client.get_random_node(), request)
        node = await self._client.coordinator_lookup(CoordinationType.TRANSACTION, transactional_id)
        if not await self._client.ready(node, group=ConnectionGroup.COORDINATION):
            raise errors.NodeNotReadyError(f"node {node}")
        return await self._client.send(node, request, group=ConnectionGroup.COORDINATION)

    async def patiently(self, what: str, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """Repeat `ask` while the broker says that it may work later. Raises LogError."""
        try:
            return await self.retried(ask)
        except errors.KafkaError as error:
            if isinstance(error, errors.OffsetOutOfRangeError):
                raise OffsetGone(f"{what}: the broker does not have this offset") from error
            if may_work_later(error):
                raise Unanswered(
                    f"{what}: Kafka has not answered within {self._patience:g} s ({type(error).__name__}); start "
                    "again once its brokers can be reached"
                ) from error
            raise LogError(f"{what}: {type(error).__name__}: {error}") from error

    async def retried(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """Repeat `ask` while the broker says that it may work later. Raises the last KafkaError."""
        until: float | None = None
        loop = asyncio.get_running_loop()
        while True:
            try:
                return await ask()
            except errors.KafkaError as error:
                until = until or loop.time() + self._patience
                if not may_work_later(error) or loop.time() > until:
                    raise
                if isinstance(error, _MOVED):
                    await self.look_again()
            await asyncio.sleep(PAUSE_SECONDS)


def is_away(error: BaseException | None) -> bool:
    """Whether `error` comes of brokers that did not answer, or could not serve yet."""
    while error is not None:
        if isinstance(error, errors.KafkaError) and (may_work_later(error) or isinstance(error, _AWAY)):
            return True
        error = error.__cause__
    return False


def may_work_later(error: errors.KafkaError) -> bool:
    """Whether a request that ended with `error` may be made again."""
    return bool(error.retriable) or isinstance(error, _LATER)


_LATER: Final = (
    errors.ConcurrentTransactions,  # marked fatal in aiokafka, is not: the markers before are on their way
    errors.CoordinatorNotAvailableError,
    errors.CoordinatorLoadInProgressError,
    errors.NotCoordinatorError,
    errors.KafkaConnectionError,
    errors.NodeNotReadyError,
    errors.RequestTimedOutError,
)
_AWAY: Final = (errors.KafkaTimeoutError, errors.StaleMetadata)
_MOVED: Final = (
    errors.NotLeaderForPartitionError,
    errors.UnknownTopicOrPartitionError,
    errors.LeaderNotAvailableError,
    errors.KafkaConnectionError,
    errors.NodeNotReadyError,
)


def _record(one: Any) -> LogRecord:
    return one if isinstance(one, LogRecord) else LogRecord(one.offset, one.timestamp, one.key, one.value, one.headers)


def _raise(error_code: int) -> None:
    error = errors.for_code(error_code)
    if error is not errors.NoError:
        raise error()
