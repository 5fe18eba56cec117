"""The read model: runs, their facts and dead letters in SQLite, rebuilt from Kafka whenever the file is missing.

It holds nothing that Kafka does not hold, so it may lose anything but its consistency: the offsets it has read are in
the same transactions as what it read. The gateway answers from it; pages will. Kafka is read by three followers
(`attach_to` and `take_from` make what they call); all work on the file happens in threads of its own.
"""

import asyncio
import contextlib
import os
import shutil
import tempfile
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import orjson

from app.observe import logs
from app.ui import file, schema
from app.ui.bounds import USUAL, Bounds, Trimming
from app.ui.taken import Record, array_of, lasting, understood

TRIM_EVERY: Final = 5_000
"""Records between two looks at what is too old or too much; with large ones an eighth of the bound on bytes."""
PACED_FROM: Final = 1_000
"""Records in a batch from which on the writer rests as long as it worked: at most half of a processor."""
GATHER_SECONDS: Final = 0.2
"""After a smaller one the next may gather, unless somebody asks for what is in it: to fetch and write results and facts
one by one costs more than all else that a gateway does."""
REACH_SECONDS: Final = 1.0
"""How long who asks waits for results that this process has told of already, or that the run's facts tell of."""

log = logs.get(__name__)
Answer = TypeVar("Answer")


class Source(StrEnum):
    """The topics it is made of, by their names in the catalog."""

    RESULTS = "results"
    RUNS = "runs"
    DEAD_LETTERS = "dlq"


class Identity(Protocol):
    """Which topic of which cluster."""

    @property
    def cluster_id(self) -> str: ...
    @property
    def topic_id(self) -> str: ...


class TopicState(Protocol):
    """What a follower found in Kafka."""

    @property
    def identity(self) -> Identity | None: ...
    @property
    def end(self) -> Mapping[int, int]: ...


class Lag(Protocol):
    """How far behind a follower is."""

    @property
    def records(self) -> int: ...
    @property
    def seconds(self) -> float: ...


class Followed(Protocol):
    """A follower, as far as the read model looks at it."""

    @property
    def is_caught_up(self) -> bool: ...
    def lag(self) -> Lag: ...


class _Run(NamedTuple):
    """A run as it is kept."""

    summary: Mapping[str, Any]
    record: bytes | None
    facts: Sequence[bytes]


