"""Drivers for the tests of this room, closed at the end of each."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest_asyncio

from app.runtime.driver import Driver
from app.runtime.limits import StepLimits
from tests.unit.app.runtime import standin
from tests.unit.app.runtime.standin import Engine, Engines, run_of


@pytest_asyncio.fixture
async def engines() -> AsyncIterator[Engines]:
    """Makes engines in miniature, each with a run of a function and a driver of its own."""
    made: list[Engine] = []

    def engine(
        fn: Callable[..., Any], *, threads: int = 4, limits: dict[str, Any] | None = None, **options: Any
    ) -> Engine:
        made.append(Engine(run_of(fn, **options), standin.driver(threads=threads, **(limits or {}))))
        return made[-1]

    yield engine
    for one in made:
        one.driver.close()


@pytest_asyncio.fixture
async def driver() -> AsyncIterator[Driver]:
    """A driver with small limits."""
    made = Driver(limits=StepLimits(partitions=4, steps=3, event_bytes=1_000, result_bytes=100), threads=4)
    yield made
    made.close()
