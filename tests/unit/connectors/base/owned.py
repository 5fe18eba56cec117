"""An owner of the frame: a test writes its records, its positions are a dictionary, its broker is that of `framed`."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from connectors.base.fleet.owner import Owner
from connectors.base.fleet.positions import Fenced
from tests.unit.connectors.base.framed import Framed, spec
from topics.sources import Cursor, Spec, configured


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record of `triggers`."""

    offset: int
    key: bytes
    value: bytes | None


def said(offset: int, spec: Spec, key: str | None = None) -> Record:
    return Record(offset=offset, key=(key or spec.id).encode(), value=configured(spec).value)


class Positions:
    """Positions in memory. With `rival`, somebody else fences them as soon as they are taken over."""

    def __init__(self, stored: dict[str, Cursor | None], *, rival: bool) -> None:
        self.epoch, self._stored, self._rival = "e", stored, rival

    @property
    def stored(self) -> dict[str, Cursor]:
        return {name: cursor for name, cursor in self._stored.items() if cursor is not None}

    async def take_over(self) -> dict[str, Cursor]:
        return self.stored

    def move(self, name: str, cursor: Cursor | None) -> None:
        self._stored[name] = cursor

    async def settled(self) -> None:
        pass

    async def run(self) -> None:
        if self._rival:
            raise Fenced("another one has it")
        await asyncio.get_running_loop().create_future()

    async def close(self) -> None:
        pass


class Actions:
    async def run(self, *, begin: int | None, done: Callable[[int], None]) -> None:
        await asyncio.get_running_loop().create_future()


class Owned:
    """An owner of partition 3, and what is around it."""

    def __init__(self, *, stored: Mapping[str, Cursor] = {}, rival: bool = False) -> None:
        self.framed = Framed(spec())
        self.stored: dict[str, Cursor | None] = dict(stored)
        self.removed: list[str] = []
        self.confirmations = 0
        self.owner = Owner(
            3,
            name="me",
            around=self.framed.runner._around,
            positions=lambda _: Positions(self.stored, rival=rival),  # type: ignore[arg-type, return-value]
            actions=lambda _partition, _runner_of: Actions(),  # type: ignore[arg-type, return-value]
            confirmed=self._confirmed,
            removed=self.removed.append,
        )

    async def _confirmed(self) -> None:
        self.confirmations += 1


async def settle() -> None:
    """Let everything go as far as it goes."""
    for _ in range(50):
        await asyncio.sleep(0)
