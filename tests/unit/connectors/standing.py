"""A site to stand on in tests of sources: real HTTP to this machine, a clock and chance that the test decides about."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from connectors.base.contract import (
    UNMOVED,
    Ended,
    Http,
    Item,
    Moved,
    NotConnected,
    Received,
    Refused,
    Source,
    Unreadable,
)

Result = TypeVar("Result")


class StandIn:
    """A `connectors.base.contract.Site`. `sleep` returns at once and moves the clock, unless `real_time`."""

    def __init__(
        self,
        *,
        instance_id: str = "src",
        position: Any = None,
        http: Http | None = None,
        now: datetime = datetime(2026, 6, 1, tzinfo=UTC),
        real_time: bool = False,
    ) -> None:
        self.instance_id, self.position, self.epoch = instance_id, position, "e1"
        self.behind: Any = UNMOVED
        """What is stored, while that is not the position yet."""
        self._http, self._now, self._real_time = http, now, real_time
        self._seconds = 0.0
        self.chance = 0.5
        self.slept: list[float] = []
        self.notes: Counter[str] = Counter()
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.heard_bytes = 0
        self.connections = 0
        self.is_connected = asyncio.Event()
        self.forbidden: set[str] = set()
        self.addresses: dict[str, Sequence[tuple[str, int]]] = {}

    @property
    def stored_position(self) -> Any:
        return self.position if self.behind is UNMOVED else self.behind

    @property
    def http(self) -> Http:
        assert self._http is not None, "this test gave no http"
        return self._http

    async def resolve(self, host: str, port: int) -> Sequence[tuple[str, int]]:
        return self.addresses.get(host, [(host, port)])

    def permit(self, path: str) -> None:
        if path in self.forbidden:
            raise Refused(f"{path!r} is forbidden in this test", reason="forbidden_path")

    def may_use(self, variable: str) -> bool:
        return variable not in self.forbidden

    def connected(self) -> None:
        self.connections += 1
        self.is_connected.set()

    def heard(self, size_bytes: int) -> None:
        self.heard_bytes += size_bytes

    def note(self, what: str, count: int = 1) -> None:
        self.notes[what] += count

    def now(self) -> datetime:
        if self._real_time:
            return datetime.now(UTC)
        return datetime.fromtimestamp(self._now.timestamp() + self._seconds, UTC)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time() if self._real_time else self._seconds

    def random(self) -> float:
        return self.chance

    def advance(self, seconds: float) -> None:
        self._seconds += seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if self._real_time:
            await asyncio.sleep(seconds)
        else:
            self._seconds += seconds
            await asyncio.sleep(0)

    async def in_thread(self, call: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.to_thread(call, *arguments)

    def say(self, event: str, **fields: Any) -> None:
        self.said.append((event, fields))


class Reading:
    """Reads a source as the frame does: takes items, acknowledges them, moves the site's position."""

    def __init__(self, source: Source, site: StandIn) -> None:
        self._site = site
        self._items = source.read()
        self.taken: list[Item] = []

    async def next(self, *, settle: bool = True) -> Item:
        """Return the next item, acknowledged and with its position stored, as after the broker's word."""
        async with asyncio.timeout(20):
            item = await anext(self._items)
        self.taken.append(item)
        if settle:
            await self.settle(item)
        return item

    async def event(self) -> Received:
        """Return the next event; positions that move meanwhile are stored."""
        while True:
            item = await self.next()
            if isinstance(item, Received):
                return item
            assert not isinstance(item, Unreadable), item

    async def settle(self, item: Item) -> None:
        if not isinstance(item, Moved) and item.ack is not None:
            await item.ack()
        if item.position is not UNMOVED:
            self._site.position = item.position

    async def to_its_end(self) -> Exception:
        """Take everything until reading ends by itself; return why."""
        try:
            while True:
                await self.next()
        except (NotConnected, Refused, Ended) as end:
            return end
        except StopAsyncIteration:
            return NotConnected("read returned")

    async def close(self) -> None:
        await self._items.aclose()  # type: ignore[attr-defined]


@asynccontextmanager
async def reading(source: Source, site: StandIn) -> AsyncIterator[Reading]:
    one = Reading(source, site)
    try:
        yield one
    finally:
        await one.close()


async def until(condition: Callable[[], bool], *, seconds: float = 10.0) -> None:
    """Wait until something in this process has come true; its test fails when it does not."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 the thing under test tells nobody
            await asyncio.sleep(0.005)
