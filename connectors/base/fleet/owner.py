"""Owns one partition of `triggers`: fences its positions, and runs the sources that are set up in it.

Made by connectors.base.fleet.process for each partition that the group gives to it; ended when it takes it away.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from connectors.base.closing import end
from connectors.base.fleet.actions import ACTIONS, Actions
from connectors.base.fleet.positions import Fenced, Positions
from connectors.base.instance.runner import Runner
from connectors.base.instance.site import Around
from connectors.base.instance.watched import Watched
from connectors.base.kinds import registry
from connectors.base.logs import info, warn
from topics.sources import Cursor, Spec, Unsuitable, spec_of

EDIT_SECONDS: Final = 5.0
"""How long a source that is changed or removed may publish what it has read: then the change goes on without that."""
STEADY_SECONDS: Final = 60.0
"""Who is fenced again before has a rival: two groups of processes that share a prefix, or one that cannot let go."""
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 60.0


class Record(Protocol):
    """A record of `triggers`, as aiokafka has it."""

    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What `triggers` says of a source: in which record, and how it is set up; None where that cannot be read here."""

    offset: int
    spec: Spec | None


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
        self._known: dict[str, Said] = {}
        self._coming: dict[str, Said] | None = {}
        self._running: dict[str, tuple[Runner, asyncio.Task[None]]] = {}
        self._whole = asyncio.Event()
        self._is_asked = False
        self._changed = asyncio.Event()
        self._connections = 0

    # ---- what is set up --------------------------------------------------------------------------------------------

    def again(self) -> None:
        """All records of the partition come again. Until they have, what is known holds."""
        self._coming = {}

    def read(self, records: Sequence[Record]) -> None:
        """Take records of the partition, in order."""
        into = self._known if self._coming is None else self._coming
        for record in records:
            name = (record.key or b"").decode(errors="replace")
            if record.value is None:
                into.pop(name, None)
            elif name not in into or into[name].offset < record.offset:
                into[name] = self._said(name, record, into.get(name) or self._known.get(name))
        if records and self._coming is None:
            self._changed.set()

    def _said(self, name: str, record: Record, before: Said | None) -> Said:
        if before is not None and before.offset == record.offset:
            return before
        try:
            spec = spec_of(record.value or b"", key=record.key or b"")
        except Unsuitable as error:
            warn("source_unsuitable", source=name, partition=self.partition, reason=str(error))
            # Perhaps of a newer release: what is known of it holds, and its position is not ours to delete.
            return Said(offset=record.offset, spec=None if before is None else before.spec)
        return Said(offset=record.offset, spec=spec)

    def caught_up(self) -> None:
        """Everything that was in the partition when it was given to us has been read."""
        if self._coming is not None:
            self._known, self._coming = self._coming, None
        self._whole.set()
        self._changed.set()

    def runner(self, name: str) -> Runner | None:
        """Return what runs a source, None where it does not run here."""
        running = self._running.get(name)
        return None if running is None else running[0]

    @property
    def idle(self) -> bool:
        """Whether nothing is set up here, and nobody has asked for anything."""
        return not (self._known or self._is_asked)

    def ask(self) -> None:
        """There is a message: somebody is to be told, be it that there is no such source."""
        self._is_asked = True
        self._changed.set()

    @property
    def runners(self) -> Mapping[str, Runner]:
        """The sources that run, by id."""
        return {name: runner for name, (runner, _) in self._running.items()}

    @property
    def whole(self) -> bool:
        """Whether everything that is set up here is known, and fenced."""
        return self._whole.is_set() and (self._positions is not None or self.idle)

    # ---- its life --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run what is set up until cancelled. Raises what no source is to raise."""
        await self._whole.wait()
        while not (self._known or self._is_asked):  # nothing to fence, no connection to hold, until something is set up
            self._changed.clear()
            await self._changed.wait()
        pause = FIRST_PAUSE_SECONDS
        while True:
            positions = self._make_positions(self.partition)
            began = time.monotonic()
            try:
                self._cursors = await positions.take_over()
                self._positions, began = positions, time.monotonic()
                await self._reconcile_for_ever(positions)
            except Fenced as error:
                # Another process has it, or the broker gave up on a transaction. The group's next word tells which.
                warn("positions_fenced", partition=self.partition, reason=str(error))
            finally:
                self._positions = None
                await positions.close()
            await self._confirmed()
            # Each turn costs every source here its connection, and a rival's as well.
            pause = FIRST_PAUSE_SECONDS if time.monotonic() - began > STEADY_SECONDS else pause
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def drain(self) -> None:
        """Let every source publish what it has read; its position is written. To be called before the end.

        It takes as long as Kafka is away: the process says how long it may.
        """
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
                tasks = [writing, acting, *(task for _, task in self._running.values())]
                try:
                    await asyncio.wait({waking, *tasks}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    waking.cancel()
                for task in tasks:
                    if task.done():
                        if not task.cancelled():
                            task.result()
                        # Nobody here has cancelled it: something in it has, and it would be missed in silence.
                        raise AssertionError(f"{task.get_name()}: neither a source nor its positions end by themselves")
                if self._changed.is_set():
                    self._changed.clear()
                    await self._reconcile(positions)
        finally:
            await self._end_all(writing, acting)

    async def _act(self, positions: Positions) -> None:
        """Send what runs ask for, from where the owner before has got to."""
        cursor = self._cursors.get(ACTIONS)
        actions = self._make_actions(self.partition, self.runner)

        def done(position: Any) -> None:
            positions.move(ACTIONS, Cursor(position=position, epoch=positions.epoch, kind=ACTIONS))

        await actions.run(begin=None if cursor is None else cursor.position, done=done)

    async def _reconcile(self, positions: Positions) -> None:
        unwanted = [name for name in self._running if not self._is_as_wanted(name)]
        await self._end_some(unwanted)
        for name in [name for name in {*unwanted, *self._cursors} if name not in self._known and name != ACTIONS]:
            if self._cursors.pop(name, None) is not None:
                positions.move(name, None)
            self._removed(name)
        for name, said in list(self._known.items()):
            if said.spec is None:
                continue
            if name in self._running:
                if self._is_as_wanted(name):  # else its change has come while others were ended: it is next
                    self._running[name][0].asked(said.spec, said.offset)
            elif _is_run(said.spec):
                self._begin(said.spec, said.offset, positions)

    def _is_as_wanted(self, name: str) -> bool:
        wanted = self._known.get(name)
        running = self._running[name][0].spec
        return wanted is not None and wanted.spec is not None and wanted.spec.digest == running.digest

    def _begin(self, spec: Spec, offset: int, positions: Positions) -> None:
        runner = self._made(spec, cursor=self._cursors.get(spec.id))

        def moved(cursor: Cursor) -> None:
            positions.move(spec.id, cursor)
            self._cursors[spec.id] = cursor

        runner.moved = moved
        runner.stored = lambda: positions.stored.get(spec.id)
        runner.asked(spec, offset)
        self._running[spec.id] = (runner, asyncio.create_task(runner.run(), name=f"source {spec.id}"))
        info("source_begun", source=spec.id, kind=spec.kind, partition=self.partition)

    def _made(self, spec: Spec, *, cursor: Cursor | None) -> Runner:
        try:
            delivery = registry.load(spec.kind).delivery.value
        except registry.UnknownKind:
            delivery = ""
        watched = Watched(spec, owner=self._name, delivery=delivery, metrics=self._around.metrics)
        return Runner(spec, self._around, watched, epoch=self._epoch, cursor=cursor)

    async def _end_some(self, names: Sequence[str]) -> None:
        """End sources that are not wanted any more, or not as they run; what they have read is published first."""
        ending = [self._running[name] for name in names]
        with suppress(TimeoutError):
            async with asyncio.timeout(EDIT_SECONDS):
                await asyncio.gather(*(runner.stop() for runner, task in ending if not task.done()))
        await self._end(ending)
        for name in names:
            del self._running[name]

    async def _end_all(self, *others: "asyncio.Task[None]") -> None:
        running, self._running = self._running, {}
        await self._end(running.values(), *others)

    async def _end(self, running: Iterable[tuple[Runner, "asyncio.Task[None]"]], *others: "asyncio.Task[None]") -> None:
        try:
            await end([*(task for _, task in running), *others])
        finally:
            for runner, _ in running:
                runner.watched.forget()
                info("source_ended", source=runner.spec.id, kind=runner.spec.kind, partition=self.partition)

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
