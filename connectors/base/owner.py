"""Owns one partition of `triggers`: fences its positions, and runs the sources that are set up in it.

Made by connectors.base.process for each partition that the group gives to this process; ended when it takes it away.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from connectors.base import registry
from connectors.base.actions import ACTIONS, Actions
from connectors.base.closing import end
from connectors.base.logs import info, warn
from connectors.base.positions import Fenced, Positions
from connectors.base.runner import Runner
from connectors.base.site import Around
from connectors.base.watched import Watched
from topics.sources import Cursor, Spec, Unsuitable, spec_of


class Record(Protocol):
    """A record of `triggers`, as aiokafka has it."""

    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


class Owner:
    """One partition, from `run` until that is cancelled."""

    def __init__(
        self,
        partition: int,
        *,
        name: str,
        around: Around,
        positions: Callable[[int], Positions],
        actions: Callable[[int, Callable[[str], Runner | None]], Actions],
        confirmed: Callable[[], Any],
        removed: Callable[[str], None],
    ) -> None:
        self.partition = partition
        self._name, self._around = name, around
        self._make_positions, self._make_actions = positions, actions
        self._confirmed, self._removed = confirmed, removed
        self._positions: Positions | None = None
        self._cursors: dict[str, Cursor] = {}
        self._specs: dict[str, Spec] = {}
        self._running: dict[str, tuple[Runner, asyncio.Task[None]]] = {}
        self._whole = asyncio.Event()
        self._changed = asyncio.Event()
        self._connections = 0
        self._next = 0

    # ---- what is set up --------------------------------------------------------------------------------------------

    def read(self, records: Sequence[Record]) -> None:
        """Take records of the partition, in order; those that came before come again after each rebalance."""
        records = [record for record in records if record.offset >= self._next]
        for record in records:
            self._next = record.offset + 1
            name = (record.key or b"").decode(errors="replace")
            if record.value is None:
                self._specs.pop(name, None)
            else:
                try:
                    spec = spec_of(record.value)
                except Unsuitable as error:
                    warn("source_unsuitable", source=name, partition=self.partition, reason=str(error))
                    continue
                self._specs[name] = spec
        if records:
            self._changed.set()

    def caught_up(self) -> None:
        """Everything that was in the partition when it was given to us has been read."""
        if not self._whole.is_set():
            self._whole.set()
            self._changed.set()

    @property
    def runners(self) -> Mapping[str, Runner]:
        """The sources that run, by id."""
        return {name: runner for name, (runner, _) in self._running.items()}

    @property
    def whole(self) -> bool:
        """Whether everything that is set up here is known, and fenced."""
        return self._whole.is_set() and (self._positions is not None or not self._specs)

    # ---- its life --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run what is set up until cancelled. Raises what no source is to raise."""
        await self._whole.wait()
        while not self._specs:  # nothing to fence, no connection to hold, until something is set up
            self._changed.clear()
            await self._changed.wait()
        while True:
            positions = self._make_positions(self.partition)
            try:
                self._cursors = await positions.take_over()
                self._positions = positions
                await self._reconcile_for_ever(positions)
            except Fenced as error:
                # Another process has it, or the broker gave up on a transaction. The group's next word tells which.
                warn("positions_fenced", partition=self.partition, reason=str(error))
                await self._end_all()
                await self._confirmed()
            finally:
                self._positions = None
                await self._end_all()
                await positions.close()

    async def drain(self) -> None:
        """Let every source publish what it has read; its position is written. To be called before the end."""
        runners = [runner for runner, _ in self._running.values()]
        await asyncio.gather(*(runner.stop() for runner in runners))
        if self._positions is not None:
            await self._positions.settled()

    async def _reconcile_for_ever(self, positions: Positions) -> None:
        writing = asyncio.create_task(positions.run())
        acting = asyncio.create_task(self._act(positions))
        try:
            self._changed.set()
            while True:
                waking = asyncio.ensure_future(self._changed.wait())
                tasks = [task for _, task in self._running.values()]
                await asyncio.wait({waking, writing, acting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
                waking.cancel()
                for task in (writing, acting, *tasks):
                    if task.done() and not task.cancelled():
                        task.result()
                        raise AssertionError("neither a source nor its positions return by themselves")
                if self._changed.is_set():
                    self._changed.clear()
                    await self._reconcile(positions)
        finally:
            await end([writing, acting])

    async def _act(self, positions: Positions) -> None:
        """Send what runs ask for, from where the owner before has got to."""
        cursor = self._cursors.get(ACTIONS)
        actions = self._make_actions(self.partition, self._runner_for)

        def done(offset: int) -> None:
            positions.move(ACTIONS, Cursor(position=offset, epoch=positions.epoch, kind=ACTIONS))

        await actions.run(begin=None if cursor is None else int(cursor.position), done=done)

    def _runner_for(self, name: str) -> Runner | None:
        running = self._running.get(name)
        return None if running is None else running[0]

    async def _reconcile(self, positions: Positions) -> None:
        for name in [name for name in self._running if not self._is_as_wanted(name)]:
            await self._end_one(name)
        for name in [name for name in self._cursors if name not in self._specs and name != ACTIONS]:
            del self._cursors[name]
            positions.move(name, None)
            self._removed(name)
        for name, spec in list(self._specs.items()):
            if name not in self._running and _is_run(spec):
                self._begin(spec, positions)

    def _is_as_wanted(self, name: str) -> bool:
        wanted = self._specs.get(name)
        return wanted is not None and wanted.digest == self._running[name][0].spec.digest

    def _begin(self, spec: Spec, positions: Positions) -> None:
        try:
            delivery = registry.load(spec.kind).delivery.value
        except registry.UnknownKind:
            delivery = ""
        watched = Watched(spec, owner=self._name, delivery=delivery, metrics=self._around.metrics)
        runner = Runner(spec, self._around, watched, epoch=self._epoch, cursor=self._cursors.get(spec.id))

        def moved(cursor: Cursor) -> None:
            positions.move(spec.id, cursor)
            self._cursors[spec.id] = cursor

        runner.moved = moved
        self._running[spec.id] = (runner, asyncio.create_task(runner.run(), name=f"source {spec.id}"))
        info("source_begun", source=spec.id, kind=spec.kind, partition=self.partition)

    async def _end_one(self, name: str) -> None:
        runner, task = self._running[name]
        if not task.done():
            await runner.stop()
        await end([task])
        del self._running[name]
        runner.watched.forget()
        if name not in self._specs:
            self._removed(name)
        info("source_ended", source=name, kind=runner.spec.kind, partition=self.partition)

    async def _end_all(self) -> None:
        running, self._running = self._running, {}
        await end([task for _, task in running.values()])
        for runner, _ in running.values():
            runner.watched.forget()

    def _epoch(self) -> str:
        """Name a connection: no other of this partition has the same, over restarts and owners."""
        self._connections += 1
        epoch = self._positions.epoch if self._positions is not None else "none"
        return f"{epoch}-{self._connections}"


def _is_run(spec: Spec) -> bool:
    """Whether something is to run: kinds that the gateway receives have nothing here."""
    try:
        return registry.load(spec.kind).make is not None
    except registry.UnknownKind:
        return True  # it fails, and its status says why
