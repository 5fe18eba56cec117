"""When the source scans, and a folder with 100,000 files."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from connectors.base.contract import Moved
from connectors.file import folder
from connectors.file.hints import Hints
from tests.unit.connectors.file.watched import Watching, begun, events, nothing_but, put, watching

MANY = 100_000


# ---- when it scans ---------------------------------------------------------------------------------------------------


async def test_a_quiet_folder_is_scanned_once_an_interval(root: Path) -> None:
    site = Watching()
    async with begun(root, site, interval="1m", settle="1s") as one:
        site.happening = iter([lambda: None] * 5 + [lambda: put(root / "a")])
        await events(one, 1)

    assert [round(seconds, 6) for seconds in site.slept] == [0.1, 59.9, 0.1, 59.9, 0.1, 59.9, 0.1, 0.9]


async def test_a_scan_that_takes_long_is_followed_by_a_long_pause(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Watching()
    scan = folder.scan

    def slow(*arguments: Any, **more: Any) -> folder.Scan:
        site.advance(5.0)
        return scan(*arguments, **more)

    monkeypatch.setattr(folder, "scan", slow)
    put(root / "a")
    async with begun(root, site, emit_existing=True) as one:
        await events(one, 1)

    assert site.slept == [20.0]


async def test_events_that_take_long_to_be_published_are_followed_by_no_long_pause(root: Path) -> None:
    site = Watching()
    async with begun(root, site) as one:
        put(root / "a")
        await one.event()
        site.advance(100.0)
        assert isinstance(await one.next(), Moved)
        site.slept.clear()
        await nothing_but(one, root)

    assert 0 < max(site.slept) < 100.0


async def test_notifications_bring_the_next_scan_forward(root: Path) -> None:
    site = Watching(real_time=True)
    async with begun(root, site, interval="1h", settle="0", notifications=True) as one:
        (root / "x/y").mkdir(parents=True)
        put(root / "x/y/a.part").rename(root / "x/y/a")
        assert await events(one, 1) == [("create", "x/y/a")]


async def test_a_notification_brings_one_scan_forward_and_no_more(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun_hints: list[Hints] = []

    def start(self: Hints) -> None:
        begun_hints.append(self)
        self.changed.set()

    monkeypatch.setattr(Hints, "start", start)
    async with begun(root, Watching(), notifications=True) as one:
        await nothing_but(one, root)

    assert [hints.changed.is_set() for hints in begun_hints] == [False]


async def test_notifications_that_fail_are_said_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: Hints) -> None:
        self.failed = "no inotify here"

    monkeypatch.setattr(Hints, "start", start)
    site = Watching()
    async with begun(root, site, notifications=True) as one:
        await nothing_but(one, root)

    assert site.said == [("notifications_missing", {"reason": "no inotify here"})]


# ---- many files ------------------------------------------------------------------------------------------------------


@pytest.fixture
def many() -> Iterator[Path]:
    """A folder with 100,000 files, in memory where there is such a place: on a disk, to make them takes longest."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        for number in range(MANY):
            if number % 1000 == 0:
                Path(name, f"{number // 1000:03}").mkdir()
            os.close(os.open(f"{name}/{number // 1000:03}/order-{number:06}.json", os.O_CREAT | os.O_WRONLY))
        yield Path(name)


async def test_a_hundred_thousand_files_are_kept_track_of(many: Path) -> None:
    site = Watching()
    async with begun(many, site):
        assert len(orjson.dumps(site.position)) < 900_000
        assert site.position["count"] == MANY
    (many / "042/order-042042.json").unlink()
    put(many / "007/order-007007.json")
    put(many / "new")

    async with watching(many, Watching(site.position)) as one:
        assert await events(one, 3) == [
            ("delete", "042/order-042042.json"), ("update", "007/order-007007.json"), ("create", "new"),
        ]  # fmt: skip
