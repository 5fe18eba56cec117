"""Follows one Kafka topic, all of its partitions, without a group: what everybody reads whole.

The gateway follows `workflows`, `results`, `runs` and `dlq`; workers follow `workflows`. A follower starts at the
beginning, or where its owner says (`attach`), hands records over in order per partition, and attaches anew whenever
the broker was away. Its owner runs `run()` as a task and ends the process when that raises: a follower that silently
stopped would show yesterday's world for ever.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from aiokafka import errors

from app.kafka.fetching import Fetching, Found
from app.kafka.log import LogError, Unreadable
from app.kafka.wire import Wire
from app.observe import logs
from connectors.base.closing import close

POLL_SECONDS: Final = 0.5
MOST_RECORDS: Final = 2_000  # handed over at once
FETCH_BYTES: Final = 1024 * 1024
"""Of one answer: its records are made of it in one turn of the loop, while nothing else is done."""
PARTITION_BYTES: Final = 256 * 1024
# A fetch is answered twice a second at least; when nothing was for so long, only new connections may help.
STALE_SECONDS: Final = 30.0
FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 5.0

log = logs.get(__name__)


class Record(Protocol):
    """What a follower hands over. `timestamp` is in milliseconds since 1970."""

    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class _Read(NamedTuple):
    """A record as it was read."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicIdentity:
    """Which topic of which cluster this is: a topic deleted and made anew has the old name and another id."""

    cluster_id: str
    topic_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicState:
    """What a follower finds when it attaches: the first offset kept and the next one to come, per partition."""

    topic: str
    identity: TopicIdentity | None
    beginning: Mapping[int, int]
    end: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """How far behind the log a follower is: records of all partitions, and seconds of the one that is furthest behind.

    Without contact to Kafka the seconds go on growing: nobody knows what is there.
    """

    records: int
    seconds: float
    partitions: Mapping[int, int]


class TopicReplacedError(Exception):
    """The topic is no longer the one that was followed, and the owner has no way to begin again."""

    def __init__(self, topic: str, fact: str) -> None:
        super().__init__(
            f"Topic {topic} was deleted and created again while it was followed ({fact}). "
            "Restart this process, so that it reads the new topic from its beginning."
        )
        self.topic = topic


class TopicMissingError(Exception):
    """The topic is not there yet; a follower waits for it."""

    def __init__(self, topic: str) -> None:
        super().__init__(f"Topic {topic} does not exist. Create it with `headgate topics apply`.")
        self.topic = topic


Identify = Callable[[str], Awaitable[TopicIdentity]]
Attach = Callable[[TopicState], Awaitable[Mapping[int, int]]]
Take = Callable[[Sequence[Record]], Awaitable[None]]


