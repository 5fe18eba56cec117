"""What a partition needs now and then besides rounds: a new claim before the broker forgets the old, and a snapshot."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.engine.journal import snapshot
from app.engine.tables.state import State
from app.engine.values.limits import Limits
from app.kafka.log import PartitionLog
from app.observe import logs
from app.pump.snapshots import Snapshots, content_of
from app.pump.takeover import Owner, claim_again

log = logs.get(__name__)


@dataclass(slots=True, kw_only=True)
class Upkeep:
    """The upkeep of one partition. `claim_every_ms` and `snapshot_every_ms` are how often each is due."""

    log: PartitionLog
    owner: Owner
    limits: Limits
    claim: Mapping[str, Any]
    claim_due_ms: int
    claim_every_ms: int
    snapshots: Snapshots | None
    snapshot_due_ms: int
    snapshot_every_ms: int
    last_round: int = -1
    _writing: asyncio.Task[None] | None = field(default=None, init=False)

    def due_ms(self) -> int:
        """Return when `keep` must be called next."""
        return self.claim_due_ms if self.snapshots is None else min(self.claim_due_ms, self.snapshot_due_ms)

    async def keep(self, state: State, *, next_offset: int, now_ms: int) -> int:
        """Do what is due, while nothing is on its way; return the journal's next offset."""
        if now_ms >= self.claim_due_ms:
            self.claim, next_offset = await claim_again(
                self.log, self.owner, self.limits, self.claim, next_offset=next_offset, now_ms=now_ms
            )
            self.claim_due_ms = now_ms + self.claim_every_ms
            log.info("partition_claimed_again", partition=state.partition, term=next_offset - 1)
        if self.snapshots is not None and now_ms >= self.snapshot_due_ms:
            self.snapshot_due_ms = now_ms + self.snapshot_every_ms
            if self._writing is None or self._writing.done():  # else the disk is slow: the next one will do
                await self.snapshot(state, next_offset=next_offset, now_ms=now_ms)
        return next_offset

    async def snapshot(self, state: State, *, next_offset: int, now_ms: int) -> None:
        """Take a snapshot, if anything changed since the last one and everything is journaled and delivered.

        The partition must not go on until this returns. It is written while it goes on (`written`), the one before it
        must have been. Raises what was wrong with that one.
        """
        if self._writing is not None:
            self._writing.result()
        if self.snapshots is None or state.round == self.last_round or not snapshot.possible(state):
            return
        content = await content_of(state, next_offset=next_offset, at_ms=now_ms, claim=self.claim)
        self._writing = asyncio.create_task(
            self.snapshots.write(state.partition, content), name=f"snapshot-{state.partition}"
        )
        self.last_round = state.round

    async def written(self) -> None:
        """Wait until the last snapshot is written. Raises what was wrong with it."""
        if self._writing is not None:
            await self._writing

    def cancel(self) -> None:
        """Wait for no snapshot any more."""
        if self._writing is not None:
            self._writing.cancel()
