"""A folder that is not there, not the same, not readable, or too full."""

import errno
import shutil
import subprocess
from pathlib import Path

import pytest

from connectors.base.contract import NotConnected, Refused
from connectors.file import Source, folder, snapshot
from tests.unit.connectors.file.watched import Watching, begun, config, events, nothing_but, put, watching
from tests.unit.connectors.standing import Reading


def away(root: Path) -> Path:
    return root.rename(root.with_name("away"))


def empty(root: Path) -> None:
    root.mkdir()


def back(root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    root.with_name("away").rename(root)


def mount(root: Path) -> bool:
    return subprocess.run(["mount", "-t", "tmpfs", "none", root], capture_output=True, check=False).returncode == 0


def unmount(root: Path) -> None:
    subprocess.run(["umount", root], capture_output=True, check=False)


async def test_a_folder_that_is_not_there_is_waited_for(root: Path) -> None:
    put(root / "a")
    site = Watching()
    async with begun(root, site) as one:
        away(root)
        with pytest.raises(NotConnected) as error:
            await one.next()
        assert error.value.reason == "absent"
    async with watching(root, site) as one:
        with pytest.raises(NotConnected):
            await one.next()
        assert site.connections == 1

    back(root)
    async with watching(root, site) as one:
        await nothing_but(one, root)


async def test_an_empty_folder_in_its_place_makes_nobody_think_that_all_is_gone(root: Path) -> None:
    put(root / "a")
    site = Watching()
    async with begun(root, site) as one:
        away(root)
        empty(root)
        for _ in range(2):
            with pytest.raises(NotConnected, match="another one") as error:
                await one.next()
            assert error.value.reason == "replaced"
            one = Reading(Source(config(root), site), site)
        await one.close()

    back(root)
    async with watching(root, site) as one:
        await nothing_but(one, root)


async def test_another_folder_in_its_place_with_other_files_is_the_truth(root: Path) -> None:
    put(root / "a")
    site = Watching()
    async with begun(root, site):
        pass
    away(root)
    put(root / "b")
    async with begun(root, site) as one:
        assert await events(one, 2) == [("delete", "a"), ("create", "b")]


async def test_a_folder_that_was_emptied_is_empty(root: Path) -> None:
    put(root / "a")
    async with begun(root, Watching()) as one:
        (root / "a").unlink()
        assert await events(one, 1) == [("delete", "a")]


async def test_a_mount_that_is_gone_deletes_nothing_whatever_lies_below_it(root: Path) -> None:
    put(root / "stray")
    if not mount(root):
        pytest.skip("nothing may be mounted here")
    site = Watching()
    try:
        put(root / "a")
        async with begun(root, site) as one:
            unmount(root)
            with pytest.raises(NotConnected) as first:
                await one.next()
    finally:
        unmount(root)
    async with watching(root, site) as one:
        with pytest.raises(NotConnected) as second:
            await one.next()

    assert (first.value.reason, second.value.reason) == ("replaced", "unmounted")


@pytest.mark.parametrize(
    ("number", "error", "reason"),
    [
        ("EACCES", Refused, "forbidden"),
        ("ENOTDIR", Refused, "not_a_folder"),
        ("ESTALE", NotConnected, "absent"),
        ("EIO", NotConnected, "unreadable"),
    ],
)
async def test_what_the_system_says_decides_who_has_to_act(
    root: Path, monkeypatch: pytest.MonkeyPatch, number: str, error: type[Refused | NotConnected], reason: str
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(getattr(errno, number), number)

    monkeypatch.setattr(folder, "scan", refused)
    async with watching(root, Watching()) as one:
        with pytest.raises(error) as raised:
            await one.next()
        assert getattr(raised.value, "reason", None) == reason


async def test_too_many_files_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        put(root / name)
    monkeypatch.setattr(snapshot, "MOST_FILES", 2)
    async with watching(root, Watching()) as one:
        with pytest.raises(Refused, match="more than 2 files"):
            await one.next()

    monkeypatch.setattr(snapshot, "MOST_FILES", 9)
    encode = snapshot.encode
    monkeypatch.setattr(snapshot, "encode", lambda known: encode(known, most_bytes=9))
    async with watching(root, Watching()) as one:
        with pytest.raises(Refused, match="3 files are more than a position"):
            await one.next()
