"""Files of sources that are followed while a process runs."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.kafka.clients import KafkaUnreachable
from app.settings import Settings
from app.wiring import connectors
from connectors.base.closing import end
from connectors.base.kinds import declared
from tests.unit.connectors.standing import until
from topics.sources import Spec, spec_of


class Place:
    """What `triggers` says, in memory. While `away`, nobody can ask."""

    def __init__(self) -> None:
        self.there: dict[str, Spec] = {}
        self.asked = 0
        self.away = False

    def set_up(self, _settings: Settings) -> dict[str, Spec]:
        self.asked += 1
        if self.away:
            raise KafkaUnreachable("localhost:1", "it is away")
        return dict(self.there)

    async def write(self, _topic: str, key: bytes, value: bytes | None) -> None:
        if value is None:
            del self.there[key.decode()]
        else:
            self.there[key.decode()] = spec_of(value)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place()
    monkeypatch.setattr(connectors, "WATCH_SECONDS", 0.001)
    monkeypatch.setattr(connectors, "_set_up", made.set_up)
    return made


@pytest.fixture
async def following(place: Place, tmp_path: Path) -> AsyncIterator[Path]:
    """A file that is followed; it declares the sources a and b."""
    file = tmp_path / "sources.yaml"
    declare(file, "a", "b")
    made: Any = connectors._Running(Settings.load({}, environ={}), [file], asyncio.Event(), lambda _: None)
    made._connectors.publisher.write = place.write
    stamps = connectors._stamps([file])
    task = asyncio.create_task(made._declare(declared.read([file]), stamps, reload=True))
    await until(lambda: set(place.there) == {"a", "b"})
    yield file
    assert not task.done()
    await end([task])


def declare(file: Path, *names: str) -> None:
    text = "".join(f"\n  - {{id: {name}, kind: cron, options: {{schedule: 1h}}}}" for name in names)
    file.write_text(f"sources:{text or ' []'}\n")


async def test_a_change_while_kafka_is_away_is_made_when_it_is_back(place: Place, following: Path) -> None:
    place.away = True
    declare(following, "a", "c")
    before = place.asked
    await until(lambda: place.asked > before + 2)
    place.away = False

    await until(lambda: set(place.there) == {"a", "c"})


async def test_a_file_that_is_still_being_written_removes_nothing(
    place: Place, following: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    def growing(_files: Any) -> list[Any]:
        nonlocal looks
        looks += 1
        return [looks]

    with monkeypatch.context() as patched:
        patched.setattr(connectors, "_stamps", growing)
        declare(following, "a")
        await until(lambda: looks > 5)
    assert set(place.there) == {"a", "b"}

    declare(following, "a", "b", "c")
    await until(lambda: set(place.there) == {"a", "b", "c"})


async def test_a_file_takes_out_nothing_of_another_one_of_its_name_when_it_begins(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "sources.yaml"
    declare(file, "a")
    theirs = {"x": Spec(id="x", kind="cron", options={"schedule": "1h"}, origin="file sources.yaml")}

    async def begun(**settings: Any) -> set[str]:
        place.there = dict(theirs)
        loaded = Settings.load({f"connectors.{name}": value for name, value in settings.items()}, environ={})
        made: Any = connectors._Running(loaded, [file], asyncio.Event(), lambda _: None)
        made._connectors.publisher.write = place.write
        wanted = declared.read([file], declared_by=loaded.connectors.declared_by)
        await made._declare(wanted, [], reload=False)
        return set(place.there)

    with pytest.raises(declared.StrangersError, match="has set up x, and none of it is here"):
        await begun()
    assert place.there == theirs
    assert await begun(declared_by="shop") == {"a", "x"}
    theirs = {"x": Spec(id="x", kind="cron", options={"schedule": "1h"}, origin="file sources.yaml of shop")}
    assert await begun(declared_by="shop") == {"a"}  # all ids changed: the deployment has said that it is the same


async def test_all_ids_of_a_file_may_change_while_it_is_followed(place: Place, following: Path) -> None:
    declare(following, "c")

    await until(lambda: set(place.there) == {"c"})


async def test_a_process_that_begins_while_kafka_is_away_waits_for_it_and_says_so_once(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connectors, "FIRST_PAUSE_SECONDS", 0.001)
    file = tmp_path / "sources.yaml"
    declare(file, "a")
    made: Any = connectors._Running(Settings.load({}, environ={}), [file], asyncio.Event(), lambda _: None)
    made._connectors.publisher.write = place.write
    place.away = True
    task = asyncio.create_task(made._declare(declared.read([file]), [], reload=False))
    await until(lambda: place.asked > 3)
    assert (task.done(), made._declared) == (False, False)
    place.away = False
    await asyncio.wait_for(task, 10)

    assert set(place.there) == {"a"}
    assert [one.message for one in caplog.records].count("sources_not_set_up_yet") <= 1
