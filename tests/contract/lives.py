"""Owners of one source, one after the other, and what outlives them: what the broker has, and the last position.

Each life is the real Runner. It may die at any mark of its work, see Mark. What is dead does nothing more.
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
from connectors.base.contract import Item, Moved, Source
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
from topics.sources import Cursor, Spec, State, Status, cursor_moved, cursor_of

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
    record: bytes


class World:
    """A source and everything that outlives its owners. `seed` makes their deaths the same again."""

    def __init__(self, outside: Outside, *, seed: int = 1) -> None:
        self.outside = outside
        self.chance = random.Random(seed)
        self.published: list[Published] = []
        self.letters: list[Record] = []
        self.cursor: Cursor | None = None
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
        life: Life = self.outside.live(self, **how) or RunnerLife(self, **how)
        self.lives.append(life)
        return life

    async def close(self) -> None:
        for life in self.lives:
            await life.kill()

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
            self.published.append(Published(id=event["id"], number=number, life=life, record=value))

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

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something has come true while it lives. Raises what has ended it."""
        ...

    async def stop(self) -> None:
        """End as a process does that is asked to."""
        ...

    async def kill(self) -> None:
        """End at once."""
        ...


class RunnerLife:
    """An owner that runs the Runner."""

    def __init__(self, world: World, *, number: int, die_at: Moment | None, deaf: bool) -> None:
        self.number, self._world, self._die_at = number, world, die_at
        self.back, self.dying = asyncio.Event(), asyncio.Event()
        self.back.set()
        self.marks: Counter[Mark] = Counter()
        self._is_dead = False
        self._connections = 0
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
        outside = world.outside
        spec = Spec(id=INSTANCE, kind=outside.kind, options=outside.options, reconnect=RECONNECT)
        self._watched = _Told(world.statuses, spec, owner=f"c{number}", delivery="", metrics=around.metrics)
        self.runner = _Owned(outside, deaf, spec, around, self._watched, epoch=self._epoch, cursor=world.cursor)
        if not deaf:
            self.runner.moved = self._note
        self._tasks = [asyncio.create_task(self.runner.run()), asyncio.create_task(self._write())]

    @property
    def status(self) -> Status:
        return self._watched.status

    @property
    def waiting(self) -> int:
        return self.runner.buffered

    async def until(self, condition: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not condition():
                    for task in self._tasks:
                        if task.done() and not task.cancelled():
                            task.result()
                    self._check()
                    await asyncio.wait(self._tasks, timeout=0.005)
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
        await self.runner.stop()
        await self._settled.wait()

    async def kill(self) -> None:
        self._check()
        self._is_dead = True
        await end(self._tasks)

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

    def _epoch(self) -> str:
        self._connections += 1
        return f"{self.number}-{self._connections}"

    # ---- positions, as connectors.base.fleet.positions has them ----------------------------------------------------

    def _note(self, cursor: Cursor) -> None:
        if self._is_dead:
            return
        self._pending = cursor_moved(INSTANCE, cursor, at_ms=0)[1]
        self._settled.clear()
        self._moved.set()
        self._mark(Mark.NOTED)

    async def _write(self) -> None:
        while True:
            await self._moved.wait()
            self._moved.clear()
            written, self._pending = self._pending, None
            if written is not None:
                await self._world.pause()
                if self._is_dead:
                    return
                self._world.cursor = cursor_of(written)
                self._mark(Mark.WRITTEN)
            if self._pending is None:
                self._settled.set()


class _Owned(Runner):
    """Its source stands where the world wants it; the acknowledgements of a deaf one get nowhere."""

    def __init__(self, outside: Outside, deaf: bool, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._outside, self._deaf = outside, deaf

    def _made(self, site: Standing) -> tuple[Source, Maker]:
        source, maker = super()._made(cast(Standing, self._outside.site(site)))
        return (_Unheard(source) if self._deaf else source), maker


class _Unheard:
    """A source whose acknowledgements are lost on their way."""

    def __init__(self, source: Source) -> None:
        self._source = source

    async def read(self) -> AsyncIterator[Item]:
        async with aclosing(cast(Any, self._source.read())) as items:
            async for item in items:
                yield item if isinstance(item, Moved) else replace(item, ack=None)


class _Told(Watched):
    """Keeps every status that was told."""

    def __init__(self, told: list[Status], *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._told = told

    def enter(self, state: State) -> None:
        super().enter(state)
        self._told.append(self.status)
