"""Owners of one source, one after the other, and what outlives them: what the broker has, and the last position.

Each life is the real Owner with the real Runner. It may die at any mark of its work, see Mark. What is dead does
nothing more.
"""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, Protocol, cast

import orjson

from connectors.base.closing import end
from connectors.base.contract import Closes, Item, Moved, Source
from connectors.base.fleet.actions import Actions
from connectors.base.fleet.owner import Owner
from connectors.base.fleet.positions import Positions
from connectors.base.instance.events import Maker, Outgoing
from connectors.base.instance.runner import Runner
from connectors.base.instance.site import Around, Standing
from connectors.base.instance.watched import Watched
from connectors.base.metrics import SourceMetrics
from connectors.base.reach.egress import Policy
from connectors.base.reach.folders import Folders
from connectors.base.reach.http import ClientHttp
from connectors.base.texts.secrets import Variables
from tests.contract.outside import INSTANCE, Outside
from topics.facts import Record
from topics.sources import Cursor, Spec, State, Status, configured, cursor_moved, cursor_of

PATIENCE_SECONDS: Final = 20.0
SLOWNESS: Final = 40
"""Turns of the loop that publishing may take, and writing a position."""
EVENT_BYTES: Final = 100_000
RECONNECT: Final = {"base_seconds": 0.02, "max_seconds": 0.1, "failed_seconds": 0.2}


class Mark(Enum):
    """Where a life may die."""

    HEARD = "bytes came"
    READ = "a batch was read, nothing is sent to the broker"
    SENT = "it is on its way"
    DURABLE = "the broker has it, and nobody knows"
    KNOWN = "the broker has said so, nothing is acknowledged"
    NOTED = "it is acknowledged, and the position noted"
    WRITTEN = "the position is durable"


MOST_TIMES: Final = 2
MOST_HEARD: Final = 6
"""How often a life may have been at a mark when it dies there."""