class ReadModel:
    """One file, one writer thread, one reader thread. Close it after its followers have ended."""

    def __init__(
        self,
        path: Path | None,
        *,
        bounds: Bounds = USUAL,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        gather_seconds: float = GATHER_SECONDS,
    ) -> None:
        """Open `path`, or a temporary file. Raises ReadModelInUse; a file that cannot be read is made anew."""
        self._temporary = Path(tempfile.mkdtemp(prefix="headgate-readmodel-")) if path is None else None
        self.path = path or Path(str(self._temporary)) / "readmodel.sqlite"
        self._bounds, self._now, self._gather_seconds = bounds, now, gather_seconds
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = file.locked(self.path)
        self._writing = file.opened(self.path)
        self._trimming = Trimming(self._writing, bounds)
        self._reading = file.connected(self.path)
        self._writer = ThreadPoolExecutor(1, "readmodel-writer")
        self._reader = ThreadPoolExecutor(1, "readmodel-reader")
        self._since_trim = self._bytes_since_trim = 0
        self._followers: Sequence[Followed] = ()
        self._told: Mapping[int, int] = {}
        self._taken: dict[int, int] = {}
        """Where reading results goes on, by partition."""
        self._grew = asyncio.Event()
        self._asking = 0
        self._hurry = asyncio.Event()

    def watch(self, followers: Sequence[Followed]) -> None:
        """Take the lag from these."""
        self._followers = followers

    def keep_up_with(self, told: Mapping[int, int]) -> None:
        """Answer once results before these offsets are in, by partition, as they are when something is asked."""
        self._told = told

    def freshness(self) -> Mapping[str, Any]:
        """How old what is shown may be: records and seconds behind Kafka, and whether it is still being rebuilt."""
        lags = [one.lag() for one in self._followers]
        return {
            "behind_records": sum(lag.records for lag in lags),
            "behind_seconds": max((lag.seconds for lag in lags), default=0.0),
            "rebuilding": not all(one.is_caught_up for one in self._followers),
        }

    async def close(self) -> None:
        """Finish what is being written and close the file; a temporary one is removed."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._writer.shutdown()
        self._reader.shutdown()
        self._reading.close()
        self._writing.close()
        os.close(self._lock)
        if self._temporary is not None:
            shutil.rmtree(self._temporary)

    # ---- what the followers call -------------------------------------------------------------------------------

    def attach_to(self, source: Source) -> Callable[[TopicState], Awaitable[Mapping[int, int]]]:
        """The `attach` of the follower of `source`: where to go on, after dropping what came from another topic."""

        async def attach(state: TopicState) -> Mapping[int, int]:
            positions = await self._write(lambda: self._attach(source, state))
            if source is Source.RESULTS:
                self._taken = dict(positions)
            return positions

        return attach

    def take_from(self, source: Source) -> Callable[[Sequence[Record]], Awaitable[None]]:
        """The `take` of the follower of `source`."""

        async def take(records: Sequence[Record]) -> None:
            started = time.monotonic()
            await self._write(lambda: self._take(source, records))
            if source is Source.RESULTS:
                self._taken |= {record.partition: record.offset + 1 for record in records}
                self._grew.set()
                self._grew = asyncio.Event()
            if len(records) >= PACED_FROM:
                await asyncio.sleep(time.monotonic() - started)
            else:
                await _within(self._gather_seconds, self._hurry.wait())

        return take

    def _attach(self, source: Source, state: TopicState) -> dict[int, int]:
        db = self._writing
        known = db.execute("SELECT cluster_id, topic_id FROM source WHERE topic = ?", (source,)).fetchone()
        identity = state.identity
        positions = dict(db.execute("SELECT part, next_offset FROM position WHERE topic = ?", (source,)).fetchall())
        other = known is not None and identity is not None and known != (identity.cluster_id, identity.topic_id)
        if other or any(state.end.get(part, -1) < offset for part, offset in positions.items()):
            log.warning("read_model_rebuilt", topic=source.value, reason="the topic in Kafka is another one")
            self._drop(source)
            positions = {}
        with db:
            if identity is not None:
                row = (source, identity.cluster_id, identity.topic_id)
                db.execute("INSERT OR REPLACE INTO source VALUES (?, ?, ?)", row)
        return positions

    def _drop(self, source: Source) -> None:
        with self._writing as db:
            match source:
                case Source.RESULTS:
                    db.execute("DELETE FROM run WHERE record IS NOT NULL")
                case Source.RUNS:
                    db.execute("DELETE FROM fact")
                    db.execute("DELETE FROM step")
                    db.execute("DELETE FROM run WHERE record IS NULL")
                case Source.DEAD_LETTERS:
                    db.execute("DELETE FROM dead_letter")
            db.execute("DELETE FROM position WHERE topic = ?", (source,))

    def _take(self, source: Source, records: Sequence[Record]) -> None:
        positions = {record.partition: record.offset + 1 for record in records}
        found = understood(records)
        batch = array_of([record for record, _ in found])
        with self._writing as db:
            for statement in _STATEMENTS[source]:
                db.execute(statement, (batch,))
            if source is Source.RUNS and (rest := lasting(found)):
                of_steps = array_of(rest)
                for statement in _OF_STEPS:
                    db.execute(statement, (of_steps,))
                db.execute(schema.FORGET_STEPS)
            db.executemany(
                "INSERT OR REPLACE INTO position VALUES (?, ?, ?)",
                [(source, partition, offset) for partition, offset in positions.items()],
            )
        self._since_trim += len(records)
        self._bytes_since_trim += len(batch)
        if self._since_trim >= TRIM_EVERY or self._bytes_since_trim >= self._bounds.size_bytes // 8:
            self._since_trim = self._bytes_since_trim = 0
            self.trim()

    def trim(self) -> None:
        """Drop what is too old or too much. Called by the writer."""
        self._trimming.trim(self._now())

    # ---- what the gateway asks -----------------------------------------------------------------------------------

    async def runs(
        self,
        *,
        workflow: str | None = None,
        status: str | None = None,
        key: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> tuple[Sequence[Mapping[str, Any]], str | None]:
        """Summaries, newest first, and the cursor of the next page. Raises ValueError for a cursor that is none."""
        wanted = {"workflow_id": workflow, "status": status, "event_key": key}
        wheres = [f"{column} = ?" for column, value in wanted.items() if value is not None]
        given: list[Any] = [value for value in wanted.values() if value is not None]
        if cursor is not None:
            wheres.append("(at, run_id) < (?, ?)")
            given += _read_cursor(cursor)
        where = f"WHERE {' AND '.join(wheres)} " if wheres else ""
        query = f"{schema.SUMMARY} {where}ORDER BY at DESC, run_id DESC LIMIT ?"
        await self._reach()
        rows = await self._read(lambda: self._reading.execute(query, (*given, limit + 1)).fetchall())
        following = None if len(rows) <= limit else _cursor(rows[limit - 1])
        return [_summary(row) for row in rows[:limit]], following

    async def run(self, run_id: str) -> tuple[bytes, Sequence[bytes]] | None:
        """One run: its result's record, or its summary while it goes on; and its facts, oldest first."""
        await self._reach()
        found = await self._read(lambda: self._run(run_id))
        if found is not None and found.record is None and found.summary["status"] in _OVER:
            await self._hurrying(self._result_of(run_id))
            found = await self._read(lambda: self._run(run_id))
        if found is None:
            return None
        return (orjson.dumps(found.summary) if found.record is None else found.record), found.facts

    def _run(self, run_id: str) -> "_Run | None":
        db = self._reading
        row = db.execute(f"{schema.SUMMARY} WHERE run_id = ?", (run_id,)).fetchone()
        if row is None:
            return None
        (record,) = db.execute("SELECT record FROM run WHERE run_id = ?", (run_id,)).fetchone() or (None,)
        facts = db.execute("SELECT record FROM fact WHERE run_id = ? ORDER BY at, part, off", (run_id,)).fetchall()
        return _Run(_summary(row), None if record is None else record.encode(), [one.encode() for (one,) in facts])

    async def dead_letters(self, *, limit: int = 50) -> Sequence[bytes]:
        """Dead letters as Kafka has them, newest first."""
        query = "SELECT record FROM dead_letter ORDER BY at DESC, part DESC, off DESC LIMIT ?"
        rows = await self._read(lambda: self._reading.execute(query, (limit,)).fetchall())
        return [record.encode() for (record,) in rows]

    async def _reach(self) -> None:
        """Wait for the results that were told of until now."""
        told = {part: offset for part, offset in self._told.items() if self._taken.get(part, 0) < offset}
        if told:
            await self._hurrying(self._results_until(told))

    async def _results_until(self, told: Mapping[int, int]) -> None:
        while any(self._taken.get(part, 0) < offset for part, offset in told.items()):
            await self._grew.wait()

    async def _result_of(self, run_id: str) -> None:
        """Wait for the result of a run that its facts say is over: it comes by another topic."""
        query = "SELECT record IS NOT NULL FROM run WHERE run_id = ?"
        while True:
            grew = self._grew
            if await self._read(lambda: self._reading.execute(query, (run_id,)).fetchone()) == (1,):
                return
            await grew.wait()

    async def _hurrying(self, waiting: Awaitable[None]) -> None:
        """Wait while nothing gathers; within bounds, for Kafka may be away."""
        self._asking += 1
        self._hurry.set()
        try:
            await _within(REACH_SECONDS, waiting)
        finally:
            self._asking -= 1
            if not self._asking:
                self._hurry.clear()

    async def _write(self, work: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    async def _read(self, work: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._reader, work)


_OVER: Final = frozenset({"completed", "failed", "rejected", "cancelled"})
_STATEMENTS: Final[Mapping[Source, tuple[str, ...]]] = {
    Source.RESULTS: (schema.TAKE_RESULTS,),
    Source.RUNS: (schema.TAKE_FACTS, schema.TAKE_RUNS_OF_FACTS),
    Source.DEAD_LETTERS: (schema.TAKE_DEAD_LETTERS,),
}
_OF_STEPS: Final = (
    schema.TAKE_RUNS_OF_STEPS,
    schema.LEAVE_STEPS,
    schema.TAKE_STEPS,
    schema.TAKE_STATUS_OF_STEPS,
)


async def _within(seconds: float, waiting: Awaitable[Any]) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await waiting


def _summary(row: Sequence[Any]) -> dict[str, Any]:
    names = ("run_id", "workflow_id", "workflow_version", "status", "key", "started_at", "finished_at", "attempts")
    kind, message = row[8], row[9]
    return dict(zip(names, row, strict=False)) | {"error": None if kind is None else {"type": kind, "message": message}}


def _cursor(row: Sequence[Any]) -> str:
    return urlsafe_b64encode(orjson.dumps([row[10], row[0]])).decode().rstrip("=")


def _read_cursor(text: str) -> list[str]:
    found = orjson.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    if type(found) is not list or len(found) != 2 or not all(type(one) is str for one in found):
        raise ValueError("not a cursor")
    return found
