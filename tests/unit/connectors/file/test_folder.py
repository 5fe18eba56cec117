"""A scan of a real folder, what of it is not followed, and the content of files that change under one's eyes."""

import errno
import os
from pathlib import Path

import pytest

from connectors.file import folder
from connectors.file.folder import Changed, Replaced, Scan, Seen, TooMany
from connectors.file.selection import Selection


def scan(root: Path, *, ignore: tuple[str, ...] = (), recursive: bool = True, most_files: int = 100) -> Scan:
    selection = Selection(patterns=("*",), ignore=ignore, recursive=recursive)
    return folder.scan(str(root), selection, most_files=most_files)


def seen(path: Path) -> Seen:
    found = folder.state(path.stat())
    assert found is not None
    return found


def put(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_scan_finds_every_file_with_its_state(tmp_path: Path) -> None:
    for path in ("a", "x/b", "x/y/z/c", "build/d"):
        put(tmp_path / path, path)
    (tmp_path / "empty").mkdir()
    raw = os.fsdecode(b"caf\xe9")
    put(tmp_path / raw)

    found = scan(tmp_path, ignore=("build",))
    assert found.files == {path: seen(tmp_path / path) for path in ("a", "x/b", "x/y/z/c", raw)}
    assert found.root == (tmp_path.stat().st_dev, tmp_path.stat().st_ino)
    assert (found.is_mount, found.closed, found.links_outside) == (False, set(), 0)
    assert set(scan(tmp_path, recursive=False).files) == {"a", raw}


def test_only_regular_files_count(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    assert scan(tmp_path).files == {}


def test_links_are_followed_to_files_inside_only(tmp_path: Path) -> None:
    outside = put(tmp_path / "outside/secret")
    root = tmp_path / "root"
    inside = put(root / "data/a")
    for name, target in {
        "file": "data/a",
        "absolute": str(inside),
        "out": str(outside),
        "up": "../outside/secret",
        "folder": "data",
        "round": ".",
        "out_folder": str(tmp_path / "outside"),
        "through": "out_folder/secret",
        "broken": "nothing",
        "itself": "itself",
    }.items():
        (root / name).symlink_to(target)

    found = scan(root)
    assert found.files == {path: seen(inside) for path in ("data/a", "file", "absolute")}
    assert found.links_outside == 3


def test_a_folder_may_be_a_link_itself(tmp_path: Path) -> None:
    put(tmp_path / "real/a")
    (tmp_path / "link").symlink_to("real")

    assert set(scan(tmp_path / "link").files) == {"a"}
    assert folder.content(str(tmp_path / "link"), "a", seen(tmp_path / "real/a"), most_bytes=9) == b"x"


def test_more_files_than_can_be_kept_are_too_many(tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path / f"{number}/a")

    assert len(scan(tmp_path, most_files=3).files) == 3
    with pytest.raises(TooMany):
        scan(tmp_path, most_files=2)


def test_folders_that_are_too_deep_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "MOST_DEPTH", 2)
    put(tmp_path / "1/2/a")
    put(tmp_path / "1/2/3/b")

    found = scan(tmp_path)
    assert (set(found.files), found.closed) == ({"1/2/a"}, {"1/2/3"})


@pytest.mark.parametrize(
    ("number", "is_closed"), [("EACCES", True), ("EIO", True), ("ESTALE", True), ("ENOENT", False), ("ELOOP", False)]
)
def test_a_folder_that_cannot_be_read_is_closed_unless_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str, is_closed: bool
) -> None:
    put(tmp_path / "a")
    put(tmp_path / "x/b")
    real = os.open

    def opened(path: str, *more: int, dir_fd: int | None = None) -> int:
        if path == "x":
            raise OSError(getattr(errno, number), number)
        return real(path, *more, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", opened)

    found = scan(tmp_path)
    assert (set(found.files), found.closed) == ({"a"}, {"x"} if is_closed else set())


def test_a_folder_that_is_replaced_by_a_link_during_a_scan_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "outside/secret")
    put(tmp_path / "root/x/a")
    enter = folder._Looking._enter

    def swapped(self: folder._Looking, fd: int, path: str, name: str, depth: int) -> None:
        (tmp_path / "root/x").rename(tmp_path / "moved")
        (tmp_path / "root/x").symlink_to(tmp_path / "outside")
        enter(self, fd, path, name, depth)

    monkeypatch.setattr(folder._Looking, "_enter", swapped)

    assert scan(tmp_path / "root").files == {}