Moment = tuple[Mark, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A record that the broker has."""

    id: str
    number: int
    life: int
    edition: int
    record: bytes


class World:
    """A source and everything that outlives its owners. `seed` makes their deaths the same again."""

    def __init__(self, outside: Outside, *, seed: int = 1) -> None:
        self.outside = outside
        self.chance = random.Random(seed)
        self.published: list[Published] = []
        self.letters: list[Record] = []
        self.cursor: Cursor | None = None
        self.edition = 0
        self.readers = self.most_readers = 0
        """How often the source is read now, and was at most: once."""
        self.statuses: list[Status] = []
        self.lives: list[Life] = []
        self.marks: Counter[Mark] = Counter()
        """How often owners were where; some kinds are not everywhere."""

    def moment(self) -> Moment:
        """Return a random moment at which an owner of this source can die."""
        mark = self.chance.choice(sorted(self.marks, key=lambda one: one.name))
        return mark, self.chance.randint(1, MOST_HEARD if mark is Mark.HEARD else MOST_TIMES)

    def begin(self, *, die_at: Moment | None = None, deaf: bool = False) -> "Life":
        """Let an owner begin. It dies at a moment; a `deaf` one never hears what is durable."""
        how: dict[str, Any] = {"number": len(self.lives) + 1, "die_at": die_at, "deaf": deaf}
        life: Life = self.outside.live(self, **how) or OwnerLife(self, **how)
        self.lives.append(life)
        return life

    async def close(self) -> None:
        for life in self.lives:
            await life.kill()

    @property
    def spec(self) -> Spec:
        """How the source is set up; the topic of its events tells which edition has published them."""
        outside = self.outside
        options = {**outside.options, **(outside.edited if self.edition % 2 else {})}
        topic = f"{self.edition}/{{{{ type }}}}"
        return Spec(id=INSTANCE, kind=outside.kind, options=options, reconnect=RECONNECT, topic=topic)

    def edit(self, life: "Life") -> None:
        """Set the source up in another way, while it runs."""
        self.edition += 1
        life.edit(self.spec)

    # ---- what came of it -------------------------------------------------------------------------------------------

    def numbers(self, life: int | None = None) -> list[int]:
        """Return which events were published, repetitions included; those of one life, if it is given."""
        return [one.number for one in self.published if life in (None, one.life)]

    def ids(self) -> dict[int, set[str]]:
        """Return under which ids each event was published."""
        found: defaultdict[int, set[str]] = defaultdict(set)
        for one in self.published:
            found[one.number].add(one.id)
        return dict(found)

    def outcome(self) -> tuple[list[int], list[int], list[str]]:
        """Return events that were lost, those that have several ids, and ids that several events have."""
        ids = self.ids()
        numbers: defaultdict[str, set[int]] = defaultdict(set)
        for one in self.published:
            numbers[one.id].add(one.number)
        return (
            [number for number in range(1, self.outside.happened + 1) if number not in ids],
            sorted(number for number, found in ids.items() if len(found) > 1),
            sorted(name for name, found in numbers.items() if len(found) > 1),
        )

    # ---- for lives -------------------------------------------------------------------------------------------------

    def take(self, events: Sequence[tuple[bytes | None, bytes]], life: int) -> None:
        """The broker has events: key and value of each."""
        for key, value in events:
            event = orjson.loads(value)
            number = self.outside.number({"key": None if key is None else key.decode(), **event})
            edition = int(event["topic"].partition("/")[0])
            self.published.append(Published(id=event["id"], number=number, life=life, edition=edition, record=value))

    async def pause(self) -> None:
        """Take a while, more or less."""
        for _ in range(self.chance.randrange(SLOWNESS)):
            await asyncio.sleep(0)


class Life(Protocol):
    """One owner."""

    number: int
    back: asyncio.Event
    """Cleared: the broker is away."""
    dying: asyncio.Event

    @property
    def status(self) -> Status: ...

    @property
    def waiting(self) -> int:
        """Events that were read and wait for the broker."""
        ...

    @property
    def held(self) -> int:
        """Events that it has in memory."""
        ...

    def edit(self, spec: Spec) -> None:
        """From now on the source is set up so."""
        ...

    def runs(self, spec: Spec) -> bool:
        """Whether it runs as it is set up now."""
        ...

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something has come true while it lives. Raises what has ended it."""
        ...

    async def stop(self) -> None:
        """End as a process does that is asked to."""
        ...

    async def kill(self) -> None:
        """End at once."""
        ...


class OwnerLife:
    """An owner of the partition in which the source is set up: that of the frame, with the Runner of the frame."""

    def __init__(self, world: World, *, number: int, die_at: Moment | None, deaf: bool) -> None:
        self.number, self._world, self._die_at, self._deaf = number, world, die_at, deaf
        self.back, self.dying = asyncio.Event(), asyncio.Event()
        self.back.set()
        self.marks: Counter[Mark] = Counter()
        self.epoch = f"{number}"
        self._is_dead = False
        self._pending: bytes | None = None
        self._moved, self._settled = asyncio.Event(), asyncio.Event()
        self._settled.set()
        around = Around(
            publish=self._publish,
            lease=self._lease,
            http=self._http,
            resolve=Policy(allowed=("*",)).resolve,
            metrics=SourceMetrics(),
            secrets_folder=None,
            folders=Folders(allowed=("/",)),
            event_bytes=EVENT_BYTES,
            environment=Variables(of_process={}),
        )
        self._owner = _Owner(world, self, around, deaf=deaf)
        self._said = 0
        self.edit(world.spec)
        self._owner.caught_up()
        self._task = asyncio.create_task(self._owner.run())

    @property
    def status(self) -> Status:
        runner = self._owner.runner(INSTANCE)
        return _none(self._world.spec) if runner is None else runner.watched.status

    @property
    def waiting(self) -> int:
        runner = self._owner.runner(INSTANCE)
        return 0 if runner is None else runner.buffered

    @property
    def held(self) -> int:
        return self.waiting

    def edit(self, spec: Spec) -> None:
        self._said += 1
        record = configured(spec)
        self._owner.read([_Setting(offset=self._said, key=record.key, value=record.value)])

    def runs(self, spec: Spec) -> bool:
        runner = self._owner.runner(INSTANCE)
        return runner is not None and runner.spec == spec

    async def until(self, condition: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not condition():
                    if self._task.done() and not self._task.cancelled():
                        self._task.result()
                    self._check()
                    await asyncio.wait([self._task], timeout=0.005)
        except TimeoutError:
            marks = ", ".join(f"{mark.name} {count}" for mark, count in self.marks.items())
            lost = self._world.outcome()[0]
            raise AssertionError(f"it did not come true: {self.status}; was at {marks}; not published {lost}") from None

    def _check(self) -> None:
        """What no kind is to raise fails the source alone; here it fails the test."""
        problem = self.status.error
        assert problem is None or problem.reason != "crashed", problem

    async def stop(self) -> None:
        self._check()
        await self._owner.drain()

    async def kill(self) -> None:
        self._check()
        self._is_dead = True
        await end([self._task])

    # ---- marks -----------------------------------------------------------------------------------------------------

    def _mark(self, mark: Mark) -> None:
        self.marks[mark] += 1
        self._world.marks[mark] += 1
        if self._die_at == (mark, self.marks[mark]):
            self._is_dead = True
            self.dying.set()

    async def _live_on(self, mark: Mark) -> None:
        """Pass a mark, or never return."""
        self._mark(mark)
        if self._is_dead:
            await asyncio.get_running_loop().create_future()

    # ---- what the Runner is given ----------------------------------------------------------------------------------

    async def _lease(self) -> None:
        await self._live_on(Mark.READ)

    async def _publish(self, events: Sequence[Outgoing], letters: Sequence[Record]) -> None:
        await self._live_on(Mark.SENT)
        await self.back.wait()
        await self._world.pause()
        if self._is_dead:
            await asyncio.get_running_loop().create_future()
        self._world.take([(one.key, one.value) for one in events], self.number)
        self._world.letters += letters
        await self._live_on(Mark.DURABLE)
        await self._world.pause()
        await self._live_on(Mark.KNOWN)

    def _http(self, heard: Callable[[int], None]) -> ClientHttp:
        def hear(size_bytes: int) -> None:
            self._mark(Mark.HEARD)
            heard(size_bytes)

        return ClientHttp(Policy(allowed=("*",)), heard=hear)

    # ---- positions, as connectors.base.fleet.positions has them ----------------------------------------------------

    @property
    def stored(self) -> dict[str, Cursor]:
        cursor = self._world.cursor
        return {} if cursor is None else {INSTANCE: cursor}

    async def take_over(self) -> dict[str, Cursor]:
        return self.stored

    def move(self, instance_id: str, cursor: Cursor | None) -> None:
        if self._is_dead or self._deaf or cursor is None:
            return
        self._pending = cursor_moved(instance_id, cursor, at_ms=0)[1]
        self._settled.clear()
        self._moved.set()
        self._mark(Mark.NOTED)

    async def settled(self) -> None:
        await self._settled.wait()

    async def run(self) -> None:
        while True:
            await self._moved.wait()
            self._moved.clear()
            written, self._pending = self._pending, None
            if written is not None:
                await self._world.pause()
                if self._is_dead:
                    await asyncio.get_running_loop().create_future()
                self._world.cursor = cursor_of(written)
                self._mark(Mark.WRITTEN)
            if self._pending is None:
                self._settled.set()

    async def close(self) -> None:
        pass


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setting:
    """A record of `triggers`."""

    offset: int
    key: bytes | None
    value: bytes | None


class _Owner(Owner):
    """Its sources stand where the world wants them; the acknowledgements of a deaf one get nowhere."""

    def __init__(self, world: World, life: OwnerLife, around: Around, *, deaf: bool) -> None:
        super().__init__(
            0,
            name=f"c{life.number}",
            around=around,
            positions=lambda _: cast(Positions, life),
            actions=lambda _partition, _runner_of: cast(Actions, _NoActions()),
            confirmed=lambda: None,
            removed=lambda _: None,
        )
        self._world, self._deaf = world, deaf

    def _made(self, spec: Spec, *, cursor: Cursor | None) -> Runner:
        made = super()._made(spec, cursor=cursor)
        watched = _Told(self._world.statuses, spec, owner=self._name, delivery="", metrics=self._around.metrics)
        return _Owned(self._world, self._deaf, spec, self._around, watched, epoch=made._next_epoch, cursor=made._cursor)


class _NoActions:
    """Nobody sends."""

    async def run(self, *, begin: Any, done: Callable[[Any], None]) -> None:
        await asyncio.get_running_loop().create_future()


class _Owned(Runner):
    def __init__(self, world: World, deaf: bool, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._world, self._deaf = world, deaf

    def _made(self, site: Standing) -> tuple[Source, Maker]:
        source, maker = super()._made(cast(Standing, self._world.outside.site(site)))
        return _Read(source, self._world, deaf=self._deaf), maker


class _Read:
    """A source of which it is known how often it is read at a time."""

    def __init__(self, source: Source, world: World, *, deaf: bool) -> None:
        self._source, self._world, self._deaf = source, world, deaf

    async def read(self) -> AsyncIterator[Item]:
        world = self._world
        world.readers += 1
        world.most_readers = max(world.most_readers, world.readers)
        try:
            async with aclosing(cast(Any, self._source.read())) as items:
                async for item in items:
                    yield replace(item, ack=None) if self._deaf and not isinstance(item, Moved) else item
        finally:
            world.readers -= 1

    async def close(self) -> None:
        if isinstance(self._source, Closes):
            await self._source.close()


class _Told(Watched):
    """Keeps every status that was told."""

    def __init__(self, told: list[Status], *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._told = told

    def enter(self, state: State) -> None:
        super().enter(state)
        self._told.append(self.status)


def _none(spec: Spec) -> Status:
    """How a source is that nobody runs yet."""
    return Watched(spec, owner="", delivery="", metrics=SourceMetrics()).status