class Follower:
    """Reads `topic` for ever and awaits `take` with each batch; the next batch comes after it has returned.

    `attach` is asked at every connection where to go on (partitions it leaves out start at the beginning); without it
    a follower goes on where it was. `newest` says how many records of the topic matter at most: older ones are passed
    over, each partition giving its share, which bounds the work after a long absence and under load.
    """

    def __init__(
        self,
        topic: str,
        *,
        client: Mapping[str, Any],
        take: Take,
        attach: Attach | None = None,
        identify: Identify | None = None,
        newest: int | None = None,
    ) -> None:
        self.topic = topic
        self._client = client
        self._take = take
        self._attach = attach or self._go_on
        self._identify = identify
        self._newest = newest
        self._positions: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._targets: dict[int, int] = {}
        self._read_until: dict[int, float] = {}  # append time of the last record handed over, seconds
        self._heard_at: float | None = None
        self._identity: TopicIdentity | None = None
        self._attached = False
        self._caught_up = asyncio.Event()
        self.last_error: str | None = None

    # ---- what the owner asks -------------------------------------------------------------------------------------

    @property
    def attached(self) -> bool:
        """Whether it is reading now; otherwise `last_error` says why not."""
        return self._attached

    @property
    def is_caught_up(self) -> bool:
        return self._caught_up.is_set()

    async def caught_up(self) -> None:
        """Wait until everything that was in the topic at the first attach has been handed over."""
        await self._caught_up.wait()

    def lag(self) -> Lag:
        now = time.time()
        partitions = {p: max(0, end - self._positions.get(p, 0)) for p, end in self._ends.items()}
        behind = [now - self._read_until.get(p, now) for p, count in partitions.items() if count]
        silent = 0.0 if self._heard_at is None else now - self._heard_at
        if silent > 2 * POLL_SECONDS:
            behind.append(silent)
        return Lag(records=sum(partitions.values()), seconds=round(max(behind, default=0.0), 3), partitions=partitions)

    async def run(self) -> None:
        """Follow until cancelled. Raises what is not cured by trying again: refused access, a replaced topic."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            wire = Wire(self._client)
            fetching = Fetching(wire, answer_bytes=FETCH_BYTES, partition_bytes=PARTITION_BYTES)
            try:
                await wire.start()
                await self._place(wire, fetching)
                pause = FIRST_PAUSE_SECONDS
                self._retrying(await self._read(wire, fetching))
            except (errors.KafkaError, OSError, TopicMissingError, LogError) as error:
                if not _cured_by_trying_again(error):
                    raise
                self._retrying(str(error) or type(error).__name__)
            finally:
                self._attached = False
                await close(_end(fetching, wire))
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _retrying(self, reason: str) -> None:
        """Said once for as long as the reason stays the same."""
        if reason != self.last_error:
            log.warning("follow_retried", topic=self.topic, reason=reason)
        self.last_error = reason

    # ---- attaching -----------------------------------------------------------------------------------------------

    async def _place(self, wire: Wire, fetching: Fetching) -> None:
        if not await wire.has(self.topic):
            raise TopicMissingError(self.topic)
        await wire.know([self.topic])
        numbers = range(wire.partitions_of(self.topic))
        identity = await self._identify(self.topic) if self._identify else None
        bounds = await asyncio.gather(*(wire.bounds(self.topic, number, committed=True) for number in numbers))
        state = TopicState(
            topic=self.topic,
            identity=identity,
            beginning={number: first for number, (first, _) in zip(numbers, bounds, strict=True)},
            end={number: end for number, (_, end) in zip(numbers, bounds, strict=True)},
        )
        wanted = await self._attach(state)
        self._identity = identity
        self._go_to(fetching, self._starts(state, wanted))
        now = time.time()
        self._read_until = {p: self._read_until.get(p, now) for p in state.end}
        self._ends = dict(state.end)
        self._targets = self._targets or dict(state.end)
        self._heard_at, self._attached, self.last_error = now, True, None
        self._observe(fetching)

    def _go_to(self, fetching: Fetching, positions: dict[int, int]) -> None:
        self._positions = positions
        fetching.seek({(self.topic, partition): position for partition, position in positions.items()})

    def _starts(self, state: TopicState, wanted: Mapping[int, int]) -> dict[int, int]:
        starts = {}
        for partition, first in state.beginning.items():
            position = wanted.get(partition, first)
            if position < first:
                log.warning(
                    "follow_gap", topic=self.topic, partition=partition, missed_from=position, missed_until=first
                )
            starts[partition] = max(position, first)
        return starts if self._newest is None else newest_of(starts, state.end, self._newest)

    async def _go_on(self, state: TopicState) -> Mapping[int, int]:
        """The attach of owners that keep everything in memory. Raises TopicReplacedError."""
        if self._identity is not None and state.identity is not None and state.identity != self._identity:
            raise TopicReplacedError(self.topic, f"its id was {self._identity.topic_id}, now {state.identity.topic_id}")
        for partition, position in self._positions.items():
            end = state.end.get(partition)
            if end is None or end < position:
                raise TopicReplacedError(self.topic, f"partition {partition} was read up to {position}, ends at {end}")
        return self._positions

    # ---- reading -------------------------------------------------------------------------------------------------

    async def _read(self, wire: Wire, fetching: Fetching) -> str:
        """Hand records over until only a new connection helps; return why."""
        where = [(self.topic, partition) for partition in self._positions]
        while True:
            # Nothing is asked for ahead: an owner that takes its time gets more at once, which costs all less.
            found = await fetching.some(where, crowded=False, timeout=POLL_SECONDS, ahead=False)
            records = [record for one in found for record in _readable(one)]
            for at in range(0, len(records), MOST_RECORDS):
                await self._take(records[at : at + MOST_RECORDS])
            for one in found:
                self._read_until[one.partition] = one.records[-1].timestamp / 1000
            self._positions = {partition: fetching.position((self.topic, partition)) for _, partition in where}
            self._heard_at = time.time() - (asyncio.get_running_loop().time() - wire.contact.heard)
            self._observe(fetching)
            if not found and time.time() - self._heard_at > STALE_SECONDS:
                return f"Kafka has not answered for {STALE_SECONDS:.0f} s"

    def _observe(self, fetching: Fetching) -> None:
        self._ends = {p: max(end, fetching.end((self.topic, p))) for p, end in self._ends.items()}
        if self._newest is not None and sum(self._ends.values()) - sum(self._positions.values()) > 2 * self._newest:
            self._go_to(fetching, newest_of(self._positions, self._ends, self._newest))
        if not self.is_caught_up and all(self._positions.get(p, 0) >= end for p, end in self._targets.items()):
            self._caught_up.set()


def newest_of(positions: Mapping[int, int], ends: Mapping[int, int], count: int) -> dict[int, int]:
    """Return positions from which at most about `count` records remain, as many of each partition as its share is."""
    remaining = {partition: max(0, ends[partition] - position) for partition, position in positions.items()}
    total = sum(remaining.values())
    if total <= count:
        return dict(positions)
    return {
        partition: position + remaining[partition] - -(-remaining[partition] * count // total)
        for partition, position in positions.items()
    }


def _readable(found: Found) -> Iterator[Record]:
    for one in found.records:
        if isinstance(one, Unreadable):
            log.warning("record_passed_over", partition=found.partition, offset=one.offset, reason=one.reason)
        else:
            yield _Read(found.partition, one.offset, one.timestamp, one.key, one.value, one.headers)


async def _end(fetching: Fetching, wire: Wire) -> None:
    await fetching.close()
    await wire.close()


def _cured_by_trying_again(error: BaseException) -> bool:
    """A topic that is another one is cured by attaching again: the owner then learns of it."""
    if isinstance(error, LogError) and isinstance(error.__cause__, errors.KafkaError):
        error = error.__cause__
    if isinstance(error, errors.KafkaError):
        return bool(error.retriable) or isinstance(error, errors.OffsetOutOfRangeError | errors.KafkaTimeoutError)
    return not isinstance(error, PermissionError)
