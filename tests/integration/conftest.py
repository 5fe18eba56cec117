"""Kinds of sources that tests write, in processes of connectors on a real broker."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from connectors.base.contract import Item, Moved, Site
from connectors.base.kinds import registry
from tests.unit.connectors.base.framed import Reads, kind_of


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Reads], None]:
    """Adds a kind of source that reads as a test says."""
    kinds: dict[str, registry.Kind] = {}
    known = registry.load
    monkeypatch.setattr(registry, "load", lambda name: kinds[name] if name in kinds else known(name))

    def add(name: str, reads: Reads) -> None:
        kinds[name] = kind_of(reads, name)

    return add


@pytest.fixture
def idle(scripted: Callable[[str, Reads], None]) -> list[str]:
    """Adds the kind `idle`, which connects and has nothing to read; returns whose connections there were."""
    read: list[str] = []

    async def reads(site: Site, number: int) -> AsyncIterator[Item]:
        read.append(site.instance_id)
        site.connected()
        yield Moved(position=number)
        await asyncio.get_running_loop().create_future()

    scripted("idle", reads)
    return read