def test_a_folder_that_becomes_another_one_during_a_scan_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "root/a")
    walk = folder._Looking.walk

    def moved(self: folder._Looking, fd: int, path: str, depth: int) -> None:
        walk(self, fd, path, depth)
        (tmp_path / "root").rename(tmp_path / "moved")
        (tmp_path / "root").mkdir()

    monkeypatch.setattr(folder._Looking, "walk", moved)

    with pytest.raises(Replaced):
        scan(tmp_path / "root")


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        scan(tmp_path / "nothing")
    with pytest.raises(NotADirectoryError):
        scan(put(tmp_path / "file"))


# ---- content -------------------------------------------------------------------------------------------------------


def test_content_is_read_if_the_file_is_as_it_was_seen(tmp_path: Path) -> None:
    path = put(tmp_path / "x/y/a", "hello")

    assert folder.content(str(tmp_path), "x/y/a", seen(path), most_bytes=5) == b"hello"
    with pytest.raises(Changed):
        folder.content(str(tmp_path), "x/y/a", seen(path)._replace(size=4), most_bytes=5)


def test_content_through_a_link_inside_is_read_and_outside_is_not(tmp_path: Path) -> None:
    inside, outside = put(tmp_path / "root/x/a", "in"), put(tmp_path / "secret", "out")
    (tmp_path / "root/link").symlink_to("x/a")
    (tmp_path / "root/out").symlink_to(outside)
    (tmp_path / "root/up").symlink_to("..")

    assert folder.content(str(tmp_path / "root"), "link", seen(inside), most_bytes=9) == b"in"
    for path in ("out", "up/secret", "../secret"):
        with pytest.raises(Changed):
            folder.content(str(tmp_path / "root"), path, seen(outside), most_bytes=9)


def test_content_below_a_folder_that_became_a_link_is_read_inside_alone(tmp_path: Path) -> None:
    inside, outside = put(tmp_path / "root/y/a", "in"), put(tmp_path / "secrets/a", "out")
    (tmp_path / "root/x").symlink_to("y")
    (tmp_path / "root/z").symlink_to(outside.parent)

    assert folder.content(str(tmp_path / "root"), "x/a", seen(inside), most_bytes=9) == b"in"
    with pytest.raises(Changed):
        folder.content(str(tmp_path / "root"), "z/a", seen(outside), most_bytes=9)


def test_what_became_links_in_a_circle_has_changed(tmp_path: Path) -> None:
    path = put(tmp_path / "a")
    before = seen(path)
    path.unlink()
    path.symlink_to("b")
    (tmp_path / "b").symlink_to("a")

    with pytest.raises(Changed):
        folder.content(str(tmp_path), "a", before, most_bytes=9)


def test_what_is_no_file_any_more_has_changed(tmp_path: Path) -> None:
    path = put(tmp_path / "a")
    before = seen(path)
    path.unlink()
    with pytest.raises(Changed):
        folder.content(str(tmp_path), "a", before, most_bytes=9)

    os.mkfifo(path)
    with pytest.raises(Changed):
        folder.content(str(tmp_path), "a", before, most_bytes=9)


def test_a_file_that_changes_while_it_is_read_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "a", "hello")
    before, read = seen(path), os.read

    def written(fd: int, size: int) -> bytes:
        with path.open("a") as file:
            file.write("!")
        return read(fd, size)

    monkeypatch.setattr(os, "read", written)

    with pytest.raises(Changed):
        folder.content(str(tmp_path), "a", before, most_bytes=5)


def test_nothing_stays_open(tmp_path: Path) -> None:
    path = put(tmp_path / "x/y/a")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        scan(tmp_path)
        folder.content(str(tmp_path), "x/y/a", seen(path), most_bytes=5)
        with pytest.raises(Changed):
            folder.content(str(tmp_path), "x/y/b", seen(path), most_bytes=5)

    assert len(list(Path("/proc/self/fd").iterdir())) == before
