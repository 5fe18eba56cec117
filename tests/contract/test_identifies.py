"""Identifies of Discord are counted in the position before they are sent, whenever their owner dies."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import pytest

from connectors.base.contract import Site
from connectors.discord.place import Place
from tests.contract.lives import Mark, World
from tests.contract.outside import Hurried
from tests.contract.outsides.discord import SPEED, Guild
from topics.sources import State

LOOKS: Final = 20
"""How often an owner looks for its position when whoever sends too early has long done so."""


class _Counting(Hurried):
    def __init__(self, site: Site, guild: "Patient") -> None:
        super().__init__(site, speed=SPEED)
        self._guild = guild

    async def sleep(self, seconds: float) -> None:
        self._guild.looks += 1
        await super().sleep(seconds)


class Patient(Guild):
    """Counts how often its sources sleep."""

    looks = 0

    def site(self, site: Site) -> Site:
        return cast(Site, _Counting(site, self))

    @property
    def identifies(self) -> int:
        return len(self._discord.identifies)


def counted(position: Any) -> int:
    assert isinstance(position, Mapping)
    return sum(Place.read(position).starts.hours.values())


@pytest.mark.parametrize("mark", [Mark.NOTED, Mark.WRITTEN])
async def test_an_owner_that_dies_sends_no_identify_that_its_successor_does_not_count(
    tmp_path: Path, mark: Mark
) -> None:
    async with Patient(tmp_path, bootstrap="") as guild:
        world = World(guild)
        died = world.begin(die_at=(mark, 1))
        await died.until(died.dying.is_set)
        looks = guild.looks
        await died.until(lambda: guild.identifies > 0 or guild.looks >= looks + LOOKS)
        await died.kill()

        life = world.begin()
        await life.until(lambda: life.status.state is State.CONNECTED)
        assert world.cursor is not None
        assert guild.identifies == counted(world.cursor.position) == (1 if mark is Mark.NOTED else 2)
        await world.close()
