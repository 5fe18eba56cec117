"""Notifications of the system: each of the situations in which they say too little still brings a scan."""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import watchfiles

from connectors.file.hints import Hints
from tests.unit.connectors.standing import until


class Reports(list[set[tuple[Any, str]]]):
    """What watchfiles has reported, and Hints has heard."""

    def of_others(self) -> bool:
        return any(not Path(path).name.startswith("begin") for one in self for _, path in one)

    def of_deletion(self) -> bool:
        return any(change.name == "deleted" for one in self for change, path in one if path.endswith("begin1"))


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> Reports:
    found = Reports()
    watch = watchfiles.watch

    def noted(*paths: str, **options: Any) -> Iterator[Any]:
        for changes in watch(*paths, **options):
            yield changes
            found.append(changes)

    monkeypatch.setattr(watchfiles, "watch", noted)
    return found


@pytest.fixture
async def hints(tmp_path: Path, reports: Reports) -> AsyncIterator[Hints]:
    """Hints that have begun: a first notification has come."""
    (tmp_path / "root").mkdir()
    one = Hints(str(tmp_path / "root"), recursive=True, in_thread=asyncio.to_thread)
    one.start()
    number = 0
    while not one.changed.is_set():
        (tmp_path / "root" / f"begin{(number := number + 1)}").touch()
        await asyncio.sleep(0.01)
    yield one
    await one.stop()


def renamed(root: Path) -> None:
    (root / "a.part").write_text("x")
    (root / "a.part").rename(root / "a")


def nested(root: Path) -> None:
    (root / "x/y").mkdir(parents=True)
    (root / "x/y/a").write_text("x")


def moved_in(root: Path) -> None:
    (root.parent / "out").mkdir()
    (root.parent / "out/a").write_text("x")
    (root.parent / "out").rename(root / "in")


@pytest.mark.parametrize("happens", [renamed, nested, moved_in])
async def test_whatever_is_reported_sets_changed(
    hints: Hints, reports: Reports, tmp_path: Path, happens: Callable[[Path], None]
) -> None:
    happens(tmp_path / "root")
    await until(reports.of_others)

    hints.changed.clear()
    (tmp_path / "root/begin1").unlink()
    await until(reports.of_deletion)
    await until(hints.changed.is_set)
    assert hints.failed is None


async def test_a_folder_that_is_gone_does_not_keep_it_from_stopping(hints: Hints, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "root")

    await hints.stop()
    assert hints._thread is not None
    assert not hints._thread.is_alive()


async def test_what_cannot_be_watched_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: str, **__: Any) -> Iterator[Any]:
        raise OSError("OS file watch limit reached")

    monkeypatch.setattr(watchfiles, "watch", refused)
    one = Hints(str(tmp_path), recursive=True, in_thread=asyncio.to_thread)
    one.start()

    await until(lambda: one.failed is not None)
    await one.stop()
    assert one.failed == "OSError: OS file watch limit reached"


async def test_without_watchfiles_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    one = Hints(str(tmp_path), recursive=True, in_thread=asyncio.to_thread)
    one.start()

    await until(lambda: one.failed == "watchfiles is not installed")
    await one.stop()


async def test_stopping_what_never_began_is_nothing(tmp_path: Path) -> None:
    await Hints(str(tmp_path), recursive=True, in_thread=asyncio.to_thread).stop()
