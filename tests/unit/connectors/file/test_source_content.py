"""What of a file is read for its event, and what is not looked at."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.base.contract import Moved, Unreadable
from connectors.file import folder, source
from tests.unit.connectors.file.watched import SETTLE, Watching, begun, events, nothing_but, put


async def test_the_content_of_a_file_is_in_its_event(root: Path) -> None:
    site = Watching()
    async with begun(root, site, content="json") as one:
        put(root / "a.json", b'{"n": 1}')
        event = await one.event()
        assert event.data["content"] == {"n": 1}
        assert site.heard_bytes == 8

        put(root / "b.json", b"{")
        assert isinstance(await one.next(), Moved)
        letter = await one.next()
        assert isinstance(letter, Unreadable)
        assert letter.raw == b"{"
        assert isinstance(await one.next(), Moved)


async def test_content_that_is_too_large_or_forbidden_is_left_out(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with begun(root, Watching(), content="text", max_content_bytes=5) as one:
        put(root / "a", "123456")
        event = await one.event()
        assert (event.data["content"], event.data["content_omitted"]) == (None, "too_large")

        def forbidden(*_: object, **__: object) -> None:
            raise PermissionError

        monkeypatch.setattr(folder, "content", forbidden)
        put(root / "b", "12345")
        event = await one.event()
        assert (event.data["content"], event.data["content_omitted"]) == (None, "forbidden")


async def test_a_file_that_changes_before_it_is_read_is_told_as_it_becomes(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = folder.content
    changing = iter([lambda: put(root / "a", "newer")])

    def content(*arguments: Any, **more: Any) -> bytes:
        next(changing, lambda: None)()
        return read(*arguments, **more)

    monkeypatch.setattr(folder, "content", content)
    async with begun(root, Watching(), content="text") as one:
        put(root / "a", "new")
        event = await one.event()
        assert (event.data["content"], event.data["size_bytes"]) == ("newer", 5)
        await nothing_but(one, root)


async def test_many_files_are_read_by_few_threads(root: Path) -> None:
    class Counting(Watching):
        threads = 0

        async def in_thread(self, call: Callable[..., Any], *arguments: Any) -> Any:
            self.threads += 1
            return await super().in_thread(call, *arguments)

    site = Counting()
    async with begun(root, site, content="text") as one:
        for number in range(2 * source.TOGETHER):
            put(root / f"{number:03}", str(number))
        await one.event()
        before = site.threads
        for _ in range(2 * source.TOGETHER - 1):
            await one.event()
        assert site.threads - before == 1


async def test_files_that_are_large_together_are_read_apart(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "TOGETHER_BYTES", 10)
    read, sizes = folder.content, list[int]()

    def content(*arguments: Any, **more: Any) -> bytes:
        sizes.append(arguments[2].size)
        return read(*arguments, **more)

    monkeypatch.setattr(folder, "content", content)
    async with begun(root, Watching(), content="text") as one:
        for number in range(4):
            put(root / str(number), "x" * 8)
        await one.event()
        assert sizes == [8, 8]
        assert len(await events(one, 3)) == 3


async def test_of_files_that_are_read_together_one_that_changes_is_told_later(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = folder.content
    changing: Iterator[Callable[[], object]] = iter([lambda: None, lambda: put(root / "b", "newer")])

    def content(*arguments: Any, **more: Any) -> bytes:
        next(changing, lambda: None)()
        return read(*arguments, **more)

    async with begun(root, Watching(), content="text") as one:
        for name in "abc":
            put(root / name, "new")
            os.utime(root / name, (0, 0))
        monkeypatch.setattr(folder, "content", content)
        found = [await one.event() for _ in "abc"]

    assert [(event.key, event.data["content"]) for event in found] == [("a", "new"), ("c", "new"), ("b", "newer")]


async def test_a_file_that_never_is_as_it_was_seen_settles_anew_each_time(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = folder.content
    failing = iter([folder.Changed] * 5)

    def content(*arguments: Any, **more: Any) -> bytes:
        for error in failing:
            raise error
        return read(*arguments, **more)

    monkeypatch.setattr(folder, "content", content)
    site = Watching()
    async with begun(root, site, content="text", interval="1s") as one:
        put(root / "a")
        await events(one, 1)

    assert site.monotonic() >= 6 * SETTLE


async def test_what_is_not_looked_at_is_counted(root: Path, tmp_path: Path) -> None:
    (root / "link").symlink_to(put(tmp_path / "outside"))
    site = Watching()
    async with begun(root, site):
        pass

    assert site.notes == {"links_outside": 1}
