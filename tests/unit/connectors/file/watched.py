"""A folder that a source watches: at each of its sleeps something may happen."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from connectors.base.contract import Moved
from connectors.file import Config, Source
from tests.unit.connectors.standing import Reading, StandIn, reading

SETTLE = 2.0


class Watching(StandIn):
    """A site at which something may happen at each sleep, for as long as there is something left to happen."""

    def __init__(self, position: Any = None, **more: Any) -> None:
        super().__init__(position=position, **more)
        self.happening: Iterator[Callable[[], object]] = iter(())

    async def sleep(self, seconds: float) -> None:
        next(self.happening, lambda: None)()
        await super().sleep(seconds)


def put(path: Path, text: str | bytes = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def config(root: Path, **options: Any) -> Config:
    return Config.model_validate({"path": str(root), "settle": SETTLE, "notifications": False, **options})


@asynccontextmanager
async def watching(root: Path, site: StandIn, **options: Any) -> AsyncIterator[Reading]:
    async with reading(Source(config(root, **options), site), site) as one:
        yield one


@asynccontextmanager
async def begun(root: Path, site: StandIn, **options: Any) -> AsyncIterator[Reading]:
    """Watching, and the first scan is over."""
    async with watching(root, site, **options) as one:
        assert isinstance(await one.next(), Moved)
        yield one


async def events(one: Reading, count: int) -> list[tuple[str, str]]:
    found = [await one.event() for _ in range(count)]
    return [(event.event_type, event.data["path"]) for event in found]


async def nothing_but(one: Reading, root: Path, name: str = "sentinel") -> None:
    """The next event is that of a file that is put there now."""
    put(root / name)
    assert await events(one, 1) == [("create", name)]
