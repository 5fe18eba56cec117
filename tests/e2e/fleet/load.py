"""Lets events happen in all worlds, each at its rate, in a loop beside the test."""

import asyncio
from collections.abc import Sequence

from tests.e2e.aside import Aside
from tests.e2e.fleet.world import World


class Load:
    """Begins with `start`; `hold` lets no more happen. Rates of prompt worlds are `times` as high as their own."""

    def __init__(self, aside: Aside, worlds: Sequence[World], *, times: float = 1.0) -> None:
        self._aside, self._worlds, self._times = aside, worlds, times
        self._tasks: list[asyncio.Task[None]] = []
        self._is_held = False
        self._broker = asyncio.Event()
        self._broker.set()
        self._on_broker = asyncio.Lock()

    def start(self) -> None:
        """Let events happen from now on."""
        self._aside.call(self._begin)

    def hold(self) -> None:
        """Let no more events happen; return once all can be read. Raises what went wrong in a world."""
        self._is_held = True
        self._aside.run(self._end(), seconds=300.0)

    def check(self) -> None:
        """Raise what went wrong in a world."""
        for task in self._tasks:
            if task.done():
                task.result()

    def broker_goes(self) -> None:
        """Let nothing happen on the broker, which is about to be away."""
        self._aside.run(self._pause())

    def broker_is_back(self) -> None:
        self._aside.call(self._broker.set)

    def _begin(self) -> None:
        self._tasks = [asyncio.create_task(self._drive(world)) for world in self._worlds if world.per_second]

    async def _pause(self) -> None:
        self._broker.clear()
        async with self._on_broker:
            pass

    async def _end(self) -> None:
        await asyncio.gather(*self._tasks)
        await asyncio.gather(*(world.settle() for world in self._worlds))

    async def _drive(self, world: World) -> None:
        loop = asyncio.get_running_loop()
        rate = world.per_second * (self._times if world.is_prompt else 1.0)
        due = loop.time()
        while not self._is_held:
            due = max(due + 1 / rate, loop.time() - 1.0)  # what is late is made up for, for a second
            await asyncio.sleep(max(0.0, due - loop.time()))
            if world.on_kafka:
                await self._broker.wait()
                async with self._on_broker:
                    await world.tell()
            else:
                await world.tell()
