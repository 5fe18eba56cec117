"""Snapshots of partitions in a folder: caches that shorten a restart. Lost, damaged or old ones cost only time."""

import asyncio
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from app.engine.journal import snapshot
from app.engine.journal.snapshot import Content, Snapshot
from app.engine.tables.dedup import DedupPolicy
from app.engine.tables.state import State
from app.observe import logs
from topics.catalog import JOURNAL_DELETE_RETENTION_MS

log = logs.get(__name__)

MOST_AGE_MS = JOURNAL_DELETE_RETENTION_MS // 2
"""Older ones are void: the journal may have forgotten a removal since (design 3.1)."""
_LEFT_SECONDS: Final = 3_600


async def content_of(state: State, *, next_offset: int, at_ms: int, claim: Any) -> Content:
    """Return the snapshot of a state for which one is possible, and which rests until then: it may change before that
    is written. Others have their turns meanwhile.
    """
    about = {"journal": state.journal_id, "at": at_ms, "claim": claim}
    made: Content | None = None
    for content in snapshot.in_slices(state, next_offset=next_offset, about=about):
        made = content
        if content is None:
            await asyncio.sleep(0)
    assert made is not None
    return made


def _taken_apart(file: Path, policy: DedupPolicy, most_bytes: int | None) -> Snapshot:
    return snapshot.decode(file.read_bytes(), policy, most_bytes=most_bytes)


class Snapshots:
    """The snapshots of one worker, one file for each partition."""

    def __init__(self, folder: Path, *, name: str) -> None:
        self._folder = folder
        self._name = name
        self._reading = asyncio.Lock()
        """One is read at a time: until it is taken apart, each is in memory twice."""

    def _file(self, partition: int) -> Path:
        return self._folder / f"{self._name}{partition}.snapshot"

    async def write(self, partition: int, content: Content) -> None:
        """Write what `content_of` returned beside the partition's old snapshot, then in its place.

        The partition may go on meanwhile. A full disk is a warning.
        """
        try:
            await asyncio.to_thread(self._put, self._file(partition), content)
        except OSError as error:
            log.warning("snapshot_not_written", partition=partition, reason=str(error))

    def _put(self, file: Path, content: Content) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in self._folder.glob(f".{file.name}.*"):  # by a process that died amid it
            with suppress(OSError):
                if time.time() - left.stat().st_mtime > _LEFT_SECONDS:
                    left.unlink()
        descriptor, temporary = tempfile.mkstemp(dir=self._folder, prefix=f".{file.name}.")
        try:
            with os.fdopen(descriptor, "wb") as out:
                out.writelines(snapshot.written(content))
            Path(temporary).replace(file)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    async def read(
        self, partition: int, *, policy: DedupPolicy, journal_id: str, now_ms: int, most_bytes: int | None = None
    ) -> Snapshot | None:
        """Return the partition's snapshot with at most `most_bytes` of bodies, None when there is none that counts."""
        async with self._reading:
            found = await self._read(partition, policy, most_bytes)
        if found is None:
            return None
        if found.about["journal"] != journal_id or now_ms - found.about["at"] > MOST_AGE_MS:
            log.info("snapshot_void", partition=partition)
            return None
        return found

    async def _read(self, partition: int, policy: DedupPolicy, most_bytes: int | None) -> Snapshot | None:
        try:
            return await asyncio.to_thread(_taken_apart, self._file(partition), policy, most_bytes)
        except OSError:
            return None
        except (snapshot.Damaged, ValueError, LookupError, TypeError) as error:
            log.warning("snapshot_ignored", partition=partition, reason=str(error))
            return None
